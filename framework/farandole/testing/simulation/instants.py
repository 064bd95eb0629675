"""The instants that coordinators persist with their positions: time on the log never goes back."""

from dataclasses import dataclass, field

from farandole.events.topics import Topics
from farandole.testing.simulation.network import SimHub
from farandole.transport.metadata import decode
from farandole.transport.port import TopicPartition


@dataclass
class Instants:
    """What was persisted for each home of `partitions`, looked at now and then."""

    hub: SimHub
    topics: Topics
    partitions: int
    latest: dict[TopicPartition, int] = field(default_factory=dict)
    """The latest instant of each home, ms."""

    taken_back: list[str] = field(default_factory=list)
    """Homes for which an earlier instant was persisted after a later one."""

    _seen: dict[TopicPartition, str] = field(default_factory=dict)

    def look(self) -> None:
        """Note what has been persisted since."""
        places = [TopicPartition(self.topics.events, n) for n in range(self.partitions)]
        with self.hub as broker:
            found = broker.positions(self.topics.group("coordinator"), places, stable=False)
        for at, position in found.items():
            if position is None or position.metadata == self._seen.get(at):
                continue
            self._seen[at] = position.metadata
            now = decode(position.metadata).now_ms or 0
            if now < self.latest.get(at, 0):
                self.taken_back.append(f"{at.topic}[{at.partition}]: {now} was persisted after {self.latest[at]}")
            self.latest[at] = now
