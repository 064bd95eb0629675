"""What owners persist with their positions never goes back: epochs, positions, and a coordinator's time.

What a broker loses is no owner's doing: from there on they are held to what it gives out.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from farandole.transport.memory.broker import Broker
from farandole.transport.metadata import decode
from farandole.transport.port import Position, TopicPartition


class Mark(NamedTuple):
    """How far a place has come: the epoch of its owner (R6), its position, the instant of a home in ms."""

    epoch: int
    offset: int
    now_ms: int


@dataclass
class Persisted:
    """Every committed position as it takes effect. `taken_back` and `instants_taken_back`: in words, what went back."""

    taken_back: list[str] = field(default_factory=list)
    instants_taken_back: list[str] = field(default_factory=list)
    _latest: dict[tuple[str, TopicPartition], tuple[Position, Mark]] = field(default_factory=dict)

    def look(self, broker: Broker, group: str) -> None:
        """A transaction that names positions of a group has taken effect, or has not."""
        for at, position in broker.all_positions(group).items():
            before = self._latest.get((group, at))
            if before is not None and before[0] is position:
                continue
            metadata = decode(position.metadata)
            mark = Mark(metadata.epoch, position.offset, metadata.now_ms or 0)
            self._latest[group, at] = position, mark
            if before is not None:
                self._compare(f"{group}, {at.topic}[{at.partition}] by {metadata.writer}", before[1], mark)

    def lost(self, broker: Broker, group: str) -> bool:
        """The broker has lost what it was told last; whether any position went back by it."""
        found = broker.all_positions(group)
        before = {at: self._latest.pop((group, at), None) for at in found}
        self.look(broker, group)
        return any(known is not None and found[at].offset < known[1].offset for at, known in before.items())

    def _compare(self, where: str, before: Mark, mark: Mark) -> None:
        if mark.epoch < before.epoch or mark.offset < before.offset:
            self.taken_back.append(f"{where}: {mark} was committed over {before}")
        if mark.now_ms < before.now_ms:
            self.instants_taken_back.append(f"{where}: {mark.now_ms} was persisted after {before.now_ms}")
