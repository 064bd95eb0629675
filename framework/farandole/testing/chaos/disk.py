"""A small disk that can be filled: a file system in memory, mounted where a process keeps its files.

Mounting one needs the right to (root, or a container that may). What fills it is a file of zeros;
when that goes, there is space again. Should we be killed, a guard (a shell that waits for our end of
a pipe to close) takes the disk away.
"""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from farandole.errors import ConfigError

_CHUNK_BYTES = 1 << 20

# Lazily: what still has a file open there keeps it until it ends.
_GUARD = 'read -r _; umount -l "$1"'


class Disk:
    """A context; `path` is where it is mounted."""

    def __init__(self, path: Path, mib: int) -> None:
        self.path = path
        self._mib = mib
        self._ballast = path / "ballast"
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True)
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        size = f"size={self._mib}m,mode=0700"
        ran = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "farandole-disk", str(self.path)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            self._unmount()
            raise ConfigError(
                f"{self.path}: expected the right to mount a small disk that can be filled, but {ran.stderr.strip()}. "
                "Run this fault as root"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unmount()

    def _unmount(self) -> None:
        """By the guard, which would do it too if we were killed."""
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None

    def fill(self) -> None:
        """Take all the space that is left: returns when not a page more was taken.

        Raises:
            OSError: of anything else than the space that runs out.
        """
        with _until_full(), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(_CHUNK_BYTES)) == _CHUNK_BYTES:
                pass
        with _until_full(), self._ballast.open("ab", buffering=0) as file:
            while file.write(bytes(os.sysconf("SC_PAGE_SIZE"))):
                pass

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
