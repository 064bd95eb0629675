"""Operations on the embedded log as a whole."""

from collections.abc import Mapping, Sequence

from farandole.errors import TransportError
from farandole.transport.memory.refusals import Refusal
from farandole.transport.port import Isolation, Position, TopicPartition, TopicSpec
from farandole.transport.sqlite import catalog, groups, positions, transactions
from farandole.transport.sqlite.shared import Shared
from farandole.transport.sqlite.view import Span, View


class SqliteAdmin:
    """Implements `Admin`."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._file = shared.open()
        self._view = View(self._file)
        self._closed = False

    def topics(self, names: Sequence[str] | None = None) -> Mapping[str, TopicSpec]:
        """Topics that exist, with their config."""
        with self._file.reading:
            self._look()
        have = self._view.catalog.topics
        return {name: have[name].spec for name in (sorted(have) if names is None else names) if name in have}

    def create(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        """Create what is missing; returns the names created.

        Raises:
            TransportError: a topic cannot be made so; none was made.
        """
        try:
            for spec in topics:
                catalog.check(spec)
        except ValueError as error:
            raise TransportError(str(error)) from error
        with self._file.writing as db:
            made = [spec.name for spec in topics if catalog.create(db, spec)]
        self._file.require_in_place()  # after the commit, as couriers do: nobody opens the other file any more
        self._shared.bells.ring()
        return made

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        """Set these entries of a topic's configuration.

        Raises:
            TransportError: the topic does not exist, or the entry is refused.
        """
        try:
            catalog.check_config(topic, config)
            with self._file.writing as db:
                catalog.configure(db, topic, config)
            self._file.require_in_place()
        except (Refusal, ValueError) as error:
            raise TransportError(f"{topic}: {error}. Nothing was changed") from error

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets."""
        return {at: span.end_of(isolation) for at, span in self._spans(partitions).items()}

    def beginnings(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """First offsets that still exist."""
        return {at: span.beginning for at, span in self._spans(partitions).items()}

    def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, Position]:
        """Committed positions of a group."""
        with self._file.reading as db:
            self._look()
            found = positions.read_all(db, self._view.catalog, group)
        return found if partitions is None else {at: found[at] for at in partitions if at in found}

    def members(self, group: str) -> frozenset[str]:
        """Client ids of the group's members."""
        with self._file.reading as db:
            return groups.client_ids(db, group, self._shared.bells)

    def topics_read(self, group: str) -> frozenset[str] | None:
        """Topics of which a member has partitions; None while the group divides them anew."""
        with self._file.reading as db:
            return groups.topics_read(db, group, self._shared.bells)

    def start_positions(self, group: str, positions_: Mapping[TopicPartition, Position]) -> None:
        """Commit positions where there is none yet, whatever the group is doing (R8).

        Raises:
            TransportError: a transaction is pending on one of them, or a position is refused; nothing was committed.
        """
        try:
            with self._file.writing as db:
                self._look()
                known = positions.read(db, self._view.catalog, group, positions_, stable=True)
                if len(known) < len(positions_):
                    raise TransportError(
                        f"{group}: expected no transaction under way on positions that are to start, but there is one. "
                        "Nothing was committed; try again"
                    )
                missing = {at: positions_[at] for at, position in known.items() if position is None}
                transactions.check_metadata(group, missing)
                transactions.put_positions(db, self._view.catalog, group, missing)
            self._file.require_in_place()
        except Refusal as refusal:
            raise TransportError(str(refusal)) from refusal

    def close(self) -> None:
        """Free everything; doing it twice is harmless."""
        if not self._closed:
            self._closed = True
            self._file.close()
            self._shared.part_closed()

    def _spans(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, Span]:
        try:
            with self._file.reading:
                self._look()
                return {at: self._view.span(at) for at in partitions}
        except Refusal as refusal:
            raise TransportError(str(refusal)) from refusal

    def _look(self) -> None:
        self._file.observe()
        self._view.look()
