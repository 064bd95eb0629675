"""What this process has committed, against which is held what the group says that it had.

A position never goes back by itself. A broker that is killed twice in a minute may all the same give out positions of
an hour ago, and what was done since would be done once more (docs/decisions/0112). A process that was there knows
better, whoever had the partition meanwhile: an owner takes over all that its predecessors had done, under a higher
epoch. Who sets positions back on purpose (`agent reposition`) does so while no process of the unit runs.
"""

from collections.abc import Mapping

from farandole.transport.metadata import decode
from farandole.transport.port import Position, TopicPartition


class Remembered:
    """The last committed position of each partition that was ours since the process began."""

    def __init__(self) -> None:
        self._known: dict[TopicPartition, Position] = {}

    def note(self, positions: Mapping[TopicPartition, Position]) -> None:
        """A transaction of ours with these positions stands."""
        self._known.update(positions)

    def forget(self, at: TopicPartition) -> None:
        """Its records are gone, or its topic is another one: what was committed was of those."""
        self._known.pop(at, None)

    def has(self, at: TopicPartition) -> bool:
        """Whether anything is known of a partition."""
        return at in self._known

    def is_behind(self, at: TopicPartition, found: Position | None) -> bool:
        """Whether the group says less of a partition than we have committed ourselves; None: it says nothing.

        Raises:
            MetadataUnreadable: what was found cannot be read.
        """
        known = self._known.get(at)
        return known is not None and known is not found and (found is None or _lacks(found, known))

    def any_behind(self, found: Mapping[TopicPartition, Position | None]) -> bool:
        """Whether the group says less of any of them.

        Raises:
            MetadataUnreadable: what was found cannot be read.
        """
        return any(self.is_behind(at, position) for at, position in found.items())

    def told(self, at: TopicPartition, found: Position) -> str:
        """In words, how far it went back."""
        known = self._known[at]
        epochs = f"epoch {decode(known.metadata).epoch} to {decode(found.metadata).epoch}"
        return f"from {known.offset} to {found.offset} ({epochs})"


def _lacks(found: Position, known: Position) -> bool:
    """Whether something is done for `known` that is not for `found`."""
    has, had = decode(found.metadata), decode(known.metadata)
    if found.offset < known.offset or has.epoch < had.epoch:
        return True
    done = int.from_bytes(had.bitmap, "little") >> (found.offset - known.offset)
    return bool(done & ~int.from_bytes(has.bitmap, "little"))
