"""The replay law while runs live: what `events` rebuilds, as far as a home was folded, is what `runs` holds.

When all has ended there are stubs alone, which say little.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from farandole.client.rebuilding import logged
from farandole.definition.graph import Graph
from farandole.errors import RecordError
from farandole.events.topics import Topics
from farandole.kernel.place import place_in
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.snapshot import group_by_run, read_run
from farandole.kernel.state import Run
from farandole.transport.memory.broker import Broker
from farandole.transport.port import Isolation, Record, TopicPartition


@dataclass(slots=True)
class Replays:
    """`differing`: what was different, told once each. Homes with a transaction open or unmarked are passed over."""

    topics: Topics
    graph: Graph
    differing: dict[str, None] = field(default_factory=dict)

    def look(self, broker: Broker, homes: Iterable[int]) -> None:
        """Compare every home, in this moment."""
        if any(broker.transactions.unmarked()):
            return
        for number in homes:
            events, runs = (TopicPartition(topic, number) for topic in (self.topics.events, self.topics.runs))
            folded = broker.positions(self.topics.group("coordinator"), [events], stable=True).get(events)
            if folded is not None and all(_is_whole(broker, at) for at in (events, runs)):
                state = committed(broker, runs)
                # Positions may be lost: state is as far as it says itself.
                places = (place_in(record.headers) for record in state)
                until = max([folded.offset, *(place.events_at for place in places if place is not None)])
                log = [it for it in _logged(broker, events) if it.folded is not None or it.offset < until]
                self._compare(rebuild(log, lambda _: self.graph), dict(self._held(state)))

    def _compare(self, rebuilt: dict[str, Run], held: dict[str, Run]) -> None:
        for run, one in rebuilt.items():
            other = held.get(run)
            if not one.is_settled and (other is None or (one.head, one.chunks) != (other.head, other.chunks)):
                told = f"{run}: events rebuild {one.head}, {one.chunks}, but runs holds "
                self.differing[f"{told}{other and other.head}, {other and other.chunks}"] = None

    def _held(self, state: Iterable[Record]) -> Iterator[tuple[str, Run]]:
        latest: dict[str, bytes] = {}
        for record in state:
            if record.value is None:
                latest.pop((record.key or b"").decode(), None)
            else:
                latest[(record.key or b"").decode()] = record.value
        for run, parts in group_by_run(latest.items()).items():
            yield run, read_run(lambda _: self.graph, parts, run)


def committed(broker: Broker, at: TopicPartition) -> list[Record]:
    """All committed records of a partition."""
    out: list[Record] = []
    position = broker.beginning(at)
    while True:
        found, after = broker.read(at, position, 1000, Isolation.COMMITTED)
        out += found
        if after == position:
            return out
        position = after


def _is_whole(broker: Broker, at: TopicPartition) -> bool:
    return broker.end(at, Isolation.COMMITTED) == broker.end(at, Isolation.UNCOMMITTED)


def _logged(broker: Broker, at: TopicPartition) -> Iterator[Logged]:
    for record in committed(broker, at):
        try:
            yield logged(record)
        except RecordError:
            continue  # a coordinator skips it too
