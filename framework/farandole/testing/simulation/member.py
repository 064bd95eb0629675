"""A member whose broker calls take time and may be lost; everything else is the member in memory."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from farandole.errors import TransportError
from farandole.testing.simulation.network import Exchange, Lost, Network
from farandole.transport.memory.broker import Broker
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
    ListMembers,
    MemberSettings,
    NewRecord,
    ReadEnds,
    ReadPositions,
    RenewProducer,
    Reply,
    Request,
    Verdict,
)


class SimMember(MemoryMember):
    """`advance` is the world's: one piece of one call that is under way."""

    def __init__(self, network: Network, settings: MemberSettings) -> None:
        super().__init__(network.hub, settings)
        self._network = network
        self._sim_settings = settings
        self._writer: Writer | None = None
        self._calls: list[tuple[int, Request, Exchange[Reply]]] = []
        self._told: deque[Reply] = deque()
        self._sim_tickets = count(1)
        self._releasing = 0

    def call(self, request: Request) -> int:
        """Begin a call."""
        ticket = next(self._sim_tickets)
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
        """Whether a call is under way."""
        return bool(self._calls)

    @property
    def is_in_transaction(self) -> bool:
        """Whether dying now would leave a transaction open, perhaps."""
        return any(isinstance(request, Commit) for _, request, _ in self._calls)

    def advance(self) -> None:
        """One piece of one call."""
        if not self._calls:
            return
        at = self._network.rng.randrange(len(self._calls))
        _, _, pieces = self._calls[at]
        try:
            next(pieces)
        except StopIteration as done:
            del self._calls[at]
            self._told.append(done.value)

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
                return Reply(ticket, request)
            case FenceWriter(transactional_id=other):
                yield from self._init(other)
                return Reply(ticket, request)
            case ReadPositions(partitions=asked, stable=stable, group=named):
                found = yield from self._network.exchange(
                    "positions", lambda broker: broker.positions(named or group, asked, stable=stable)
                )
                if len(found) < len(asked):
                    self._network.rare["saw_pending_positions"] += 1
                return Reply(ticket, request, positions=found)
            case ReadEnds(partitions=asked, isolation=isolation):
                ends = yield from self._network.exchange(
                    "ends", lambda broker: {at: broker.end(at, isolation) for at in asked}
                )
                return Reply(ticket, request, ends=ends)
            case ListMembers():
                members = yield from self._network.exchange("members", lambda broker: broker.members(group))
                return Reply(ticket, request, members=members)

    def _init(self, transactional_id: str) -> Exchange[Writer]:
        timeout = self._sim_settings.transaction_timeout.total_seconds()
        while True:
            try:
                return (yield from self._network.exchange("init", lambda b: b.init(transactional_id, timeout)))
            except TransactionBusy:
                yield

    def _commit(self, request: Commit) -> Exchange[tuple[Verdict, TransportError | None]]:
        try:
            if self._writer is None:
                self._writer = yield from self._init(self.client_id)
            verdict, error = yield from self._transact(self._writer, request)
        except ProducerFenced as fenced:
            self._writer = None
            return Verdict.FENCED, TransportError(str(fenced))
        except Lost as lost:
            self._writer = None
            return Verdict.DOUBT, TransportError(f"no answer to {lost}")
        return verdict, error

    def _transact(self, writer: Writer, request: Commit) -> Exchange[tuple[Verdict, TransportError | None]]:
        snapshot = request.snapshot
        assert isinstance(snapshot, Snapshot)
        exchange = self._network.exchange
        self._network.rare["offsets_only"] += not request.records
        if not snapshot_stands(self, snapshot):
            self._network.rare["zombie_commit"] += 1
        try:
            for part in self._parts(request.records):
                yield from self._patiently("produce", part(writer))
            yield from self._patiently(
                "offsets",
                lambda b: b.add_positions(
                    writer, snapshot.group, snapshot.member_id, snapshot.generation, request.positions
                ),
            )
            yield from exchange("end", lambda b: b.end_transaction(writer, commit=True))
        except StaleGeneration as stale:
            self._network.rare["stale_generation"] += 1
            yield from exchange("abort", lambda b: b.end_transaction(writer, commit=False))
            return Verdict.STALE, TransportError(str(stale))
        except (UnknownTopic, RecordTooLarge, MetadataTooLong) as refusal:
            yield from exchange("abort", lambda b: b.end_transaction(writer, commit=False))
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

    def _patiently(self, kind: str, call: Callable[[Broker], None]) -> Exchange[None]:
        """A call that is repeated while the last transaction's markers are being written."""
        while True:
            try:
                return (yield from self._network.exchange(kind, call))
            except TransactionBusy:
                yield


def snapshot_stands(member: SimMember, snapshot: Snapshot) -> bool:
    """Whether the broker would accept the snapshot now."""
    try:
        return member.snapshot() == snapshot
    except TransportError:
        return False
