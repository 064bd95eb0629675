"""The network between processes and the broker: each exchange its own step, and all that may befall it there.

A call is a generator; each piece is one exchange with the broker. The world advances a random
one, so that anything may happen between any two. A lost call raises `Lost`, whether the broker
has done it or not; what is late arrives when its producer has been renewed, or should have been.
"""

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from farandole.testing.simulation.faults import Chaos
from farandole.transport.memory.broker import Broker
from farandole.transport.memory.hub import Hub, Watch
from farandole.transport.memory.refusals import Refusal
from farandole.transport.metadata import decode
from farandole.transport.port import Position

T = TypeVar("T")

Exchange = Generator[None, None, T]

REPEATABLE = frozenset({"end", "abort", "offsets", "init"})
"""Requests without a sequence number: a copy takes effect again, where that of any other is dropped."""


OPENING = frozenset({"produce", "offsets"})
"""Requests after which a transaction is open."""

LATE_INSIDE = 0.2
"""How often something late arrives then."""


class Lost(Exception):  # noqa: N818 - what happens to a call, not a fault of ours
    """No answer came; nobody but the broker knows whether the call was carried out."""


class SimHub(Hub):
    """Gives out the broker as the world has it: one thread, so no lock; time comes by `tick`; nobody waits for news."""

    def __enter__(self) -> Broker:
        return self._broker

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def tick(self) -> None:
        """The world's clock has moved; markers are written by the world, one by one."""
        self._broker.tick(self.clock.monotonic(), int(self.clock.now().timestamp() * 1000))

    def watch(self, watch: Watch) -> None:
        """Nobody is told of anything: who wants to know looks."""


@dataclass(slots=True)
class Network:
    """`rare` counts what the coverage goals want to have seen; `told`, if there is one, takes the lines of a trace.

    `widest`: most offsets above a base that a commit told of.
    """

    hub: SimHub
    rng: random.Random
    chaos: Chaos
    rare: Counter[str] = field(default_factory=Counter)
    late: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    told: Callable[[str], None] | None = None
    widest: int = 0

    def tell(self, line: str) -> None:
        """A line of the trace."""
        if self.told is not None:
            self.told(line)

    def look_at(self, positions: Iterable[Position]) -> None:
        """Positions are about to be committed."""
        for position in positions:
            bits = int.from_bytes(decode(position.metadata).bitmap, "little").bit_length()
            self.widest = max(self.widest, bits)

    def exchange(
        self, who: str, kind: str, call: Callable[[Broker], T], repeated: Callable[[], None] | None = None
    ) -> Exchange[T]:
        """One piece of a call: wait for a turn, then be carried out, lost, delayed or repeated.

        `repeated` is told when the client had to send it again before it was answered.

        Raises:
            Lost: no answer came.
            Refusal: the broker said no.
        """
        yield
        struck = self.chaos.strikes("call")
        if struck is None or (struck[0] == "twice" and (kind not in REPEATABLE or repeated is None)):
            result = self._carry_out(who, kind, call)
            # Where a late request would hurt most: inside the next transaction.
            if kind in OPENING and self.late and self.rng.random() < LATE_INSIDE:
                self.deliver_late()
            return result
        fate = struck[0]
        self.rare[f"{fate}_{kind}"] += 1
        self.tell(f"{who}: {kind} is befallen: {fate}")
        if fate in ("late", "twice") and kind in REPEATABLE:
            self.late.append((f"{who}: {kind}", lambda: self._attempt(who, kind, call)))
        if fate == "twice" and repeated is not None:
            repeated()
            return self._carry_out(who, kind, call)
        if fate == "reply":
            self._attempt(who, kind, call)
        raise Lost(kind)

    def deliver_late(self) -> None:
        """One delayed call arrives; a renewed producer has fenced it by then, or it should have."""
        if self.late:
            name, call = self.late.pop(self.rng.randrange(len(self.late)))
            self.tell(f"{name} arrives late")
            call()

    def write_marker(self) -> bool:
        """Write one marker of a transaction that has been decided; False if there is none."""
        with self.hub as broker:
            unmarked = list(broker.transactions.unmarked())
            if not unmarked:
                return False
            broker.transactions.mark(*unmarked[self.rng.randrange(len(unmarked))])
            return True

    def _carry_out(self, who: str, kind: str, call: Callable[[Broker], T]) -> T:
        try:
            with self.hub as broker:
                result = call(broker)
        except Refusal as refusal:
            self.tell(f"{who}: {kind} is refused, {type(refusal).__name__}")
            raise
        self.tell(f"{who}: {kind} is done")
        return result

    def _attempt(self, who: str, kind: str, call: Callable[[Broker], object]) -> None:
        try:
            self._carry_out(who, kind, call)
        except Refusal as refusal:
            self.rare[f"unheard_{type(refusal).__name__}"] += 1
