"""What this process has committed, against which is held what the group says that it had.

A position never goes back by itself. A broker that is killed twice in a minute may all the same give out positions of
an hour ago, and what was done since would be done once more (docs/decisions/0122). A process that was there knows
better, whoever had the partition meanwhile: an owner takes over all that its predecessors had done. Who sets
positions back on purpose (`agent reposition`) does so while no process of the unit runs.
"""

from collections.abc import Mapping

from farandole.errors import MetadataUnreadable
from farandole.transport.metadata import decode
from farandole.transport.port import Position, TopicPartition


class Remembered:
    """The last two committed positions of each partition that was ours since the process began."""

    def __init__(self) -> None:
        self._known: dict[TopicPartition, Position] = {}
        self._before: dict[TopicPartition, Position] = {}
        self._epochs: dict[TopicPartition, int] = {}
        """Of transactions that were undone: handlers may have had tokens of them."""

    def copy(self) -> "Remembered":
        """What is known now: an answer is held against what was known when it was asked for."""
        it = Remembered()
        it._known, it._before, it._epochs = dict(self._known), dict(self._before), dict(self._epochs)
        return it

    def note(self, positions: Mapping[TopicPartition, Position]) -> None:
        """A transaction of ours with these positions stands."""
        for at, position in positions.items():
            if at in self._known:
                self._before[at] = self._known[at]
            self._known[at] = position

    def forget(self, at: TopicPartition) -> None:
        """Its records are gone, or its topic is another one: what was committed was of those."""
        self._known.pop(at, None)
        self._before.pop(at, None)

    def position(self, at: TopicPartition) -> Position | None:
        """What we committed last; None if nothing is known."""
        return self._known.get(at)

    @property
    def places(self) -> frozenset[TopicPartition]:
        """The partitions of which anything is known."""
        return frozenset(self._known)

    def epoch_of(self, at: TopicPartition) -> int:
        """The last epoch that is known of a partition; a token must not fall below it, whatever the group says."""
        known = decode(self._known[at].metadata).epoch if at in self._known else 0
        return max(known, self._epochs.get(at, 0))

    def is_behind(self, at: TopicPartition, found: Position | None) -> bool:
        """Whether something is done of a partition, as we know, of which the group does not say so.

        A position without metadata tells nothing: `apply` gives it to an inbox that it makes anew.

        Raises:
            MetadataUnreadable: what was found cannot be read.
        """
        known = self._known.get(at)
        if known is None or found is None:
            return known is not None
        return bool(found.metadata) and _lacks(found, known)

    def are_torn(self, found: Mapping[TopicPartition, Position | None]) -> bool:
        """Whether what the group says less than we know is one transaction: the last one of each of these partitions,
        and the same one. A broker tears one when it comes back; what it loses of its log is more. Whoever had them
        since may have begun to do it once more.
        """
        numbers = {decode(self._known[at].metadata).number for at in found if at in self._known}
        try:
            return len(numbers) == 1 and all(self._lacks_last(at, position) for at, position in found.items())
        except MetadataUnreadable:
            return False  # whoever has it now is of a newer version

    def take_over(self, at: TopicPartition, position: Position) -> None:
        """A partition is ours from this position on, whoever had it since we did: nothing of ours was before it."""
        self._epochs[at] = self.epoch_of(at)
        self._known[at] = position
        self._before.pop(at, None)

    def undo(self, at: TopicPartition) -> None:
        """The last transaction of a partition never was."""
        if at in self._before:
            self._epochs[at] = self.epoch_of(at)
            self._known[at] = self._before.pop(at)

    def _lacks_last(self, at: TopicPartition, found: Position | None) -> bool:
        before = self._before.get(at)
        return before is not None and found is not None and bool(found.metadata) and not _lacks(found, before)

    def is_beyond(self, at: TopicPartition, end: int) -> bool:
        """Whether the partition, which ends there, has never come as far as we have: its topic was made anew."""
        return at in self._known and end < self._known[at].offset

    def told(self, at: TopicPartition, found: Position) -> str:
        """In words, how far it went back."""
        known = self._known[at]
        epochs = f"epoch {decode(known.metadata).epoch} to {decode(found.metadata).epoch}"
        return f"from {known.offset} to {found.offset} ({epochs})"


def _lacks(found: Position, known: Position) -> bool:
    if found.offset < known.offset:
        return True
    done = int.from_bytes(decode(known.metadata).bitmap, "little") >> (found.offset - known.offset)
    return bool(done & ~int.from_bytes(decode(found.metadata).bitmap, "little"))
