"""Waiting on a condition with a deadline: tests never sleep for a time that somebody guessed."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.02
"""Between two looks: short against anything that crosses a broker, long enough to leave the processes the machine."""


class NotYet(AssertionError):
    """A condition did not come true in time; the message says what was seen last."""


def wait_until(condition: Callable[[], T], within: timedelta, what: str = "", why: Callable[[], str] = lambda: "") -> T:
    """The first truthy value of `condition`, asked again and again.

    `what` names it for the message; `why` is asked for more when time is up, such as what processes said.

    Raises:
        NotYet: it is still falsy after `within`.
    """
    until = time.monotonic() + within.total_seconds()
    while not (value := condition()):
        if time.monotonic() > until:
            told = f"expected {what or 'the condition'} within {within}, but the last look gave {value!r}"
            raise NotYet("\n".join(filter(None, [told, why()])))
        time.sleep(PAUSE_S)
    return value
