"""The network between processes and the broker: each exchange its own step, and all that may befall it there.

A call is a generator; each piece is one exchange with the broker. The world advances a random
one, so that anything may happen between any two. A lost call raises `Lost`, whether the broker
has done it or not; what is late arrives when its producer has been renewed, or should have been.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Protocol, TypeVar
from zlib import crc32

from farandole.clock import ManualClock
from farandole.testing.simulation.faults import Chaos
from farandole.testing.simulation.persisted import Persisted
from farandole.transport.memory.broker import Broker, Changes
from farandole.transport.memory.hub import Hub, Watch
from farandole.transport.memory.refusals import Refusal
from farandole.transport.memory.transactions import Unmarked
from farandole.transport.metadata import decode
from farandole.transport.port import Position

T = TypeVar("T")

Exchange = Generator[bool, None, T]
"""A call in pieces; it gives True at a piece that brings nothing, because who is called cannot be reached."""

REPEATABLE = frozenset({"end", "abort", "offsets", "init"})
"""Requests without a sequence number: a copy takes effect again, where that of any other is dropped."""


ROLES = {
    **dict.fromkeys(("init", "end", "abort"), "transactions"),
    **dict.fromkeys(("offsets", "positions", "members"), "group"),
    **dict.fromkeys(("produce", "ends"), "log"),
}
"""Whom a request goes to: on a real cluster three brokers, of which any may be out of reach alone."""

CUT_ROLES = ("transactions", "transactions", "transactions", "group", "log")
"""Who is out of reach: mostly who tells how a transaction has ended."""

CUTS = ("hangs", "lost", "reply", "reply", "reply")
"""How one is out of reach: calls wait until it is there again; they never arrive; their answers never do."""

CUT_SECONDS = (3, 10, 20, 40)
"""For how long: a client gives up a transaction after 10 s, a group its member after 6."""

REFUSABLE = frozenset({"produce", "offsets"})
"""Requests that a broker may refuse for now, so that the client must abort."""

DECIDING = 4
"""How much likelier something befalls the call that ends a transaction: all depends on it."""

SENT_AGAIN = 0.7
"""How often nobody notices that a produce request was lost."""

LINK_DOWN = 0.4
"""How often a loss is not the only one: who was called stays out of reach in the same way."""

HANGS = 0.7
"""How often the writer does not get to the end of its next transaction: clients hang in it after an outage."""

SEEN_TO_S = (1.0, 5.0, 20.0)
"""When a person ends what a broker has forgotten to mark, in seconds."""

BROKERS = 3
"""How many share the partitions, so that markers may be missing in some and written in others."""


OPENING = frozenset({"produce", "offsets"})
"""Requests after which a transaction is open."""

LATE_INSIDE = 0.2
"""How often something late arrives then."""


class Lost(Exception):  # noqa: N818 - what happens to a call, not a fault of ours
    """No answer came; nobody but the broker knows whether the call was carried out."""


WAIT = timedelta(milliseconds=50)
"""What a wait for an answer takes, in a process that does nothing else meanwhile."""


class Listener(Protocol):
    """Who wants to hear of what has changed on the log."""

    def hear(self, changes: Changes) -> None:
        """Something has changed."""
        ...


class Unavailable(Refusal):
    """The broker cannot do it now: nothing was done, and the transaction has to be aborted."""


class SimHub(Hub):
    """Gives out the broker as the world has it: one thread, so no lock; time comes by `tick`; nobody waits for news."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self._world = clock
        self.listeners: set[Listener] = set()

    def __enter__(self) -> Broker:
        return self._broker

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def tick(self) -> None:
        """The world's clock has moved; markers are written by the world, one by one."""
        self._broker.tick(self.clock.monotonic(), int(self.clock.now().timestamp() * 1000))
        changes = self._broker.take_changes()
        if changes is not None:
            for listener in self.listeners:
                listener.hear(changes)

    def wait(self, condition: threading.Condition, timeout: float) -> bool:
        """Whoever lets go of partitions waits for what is under way: time passes, and nobody else moves."""
        if timeout <= 0:
            return False
        self._world.advance(WAIT)
        self.tick()
        return True

    def watch(self, watch: Watch) -> None:
        """Nobody is woken: who has heard of something looks when its turn comes."""


