"""Ctrl-C while a handler runs on the main thread: it ends who called, though whatever a handler raises is data here.

In a process of agents handlers run in other threads, which no KeyboardInterrupt reaches.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def passing_interruptions() -> Iterator[None]:
    """Around one call of a handler.

    Raises:
        KeyboardInterrupt: SIGINT came meanwhile, whatever the handler, or who called it, made of that.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
