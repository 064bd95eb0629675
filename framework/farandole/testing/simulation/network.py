"""Broker calls in pieces: what lies between a process and the broker, and all that may befall it there.

A call is a generator; each piece is one exchange with the broker. The world advances a random
one, so that anything may happen between any two. A lost call raises `Lost`, whether the broker
has done it or not; the end of a transaction may also arrive much later, when its producer has
been renewed.
"""

import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

from farandole.testing.simulation.faults import Faults
from farandole.transport.memory.broker import Broker
from farandole.transport.memory.hub import Hub
from farandole.transport.memory.refusals import Refusal

T = TypeVar("T")

Exchange = Generator[None, None, T]


class Lost(Exception):  # noqa: N818 - what happens to a call, not a fault of ours
    """No answer came; nobody but the broker knows whether the call was carried out."""


class SimHub(Hub):
    """Gives out the broker at the present moment; markers are written by the world, one by one."""

    def __enter__(self) -> Broker:
        self._lock.acquire()
        now = self.clock.monotonic()
        self._broker.tick(now, int(self.clock.now().timestamp() * 1000))
        return self._broker

    @property
    def broker(self) -> Broker:
        """The broker, for the world and for checks."""
        return self._broker


@dataclass(slots=True)
class Network:
    """`rare` counts what the coverage goals want to have seen."""

    hub: SimHub
    rng: random.Random
    faults: Faults
    rare: Counter[str] = field(default_factory=Counter)
    late: list[Callable[[], None]] = field(default_factory=list)

    def exchange(self, kind: str, call: Callable[[Broker], T]) -> Exchange[T]:
        """One piece of a call: wait for a turn, then be carried out, lost, or delayed.

        Raises:
            Lost: no answer came.
            Refusal: the broker said no.
        """
        yield
        if self.rng.random() >= self.faults.doubt:
            with self.hub as broker:
                return call(broker)
        fate = self.rng.random()
        if fate < 0.4:
            self.rare[f"doubt_done_{kind}"] += 1
            self._carry_out(call)
        elif fate < 0.7 and kind == "end":
            self.rare["doubt_late_end"] += 1
            self.late.append(lambda: self._carry_out(call))
        else:
            self.rare[f"doubt_lost_{kind}"] += 1
        raise Lost(kind)

    def deliver_late(self) -> None:
        """One delayed call arrives; a renewed producer has fenced it by then, or it should have."""
        if self.late:
            self.late.pop(self.rng.randrange(len(self.late)))()

    def write_marker(self) -> bool:
        """Write one marker of a transaction that has been decided; False if there is none."""
        with self.hub as broker:
            unmarked = list(broker.transactions.unmarked())
            if not unmarked:
                return False
            broker.transactions.mark(*unmarked[self.rng.randrange(len(unmarked))])
            return True

    def _carry_out(self, call: Callable[[Broker], object]) -> None:
        with self.hub as broker:
            try:
                call(broker)
            except Refusal as refusal:
                self.rare[f"late_{type(refusal).__name__}"] += 1
