"""Handlers in child processes, which may die of them.

A keeper thread per child hands it one attempt after the other and waits for the answer. A
child that ends, for whatever reason, is a failed attempt and is replaced; one whose attempt
is called off is killed. Large payloads are fetched and stored here, never decoded here.
"""

import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from msgspec.structs import replace

from farandole.runtime.attempts import Attempt, Failed, Outcome, Succeeded
from farandole.runtime.handlers.calls import failure_of, fingerprint_of
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.wire import (
    Began,
    Failure,
    Line,
    Loaded,
    Progress,
    Result,
    Run,
    Setup,
    Word,
    encode,
    read_word,
)

AHEAD = 2
"""Attempts handed over per child: one at work, one so that it need not wait for the loop."""

START_S = 60.0
"""How long a child may take to load the unit: importing large libraries on a busy machine."""

CLOSE_S = 5.0
"""How long closing waits for killed children to be gone."""

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from farandole.runtime.handlers.child import main; main(int(sys.argv[2]))"
)

log = logging.getLogger("farandole.runtime")


class ChildFailed(Exception):
    """A child could not be started, or ended; the text says how."""


class Child:
    """A running child process and the channel to it."""

    def __init__(self, unit: Path, progress_every_s: float) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
            except OSError:
                ours.close()
                raise
        self._channel = Connection(ours.detach())
        self._setup = Setup(str(unit), os.getpid(), progress_every_s)

    def wait_loaded(self) -> None:
        """Wait until the unit is loaded.

        Raises:
            ChildFailed: it cannot be, or takes too long.
        """
        self.say(self._setup)
        if not self._channel.poll(START_S):
            self.kill()
            raise ChildFailed(f"expected the unit to be loaded in {START_S:g} s, but it was not")
        while isinstance(word := self.hear(), Line):
            _log(word)
        if isinstance(word, Loaded) and word.error:
            raise ChildFailed(f"the unit cannot be loaded: {word.error}")

    def say(self, order: Setup | Run) -> None:
        """Send an order.

        Raises:
            ChildFailed: the child has ended.
        """
        try:
            self._channel.send_bytes(encode(order))
        except OSError:
            raise ChildFailed(self._how_it_ended()) from None

    def hear(self) -> Word:
        """The child's next word, however long it takes.

        Raises:
            ChildFailed: the child has ended.
        """
        try:
            return read_word(self._channel.recv_bytes())
        except (EOFError, OSError):
            raise ChildFailed(self._how_it_ended()) from None

    def kill(self) -> None:
        """End it at once; may be called from any thread."""
        self._process.kill()

    def bury(self) -> None:
        """End it and free everything; the keeper's last word."""
        self._process.kill()
        self._process.wait()
        self._channel.close()

    def _how_it_ended(self) -> str:
        self._process.kill()
        status = self._process.wait()
        if status >= 0:
            return f"its process ended with status {status}"
        name = signal.Signals(-status).name
        return f"its process was ended by {name}" + (" (memory, perhaps)" if name == "SIGKILL" else "")


