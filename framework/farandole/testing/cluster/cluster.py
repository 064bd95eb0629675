"""A deployment against one broker: its processes by name, each with a log in the test's folder."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from farandole.testing.cluster.process import GRACE, ManagedProcess

FARANDOLE = (sys.executable, "-m", "farandole.cli")
"""The command line of the interpreter that runs the test."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that ran to its end."""

    code: int
    stdout: str
    stderr: str


class Cluster:
    """Processes of one namespace. As a context it ends all of them, whatever state they are in.

    They run in `folder` and find broker and namespace in their environment; `variables` are added to it.
    `command` is what stands before `agent run` and `coordinator run`.
    """

    def __init__(
        self,
        bootstrap: str,
        namespace: str,
        folder: Path,
        *,
        command: Sequence[str] = FARANDOLE,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.namespace = namespace
        self.folder = folder
        self.processes: dict[str, ManagedProcess] = {}
        self._command = tuple(command)
        self._variables = {
            "FARANDOLE_BOOTSTRAP": bootstrap,
            "FARANDOLE_NAMESPACE": namespace,
            "PYTHONUNBUFFERED": "1",  # a killed process has said what it said
            **(variables or {}),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def run(self, *arguments: str, within: timedelta = timedelta(seconds=60), text: str = "") -> Ended:
        """Run a command of the command line to its end."""
        assigned = [f"{key}={value}" for key, value in self._variables.items()]
        ran = subprocess.run(
            ["env", *assigned, *self._command, *arguments],
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=within.total_seconds(),
            check=False,
        )
        return Ended(ran.returncode, ran.stdout, ran.stderr)

    def coordinator(self, slot: str, *options: str) -> ManagedProcess:
        """Start a coordinator in a slot."""
        return self.spawn(f"coordinator-{slot}", [*self._command, "coordinator", "run", "--slot", slot, *options])

    def agent(self, slot: str, path: Path | str, *options: str) -> ManagedProcess:
        """Start a process of the unit at `path` in a slot."""
        return self.spawn(f"agent-{slot}", [*self._command, "agent", "run", str(path), "--slot", slot, *options])

    def spawn(self, name: str, command: Sequence[str], variables: Mapping[str, str] | None = None) -> ManagedProcess:
        """Start any command under a name; one that has the name is ended first."""
        if name in self.processes:
            self.processes[name].end()
        process = ManagedProcess(name, command, self.folder, {**self._variables, **(variables or {})})
        self.processes[name] = process
        return process.start()

    def terminate(self, within: timedelta = GRACE) -> dict[str, int]:
        """Ask all to end in order; their exit codes by name.

        Raises:
            subprocess.TimeoutExpired: one did not.
        """
        alive = {name: it for name, it in self.processes.items() if it.is_alive}
        for process in alive.values():
            process.sigcont()
            process.sigterm()
        return {name: process.wait(within) for name, process in alive.items()}

    def said(self) -> str:
        """The end of every log, for the message of a test that failed."""
        return "\n".join(f"--- {name}\n{process.said()}" for name, process in self.processes.items())

    def end(self) -> None:
        """End all at once; idempotent."""
        for process in self.processes.values():
            process.end()
