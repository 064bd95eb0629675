"""One unit under `dev`: its process, the next one when its files change, and what both say.

loading ──applied──► waiting for go ──► running ──its files change──► its successor loads beside it;
   └─ error: shown, and tried again at the next change       only once that is applied, it drains and goes

Who was not let run has nothing to finish, and may sit in the author's code for ever: when a newer save comes, or the
end, it is killed. It would else apply what it has read after its successor did, and the older pipeline stood published.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from farandole.cli.dev.project import changed, stamp
from farandole.cli.dev.stages import STAGE, STAGES

RESTART_AFTER_S = 1.0
"""Wait before a process that died by itself is started again; doubled by each death that follows soon."""

RESTART_AFTER_MAX_S = 60.0
"""Longest such wait: the same trigger kills it again and again, until somebody reads why."""

STEADY_S = 60.0
"""Who has lived so long died of something else than its predecessor."""

LAST_WORDS_S = 0.5
"""Wait for the last lines of a process that has ended. They stand in the pipe; but its end comes only when all have let
go of it, and what a handler has left running keeps it open."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a process wrote: the fields of a line of ours, or a line of plain text; `line` is None at its end."""

    child: "Child"
    line: Mapping[str, object] | str | None

    @property
    def stage(self) -> object:
        """`applied`, `ready`, or what has become of an attempt, if the process says so of itself."""
        return self.line.get(STAGE) if isinstance(self.line, Mapping) else None


class Child:
    """One process of a unit, and the threads that read what it says and wait for its end."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], tell: Callable[[Said], None]
    ) -> None:
        self.name = name
        self.began_at = 0.0
        """When it was begun, on the monotonic clock."""

        self.is_applied = False
        self.under_way: dict[object, str] = {}
        """Attempts that its executor has, by where their triggers stand and step."""

        self._tell = tell
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            # Not in the terminal's group: Ctrl-C reaches us, and we end it in order.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"reader of {name}", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name=f"watcher of {name}", daemon=True)
        self._reader.start()
        self._watcher.start()

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def go(self) -> None:
        """Let it run."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended; the reader tells
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def end(self) -> None:
        """Ask it to drain and end; `wait` for it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self.end()
        self._process.kill()

    def wait(self, timeout: float) -> None:
        """Until it has ended; it is killed if it does not in time."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._watcher.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                if text:
                    self._tell(Said(self, _fields(text)))

    def _watch(self) -> None:
        self._process.wait()
        self._reader.join(LAST_WORDS_S)
        self._tell(Said(self, None))


def _fields(text: str) -> Mapping[str, object] | str:
    """What it says of itself, or logs, as fields; anything else (a handler's `print`, a traceback) as it is."""
    if text.startswith("{"):
        try:
            found: Mapping[str, object] = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if found.get(STAGE) in STAGES or _is_logged(found):
            return found
    return text


def _is_logged(line: Mapping[str, object]) -> bool:
    """Whether it has what each log line of ours has: a handler may print JSON of another make, as structlog does."""
    try:
        datetime.fromisoformat(str(line["time"])).astimezone()
    except (KeyError, ValueError, OverflowError):
        return False
    return line.keys() >= {"level", "logger", "message"}


class UnitCrew:
    """The processes of one unit: the one that runs, and the one that shall follow it.

    `patience` is how long one that was let run may take to finish what it has begun, seconds.
    """

    def __init__(self, path: Path, spawn: Callable[[str, Path], Child], patience: float) -> None:
        self.path = path
        self.name = path.stem if path.is_file() else path.name
        self._spawn = spawn
        self._patience = patience
        self._running: Child | None = None
        self._coming: Child | None = None
        self._leaving: dict[Child, float] = {}
        """Those that were asked to end, and when they are killed if they have not."""
        self._retry_at: float | None = None
        self._deaths = 0
        self.is_ending = False
        """Its processes were asked to end: none is let run any more."""
        self._stamp = stamp([path])

    def look(self) -> list[Path]:
        """Files that changed since the last look."""
        before, self._stamp = self._stamp, stamp([self.path])
        return changed(before, self._stamp)

    def begin(self, now: float) -> None:
        """Load the unit in a new process, in place of one that is loading already."""
        self._retry_at = None
        if self._coming is not None:
            self._leaving[self._coming] = now
            self._coming.kill()
        self._coming = self._spawn(self.name, self.path)
        self._coming.began_at = now
        self._deaths = 0

    def applied(self, child: Child, now: float) -> None:
        """A process has loaded and applied the unit: the one before it drains, then it may go."""
        child.is_applied = True
        if child is not self._coming or self.is_ending:
            return
        if self._running is not None:
            self._leaving[self._running] = now + self._patience
            self._running.end()
            self._running = None
        self._promote()

    def ended(self, child: Child, now: float) -> bool:
        """A process has ended; whether it did so by itself, which is worth a line.

        Another is started for one that could be loaded, unless its successor loads already.
        """
        if self.is_ending:
            return False
        if child in self._leaving:
            del self._leaving[child]
            self._promote()
            return False
        if child is self._running:
            self._running = None
        elif child is self._coming:
            self._coming = None
        else:
            return False
        if child.is_applied and self._coming is None:
            self._deaths = 1 if now - child.began_at > STEADY_S else self._deaths + 1
            self._retry_at = now + self.restarts_after
        return True

    def step(self, now: float) -> None:
        """Start again what died by itself, after a while; kill what does not end in time."""
        for each, until in self._leaving.items():
            if now >= until:
                each.kill()
        if self._retry_at is not None and now >= self._retry_at and self._coming is None:
            deaths = self._deaths
            self.begin(now)
            self._deaths = deaths

    @property
    def restarts_after(self) -> float:
        """Seconds from the last death to the next start."""
        return min(RESTART_AFTER_S * 2.0 ** (min(self._deaths, 30) - 1), RESTART_AFTER_MAX_S)

    @property
    def is_loading(self) -> bool:
        """Whether a process of it is begun that was not let run yet."""
        return self._coming is not None

    @property
    def is_running(self) -> bool:
        """Whether a process of it has been let run and has not ended."""
        return self._running is not None

    def end(self) -> None:
        """Ask every process to drain and end."""
        self.is_ending = True
        for each in self._processes:
            each.kill() if each is self._coming else each.end()

    @property
    def has_ended(self) -> bool:
        """Whether none of its processes is alive."""
        return all(each.code is not None for each in self._processes)

    def wait(self, until: float) -> None:
        """Until they have ended, at the latest at an instant of the monotonic clock."""
        for each in self._processes:
            each.wait(max(0.0, until - time.monotonic()))

    @property
    def _processes(self) -> list[Child]:
        return [each for each in (self._running, self._coming, *self._leaving) if each is not None]

    def _promote(self) -> None:
        if self._coming is not None and self._coming.is_applied and not self._leaving:
            self._running, self._coming = self._coming, None
            self._running.go()


def python(path: Path, words: Sequence[str]) -> list[str]:
    """The command of a child for a unit. `-P`: not the working folder decides what it can import, `load_unit` does."""
    return [sys.executable, "-P", "-u", "-m", "farandole.cli.dev.child", str(path), *words]
