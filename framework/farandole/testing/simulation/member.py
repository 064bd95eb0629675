"""A member whose broker calls take time and may be lost; everything else is the member in memory."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

from farandole.errors import TransportError
from farandole.testing.simulation.network import Exchange, Lost, Network, T, Unavailable
from farandole.transport.memory.broker import Broker, Changes
from farandole.transport.memory.member import MemoryMember
from farandole.transport.memory.membership import Snapshot
from farandole.transport.memory.refusals import (
    MetadataTooLong,
    ProducerFenced,
    RecordTooLarge,
    Refusal,
    StaleGeneration,
    TransactionBusy,
    UnknownTopic,
)
from farandole.transport.memory.requests import check_commit
from farandole.transport.memory.transactions import Writer
from farandole.transport.port import (
    Commit,
    FenceWriter,
    Isolation,
    ListMembers,
    MemberSettings,
    NewRecord,
    Polled,
    Position,
    ReadEnds,
    ReadPositions,
    Record,
    RenewProducer,
    Reply,
    Request,
    TopicPartition,
    Verdict,
)

WRITING = (Commit, RenewProducer, FenceWriter)
"""At most one of these is in flight (`transport.port`): a member that dies of one answers that one alone."""


class SimMember(MemoryMember):
    """`advance` is the world's: one piece of one call that is under way. `deaf_until`: on the monotonic clock."""

    def __init__(self, network: Network, settings: MemberSettings) -> None:
        super().__init__(network.hub, settings)
        self._network = network
        self._sim_settings = settings
        self._writer: Writer | None = None
        self._is_spent = False
        """In doubt: as with the real client, nothing is sent before the producer was renewed."""

        self._is_worn = False
        """A request was repeated: as with the real client, the producer is replaced before the next transaction."""

        self._doubted: Commit | None = None
        """The last transaction of which nobody told the end, until its positions have been read."""

        self._calls: list[tuple[int, Request, Exchange[Reply]]] = []
        self._stuck: set[int] = set()
        """Calls of which the last piece brought nothing."""

        self._told: deque[Reply] = deque()
        self._sim_tickets = count(1)
        self.deaf_until = 0.0

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Nothing comes of a poll whose fetch is under way; a deaf one's group hears nothing of it."""
        if self._network.hub.clock.monotonic() < self.deaf_until:
            with self._network.hub as broker:
                return self._cursors.fetch(broker, self._settings.poll_max_records)
        if self._network.chaos.strikes("fetch") is not None:
            while self._membership.step(self._add):
                pass
            return ()
        return self._in_any_order(super().poll(timeout))

    def _in_any_order(self, polled: Sequence[Polled]) -> Sequence[Polled]:
        """Kafka orders what stands in one partition; which one comes first is chance."""
        places = list(dict.fromkeys((each.topic, each.partition) for each in polled if isinstance(each, Record)))
        if len(places) < 2:
            return polled
        self._network.rng.shuffle(places)
        turn = {place: number for number, place in enumerate(places)}
        records = [each for each in polled if isinstance(each, Record)]
        others = [each for each in polled if not isinstance(each, Record)]
        return [*sorted(records, key=lambda it: turn[it.topic, it.partition]), *others]

    def is_concerned(self, changes: Changes) -> bool:
        """Whether its partitions or its group have changed."""
        return self._watch.concerns(changes)

    def call(self, request: Request) -> int:
        """Begin a call."""
        ticket = next(self._sim_tickets)
        self._require_alone(request)
        if isinstance(request, Commit):
            check_commit(request, self.client_id)
        self._calls.append((ticket, request, self._perform(ticket, request)))
        return ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        """Answers that have come. Asked with a time-out above zero it may also wait: calls go on meanwhile."""
        if timeout > 0:
            for _ in range(self._network.rng.randrange(4)):
                self.advance()
        told = list(self._told)
        self._told.clear()
        return told

    @property
    def is_calling(self) -> bool:
        """Whether a call is under way that somebody answers, as far as anybody knows."""
        return bool(self._calls) and any(ticket not in self._stuck for ticket, _, _ in self._calls)

    @property
    def commits(self) -> list[Commit]:
        """Transactions under way: to die now would leave them open, perhaps."""
        return [it for _, it, _ in self._calls if isinstance(it, Commit)] if self._calls else []

    def _require_alone(self, request: Request) -> None:
        """Refuse a second request that writes, beside one that is still in flight."""
        beside = [type(it).__name__ for _, it, _ in self._calls if isinstance(it, WRITING)]
        if isinstance(request, WRITING) and beside:
            raise AssertionError(f"{self.client_id}: a {type(request).__name__} beside {', '.join(beside)}")

    def advance(self) -> bool:
        """One piece of one call; whether there was one, and it brought the call on."""
        if not self._calls:
            return False
        at = self._network.rng.randrange(len(self._calls))
        ticket, _, pieces = self._calls[at]
        self._stuck.discard(ticket)
        try:
            if next(pieces):
                self._stuck.add(ticket)
            return ticket not in self._stuck
        except StopIteration as done:
            del self._calls[at]
            self._told.append(done.value)
            return True

    def _exchange(self, kind: str, call: Callable[[Broker], T], *, is_again: bool = False) -> Exchange[T]:
        return self._network.exchange(self.client_id, kind, call, self._wear, is_again=is_again)

    def _wear(self) -> None:
        self._is_worn = True

    def _perform(self, ticket: int, request: Request) -> Exchange[Reply]:
        try:
            return (yield from self._answer(ticket, request))
        except (Lost, Refusal) as error:
            return Reply(ticket, request, error=TransportError(str(error)))

    def _answer(self, ticket: int, request: Request) -> Exchange[Reply]:
        group = self._sim_settings.group
        match request:
            case Commit():
                verdict, error = yield from self._commit(request)
                return Reply(ticket, request, verdict, error=error)
            case RenewProducer():
                self._writer = yield from self._init(self.client_id)
                self._is_spent = self._is_worn = False
                return Reply(ticket, request)
            case FenceWriter(transactional_id=other):
                yield from self._init(other)
                return Reply(ticket, request)
            case ReadPositions(partitions=asked, stable=stable, group=named):
                found = yield from self._exchange(
                    "positions", lambda broker: broker.positions(named or group, asked, stable=stable)
                )
                if len(found) < len(asked):
                    self._network.rare["saw_pending_positions"] += 1
                self._look_at_doubt(found)
                return Reply(ticket, request, positions=found)
            case ReadEnds(partitions=asked, isolation=isolation):
                ends = yield from self._exchange("ends", lambda broker: {at: broker.end(at, isolation) for at in asked})
                self._network.rare["restore_over_open_transaction"] += self._hides_state(ends)
                return Reply(ticket, request, ends=ends)
            case ListMembers():
                members = yield from self._exchange("members", lambda broker: broker.members(group))
                return Reply(ticket, request, members=members)

    def _look_at_doubt(self, found: Mapping[TopicPartition, Position | None]) -> None:
        """Count doubts of what had committed, over several partitions, as they are judged: have others got some?"""
        doubted = self._doubted
        if doubted is None or found.keys() != doubted.positions.keys():
            return
        self._doubted = None
        stands = [found[at] == position for at, position in doubted.positions.items()]
        if doubted.records and len(stands) > 1 and any(stands):
            self._network.rare["doubt_over_several"] += 1
            self._network.rare["doubt_partly_overwritten"] += not all(stands)

    def _hides_state(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether an open transaction hides a part of what a restore is about to read."""
        with self._network.hub as broker:
            return any(
                broker.end(at, Isolation.COMMITTED) < end for at, end in ends.items() if at.topic.endswith(".runs")
            )

    def _init(self, transactional_id: str) -> Exchange[Writer]:
        timeout = self._sim_settings.transaction_timeout.total_seconds()
        return (yield from self._patiently("init", lambda b: b.init(transactional_id, timeout)))

    def _commit(self, request: Commit) -> Exchange[tuple[Verdict, TransportError | None]]:
        if self._is_spent:
            return Verdict.DOUBT, TransportError("its producer is in doubt and was not renewed. Nothing was sent")
        try:
            if self._writer is None or self._is_worn:
                self._writer = yield from self._init(self.client_id)
                self._is_worn = False
        except (Lost, Refusal) as why:
            return Verdict.ABORTED, TransportError(f"no producer: {why}")
        self._is_spent = True
        try:
            verdict, error = yield from self._transact(self._writer, request)
        except ProducerFenced as fenced:
            self._network.rare["fenced"] += 1
            return Verdict.FENCED, TransportError(str(fenced))
        except Lost as lost:
            self._network.rare["offsets_only_interrupted"] += not request.records
            self._doubted = request
            return Verdict.DOUBT, TransportError(f"no answer to {lost}")
        if verdict is not Verdict.COMMITTED and self._has_torn():
            self._network.rare["torn"] += 1
            return Verdict.DOUBT, error
        self._is_spent = False
        return verdict, error

    def _has_torn(self) -> bool:
        """Whether the abort has ended the transaction before too: as the real client knows of outages."""
        with self._network.hub as broker:
            return broker.transactions.is_torn(self.client_id)

    def _transact(self, writer: Writer, request: Commit) -> Exchange[tuple[Verdict, TransportError | None]]:
        snapshot = request.snapshot
        assert isinstance(snapshot, Snapshot)
        rare = self._network.rare
        rare["offsets_only"] += not request.records
        stood = snapshot_stands(self, snapshot)
        rare["commit_while_zombie"] += not stood
        self._network.look_at(request.positions.values())
        try:
            for part in self._parts(request.records):
                yield from self._patiently("produce", part(writer))
            yield from self._patiently(
                "offsets",
                lambda b: b.add_positions(
                    writer, snapshot.group, snapshot.member_id, snapshot.generation, request.positions
                ),
            )
            yield from self._exchange("end", lambda b: b.end_transaction(writer, commit=True))
            rare["rebalance_inside_transaction"] += stood and not snapshot_stands(self, snapshot)
        except StaleGeneration as stale:
            rare["stale_generation"] += 1
            rare["rebalance_inside_transaction"] += stood
            yield from self._exchange("abort", lambda b: b.end_transaction(writer, commit=False))
            return Verdict.STALE, TransportError(str(stale))
        except Unavailable as refusal:
            yield from self._exchange("abort", lambda b: b.end_transaction(writer, commit=False))
            rare["aborted"] += 1
            return Verdict.ABORTED, TransportError(str(refusal))
        except (UnknownTopic, RecordTooLarge, MetadataTooLong) as refusal:
            yield from self._exchange("abort", lambda b: b.end_transaction(writer, commit=False))
            return Verdict.REFUSED, TransportError(str(refusal))
        return Verdict.COMMITTED, None

    def _parts(self, records: Sequence[NewRecord]) -> Iterator[Callable[[Writer], Callable[[Broker], None]]]:
        """The records in a few produce requests, as a client batches them."""
        size = max(1, -(-len(records) // self._network.rng.randint(1, 3)))
        for at in range(0, len(records), size):
            part = records[at : at + size]

            def produce(writer: Writer, part: Sequence[NewRecord] = part) -> Callable[[Broker], None]:
                return lambda broker: [broker.append_in(writer, record) for record in part].clear()

            yield produce

    def _patiently(self, kind: str, call: Callable[[Broker], T]) -> Exchange[T]:
        """A call that is repeated while the last transaction's markers are being written."""
        is_again = False
        while True:
            try:
                return (yield from self._exchange(kind, call, is_again=is_again))
            except TransactionBusy:
                is_again = True


def snapshot_stands(member: SimMember, snapshot: Snapshot) -> bool:
    """Whether the broker would accept the snapshot now."""
    try:
        return member.snapshot() == snapshot
    except TransportError:
        return False