class Processes:
    """Keepers and their children."""

    def __init__(self, environment: Environment, count: int, unit: Path | None) -> None:
        self._env = environment
        self._count = count
        self._unit = unit
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._given: set[Attempt] = set()
        self._lock = threading.Lock()
        self._running: dict[Attempt, Child] = {}
        self._is_closed = False
        self._keepers = [
            threading.Thread(target=self._keep, name=f"farandole-keeper-{n}", daemon=True) for n in range(count)
        ]
        for keeper in self._keepers:
            keeper.start()

    @property
    def has_room(self) -> bool:
        """Whether few enough are waiting."""
        return len(self._given) < self._count * AHEAD

    def submit(self, attempt: Attempt) -> None:
        """Hand over to the next free child."""
        self._given.add(attempt)
        self._queue.put(attempt)

    def call_off(self, attempt: Attempt) -> None:
        """Kill the child that runs it, if one does."""
        self._given.discard(attempt)
        with self._lock:
            attempt.is_over = True
            child = self._running.pop(attempt, None)
        if child is not None:
            child.kill()

    def ended(self, attempt: Attempt) -> None:
        """The loop has the attempt's outcome."""
        self._given.discard(attempt)

    @property
    def is_worn(self) -> bool:
        """Never: a child is replaced by itself."""
        return False

    def close(self) -> None:
        """Kill every child."""
        with self._lock:
            self._is_closed = True
            children = list(self._running.values())
            self._running.clear()
        for child in children:
            child.kill()
        for _ in self._keepers:
            self._queue.put(None)
        for keeper in self._keepers:
            keeper.join(CLOSE_S)

    # --- on a keeper's thread ------------------------------------------------------------------

    def _keep(self) -> None:
        """Hand over attempts, with a child begun ahead of the first and anew after each death."""
        child, trouble = self._begin()
        while (attempt := self._queue.get()) is not None:
            if attempt.is_over:
                continue
            if child is None:
                child, trouble = self._begin()
            if child is None:
                self._env.results.put(attempt, _crash(attempt, trouble))
                continue
            if not self._run(child, attempt):
                child.bury()
                child, trouble = self._begin()
        if child is not None:
            child.bury()

    def _begin(self) -> tuple[Child | None, str]:
        if self._is_closed:
            return None, "the process is stopping"
        if self._unit is None:
            return None, "expected agents with isolation='process' to be in a file, but the unit has no path"
        try:
            child = Child(self._unit, self._env.progress_every.total_seconds())
        except OSError as error:  # no memory, no room for a process: it is tried again for the next attempt
            return None, _unbegun(error)
        try:
            child.wait_loaded()
        except ChildFailed as failed:
            child.bury()
            return None, _unbegun(failed)
        return child, ""

    def _run(self, child: Child, attempt: Attempt) -> bool:
        """One attempt; whether the child is fit for another."""
        with self._lock:
            if attempt.is_over or self._is_closed:
                return True
            self._running[attempt] = child
        outcome, is_fit = self._converse(child, attempt)
        with self._lock:
            called_off = self._running.pop(attempt, None) is None
        if called_off:
            return False
        self._env.results.put(attempt, outcome)
        return is_fit

    def _converse(self, child: Child, attempt: Attempt) -> tuple[Outcome, bool]:
        """The outcome, and whether the child is fit for another attempt."""
        try:
            call = attempt.call
            given = self._env.awaited(attempt).get(call.input)
            if given is not call.input:
                call = replace(call, input=given)
            child.say(Run(attempt.spec.name, call, attempt.spec.memory_limit))
            while True:
                match word := child.hear():
                    case Began():
                        attempt.started = self._env.clock.monotonic()
                    case Progress(at=at, done=done, total=total, note=note):
                        if not attempt.is_over:
                            self._env.signals.progress(attempt.call, at, done, total, note)
                    case Result(outcome=outcome):
                        return self._stored(attempt, outcome), True
                    case Failure(outcome=failure):
                        return failure, failure.kind != "memory"
                    case Line():
                        _log(word)
                    case Loaded():
                        pass
        except ChildFailed as failed:
            return _crash(attempt, str(failed)), False
        except Exception as error:
            # What the child says is not understood, or the input cannot be fetched: begin with a fresh one.
            return failure_of(error), False

    def _stored(self, attempt: Attempt, outcome: Succeeded) -> Outcome:
        try:
            return Succeeded(self._env.awaited(attempt).put(outcome.output), outcome.published)
        except Exception as error:
            return failure_of(error)


def _unbegun(error: Exception) -> str:
    log.error("a child process could not be started: %s", error)
    return str(error)


def _log(line: Line) -> None:
    """Write a child's line as if it had been logged here, by the levels that were set here."""
    logger = logging.getLogger(line.logger)
    if logger.isEnabledFor(line.level):
        told = {"name": line.logger, "levelno": line.level, "levelname": logging.getLevelName(line.level)}
        logger.handle(logging.makeLogRecord({**line.fields, **told, "msg": line.text}))


def _crash(attempt: Attempt, how: str) -> Failed:
    return Failed("crash", f"{attempt.spec.name}: {how}", fingerprint_of("crash", attempt.spec.name, how))
