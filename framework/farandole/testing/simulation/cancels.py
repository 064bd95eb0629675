"""Cancels of runs that had begun on the log: each is answered, however far behind its coordinator was.

The word may overtake what it is about: it stands on another topic, and more may stand before the first event of
its run than a coordinator reads at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from farandole.events import facts
from farandole.events.catalogue import type_name
from farandole.events.envelope import parse_envelope
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.testing.simulation.replays import committed
from farandole.transport.memory.broker import Broker
from farandole.transport.port import Isolation, Record, TopicPartition

STARTED = type_name(facts.RunStarted)


@dataclass(slots=True)
class Cancels:
    """What was asked, by the id of the command, and where `events` ended once its answer had taken effect."""

    topics: Topics
    _asked: dict[str, str] = field(default_factory=dict)
    _answered: dict[str, tuple[str, int]] = field(default_factory=dict)

    def asked(self, broker: Broker, command_id: str, run: str) -> None:
        """Somebody cancels a run: it is expected of those alone whose beginning whoever reads `events` has seen."""
        home = partition_of(run, broker.partitions(self.topics.events))
        for record in committed(broker, TopicPartition(self.topics.events, home)):
            envelope = parse_envelope(record.headers)
            if (envelope.type, envelope.run) == (STARTED, run):
                self._asked[command_id] = run
                return

    def look(self, broker: Broker, number: int) -> None:
        """See which have been answered at a home, forwarded ones there alone: the position has passed them."""
        if not self._asked:
            return
        commands, events = (TopicPartition(topic, number) for topic in (self.topics.commands, self.topics.events))
        position = broker.positions(self.topics.group("coordinator"), [commands], stable=False).get(commands)
        if position is None:
            return
        partitions, end = broker.partitions(self.topics.commands), broker.end(events, Isolation.UNCOMMITTED)
        for record in committed(broker, commands):
            asked = parse_envelope(record.headers).id
            run = self._asked.get(asked)
            if run is not None and partition_of(run, partitions) == number and record.offset < position.offset:
                self._answered[asked] = run, end
                del self._asked[asked]

    def lost(self, log: Sequence[tuple[Record, facts.Event]]) -> Iterator[str]:
        """Those that nothing came of, though their run went on and nobody had cancelled it before."""
        causes = {parse_envelope(record.headers).cause for record, _ in log}
        first: dict[str, int] = {}
        for record, event in log:
            if isinstance(event, facts.CancelRequested | facts.RunSettled):
                first.setdefault(event.run, record.offset)
        for asked, (run, end) in self._answered.items():
            if asked not in causes and first.get(run, end) >= end:
                yield f"{asked} was without effect, and {run} went on"
