"""What a fault is: an injection into a stage under load, and what it needs there.

An injection yields once when it has done its worst: whether it hit an open transaction, the instant
from which recovery counts, and what has to end beside the load. What it does after that puts the
stage in order again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from farandole.testing.chaos.report import Report
from farandole.testing.chaos.stage import Plan, Stage

PLAIN = Plan()
PROXIED = Plan(proxied=True)


@dataclass(frozen=True, slots=True)
class Hit:
    """An injection has done its worst.

    `is_open`: whether it found a transaction open; None if nobody could ask while it stood still. `runs`: further ones
    that recovery waits for, whenever they began.
    """

    since: float
    is_open: bool | None = None
    runs: tuple[str, ...] = ()


Injection = Callable[[Stage], Iterator[Hit]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`inject` is called once per round of a trial; `plan` is what it needs on the stage."""

    title: str
    inject: Injection | None
    plan: Plan = PLAIN
    note: str = ""
    alone: Callable[[str, Report], None] | None = None
    """Plays without a stage, given the address of the broker."""
