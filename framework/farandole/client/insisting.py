"""Doing again what a log that is not ready yet refused, with a bound, and telling whoever waits.

For what may be done twice: questions, and an `apply`, of which each part is idempotent.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from farandole.errors import NotReady

T = TypeVar("T")

PAUSE_S, PAUSE_MAX_S = 1.0, 5.0
"""Between two tries; it doubles up to the second. Some calls waited for seconds themselves, others say no at once."""

Tell = Callable[[NotReady, timedelta], None]
"""Told of each failure, and how long it is tried for still."""


def insist(
    call: Callable[[], T],
    bound: timedelta,
    tell: Tell,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `call` gives, once the log is ready for it; no try begins later than `bound` after the first.

    Raises:
        NotReady: it was not within that time; what it said last.
    """
    until, pause = clock() + bound.total_seconds(), PAUSE_S
    while True:
        try:
            return call()
        except NotReady as refused:
            left = until - clock()
            if left <= pause:
                raise
            tell(refused, timedelta(seconds=left))
        sleep(pause)
        pause = min(2 * pause, PAUSE_MAX_S)
