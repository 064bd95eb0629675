"""Waking those who wait: a named pipe for each, in a folder beside the log, rung after each commit.

A bell is a hint. Whoever waits looks by itself now and then, so a bell that was not rung (its
ringer was killed, the pipe could not be made) costs time and nothing else. It tells one thing
more: a pipe that nobody has open any more belonged to a process that is dead.
"""

import contextlib
import errno
import os
import secrets
import select
import threading
import time
from pathlib import Path

from farandole.errors import TransportError

LOOK_S = 0.1
"""Longest wait without a look where bells can be rung: it bounds what a lost hint costs."""

LOOK_MIN_S, LOOK_MAX_S = 0.001, 0.01
"""Where they cannot: waits grow while nothing comes. 100 looks a second are 1 % of a core (measured)."""

YOUNG_S = 0.05
"""A folder that changed so recently may change again without a new time; file systems count in ticks of 4 ms."""

BURIED_AFTER_S = 60.0
"""Age of a dead process's bell that is taken down: longer than any session, after which nobody asks for it."""


class Bell:
    """What one part of this process hears; `name` is where others ring, empty if they cannot.

    `ring` may come when it has been taken down, from a handler that ends late: by then its descriptors may be those of
    somebody else's file, into which nothing may be written.
    """

    def __init__(self, folder: Path) -> None:
        """Hang it up.

        Raises:
            TransportError: this process may open nothing more.
        """
        self.name = ""
        self._path: Path | None = None
        self._look = LOOK_MIN_S
        self._lock = threading.RLock()  # a signal handler rings in whatever its own thread is at, `close` too
        # The pipe comes into the folder when it has a reader: one without is taken for a dead process's.
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        hidden = folder / f".{name}"
        ear = -1
        try:
            folder.mkdir(exist_ok=True)
            os.mkfifo(hidden, 0o600)
            ear = os.open(hidden, os.O_RDWR | os.O_NONBLOCK)
            self._path = hidden.rename(folder / name)
            self._ear = self._hand = ear
            self.name = name
        except (OSError, AttributeError):
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
            if ear >= 0:
                os.close(ear)
            self._ear, self._hand = _pipe(folder)

    def fileno(self) -> int:
        """To wait on, beside other things."""
        return self._ear

    def wait(self, timeout: float) -> bool:
        """Wait for it, not longer than is good without a look; whether it rang. Rung before, it has rung.

        Taken down, it is not waited for.
        """
        if self._ear < 0:
            return True
        most = LOOK_S if self.name else self._look
        ear = select.poll()  # unlike `select`, it knows descriptors beyond 1,024
        ear.register(self._ear, select.POLLIN)
        try:
            rang = bool(ear.poll(max(0.0, min(timeout, most)) * 1_000))
        except InterruptedError:
            return False
        if rang:
            self.silence()
        self._look = LOOK_MIN_S if rang else min(LOOK_MAX_S, self._look * 1.3)
        return rang

    def awake(self) -> None:
        """Something has come: if nobody can ring, look often for a while."""
        self._look = LOOK_MIN_S

    def silence(self) -> None:
        """What happens from now on rings anew."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._ear >= 0:
                os.read(self._ear, 4096)

    def ring(self) -> None:
        """Ring it from inside; for any thread and for signal handlers. Nothing happens once it was taken down."""
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._hand >= 0:
                os.write(self._hand, b"!")

    def close(self) -> None:
        """Take it down; where that cannot be, on a disk that is read-only by now, it stays as a dead process's does."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        with self._lock:
            held = {self._ear, self._hand} - {-1}
            self._ear = self._hand = -1
            for each in held:
                os.close(each)


def _pipe(folder: Path) -> tuple[int, int]:
    """A bell that only this process can ring."""
    try:
        ear, hand = os.pipe()
    except OSError as bad:
        raise TransportError(
            f"{folder}: expected a pipe to wait on, but {bad.strerror or bad}. Raise the limit of open files "
            "(`ulimit -n`), or let the process hold fewer"
        ) from None
    os.set_blocking(ear, False)
    os.set_blocking(hand, False)
    return ear, hand


class Bells:
    """Everybody's bells, as one process rings them. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._cords: dict[str, int] = {}
        self._listed_ns = -1
        self._is_young = True

    def ring(self, but: str = "") -> None:
        """Ring all, except one's own."""
        with self._lock:
            self._list()
            for name, cord in list(self._cords.items()):
                if name == but:
                    continue
                try:
                    os.write(cord, b"!")
                except BlockingIOError:
                    pass  # so many unheard rings that the pipe is full
                except OSError:
                    self._forget(name)

    def is_dead(self, name: str) -> bool:
        """Whether the process that had this bell is certainly gone."""
        if not name:
            return False
        try:
            os.close(os.open(self.folder / name, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as refused:
            return refused.errno == errno.ENXIO
        return False

    def bury(self) -> None:
        """Take down what dead processes left, once everybody has had the time to notice."""
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if time.time() - path.stat().st_mtime > BURIED_AFTER_S and self.is_dead(path.name):
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            for name in list(self._cords):
                os.close(self._cords.pop(name))
            self._listed_ns = -1

    def _list(self) -> None:
        try:
            changed_ns = os.stat(self.folder).st_mtime_ns
        except OSError:
            return
        if changed_ns == self._listed_ns and not self._is_young:
            return
        try:
            names = {name for name in os.listdir(self.folder) if not name.startswith(".")}
        except OSError:
            return  # no descriptor is free just now: the next ring lists them, and those that are known are rung
        self._is_young = time.time() - changed_ns / 1e9 < YOUNG_S
        self._listed_ns = changed_ns
        for gone in self._cords.keys() - names:
            os.close(self._cords.pop(gone))
        for name in names - self._cords.keys():
            self._reach(name)

    def _reach(self, name: str) -> None:
        # A dead process's bell stays, as the proof of that, until it is buried; any other trouble costs a hint.
        with contextlib.suppress(OSError):
            self._cords[name] = os.open(self.folder / name, os.O_WRONLY | os.O_NONBLOCK)

    def _forget(self, name: str) -> None:
        os.close(self._cords.pop(name))
