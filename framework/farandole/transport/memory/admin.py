"""Operations on the log in memory as a whole."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count

from farandole.errors import TransportError
from farandole.transport.memory.groups import NEVER_JOINED
from farandole.transport.memory.hub import Hub
from farandole.transport.memory.refusals import Refusal
from farandole.transport.memory.requests import initialise
from farandole.transport.port import Isolation, Position, TopicPartition, TopicSpec

_numbers = count(1)


class MemoryAdmin:
    """Implements `Admin`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def topics(self, names: Sequence[str] | None = None) -> Mapping[str, TopicSpec]:
        """Topics that exist, with their config."""
        with self._hub as broker:
            have = broker.topics
            return {name: have[name] for name in (have if names is None else names) if name in have}

    def create(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing; returns the names created.

        Raises:
            TransportError: a topic cannot be made so.
        """
        try:
            with self._hub as broker:
                return [spec.name for spec in topics if broker.create_topic(spec)]
        except ValueError as error:
            raise TransportError(str(error)) from error

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set these entries of a topic's configuration; only `max.message.bytes` has an effect here.

        Raises:
            TransportError: the topic does not exist, or the entry is refused.
        """
        try:
            with self._hub as broker:
                broker.configure_topic(topic, config)
        except (Refusal, ValueError) as error:
            raise TransportError(f"{topic}: {error}. Nothing was changed") from error

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        try:
            with self._hub as broker:
                return {at: broker.end(at, isolation) for at in partitions}
        except Refusal as refusal:
            raise TransportError(str(refusal)) from refusal

    def beginnings(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """First offsets that still exist."""
        try:
            with self._hub as broker:
                return {at: broker.beginning(at) for at in partitions}
        except Refusal as refusal:
            raise TransportError(str(refusal)) from refusal

    def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, Position]:
        """Committed positions of a group."""
        with self._hub as broker:
            found = broker.all_positions(group)
        return found if partitions is None else {at: found[at] for at in partitions if at in found}

    def members(self, group: str) -> frozenset[str]:
        """Client ids of the group's members."""
        with self._hub as broker:
            return broker.members(group)

    def topics_read(self, group: str) -> frozenset[str] | None:
        """Topics of which a member has partitions; None while the group divides them anew."""
        with self._hub as broker:
            return broker.topics_read(group)

    def start_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit positions where there is none yet, as a member that never joined (R8).

        Raises:
            TransportError: a transaction is pending on one of them, or a position is refused; nothing was committed.
        """
        with self._hub as broker:
            known = broker.positions(group, positions, stable=True)
            if len(known) < len(positions):
                raise TransportError(
                    f"{group}: expected no transaction under way on positions that are to start, but there is one. "
                    "Nothing was committed; try again"
                )
            missing = {at: positions[at] for at, position in known.items() if position is None}
            if not missing:
                return
            writer = initialise(broker, f"start-positions-{next(_numbers)}", timedelta(seconds=10))
            try:
                broker.add_positions(writer, group, "", NEVER_JOINED, missing)
            except Refusal as refusal:
                broker.end_transaction(writer, commit=False)
                broker.settle()
                raise TransportError(str(refusal)) from refusal
            broker.end_transaction(writer, commit=True)
            broker.settle()

    def close(self) -> None:
        """Nothing to free."""
