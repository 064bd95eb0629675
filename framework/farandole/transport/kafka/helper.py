"""Broker calls off the loop's thread: one thread for the producer, one for what is only read.

Work goes in as closures and comes out as replies, in the order in which it ends.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

from farandole.transport.port import Reply

T = TypeVar("T")

log = logging.getLogger("farandole.transport")


class Replies:
    """Filled by helper threads, emptied by the loop's; `wake` ends a wait."""

    def __init__(self) -> None:
        self._box: deque[Reply] = deque()
        self._condition = threading.Condition()
        self._woken = False

    def put(self, reply: Reply) -> None:
        """A reply has come."""
        with self._condition:
            self._box.append(reply)
            self._condition.notify()

    def wake(self) -> None:
        """End the wait under way, or the next one."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def take(self, timeout: float) -> Sequence[Reply]:
        """All that have come, waiting at most `timeout` seconds for the first."""
        with self._condition:
            if not self._box and not self._woken and timeout > 0:
                self._condition.wait(timeout)
            self._woken = False
            out = list(self._box)
            self._box.clear()
            return out


TICK = 1.0
"""Longest rest between two calls of `rest`, seconds."""


class Helper:
    """A thread that does one thing after another.

    `rest` is called after each, when its reply is on its way, and about once a second: it may put things right
    and serve what its client has to tell.
    """

    def __init__(self, name: str, replies: Replies, rest: Callable[[], None] = lambda: None) -> None:
        self._queue: SimpleQueue[Callable[[], Reply | None] | None] = SimpleQueue()
        self._replies = replies
        self._rest = rest
        self._lock = threading.Lock()
        self._unanswered = 0
        self._is_dismissed = False
        # A daemon: a call that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], Reply | None]) -> None:
        """Do this when everything before it is done."""
        with self._lock:
            self._unanswered += 1
        self._queue.put(work)

    def dismiss(self) -> bool:
        """Hear no more of it: it does not come back from its work. False, and nothing, if it has just come back."""
        with self._lock:
            self._is_dismissed = self._unanswered > 0
            return self._is_dismissed

    def close(self, timeout: float) -> None:
        """Finish what was submitted, then end; wait at most `timeout` seconds for that."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=TICK)
            except Empty:
                self._do(self._rest)
                continue
            if work is None:
                return
            reply = self._do(work)
            with self._lock:
                if self._is_dismissed:
                    return
                self._unanswered -= 1
                if reply is not None:
                    self._replies.put(reply)
            if self._queue.empty():
                self._do(self._rest)

    def _do(self, work: Callable[[], T | None]) -> T | None:
        """What it brings. Nothing that goes wrong in it ends the thread: others wait for its answers."""
        try:
            return work()
        except Exception:
            log.exception("%s: something failed in a way of its own", self._thread.name)
            return None
