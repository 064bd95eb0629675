"""Runs an agent loop in a process: signals, draining, recycling, the way out.

The one module here that touches signals. Blocks until the loop has ended.
"""

import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from farandole.runtime.loop import AgentLoop
from farandole.runtime.settings import AgentSettings

STEP_WAIT_S = 1.0
"""Longest wait of a step: the client must be polled every few seconds (`max.poll.interval.ms`, R14)."""

SWITCH_INTERVAL_S = 0.0005
"""How soon a thread that has an answer from the broker gets the interpreter from one that computes. With Python's
5 ms every call of a transaction waits that long behind the loop: measured, 20 to 50 % of a transaction under load."""

WORN_EXIT = 75
"""Exit status that asks a supervisor for a fresh process. Source: sysexits.h, EX_TEMPFAIL."""

GC_THRESHOLD = 20_000
"""Allocations between two young collections. Python's 700 looks at the records in flight several times each; what we
make has no cycles, so that nothing waits for a collection but what users' handlers leave."""

log = logging.getLogger("farandole.runtime")


def tune_interpreter() -> None:
    """Make this process one that serves a loop: threads take turns sooner, and what was imported is not collected."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


class Stop:
    """A request to end, from a signal or another thread. The loop sees it at its next step, a second later at most."""

    def __init__(self) -> None:
        # No wake-up of the loop: a signal may come while this very thread holds the lock that waking takes.
        self._event = threading.Event()

    @property
    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()

    def set(self) -> None:
        """Ask."""
        self._event.set()


def drive(loop: AgentLoop, settings: AgentSettings, stop: Stop, stepped: Callable[[], None] = lambda: None) -> int:
    """Step the loop until it is asked to stop, or worn; then drain and leave. Returns the exit status.

    `stepped` is called after each step, and must return at once.

    Raises:
        FarandoleError: the loop cannot start, or cannot go on; it is closed all the same.
    """
    status = 0
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        while not stop.is_set:
            loop.step(STEP_WAIT_S)
            stepped()
            if loop.is_worn:
                log.error("too many handlers are stuck: this process drains and asks to be replaced")
                status = WORN_EXIT
                break
        _drain(loop, settings, stepped)
    finally:
        loop.close()
    return status


def _drain(loop: AgentLoop, settings: AgentSettings, stepped: Callable[[], None]) -> None:
    loop.drain()
    until = loop.monotonic() + settings.drain_budget.total_seconds()
    while not loop.is_drained and loop.monotonic() < until:
        loop.step(min(STEP_WAIT_S, max(0.0, until - loop.monotonic())))
        stepped()
    if not loop.is_drained:
        log.warning("handlers are still running after %s: their records will be run again", settings.drain_budget)


@contextmanager
def stopping_on_signals(stop: Stop) -> Iterator[None]:
    """SIGTERM and SIGINT ask to stop; main thread only. A second SIGINT interrupts as usual."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
