"""F11: clocks of processes step forward and back, go to and fro, and are wrong when a process starts.

Deadlines are instants: what a clock that is ahead makes of them at a start is as documented (a log's clock never goes
back). So a process is restarted with less error than the canary's deadline.
"""

import time
from collections.abc import Iterator

from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.stage import Actor, Stage, pause
from farandole.testing.chaos.stepping import set_wrong

HOUR_S = 3600.0
REFUSED_S = 2 * HOUR_S
"""More than a broker takes records from the future (`message.timestamp.after.max.ms`, 1 h by default)."""

AT_START_S = 600.0
SWING_S = 5.0
SWINGS = 12


def wrong_clocks(stage: Stage) -> Iterator[Hit]:
    """F11: of a coordinator, then of an agent."""
    for slot in ("c1", "a1"):
        victim = stage.actors[slot]
        for seconds in (0.9 * HOUR_S, -HOUR_S):
            yield _stepped(victim, seconds)
        for n in range(SWINGS):
            set_wrong(victim.orders, SWING_S * (-1) ** n)
            pause(0.5)
        yield _stepped(victim, 0.0)
        # Nothing that it writes is taken until its clock is right again.
        set_wrong(victim.orders, REFUSED_S)
        pause(stage.plan.session_s)
        yield _stepped(victim, 0.0)
        yield _started_wrong(stage, victim)
        set_wrong(victim.orders, 0.0)
        yield Hit(time.monotonic())


def _stepped(victim: Actor, seconds: float) -> Hit:
    since = time.monotonic()
    set_wrong(victim.orders, seconds)
    return Hit(since)


def _started_wrong(stage: Stage, victim: Actor) -> Hit:
    set_wrong(victim.orders, AT_START_S)
    since = time.monotonic()
    victim.process.kill9()
    is_open = stage.is_open(victim)
    victim.process.restart()
    stage.await_members([victim])
    return Hit(since, is_open)
