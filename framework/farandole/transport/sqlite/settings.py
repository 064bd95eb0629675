"""Settings of the embedded log."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from farandole.definition.project import nearest_file
from farandole.errors import ConfigError

PLACE = Path(".farandole", "log.db")
"""Of the log, in the folder of a project."""


def project_log(folder: Path) -> Path:
    """The log of the project that a folder belongs to: of the nearest one above it, else the folder's own."""
    file = nearest_file(folder)
    return (file.parent if file is not None else folder) / PLACE


BYTES_MIN = 256 * 1024
"""Of `bytes_max`: below, hardly more than the tables would have room."""


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """Where the log is, and how safe each commit: `[embedded]` of `farandole.toml`."""

    path: Path = PLACE
    """The file of the log, beside `farandole.toml` where there is one; on a disk of this machine, for WAL does not work
    over a network file system."""

    synchronous: Literal["normal", "full"] = "normal"
    """`normal` survives the death of any process, and loses the last commits with the power; `full` waits for the
    disk at each commit. Source: SQLite's documentation of `PRAGMA synchronous` in WAL mode."""

    bytes_max: int | None = None
    """Largest size of the file, which is then as full as a disk may be, at least 256 KiB; None is no bound but the
    disk."""

    patience: timedelta = timedelta(seconds=10)
    """Longest wait for the others' write transactions, each of which takes milliseconds."""

    def __post_init__(self) -> None:
        """Refuse what no log could be written under.

        Raises:
            ConfigError: naming the setting.
        """
        if self.bytes_max is not None and self.bytes_max < BYTES_MIN:
            raise ConfigError(f"bytes_max: expected at least {BYTES_MIN:,} bytes, but found {self.bytes_max:,}")
