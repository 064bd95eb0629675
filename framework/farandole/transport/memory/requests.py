"""Answering a member's requests: broker calls in their order, and what their refusals mean.

Everything is answered at once, so a transaction is never open between two calls, and there is
never doubt about how it ended.
"""

from datetime import timedelta

from farandole.errors import TransportError
from farandole.transport.memory.broker import Broker
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
from farandole.transport.memory.transactions import Writer
from farandole.transport.port import (
    Commit,
    FenceWriter,
    ListMembers,
    MemberSettings,
    ReadEnds,
    ReadPositions,
    RenewProducer,
    Reply,
    Request,
    Verdict,
)


def check_commit(request: Commit, client_id: str) -> Snapshot:
    """The snapshot of a transaction that may be sent (R3).

    Raises:
        ValueError: no positions, or a negative offset.
        NotJoined: the snapshot was taken before joining.
    """
    if not request.positions:
        raise ValueError(f"{client_id}: expected a position with every transaction, but there is none (R3)")
    for at, position in request.positions.items():
        if position.offset < 0:
            raise ValueError(f"{client_id}: expected a position to commit for {at}, but it is {position.offset} (R3)")
    snapshot = request.snapshot
    if not isinstance(snapshot, Snapshot):
        raise ValueError(f"{client_id}: expected a snapshot of this transport, but it is {snapshot!r}")
    snapshot.require_joined(client_id)
    return snapshot


def initialise(broker: Broker, transactional_id: str, timeout: timedelta) -> Writer:
    """A new epoch of the id, whatever was open."""
    while True:
        try:
            return broker.init(transactional_id, timeout / timedelta(seconds=1))
        except TransactionBusy:
            broker.settle()


class Requests:
    """The producer side of one member; call with the broker held."""

    def __init__(self, settings: MemberSettings) -> None:
        self._settings = settings
        self._writer: Writer | None = None

    def answer(self, broker: Broker, ticket: int, request: Request) -> Reply:
        """What the broker says to a request."""
        try:
            return self._answer(broker, ticket, request)
        except Refusal as refusal:
            return Reply(ticket, request, error=TransportError(str(refusal)))

    def _answer(self, broker: Broker, ticket: int, request: Request) -> Reply:
        match request:
            case Commit():
                return self._commit(broker, ticket, request)
            case RenewProducer():
                self._writer = initialise(broker, self._settings.client_id, self._settings.transaction_timeout)
                return Reply(ticket, request)
            case FenceWriter(transactional_id=other):
                initialise(broker, other, self._settings.transaction_timeout)
                return Reply(ticket, request)
            case ReadPositions(partitions=partitions, stable=stable, group=group):
                found = broker.positions(group or self._settings.group, partitions, stable=stable)
                return Reply(ticket, request, positions=found)
            case ReadEnds(partitions=partitions, isolation=isolation):
                return Reply(ticket, request, ends={at: broker.end(at, isolation) for at in partitions})
            case ListMembers():
                return Reply(ticket, request, members=broker.members(self._settings.group))

    def _commit(self, broker: Broker, ticket: int, request: Commit) -> Reply:
        if self._writer is None:
            self._writer = initialise(broker, self._settings.client_id, self._settings.transaction_timeout)
        verdict, refused = self._transact(broker, self._writer, request)
        broker.settle()
        return Reply(ticket, request, verdict, error=None if refused is None else TransportError(str(refused)))

    def _transact(self, broker: Broker, writer: Writer, request: Commit) -> tuple[Verdict, Refusal | None]:
        snapshot = check_commit(request, self._settings.client_id)
        try:
            for record in request.records:
                broker.append_in(writer, record)
            try:
                broker.add_positions(writer, snapshot.group, snapshot.member_id, snapshot.generation, request.positions)
            except UnknownTopic as refusal:
                # As librdkafka has it: it asks again until its time is over, and nothing is certain then.
                broker.end_transaction(writer, commit=False)
                return Verdict.DOUBT, refusal
            broker.end_transaction(writer, commit=True)
        except ProducerFenced as refusal:
            return Verdict.FENCED, refusal
        except StaleGeneration as refusal:
            broker.end_transaction(writer, commit=False)
            return Verdict.STALE, refusal
        except (UnknownTopic, RecordTooLarge, MetadataTooLong) as refusal:
            broker.end_transaction(writer, commit=False)
            return Verdict.REFUSED, refusal
        return Verdict.COMMITTED, None
