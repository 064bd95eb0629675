"""The reference pipeline as the demo uses it: its folder, its working copy, its report.

Started by path, as users start theirs: its modules are found through its folder and never
imported as a package of ours.
"""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from farandole.errors import ConfigError

FOLDER = Path("agents", "flights")
HOME_VARIABLE = "FLIGHTS_HOME"
"""How the pipeline is told where its working copy is."""


def find_folder(start: Path) -> Path:
    """`agents/flights` of the folder or of the nearest one above it.

    Raises:
        ConfigError: there is none.
    """
    for each in (start, *start.parents):
        if (each / FOLDER / "pipeline.py").is_file():
            return each / FOLDER
    raise ConfigError(
        f"demo: expected the folder {FOLDER} here or above, but {start} has none. "
        "Run it in a clone of the repository, or name the folder with --path."
    )


@dataclass(frozen=True, slots=True)
class Flights:
    """`folder` holds the agents, `home` the working copy and the reports."""

    folder: Path
    home: Path
    month: int
    day: int

    def lay_out(self) -> None:
        """Make the working copy afresh, and cut one day's file short."""
        files = self._module("flights_files")
        try:
            files.prepare(self.home, self.month)
            files.truncate(self.home, self.month, self.day)
        except (ValueError, OSError) as bad:
            raise ConfigError(f"demo: {bad}") from bad

    def repair(self) -> Path:
        """Lay out the damaged day again."""
        repaired: Path = self._module("flights_files").repair(self.home, self.month, self.day)
        return repaired

    @property
    def report(self) -> Path:
        """Where the pipeline publishes its report."""
        path: Path = self._module("flights_report").published_path(self.home, f"2013-{self.month:02}")
        return path

    def head(self, report: object) -> str:
        """The head of a report for a terminal."""
        text: str = self._module("flights_head").head(report)
        return text

    def _module(self, name: str) -> ModuleType:
        sys.path.insert(0, str(self.folder))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(self.folder))
