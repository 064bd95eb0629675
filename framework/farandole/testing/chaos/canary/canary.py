"""The unit that lives through the faults: every kind of edge once, and handlers that write down what they do.

Where the ledger is, the process was told when it was started.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from farandole import Context, Retry, agent, pipeline
from farandole.testing.chaos.dying import HANDLER, reach, recording

PAUSE_S = 0.02
"""How long a first step takes, so that a kill finds some at work."""

ITEMS = 1_000
"""The most that a map takes."""

HEAVY_CHARACTERS = 400_000
"""More than the inline limit of 256 KiB."""


MIB = 1 << 20
EATEN_MIB = 1_024
"""Four times what the handler may have, and no more: should the limit not work, the machine is to live."""


@contextmanager
def working(ctx: Context) -> Iterator[None]:
    """A handler's body: in the ledger, and a place to die."""
    with recording(ctx):
        reach(HANDLER)
        yield


@agent
async def begin(ctx: Context, number: int) -> int:
    """Takes a moment."""
    with working(ctx):
        await asyncio.sleep(PAUSE_S)
        return number


@agent
async def left(ctx: Context, number: int) -> int:
    """One side of a fork."""
    with working(ctx):
        return number * 2


@agent(retry=Retry(attempts=3, base="200ms"))
def right(ctx: Context, number: int) -> int:
    """The other side; every seventh run needs a second attempt."""
    with working(ctx):
        if number % 7 == 0 and ctx.attempt == 1:
            raise ValueError("not yet")
        return number + 1


@agent
async def meet(ctx: Context, one: int, other: int) -> int:
    """Joins them."""
    with working(ctx):
        return one + other


@agent
async def last(ctx: Context, number: int) -> int:
    """Follows the join."""
    with working(ctx):
        return number


@pipeline(owner="tests@example.org", deadline="30m", stop_max="5s")
def canary(number: int) -> int:
    """A fork, a join, a retry, and a step after it."""
    start = begin(number)
    return last(meet(left(start), right(start)))


@agent
async def swell(ctx: Context, number: int) -> str:
    """Gives more than fits into a record."""
    with working(ctx):
        return f"{number} " * (HEAVY_CHARACTERS // (len(str(number)) + 1))


@agent
async def weigh(ctx: Context, text: str) -> int:
    """Takes it."""
    with working(ctx):
        return len(text)


@pipeline(owner="tests@example.org", deadline="30m")
def heavy(number: int) -> int:
    """Two steps, between which the artifact store stands."""
    return weigh(swell(number))


@agent
async def spread(ctx: Context, number: int) -> list[int]:
    """As many items as a map may have."""
    with working(ctx):
        return list(range(number, number + ITEMS))


@agent
async def touch(ctx: Context, number: int) -> int:
    """One item."""
    with working(ctx):
        return number


@agent
async def gather(ctx: Context, numbers: list[int]) -> int:
    """All of them."""
    with working(ctx):
        return len(numbers)


@pipeline(owner="tests@example.org", deadline="30m")
def wide(number: int) -> int:
    """A map, and what waits for all of it."""
    return gather(touch.map(spread(number)))


@pipeline(owner="tests@example.org", deadline="30m")
def small(number: int) -> int:
    """One step."""
    return last(number)


@agent(retry=Retry(attempts=2, base="15s", cap="15s"))
async def tardy(ctx: Context, number: int) -> int:
    """Fails once, and is tried again at an instant that many share."""
    with working(ctx):
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return number


@pipeline(owner="tests@example.org", deadline="30m")
def late(number: int) -> int:
    """One step, and a timer."""
    return tardy(number)


@agent(isolation="process", memory="256MiB", retry=Retry(attempts=2, base="100ms"), timeout="4s", on_dead_letter="fail")
def poisoned(number: int) -> int:
    """Ends its process in the way that the number names."""
    kinds = [_raise, _abort, _exit, _hang, _eat]
    kinds[number % len(kinds)]()
    return number


@pipeline(owner="tests@example.org", deadline="30m")
def poison(number: int) -> int:
    """One step, which always goes wrong."""
    return poisoned(number)


def _raise() -> None:
    raise RuntimeError("poison")


def _abort() -> None:
    os.abort()


def _exit() -> None:
    sys.exit(3)


def _hang() -> None:
    while True:
        time.sleep(1)


def _eat() -> None:
    """Written to, so that it is taken and not only promised; it comes to its end if nothing limits it."""
    eaten = [b"x" * MIB for _ in range(EATEN_MIB)]
    del eaten
