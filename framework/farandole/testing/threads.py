"""Loops in threads of this process, each in its own, stopped together."""

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from farandole.errors import FarandoleError

log = logging.getLogger("farandole.testing")

STEP_WAIT = 0.05
"""Longest that a loop waits for something to do before it looks whether it is to stop, seconds."""


class Loop(Protocol):
    """What runs in a thread: `step` until told to stop, then `close`; both in that thread."""

    def step(self, wait: float) -> bool:
        """Do what can be done now, waiting at most `wait` seconds for something to do."""
        ...

    def close(self) -> None:
        """Let go of everything in order."""
        ...


class Threads:
    """Runs loops from entering to leaving the context; an error of one is kept for `check`."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        for loop in self._loops:
            thread = threading.Thread(target=self._run, args=(loop,), name=type(loop).__name__, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> None:
        """Raise the error that ended a loop, if one did."""
        if self._error is not None:
            raise self._error

    def _run(self, loop: Loop) -> None:
        try:
            while not self._stop.is_set():
                loop.step(STEP_WAIT)
        except BaseException as error:
            self._keep(loop, error)
        try:
            loop.close()
        except BaseException as error:  # such as that of a log which is gone: what ended the loop keeps it from closing
            self._keep(loop, error)

    def _keep(self, loop: Loop, error: BaseException) -> None:
        """For `check`; the first one explains those after it. An error of ours says all there is without frames."""
        self._error = self._error or error
        if isinstance(error, FarandoleError):
            log.error("%s ended by an error: %s", type(loop).__name__, error)
        else:
            log.error("%s ended by an error", type(loop).__name__, exc_info=error)
