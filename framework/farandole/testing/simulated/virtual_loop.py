"""An event loop on which waiting costs nothing: instead of sleeping it moves its own clock.

`await asyncio.sleep(30)` in a handler ends at once, and `time()` is exactly 30 s later: the machine's
clock has no part in it, so that a seed says the same on a busy machine. Jobs of threads are
waited for on the machine's time, and take none here; so are sockets, for a while. Who asks again
and again without waiting takes time as well, or a time-out would never come.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")

STILL_MAX_S = 10.0
"""Machine's seconds after which nobody is believed to wake a loop that waits without a time-out: as long as a thread or
a server of a test may take."""

SOCKET_S = 1.0
"""Machine's seconds for a socket to answer before a time-out comes: an idle one must not make each sleep a real one."""

TURNS_FREE = 10_000
"""Turns of the loop one after the other in which nothing is waited for, and that take no time: work, not polling."""

TURN_S = 0.000_1
"""What each further one takes: somewhat more than on a machine, so that a time-out of a minute comes in seconds."""


class EndlessWait(Exception):
    """What is awaited never comes: no time-out, and nobody who would wake the loop."""


class _Jumping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], None] = lambda _: None
        self.jobs = 0
        """Jobs of threads under way."""

        self._turns = 0
        """Turns without a wait since the last one with it."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turns = self._turns + 1 if timeout is not None and timeout <= 0 else 0
        if self._turns > TURNS_FREE and not self.jobs:
            self.jump(TURN_S)
        if timeout is None:
            if ready := super().select(STILL_MAX_S if not self.jobs else None):
                return ready
            raise EndlessWait
        ready = super().select(self._patience(timeout))
        if not ready and timeout > 0:
            self.jump(timeout)
        return ready

    def _patience(self, timeout: float) -> float:
        """How long to wait on the machine's time."""
        if self.jobs:
            return timeout
        return min(timeout, SOCKET_S) if len(self.get_map()) > 1 else 0  # one is the loop's own, for its wake-ups


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is what was waited for."""

    def __init__(self) -> None:
        self._selecting = selector = _Jumping()
        self._passed = 0.0
        super().__init__(selector)
        selector.jump = self._jump

    def time(self) -> float:
        """Seconds that never go back."""
        return self._passed

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: object) -> asyncio.Future[T]:
        """A job of a thread, for which the loop waits before a time-out comes."""
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._selecting.jobs += 1
        future.add_done_callback(self._is_done)
        return future

    def _is_done(self, _: object) -> None:
        self._selecting.jobs -= 1

    def _jump(self, by: float) -> None:
        self._passed += by
