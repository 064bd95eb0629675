"""Async handlers, on one event loop in a thread of its own.

Attempts are handed over in batches: one wake-up of the event loop for all that are waiting.
A handler that blocks the event loop holds up the others; one that has timed out and does not
let go counts as stuck, like a thread.
"""

import asyncio
import logging
import threading
from collections import deque

from farandole.runtime.attempts import Attempt
from farandole.runtime.handlers.calls import cancelled_itself, run_async
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.stillness import LET_GO_S, Stillness

BLOCKED_S = 30.0
"""How long the event loop may be deaf before the process asks to be replaced: three sessions of a member."""

CLOSE_S = 1.0
"""How long closing waits for cancelled handlers to clean up."""


log = logging.getLogger("farandole.runtime")


class Coroutines:
    """An event loop that runs up to `count` handlers at once."""

    def __init__(self, environment: Environment, count: int, stuck_max: int) -> None:
        self._env = environment
        self._count = count
        self._stuck_max = stuck_max
        self._given: set[Attempt] = set()
        self._inbox: deque[Attempt] = deque()
        self._is_woken = False
        self._is_stopping = False
        self._woken_at = 0.0
        self._stillness = Stillness(environment.clock)
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        """Owned by the event loop."""
        self._left: dict[Attempt, float] = {}
        """Called off, and when; the event loop takes out what has let go."""

        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def has_room(self) -> bool:
        """Whether another handler may begin."""
        return len(self._given) < self._count

    def submit(self, attempt: Attempt) -> None:
        """Begin the handler."""
        now = self._stillness.seen()
        self._given.add(attempt)
        self._inbox.append(attempt)
        if not self._is_woken:
            self._is_woken, self._woken_at = True, now
            self._running_loop().call_soon_threadsafe(self._begin)

    def call_off(self, attempt: Attempt) -> None:
        """Cancel the handler; it counts as stuck if it does not let go."""
        now = self._stillness.seen()
        self._given.discard(attempt)
        attempt.is_over = True
        if attempt.started is not None and self._loop is not None:
            self._left[attempt] = now
            self._loop.call_soon_threadsafe(self._cancel, attempt)

    def ended(self, attempt: Attempt) -> None:
        """The loop has the attempt's outcome."""
        self._given.discard(attempt)

    @property
    def is_worn(self) -> bool:
        """Whether too many handlers ignore their cancellation, or one blocks the event loop for all of them."""
        now, resumed = self._stillness.seen(), self._stillness.resumed_at
        if self._is_woken and now - max(self._woken_at, resumed) > BLOCKED_S:
            return True
        if len(self._left) < self._stuck_max:
            return False
        # Many that time out in one step have had no time to heed it yet.
        stuck = sum(now - max(since, resumed) > LET_GO_S for since in tuple(self._left.values()))
        return stuck >= self._stuck_max

    def close(self) -> None:
        """Cancel everything and end the thread, unless a handler blocks it."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(CLOSE_S * 2)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._run_loop, args=(self._loop,), name="farandole-async", daemon=True
            )
            self._thread.start()
        return self._loop

    # --- on the event loop's thread ------------------------------------------------------------

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._is_stopping:
                _run_on(loop)
            loop.run_until_complete(self._finish())
        finally:
            loop.close()

    def _begin(self) -> None:
        self._is_woken = False
        while self._inbox:
            attempt = self._inbox.popleft()
            if not attempt.is_over:
                self._tasks[attempt] = asyncio.ensure_future(self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        env = self._env
        try:
            if attempt.is_over:
                return
            attempt.started = env.clock.monotonic()
            try:
                outcome = await run_async(attempt.spec, attempt.call, env.context(attempt), env.awaited(attempt))
            except asyncio.CancelledError:
                if self._is_stopping or attempt in self._left:
                    raise
                outcome = cancelled_itself()
            attempt.ended = env.clock.monotonic()
            if not attempt.is_over:
                env.results.put(attempt, outcome)
        finally:
            self._tasks.pop(attempt, None)
            self._left.pop(attempt, None)

    def _cancel(self, attempt: Attempt) -> None:
        task = self._tasks.get(attempt)
        if task is None:
            self._left.pop(attempt, None)
        else:
            task.cancel()

    def _stop(self) -> None:
        self._is_stopping = True
        for task in self._tasks.values():
            task.cancel()
        asyncio.get_running_loop().stop()

    async def _finish(self) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=CLOSE_S)


def _run_on(loop: asyncio.AbstractEventLoop) -> None:
    """Run the event loop until it ends: ours, or what a handler takes for its own, by `stop()` or an exit in a task.

    asyncio lets an exit of a task through the loop itself, whoever awaits the task; it is that attempt's failure alone.
    """
    try:
        loop.run_forever()
    except BaseException as way_out:
        log.warning("a task of an async handler ended the event loop by %s: it goes on", type(way_out).__name__)
