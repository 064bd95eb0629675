"""A transport to be compared, and what a comparison needs that the port does not have.

A further transport is one more entry of `compare.STAGES`, with a class that says how a transaction
is left open on it and what stands on a partition, aborted records included.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from farandole.clock import Clock, ManualClock
from farandole.testing.conformance import Kit
from farandole.testing.twin.operations import EVERYTHING, Scope
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.kafka.errors import FENCED, error_of
from farandole.transport.memory import MemoryTransport
from farandole.transport.memory.refusals import ProducerFenced
from farandole.transport.memory.requests import initialise
from farandole.transport.memory.transactions import Writer
from farandole.transport.port import Isolation, NewRecord, Position, TopicPartition, Transport

CALL_TIMEOUT_S: Final = 20.0

SETTLE: Final = timedelta(seconds=40)
"""Longest that anything may take: a rebalance on a loaded machine takes seconds."""

Row = tuple[int, bytes | None]


class Open(Protocol):
    """A transaction that was left open."""

    def end(self, *, commit: bool) -> str:
        """End it after all: `done`, `fenced`, or the name of an error."""
        ...


class Stage(Protocol):
    """One log under comparison."""

    scope: Scope

    clock: Clock | None
    """The clock on which waits are to be made; None for the machine's."""

    def make(self) -> Transport:
        """The transport; all calls give the same log."""
        ...

    def leave_open(
        self,
        client_id: str,
        timeout: timedelta,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> Open:
        """Begin a transaction: records have reached the log and positions are pending when it returns."""
        ...

    def rows(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, list[Row]]:
        """Every record of these partitions, whatever became of its transaction."""
        ...


def kit_of(stage: Stage) -> Kit:
    """What members and readers of a stage are driven with."""

    def hang(
        transport: Transport,
        client_id: str,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> None:
        raise AssertionError("nobody asks the kit for an open transaction: a stage leaves them open by itself")

    return Kit(stage.make, hang=hang, settle=SETTLE, clock=stage.clock)


# --- memory -----------------------------------------------------------------------------------


class MemoryStage:
    """The log in memory, on virtual time."""

    scope = EVERYTHING

    def __init__(self, _: str = "") -> None:
        self.clock: Clock | None = ManualClock()
        self._transport = MemoryTransport(self.clock)

    def make(self) -> Transport:
        """Always the same one."""
        return self._transport

    def leave_open(
        self,
        client_id: str,
        timeout: timedelta,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> Open:
        """A transaction in the broker."""
        with self._transport.hub as broker:
            writer = initialise(broker, client_id, timeout)
            for record in records:
                broker.append_in(writer, record)
            if positions:
                broker.add_positions(writer, group, "", -1, positions)
        return _MemoryOpen(self._transport, writer)

    def rows(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, list[Row]]:
        """As the broker has them."""
        with self._transport.hub as broker:
            read = {at: broker.read(at, 0, 1_000_000, Isolation.UNCOMMITTED)[0] for at in places}
        return {at: [(each.offset, each.value) for each in records] for at, records in read.items()}


class _MemoryOpen:
    def __init__(self, transport: MemoryTransport, writer: Writer) -> None:
        self._transport, self._writer = transport, writer

    def end(self, *, commit: bool) -> str:
        try:
            with self._transport.hub as broker:
                broker.end_transaction(self._writer, commit=commit)
                broker.settle()
        except ProducerFenced:
            return "fenced"
        return "done"


# --- a real broker ----------------------------------------------------------------------------


class KafkaStage:
    """A real broker, by its address."""

    scope = EVERYTHING

    def __init__(self, bootstrap: str) -> None:
        self.clock: Clock | None = None
        self._bootstrap = bootstrap
        self._transport = KafkaTransport(KafkaSettings(bootstrap=bootstrap, strict=False))

    def make(self) -> Transport:
        """Always the same one."""
        return self._transport

    def leave_open(
        self,
        client_id: str,
        timeout: timedelta,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> Open:
        """A raw producer, which the caller keeps: to destroy it would be heard of."""
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "transactional.id": client_id,
                "transaction.timeout.ms": int(timeout / timedelta(milliseconds=1)),
                "message.timeout.ms": int(timeout / timedelta(milliseconds=1)),
                "linger.ms": 0,
                "log_level": 0,
                "error_cb": lambda error: None,
            }
        )
        producer.init_transactions(CALL_TIMEOUT_S)
        producer.begin_transaction()
        for record in records:
            producer.produce(
                record.topic, record.value, record.key, -1 if record.partition is None else record.partition
            )
        if producer.flush(CALL_TIMEOUT_S):
            raise AssertionError(f"{client_id}: expected its records on the log, but they are not acknowledged")
        if positions:
            self._promise(producer, group, positions)
        return _KafkaOpen(producer)

    def _promise(self, producer: Producer, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """As a consumer that never joined: that is accepted in any state of the group."""
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": group, "log_level": 0})
        try:
            offsets = [KafkaTopicPartition(at.topic, at.partition, *given) for at, given in positions.items()]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), CALL_TIMEOUT_S)
        finally:
            consumer.close()

    def rows(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, list[Row]]:
        """Read without isolation, up to the ends of now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "unused",
                "isolation.level": "read_uncommitted",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        found: dict[TopicPartition, list[Row]] = {at: [] for at in places}
        try:
            consumer.assign([KafkaTopicPartition(*at, 0) for at in places])
            left = set(places)
            while left:
                record = consumer.poll(CALL_TIMEOUT_S)
                if record is None:
                    raise AssertionError(f"expected the ends of {sorted(left)} within {CALL_TIMEOUT_S:g} s")
                at, error = TopicPartition(record.topic() or "", record.partition() or 0), record.error()
                if error is None:
                    found[at].append((record.offset() or 0, record.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(at)
                else:
                    raise AssertionError(f"{at}: {error}")
        finally:
            consumer.close()
        return found


class _KafkaOpen:
    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def end(self, *, commit: bool) -> str:
        call = self._producer.commit_transaction if commit else self._producer.abort_transaction
        try:
            call(CALL_TIMEOUT_S)
        except KafkaException as refused:
            error = error_of(refused)
            return "fenced" if error.code() in FENCED else error.name()
        return "done"
