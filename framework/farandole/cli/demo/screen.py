"""What the demo shows while it runs: a progress bar on a terminal, plain lines elsewhere, nothing with `--json`."""

from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Screen:
    """Messages, and one bar over the steps of the run."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=quiet,
        )
        self._bar = self._progress.add_task("nightly", total=None, visible=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """One message, above the bar."""
        self._console.print(text, markup=False)

    def show(self, text: str) -> None:
        """A block of text as it is."""
        if not self._quiet:
            typer.echo(text)

    def begin(self, what: str) -> None:
        """Show the bar."""
        self._progress.update(self._bar, description=what, visible=True)
        self._progress.start()

    def update(self, done: int, total: int, what: str) -> None:
        """Move the bar."""
        self._progress.update(self._bar, completed=done, total=total, description=what)

    def end(self) -> None:
        """Leave the bar as it stands."""
        self._progress.stop()
