"""Handlers in child processes, which may die of them.

A keeper thread per child hands it one attempt after the other and waits for the answer. A
child that ends, for whatever reason, is a failed attempt and is replaced; one whose attempt
is called off is killed. An attempt that its child did not begin, as one that had died idle, goes
to the new one. Large payloads are fetched and stored here, never decoded here.
"""

import logging
import math
import queue
import threading
import time
from itertools import count as counted_from
from pathlib import Path

from farandole.runtime.attempts import Attempt, Failed, Outcome, Succeeded
from farandole.runtime.handlers.calls import failure_of, fetched, fingerprint_of
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.parent import BEGIN_S, Child, ChildFailed, write
from farandole.runtime.handlers.wire import Began, Failure, Line, Loaded, Progress, Result, Run

AHEAD = 2
"""Attempts handed over per child: one at work, one so that it need not wait for the loop."""

CLOSE_S = 5.0
"""How long closing waits for its children to be gone, all of them together."""

log = logging.getLogger("farandole.runtime")


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
        self._loading: set[Child] = set()
        self._closed = threading.Event()
        self._numbers = counted_from(1)
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
        """Kill every child that is at work or loads; one that is idle ends by itself."""
        with self._lock:
            self._closed.set()
            children = [*self._running.values(), *self._loading]
            self._running.clear()
        for child in children:
            child.kill()
        for _ in self._keepers:
            self._queue.put(None)
        until = time.monotonic() + CLOSE_S
        for keeper in self._keepers:
            keeper.join(max(0.0, until - time.monotonic()))

    # --- on a keeper's thread ------------------------------------------------------------------

    def _keep(self) -> None:
        """Hand over attempts, with a child begun ahead of the first and anew after each death."""
        child, trouble = self._begin()
        again: Attempt | None = None
        while (attempt := again or self._queue.get()) is not None:
            is_first, again = again is None, None
            if attempt.is_over or self._closed.is_set():
                continue
            if child is None:
                child, trouble = self._begin()
            if child is None:
                self._answer(attempt, _crash(attempt, trouble))
                continue
            if not self._run(child, attempt, is_first=is_first):
                child.bury()
                child, trouble = self._begin()
                again = attempt if attempt.ended is None else None
        if child is not None:
            child.dismiss()
            child.bury()

    def _begin(self) -> tuple[Child | None, str]:
        if self._closed.is_set():
            return None, "the process is stopping"
        if self._unit is None:
            return None, "expected agents with isolation='process' to be in a file, but the unit has no path"
        try:
            child = Child(self._unit, self._env.progress_every.total_seconds())
        except Exception as error:  # no memory, no room for a process: it is tried again for the next attempt
            return None, _unbegun(error)
        with self._lock:
            self._loading.add(child)
            if self._closed.is_set():
                child.kill()
        try:
            child.wait_loaded()
        except Exception as error:  # nor may what it says, if it is not understood, end its keeper
            child.bury()
            return None, "the process is stopping" if self._closed.is_set() else _unbegun(error)
        finally:
            with self._lock:
                self._loading.discard(child)
        return child, ""

    def _run(self, child: Child, attempt: Attempt, *, is_first: bool) -> bool:
        """One attempt; whether the child is fit for another. One that it did not begin has no outcome the first time.

        It says that it begins before it decodes: what kills a child there is handed to no other.
        """
        with self._lock:
            if attempt.is_over or self._closed.is_set():
                return True
            self._running[attempt] = child
        outcome, is_fit = self._converse(child, attempt)
        with self._lock:
            called_off = self._running.pop(attempt, None) is None
        if called_off:
            return False
        if is_first and not is_fit and attempt.started is None and isinstance(outcome, Failed):
            log.warning("%s. It had not begun: a new one does", outcome.error, extra=attempt.call.log_fields)
            return False
        self._answer(attempt, outcome)
        return is_fit

    def _answer(self, attempt: Attempt, outcome: Outcome) -> None:
        attempt.ended = self._env.clock.monotonic()
        self._env.results.put(attempt, outcome)

    def _converse(self, child: Child, attempt: Attempt) -> tuple[Outcome, bool]:
        """The outcome, and whether the child is fit for another attempt."""
        call = fetched(attempt.call, self._env.awaited(attempt))
        if isinstance(call, Failed):
            return call, True  # it has heard nothing of it
        number = next(self._numbers)
        try:
            until = time.monotonic() + BEGIN_S
            late = f"expected the attempt to be begun in {BEGIN_S:g} s, but it was not"
            child.say(Run(number, attempt.spec.name, call, attempt.spec.memory_limit))
            while True:
                match word := child.hear(until, late):
                    case Began(number=of) if of == number:
                        attempt.started, until = self._env.clock.monotonic(), math.inf
                    case Progress(number=of, at=at, done=done, total=total, note=note):
                        if of == number and not attempt.is_over:  # a thread that an earlier attempt left may tell too
                            self._env.signals.progress(attempt.call, at, done, total, note)
                    case Result(number=of, outcome=outcome) if of == number:
                        return self._stored(attempt, outcome), True
                    case Failure(number=of, outcome=failure) if of == number:
                        return failure, failure.kind != "memory"
                    case Line():
                        write(word)
                    case Began() | Result() | Failure():
                        return _crash(attempt, "expected an answer, but its process gave one to another call"), False
                    case Loaded():
                        pass
        except ChildFailed as failed:
            return _crash(attempt, str(failed)), False
        except Exception as error:
            # What the child says is not understood: begin with a fresh one.
            return failure_of(error), False

    def _stored(self, attempt: Attempt, outcome: Succeeded) -> Outcome:
        try:
            return Succeeded(self._env.awaited(attempt).put(outcome.output), outcome.published)
        except Exception as error:
            return failure_of(error)


def _unbegun(error: Exception) -> str:
    log.error("a child process could not be started: %s", error)
    return str(error)


def _crash(attempt: Attempt, how: str) -> Failed:
    return Failed("crash", f"{attempt.spec.name}: {how}", fingerprint_of("crash", attempt.spec.name, how))
