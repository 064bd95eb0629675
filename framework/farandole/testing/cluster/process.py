"""One process that a test starts, stops, freezes, kills and starts again.

It leads a session of its own, so that what it starts can be ended with it. Its id is not given
back to the system (nobody waits for it) before everything that it led has been ended: no signal
of ours can meet a stranger. Should the test itself be killed, a guard (a shell that waits for
our end of a pipe to close) ends the process.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

from farandole.testing.cluster.waiting import PAUSE_S

_GUARD = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null'
SAID_CHARACTERS = 4000
"""The end of a log, which holds the reason why its process ended."""

LOST = 255
"""The code of one that somebody else has waited for: how it ended cannot be known any more."""

GRACE = timedelta(seconds=30)
"""For an orderly end: an agent drains for 20 s at most."""


class ManagedProcess:
    """A command with variables of its own; `generation` counts its starts. All of them write to one log."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.generation = 0
        self._folder = folder
        # `env` replaces itself by the command: what we start is what runs, with our variables over the test's own.
        self._command = ["env", *(f"{key}={value}" for key, value in variables.items()), *command]
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its id, while it is ours.

        Raises:
            ProcessLookupError: it was never started, or has been ended for good.
        """
        if self._child is None:
            raise ProcessLookupError(f"{self.name}: expected a process that was started, but there is none")
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs, or is frozen."""
        return self._child is not None and _end_of(self._child.pid) is None

    @property
    def ended_with(self) -> int | None:
        """Its exit code if it has ended by itself, negative for a signal; None while it lives, or is not ours."""
        return None if self._child is None else _end_of(self._child.pid)

    @property
    def memory_mib(self) -> float:
        """Resident memory; `env` has replaced itself by the command. 0 if it has ended."""
        return self._memory_mib("VmRSS:")

    @property
    def memory_peak_mib(self) -> float:
        """The most resident memory of this life of it. 0 if it has ended."""
        return self._memory_mib("VmHWM:")

    def _memory_mib(self, name: str) -> float:
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith(name):
                    return round(int(line.split()[1]) / 1024, 1)
        return 0.0

    def start(self) -> Self:
        """Start it; the one before is ended first."""
        self.end()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(self._child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.generation += 1
        return self

    def restart(self) -> Self:
        """Start it again with the same command, whatever became of it."""
        return self.start()

    def kill9(self) -> None:
        """End it as a crash would, without a word; what it started lives on, as after a crash."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def sigstop(self) -> None:
        """Freeze it: it lives, and does nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def sigcont(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def sigterm(self) -> None:
        """Ask it to end in order; `wait` tells when it has."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, within: timedelta = GRACE) -> int:
        """Its exit code once it has ended by itself, negative for a signal.

        What it started and left behind lives on until `end`, `start` or the guard; until then its id stays taken.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        child = self._child
        if child is None:
            raise ProcessLookupError(f"{self.name}: expected a process that was started, but there is none")
        until = time.monotonic() + within.total_seconds()
        while (code := _end_of(child.pid)) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(self._command, within.total_seconds())
            time.sleep(PAUSE_S)
        return code

    def end(self) -> None:
        """End it and all that it started, at once; idempotent."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None
        self._dismiss_guard()

    def said(self) -> str:
        """The end of what it wrote, all generations together."""
        if not self.log.exists():
            return ""
        return self.log.read_text(errors="replace")[-SAID_CHARACTERS:]

    def _dismiss_guard(self) -> None:
        """After the process, so that at no time nobody would end it."""
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
            self._guard = None


def _end_of(pid: int) -> int | None:
    """How a child of ours ended, negative for a signal; it is left unwaited for, so that its id stays taken."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return LOST
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
