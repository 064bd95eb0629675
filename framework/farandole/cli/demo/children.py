"""Processes of our own command line, their logs in files, ended in order by their process ids."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from farandole.errors import FarandoleError

END_TIMEOUT = 25.0
"""Longest that a process may take to finish what has begun, seconds: its own drain budget and some."""

LOG_SHOWN = 12
"""Last lines of a log that are told when its process died."""


class Children:
    """Runs commands from entering to leaving the context; `environment` is added to ours."""

    def __init__(self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], logs: Path) -> None:
        self._commands = commands
        self._environment = {**os.environ, **environment}
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            undo.callback(self._end)
            for name, arguments in self._commands.items():
                with self._log(name).open("wb") as log:
                    self._running[name] = subprocess.Popen(
                        [sys.executable, "-m", "farandole.cli", *arguments],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=self._environment,
                    )
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def check(self) -> None:
        """Raise if a process has ended, with the end of its log.

        Raises:
            FarandoleError: one has.
        """
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                lines = self._log(name).read_text(errors="replace").splitlines()[-LOG_SHOWN:]
                raise FarandoleError(f"demo: process {name} ended with {code}:\n  " + "\n  ".join(lines))

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _end(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
