"""Plain functions in threads.

A thread cannot be stopped: an attempt that times out, or loses its partition, leaves its thread
behind and another takes its place, up to a bound; beyond it, the first of them that ends does.
When too many pile up beyond their time, or nothing is worked on for long because all are left
behind, the executor is worn and the process asks to be replaced. The threads are daemons, so
that a stuck one never keeps the process alive.
"""

import queue
import threading

from farandole.runtime.attempts import Attempt
from farandole.runtime.handlers.calls import run_plain
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.stillness import LET_GO_S, Stillness

AHEAD = 2
"""Attempts handed over per thread: one at work, one so that it need not wait for the loop."""

STANDSTILL_S = 600.0
"""How long attempts may wait while all threads are left behind: longer than most handlers last, for a replacement is a
rebalance or two, which leave threads behind at its neighbours in turn."""


class Threads:
    """A fixed number of working threads, plus those that were left behind."""

    def __init__(self, environment: Environment, count: int, stuck_max: int) -> None:
        self._env = environment
        self._count = count
        self._stuck_max = stuck_max
        self._threads_max = 2 * count + stuck_max
        self._queue: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._given: set[Attempt] = set()
        self._lock = threading.Lock()
        self._running: set[Attempt] = set()
        self._left: set[Attempt] = set()
        self._threads = 0
        self._stillness = Stillness(environment.clock)
        self._moved_at = environment.clock.monotonic()
        """When it last was not so that all threads are left behind while attempts wait."""

    @property
    def has_room(self) -> bool:
        """Whether few enough are waiting."""
        return len(self._given) < self._count * AHEAD

    def submit(self, attempt: Attempt) -> None:
        """Hand over to the next free thread; threads are begun as they are needed."""
        self._stillness.seen()
        self._given.add(attempt)
        self._queue.put(attempt)
        self._staff()

    def call_off(self, attempt: Attempt) -> None:
        """Leave the attempt's thread behind, if it has one; the place is free for another."""
        self._stillness.seen()
        self._given.discard(attempt)
        with self._lock:
            attempt.is_over = True
            if attempt in self._running:
                self._running.discard(attempt)
                self._left.add(attempt)
        self._staff()

    def ended(self, attempt: Attempt) -> None:
        """The loop has the attempt's outcome."""
        self._given.discard(attempt)

    @property
    def is_worn(self) -> bool:
        """Whether too many threads are stuck, or all of them stay left behind while attempts wait.

        Not those whose time passed while the process stood still.
        """
        now, resumed = self._stillness.seen(), self._stillness.resumed_at
        if not self._given or len(self._left) < self._threads_max:
            self._moved_at = now
        if len(self._left) < self._stuck_max or now - resumed <= LET_GO_S:
            return False
        if now - max(self._moved_at, resumed) > STANDSTILL_S:
            return True
        with self._lock:
            return sum(_is_late(attempt, now) for attempt in self._left) >= self._stuck_max

    def close(self) -> None:
        """Let idle threads end; the others are daemons."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _staff(self) -> None:
        """One more thread if there is more to do than there are threads for it."""
        with self._lock:
            working = self._threads - len(self._left)
            if working >= min(self._count, len(self._given)) or self._threads >= self._threads_max:
                return
            self._threads += 1
        threading.Thread(target=self._work, name="farandole-handler", daemon=True).start()

    def _work(self) -> None:
        while (attempt := self._queue.get()) is not None:
            if self._run(attempt):
                return  # no longer counted
        with self._lock:
            self._threads -= 1

    def _run(self, attempt: Attempt) -> bool:
        """Call the handler; whether this thread was left behind meanwhile and another has its place."""
        env = self._env
        with self._lock:
            if attempt.is_over:
                return False
            self._running.add(attempt)
            attempt.started = env.clock.monotonic()
        outcome = run_plain(attempt.spec, attempt.call, env.context(attempt), env.awaited(attempt))
        attempt.ended = env.clock.monotonic()
        with self._lock:
            if attempt in self._left:
                # In one breath: whoever counts in between would find a free thread where there is none.
                self._left.discard(attempt)
                is_replaced = self._threads - len(self._left) > self._count
                self._threads -= is_replaced
                return is_replaced
            self._running.discard(attempt)
        env.results.put(attempt, outcome)
        return False


def _is_late(attempt: Attempt, now: float) -> bool:
    """Whether it runs longer than it may; one that lost its partition may still be within its time."""
    timeout_s = attempt.call.timeout_s
    return timeout_s is not None and attempt.started is not None and now - attempt.started >= timeout_s