@dataclass(slots=True)
class Network:
    """`rare` counts what the coverage goals want to have seen; `told`, if there is one, takes the lines of a trace.

    `widest`: most offsets above a base that a commit told of. `persisted`: what became of positions.
    """

    hub: SimHub
    rng: random.Random
    chaos: Chaos
    rare: Counter[str] = field(default_factory=Counter)
    late: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    told: Callable[[str], None] | None = None
    widest: int = 0
    persisted: Persisted = field(default_factory=Persisted)
    cuts: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    """Who does not reach whom (a role), until when, and how it shows."""

    stalled: dict[int, float] = field(default_factory=dict)
    """Brokers that are not told how transactions end, and until when."""

    left: dict[str, float] = field(default_factory=dict)
    """Writers of which a broker has forgotten to mark a transaction, and when a person sees to it."""

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
        self,
        who: str,
        kind: str,
        call: Callable[[Broker], T],
        repeated: Callable[[], None] | None = None,
        *,
        is_again: bool = False,
    ) -> Exchange[T]:
        """One piece of a call: wait for a turn, then be carried out, lost, delayed or repeated.

        `repeated` is told when the client had to send it again before it was answered. `is_again`: the broker could
        not do it yet when it was asked last.

        Raises:
            Lost: no answer came.
            Refusal: the broker said no.
        """
        yield is_again
        while (cut := self._cut(who, kind)) == "hangs":
            yield True
        if cut is not None:
            self.rare[f"cut_{kind}"] += 1
            if cut == "reply":
                self._attempt(who, kind, call)
            raise Lost(kind)
        struck = self._struck(who, kind)
        if struck is None or not self._may_befall(struck[0], kind, repeated):
            result = self._carry_out(who, kind, call)
            # Where a late request would hurt most: inside the next transaction.
            if kind in OPENING and self.late and self.rng.random() < LATE_INSIDE:
                self.deliver_late()
            return result
        fate = struck[0]
        self.rare[f"{fate}_{kind}"] += 1
        self.tell(f"{who}: {kind} is befallen: {fate}")
        if fate == "refused":
            raise Unavailable(f"{kind}: too few replicas are there. Nothing was done")
        if fate in ("late", "twice") and kind in REPEATABLE:
            self.late.append((f"{who}: {kind}", lambda: self._attempt(who, kind, call)))
        if fate == "twice" and repeated is not None:
            repeated()
            return self._carry_out(who, kind, call)
        if fate == "reply":
            self._attempt(who, kind, call)
        if fate in ("lost", "reply") and struck[1].random() < LINK_DOWN:
            seconds = struck[1].choice(CUT_SECONDS)
            self.cut(who, ROLES[kind], seconds, fate)
            self.tell(f"{who}: does not reach who keeps {ROLES[kind]} for {seconds} s ({fate})")
        raise Lost(kind)

    def cut(self, who: str, role: str, seconds: float, how: str) -> None:
        """From now on `who` does not reach a role (one of `CUTS`)."""
        self.cuts[who, role] = self.hub.clock.monotonic() + seconds, how

    def stall(self, broker: int, seconds: float) -> None:
        """From now on a broker is not told how transactions end."""
        self.stalled[broker] = self.hub.clock.monotonic() + seconds

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self.cuts.clear()
        self.stalled.clear()
        self.left = dict.fromkeys(self.left, 0.0)

    def _cut(self, who: str, kind: str) -> str | None:
        if not self.cuts:
            return None
        until, how = self.cuts.get((who, ROLES[kind]), (0.0, ""))
        return how if self.hub.clock.monotonic() < until else None

    def _struck(self, who: str, kind: str) -> tuple[str, random.Random] | None:
        """What befalls a call, if anything does that its client would notice."""
        for _ in range(DECIDING if kind == "end" else 1):
            if (struck := self.chaos.strikes("call")) is None:
                continue
            # What has a sequence number is sent again by the client itself until it is there.
            if kind == "produce" and struck[0] != "refused" and struck[1].random() < SENT_AGAIN:
                self.tell(f"{who}: {kind} is befallen: {struck[0]}, and sent again")
                return None
            return struck
        return None

    def _may_befall(self, fate: str, kind: str, repeated: Callable[[], None] | None) -> bool:
        if fate == "twice":
            return kind in REPEATABLE and repeated is not None
        return fate != "refused" or kind in REFUSABLE

    def deliver_late(self) -> None:
        """One delayed call arrives; a renewed producer has fenced it by then, or it should have."""
        if self.late:
            name, call = self.late.pop(self.rng.randrange(len(self.late)))
            self.tell(f"{name} arrives late")
            call()

    def write_marker(self) -> bool:
        """One broker writes its markers of one transaction that has been decided; False if there is none."""
        with self.hub as broker:
            if self.left and self._recall(broker):
                return True
            unmarked = list(broker.transactions.unmarked())
            if self.stalled:
                now = self.hub.clock.monotonic()
                unmarked = [it for it in unmarked if self.stalled.get(_broker_of(it[1]), 0.0) <= now]
            if not unmarked:
                return False
            name, place = unmarked[self.rng.randrange(len(unmarked))]
            leader = _broker_of(place)
            for each in [at for writer, at in unmarked if writer == name and _broker_of(at) == leader]:
                broker.transactions.mark(name, each)
                if isinstance(each, str):
                    self.persisted.look(broker, each)
            return True

    def forget(self, how: random.Random) -> str:
        """A broker comes back, and leaves the markers out of a transaction that is decided; in words.

        Not of one of which a request is still on its way: what that begins anew ends it the other way, and nobody may
        know (decision 0123, what it does not see).
        """
        late = {name.partition(":")[0] for name, _ in self.late}
        with self.hub as broker:
            if not (names := sorted(set(broker.transactions.forgettable()) - late)):
                return "broker: comes back, and has nothing to mark"
            name = how.choice(names)
            broker.transactions.forget(name)
        self.rare["forgotten"] += 1
        self.left[name] = self.hub.clock.monotonic() + how.choice(SEEN_TO_S)
        if how.random() < HANGS:
            self.cut(name, "transactions", how.choice(CUT_SECONDS), how.choice(CUTS))
        return f"broker: comes back, and leaves the markers out of what {name} has ended"

    def _recall(self, broker: Broker) -> bool:
        """Whether a person has ended what was forgotten."""
        due = [name for name, at in self.left.items() if at <= self.hub.clock.monotonic()]
        ended = [name for name in due if broker.transactions.recall(name)]
        for name in ended:
            del self.left[name]
        return bool(ended)

    def lose_positions(self, group: str, commits: int) -> int:
        """Who keeps a group begins anew without its last commits; how many were lost."""
        with self.hub as broker:
            self.persisted.look(broker, group)  # the last commit of all may have been told to nobody yet
            lost = broker.lose_positions(group, commits)
            self.rare["positions_went_back"] += self.persisted.lost(broker, group)
        return lost

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


def _broker_of(place: Unmarked) -> int:
    """Which broker leads a partition, or keeps a group."""
    return crc32(repr(place).encode()) % BROKERS
