"""A member on Kafka: the consumer belongs to the loop's thread, all other calls to helper threads."""

import logging
import struct
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import count

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import FatalTransportError, NotJoined, TransportError
from farandole.transport.kafka.admin import KafkaAdmin
from farandole.transport.kafka.helper import Helper, Replies
from farandole.transport.kafka.placing import Placing
from farandole.transport.kafka.polling import Poller
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.transactions import Snapshot, Transactor, fence
from farandole.transport.port import (
    Commit,
    FenceWriter,
    GroupSnapshot,
    ListMembers,
    MemberSettings,
    Polled,
    ReadEnds,
    ReadPositions,
    Rebalance,
    RenewProducer,
    Reply,
    Request,
    TopicPartition,
)

log = logging.getLogger("farandole.transport")

RELEASE_BUDGET = timedelta(seconds=8)
"""Longest that a rebalance callback lets the loop finish: below every session we allow (R11, R14)."""

READ_TIMEOUT = 10.0
"""Longest wait for an answer that only reads, seconds."""


class KafkaMember:
    """Implements `Member`."""

    def __init__(self, settings: KafkaSettings, member: MemberSettings, placing: Placing) -> None:
        self._settings = settings
        self._member = member
        self._consumer = Consumer(settings.member(member))
        self._poller = Poller(self._consumer, member.client_id, is_eager=member.assignor != "cooperative-sticky")
        self._transactor = Transactor(settings, member, placing)
        self._admin = KafkaAdmin(settings, f"{member.client_id}.admin")
        self._replies = Replies()
        self._writing = Helper(f"{member.client_id}.writing", self._replies)
        self._reading = Helper(f"{member.client_id}.reading", self._replies)
        self._tickets = count(1)
        self._rebalance: Rebalance | None = None
        self._owned: set[TopicPartition] = set()
        self._is_lost = False
        self._is_closed = False

    @property
    def client_id(self) -> str:
        """Client id and transactional id."""
        return self._member.client_id

    # --- reading --------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """Join the group."""
        self._rebalance = rebalance
        self._consumer.subscribe(list(topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """Records, ends and troubles; rebalances happen in here."""
        if self._is_closed:
            raise FatalTransportError(f"{self.client_id}: expected an open member, but it was closed")
        return self._poller.poll(timeout, self._member.poll_max_records)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver nothing more."""
        self._poller.pause([at for at in partitions if at in self._owned])

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Deliver again."""
        self._poller.resume([at for at in partitions if at in self._owned])

    def seek(self, at: TopicPartition, position: int) -> None:
        """Go on from there."""
        if at in self._owned:
            self._poller.seek(at, position)

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions that are ours."""
        return frozenset(self._owned)

    # --- asking ---------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The group's view of this member, refused unless it has joined (R3)."""
        raw = self._consumer.consumer_group_metadata()
        member_id, generation = self._consumer.memberid(), _generation(raw)
        if self._is_lost or not member_id or generation < 0:
            raise NotJoined(
                f"{self._member.group}: expected {self.client_id} to have joined, but it has no member id or "
                "generation now. Nothing was sent: without them the broker would not fence a zombie (R3)"
            )
        return Snapshot(raw, generation)

    def call(self, request: Request) -> int:
        """Hand a request to a helper thread."""
        if isinstance(request, Commit):
            _check(request, self.client_id)
        ticket = next(self._tickets)
        helper = self._writing if isinstance(request, Commit | RenewProducer | FenceWriter) else self._reading
        helper.submit(lambda: self._perform(ticket, request))
        return ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        """What has been answered."""
        return self._replies.take(timeout)

    def wake(self) -> None:
        """End a wait in `replies`."""
        self._replies.wake()

    def close(self) -> None:
        """Leave the group; callbacks run."""
        if self._is_closed:
            return
        self._is_closed = True
        self._consumer.close()
        self._writing.close(READ_TIMEOUT)
        self._reading.close(READ_TIMEOUT)
        self._admin.close()

    # --- on the helper threads ------------------------------------------------------------

    def _perform(self, ticket: int, request: Request) -> Reply:
        try:
            return self._answer(ticket, request)
        except (KafkaException, TransportError) as error:
            told = error if isinstance(error, TransportError) else TransportError(f"{self.client_id}: {error}")
            return Reply(ticket, request, error=told)
        except Exception as error:
            log.exception("%s failed in a way of its own", type(request).__name__)
            return Reply(ticket, request, error=TransportError(f"{self.client_id}: {error!r}"))

    def _answer(self, ticket: int, request: Request) -> Reply:
        match request:
            case Commit():
                verdict, error = self._transactor.commit(request)
                return Reply(ticket, request, verdict, error=error)
            case RenewProducer():
                self._transactor.renew()
                return Reply(ticket, request)
            case FenceWriter(transactional_id=other):
                fence(self._settings, self._member, other)
                return Reply(ticket, request)
            case ReadPositions(partitions=asked, stable=stable, group=group):
                found = self._admin.read_positions(group or self._member.group, asked, stable=stable)
                return Reply(ticket, request, positions=found)
            case ReadEnds(partitions=asked, isolation=isolation):
                return Reply(ticket, request, ends=self._admin.ends(asked, isolation))
            case ListMembers():
                return Reply(ticket, request, members=self._admin.members(self._member.group))

    # --- rebalance callbacks, inside poll and close ----------------------------------------

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        """Take them at offset 0, paused: nothing is asked of the broker that a pending transaction could hold up."""
        self._is_lost = False
        ours = [TopicPartition(p.topic, p.partition) for p in partitions]
        at_start = [KafkaPartition(p.topic, p.partition, 0) for p in partitions]
        if self._member.assignor == "cooperative-sticky":
            consumer.incremental_assign(at_start)
        else:
            consumer.assign(at_start)
        self._owned.update(ours)
        self._poller.add(ours)
        if self._rebalance is not None and ours:
            self._rebalance.assigned(ours)

    def _revoked(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        gone = [TopicPartition(p.topic, p.partition) for p in partitions]
        if self._rebalance is not None and gone:
            until = time.monotonic() + RELEASE_BUDGET.total_seconds()
            while not self._rebalance.releasing(gone) and time.monotonic() < until:
                pass  # `releasing` waits for replies by itself
        self._forget(gone, lost=False)

    def _lost(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self._is_lost = True
        self._forget([TopicPartition(p.topic, p.partition) for p in partitions], lost=True)

    def _forget(self, gone: Sequence[TopicPartition], *, lost: bool) -> None:
        self._owned.difference_update(gone)
        self._poller.drop(gone)
        if self._rebalance is not None and gone:
            self._rebalance.gone(gone, lost=lost)


def _generation(raw: bytes) -> int:
    """The generation inside librdkafka's serialised group metadata ("CGMDv2:", then an int32).

    Source: librdkafka `rd_kafka_consumer_group_metadata_write`.
    """
    return int(struct.unpack("<i", bytes(raw)[7:11])[0])


def _check(request: Commit, client_id: str) -> None:
    if not request.positions:
        raise ValueError(f"{client_id}: expected a position with every transaction, but there is none (R3)")
    for at, position in request.positions.items():
        if position.offset < 0:
            raise ValueError(f"{client_id}: expected a position to commit for {at}, but it is {position.offset} (R3)")
    snapshot: GroupSnapshot = request.snapshot
    if not isinstance(snapshot, Snapshot):
        raise ValueError(f"{client_id}: expected a snapshot of this transport, but it is {snapshot!r}")
    if snapshot.generation < 0:
        raise NotJoined(f"{client_id}: the snapshot was taken before joining (R3)")
