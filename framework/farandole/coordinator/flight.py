"""The one transaction that is under way, and how its end is judged (R4, R11).

Positions of `events` and `commands` go with every transaction of a home, changed or not (R3).
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from farandole.coordinator.batch import Batch
from farandole.coordinator.home import Home
from farandole.events.outgoing import Outgoing
from farandole.events.topics import Topics
from farandole.kernel.place import Place
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import Position, TopicPartition


@dataclass(slots=True)
class Numbers:
    """Transaction numbers of one producer start: a random beginning and a counter, compared for equality only (R4)."""

    last: int = field(default_factory=lambda: secrets.randbits(63))

    def next(self) -> int:
        """A number not used before."""
        self.last = (self.last + 1) & ((1 << 64) - 1)
        return self.last


@dataclass(slots=True)
class Flight:
    """What was submitted: `kind` is `batch`, `epoch`, `positions` or `clean`."""

    number: int
    records: Sequence[Outgoing]
    positions: dict[TopicPartition, Position]
    batches: Sequence[Batch] = ()
    homes: Sequence[Home] = ()
    places: Sequence[tuple[int, Place]] = ()
    """Where homes stand of which no state record says it."""

    kind: str = "batch"


def positions_of(topics: Topics, home: Home, at: tuple[int, int], metadata: Metadata) -> dict[TopicPartition, Position]:
    """Both positions of a home, with the metadata on each (it is read from `events`)."""
    text = encode(metadata)
    return {
        TopicPartition(topics.events, home.number): Position(at[0], text),
        TopicPartition(topics.commands, home.number): Position(at[1], text),
    }
