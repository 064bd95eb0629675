"""The parent's side of one child process: begins it, gives orders, hears words, ends it.

A child's death shows as the end of its channel. What a handler started may hold a copy of that
channel, so the process is looked at too, and has a group of its own: what it left ends with it.
"""

import json
import logging
import math
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from farandole.runtime.handlers.wire import Line, Loaded, Run, Setup, Word, encode, read_word

START_S = 60.0
"""How long a child may take to load the unit: importing large libraries on a busy machine."""

BEGIN_S = START_S
"""How long a child may take to read an attempt and to begin it. It cannot while a thread that an earlier attempt left
behind holds the interpreter, as a regular expression may for hours."""

LEAVE_S = 1.0
"""How long a child that is dismissed may take: to write what it has, not to wait for threads that are stuck."""

END_S = 1.0
"""How long a child may take from the end of its channel to its own: the kernel has both in one go, so that one which
lives on has let go of the channel itself."""

LOOK_S = 1.0
"""How often a silent child is looked at: only for one whose death its channel does not tell."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from farandole.runtime.handlers.child import main; main(int(sys.argv[2]))"
)


class ChildFailed(Exception):
    """A child could not be started, or ended; the text says how."""


class Child:
    """A running child process and the channel to it."""

    def __init__(self, unit: Path, progress_every_s: float) -> None:
        entries: list[object] = [*sys.path]
        places = [entry for entry in entries if isinstance(entry, str)]  # imports pass over any other
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", _BOOT, json.dumps(places), str(theirs.fileno())]
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(BEGIN_S))
                self._channel = Connection(os.dup(self._socket.fileno()))
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], process_group=0
                )
            except BaseException:
                self._socket.close()
                raise
        self._setup = Setup(str(unit), os.getpid(), progress_every_s)
        self._lock = threading.Lock()
        self._is_over = False

    def wait_loaded(self) -> None:
        """Wait until the unit is loaded.

        Raises:
            ChildFailed: it cannot be, or takes too long.
        """
        self.say(self._setup)
        until = time.monotonic() + START_S
        late = f"expected the unit to be loaded in {START_S:g} s, but it was not"
        while isinstance(word := self.hear(until, late), Line):
            write(word)
        if isinstance(word, Loaded) and word.error:
            raise ChildFailed(f"the unit cannot be loaded: {word.error}")

    def say(self, order: Setup | Run) -> None:
        """Send an order.

        Raises:
            ChildFailed: the child has ended, or takes nothing.
        """
        try:
            self._channel.send_bytes(encode(order))
        except BlockingIOError:
            raise ChildFailed(f"expected the attempt to be taken in {BEGIN_S:g} s, but it was not") from None
        except OSError:
            raise ChildFailed(self._how_it_ended()) from None

    def hear(self, until: float = math.inf, late: str = "its process was not heard of in time") -> Word:
        """The child's next word, however long it takes, or until then (monotonic).

        Raises:
            ChildFailed: the child has ended, or it is `late`, as that text says.
        """
        try:
            while (left := until - time.monotonic()) > 0:
                if self._channel.poll(min(LOOK_S, left)):
                    return read_word(self._channel.recv_bytes())
                self._look()
        except (EOFError, OSError):
            raise ChildFailed(self._how_it_ended()) from None
        raise ChildFailed(late)

    def kill(self) -> None:
        """End it and what it started, at once; whoever hears it hears its end. May be called from any thread."""
        with self._lock:
            self._end()

    def dismiss(self) -> None:
        """Let it end by itself, as an idle one can: it writes what it has yet to write. Then `bury` it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        until = time.monotonic() + LEAVE_S
        with suppress(Exception):  # it has ended, or is not understood
            while time.monotonic() < until:
                if isinstance(word := self.hear(until), Line):
                    write(word)

    def bury(self) -> None:
        """End it and free everything; the keeper's last word."""
        self._reap()
        self._channel.close()
        self._socket.close()

    def _end(self) -> None:
        if self._is_over:
            return  # its number may be another process's by now
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the channel, whoever else holds its other end

    def _reap(self) -> int:
        """Its exit status, once it is ended."""
        with self._lock:
            self._end()
            self._is_over = True
        return self._process.wait()

    def _look(self) -> bool:
        """End what a child left that is no more; whether it is none."""
        with self._lock:
            if self._process.poll() is not None:
                self._end()
                self._is_over = True
        return self._is_over

    def _how_it_ended(self) -> str:
        until = time.monotonic() + END_S
        while not (has_ended := self._look()) and time.monotonic() < until:
            time.sleep(0.01)
        status = self._reap()
        if not has_ended and status == -signal.SIGKILL:
            return "its process let go of its channel, as by closing all descriptors, and was ended"
        if status >= 0:
            return f"its process ended with status {status}"
        name = signal.Signals(-status).name
        return f"its process was ended by {name}" + (" (memory, perhaps)" if name == "SIGKILL" else "")


def _timeval(seconds: float) -> bytes:
    """Source: setsockopt(2), `SO_SNDTIMEO`."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))


def write(line: Line) -> None:
    """Write a child's line as if it had been logged here, by the levels that were set here."""
    logger = logging.getLogger(line.logger)
    if logger.isEnabledFor(line.level):
        told = {"name": line.logger, "levelno": line.level, "levelname": logging.getLevelName(line.level)}
        logger.handle(logging.makeLogRecord({**line.fields, **told, "msg": line.text}))
