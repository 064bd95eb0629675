"""What retention takes away in a world: consumed records of inboxes and commands, kept for the checks."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from farandole.events.topics import Topics
from farandole.testing.simulation.network import SimHub
from farandole.transport.port import Isolation, Record, TopicPartition


@dataclass(slots=True)
class Retention:
    """`expired`: records that are gone, as they were."""

    hub: SimHub
    topics: Topics
    agents: Sequence[str]
    expired: list[Record] = field(default_factory=list)

    def expire(self, how: random.Random) -> str:
        """Delete what is committed over in one partition; in words."""
        names = [self.topics.commands, *(self.topics.inbox(agent) for agent in self.agents)]
        name = how.choice(names)
        group = self.topics.group("coordinator" if name == self.topics.commands else "unit")
        with self.hub as broker:
            at = TopicPartition(name, how.randrange(broker.partitions(name)))
            position = broker.positions(group, [at], stable=True).get(at)
            begin = broker.beginning(at)
            if position is None or position.offset <= begin:
                return f"{name}/{at.partition} has nothing to expire"
            found, _ = broker.read(at, begin, position.offset - begin, Isolation.COMMITTED)
            self.expired += [record for record in found if record.offset < position.offset]
            broker.truncate_before(at, position.offset)
        return f"{name}/{at.partition} has lost what is before {position.offset}"
