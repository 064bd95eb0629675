"""One transaction at a time on one producer: every call bounded, every end judged (R2 to R5).

Blocking, for a thread of its own. A producer of whose state there is any doubt is never used
again: `renew` makes another one on the same id, and what the old one left open is aborted.

No Python client has KIP-890's epoch per transaction, so that a request of one transaction which
is repeated unseen may arrive inside the next one and end it, or commit a position for it. Hence a
transaction whose calls *may* have been repeated is answered as it ended, and the producer is
replaced before the next one begins. Only time tells: librdkafka repeats an EndTxn no earlier than
0.8 x `retry.backoff.ms`, a TxnOffsetCommit no earlier than 500 ms; and when the connection to the
coordinator is cut it repeats an EndTxn without a word to `error_cb` [measured].

Source: librdkafka `rdkafka_txnmgr.c` (`rd_kafka_txn_handle_EndTxn`, `_TxnOffsetCommit`),
`rdkafka_broker.c` (`rd_kafka_broker_buf_retry`).
"""

import contextlib
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import TransportError
from farandole.transport.kafka.calls import CallWatch
from farandole.transport.kafka.errors import CLIENT_ERRORS, FENCED, because, error_of, failure, told, verdict_of_abort
from farandole.transport.kafka.settings import RETRY_BACKOFF_MS, TRANSACTION_MAX, KafkaSettings
from farandole.transport.port import NewRecord, Position, TopicPartition, Verdict

COMMIT_SUSPECT = 0.8 * RETRY_BACKOFF_MS / 1000
"""Seconds; a commit or abort that took as long may have sent its EndTxn twice. 1 of 1,800 at full load [measured]."""

OFFSETS_SUSPECT = 0.4
"""Seconds; sending positions that took as long may have sent TxnOffsetCommit twice. AddOffsetsToTxn, which is
repeated sooner and more often, does no harm in another transaction."""

BREATH = 0.01
"""Least seconds between a commit and a transaction without records.

Its first request is AddOffsetsToTxn. One that comes before the last markers are written is refused and repeated
after `retry.backoff.ms`; 1 ms of patience on an idle machine makes it 2.4 ms instead, 10 ms at full load spare 98
of 100 the repetition [measured]. With records the
first is AddPartitionsToTxn, which librdkafka repeats after 20 ms.
"""

RETRY_PAUSE = 0.5
"""Least seconds that an initialisation takes when it fails, so that whoever asks again at once does not spin."""

REST_AGAIN = 5.0
"""Seconds before it is tried again between two transactions, where each try may block for the client's patience."""


MISDATED_S = 60.0
"""How long after a record was refused for its timestamp a refusal of any kind is no record's fault.

The broker refuses what follows such an abort as INVALID_RECORD [measured]: with the verification of transactions that
is also its word, to a client of ours, for a partition that it does not find in the transaction.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Implements `GroupSnapshot`; `raw` is what librdkafka sends with the positions."""

    raw: object
    generation: int
    member_id: str = ""

    @property
    def has_joined(self) -> bool:
        """Whether the broker would fence with it."""
        return self.generation >= 0 and bool(self.member_id)


def snapshot_of(group_metadata: Any) -> Snapshot:
    """What a consumer tells of its group. Asked for the member id too, it would ask its own thread a second time.

    Serialised it is "CGMDv2:", the generation as an int32 (-1: never joined), then group and member id, each closed
    by a zero byte. Source: librdkafka `rd_kafka_consumer_group_metadata_write`.
    """
    told = bytes(group_metadata)
    (generation,) = _GENERATION.unpack_from(told)
    _, member, _ = told[_GENERATION.size :].split(b"\0", 2)
    return Snapshot(group_metadata, generation, member.decode())


_GENERATION = struct.Struct("<7xi")

NEVER_JOINED = -1
"""Generation of a consumer that is in no group."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a transaction ended, and why if not well."""

    verdict: Verdict
    error: TransportError | None = None


class Signs:
    """A producer's `error_cb`: how many errors the client has told, and of how many outages.

    An outage is that no broker is left: one that comes back alone may forget what it had committed, for it does not
    know yet who leads what (docs/decisions/0123). Among several another one takes its transactions over.
    """

    def __init__(self) -> None:
        self.count = self.outages = 0

    def __call__(self, error: KafkaError) -> None:
        """One more."""
        self.count += 1
        self.outages += error.code() == KafkaError._ALL_BROKERS_DOWN


class Transactor:
    """A transactional id, and the producer that serves it now."""

    def __init__(
        self,
        settings: KafkaSettings,
        transactional_id: str,
        timeout: timedelta = TRANSACTION_MAX,
        *,
        is_spent: bool = False,
    ) -> None:
        self.calls = CallWatch(settings.patience)
        self._settings = settings
        self._id = transactional_id
        self._timeout = timeout
        self._signs = Signs()
        self._producer: Producer | None = None
        self._is_worn = False
        self._is_spent = is_spent
        self._is_alone = False
        """Whether it is known that no earlier producer of this id has left a transaction open somewhere."""

        self._met = 0
        """Outages that were told before the last transaction ended."""

        self._has_committed = False
        """Whether all that was ended since the last initialisation was committed, and there was something."""

        self._is_fresh = True
        """Whether nothing was ended since the last initialisation."""

        self._ended = self._rest_until = 0.0
        self._misdated = -MISDATED_S

    def prepare(self) -> None:
        """Have a producer, unless the last one is in doubt: then only `renew` may make one.

        Raises:
            TransportError: it could not be initialised; ask again.
        """
        if (self._producer is None or self._is_worn) and not self._is_spent:
            self._begin_anew()

    def renew(self) -> None:
        """A new producer on the same id; it fences the old one and aborts what that left open (R4).

        Raises:
            TransportError: it could not be initialised; ask again.
        """
        self._producer, self._is_alone = None, False
        self._begin_anew()
        self._is_spent = False

    def rest(self) -> None:
        """Between transactions: hear what the producer tells, and replace it after an outage, or where its requests may
        have been repeated."""
        self._look_for_outage()
        if self._is_worn and time.monotonic() >= self._rest_until:
            try:
                self.prepare()
            except TransportError:  # the next transaction tries again, and tells
                self._rest_until = time.monotonic() + REST_AGAIN

    def commit(
        self, records: Sequence[NewRecord], positions: Mapping[TopicPartition, Position], snapshot: Snapshot
    ) -> Outcome:
        """Begin, produce, flush, send positions with `snapshot`, commit."""
        if self._is_spent:
            return Outcome(Verdict.DOUBT, self._say("its producer is in doubt and was not renewed. Nothing was sent"))
        self._look_for_outage()
        try:
            self.prepare()
        except TransportError as error:
            return Outcome(Verdict.ABORTED, error)
        assert self._producer is not None
        if not records:
            time.sleep(max(0.0, self._ended + BREATH - time.monotonic()))
        under_way = _Transaction(self._producer, self._signs, self._settings.patience, self.calls)
        self._is_spent = True  # until we know better, whatever happens
        may_have, self._has_committed = self._has_committed or self._is_fresh, False
        self._is_fresh = False
        outcome = under_way.run(records, _offsets(positions), snapshot.raw)
        self._ended = time.monotonic()
        self._is_alone &= self._signs.outages == self._met
        self._met = self._signs.outages
        self._has_committed = may_have and outcome.verdict is Verdict.COMMITTED
        self._is_spent = outcome.verdict in (Verdict.DOUBT, Verdict.FENCED)
        self._is_worn = under_way.is_suspect() and not self._is_spent
        if self._is_spent:
            self._producer = None
        return self._judged(outcome, under_way.aborted_by)

    def _judged(self, outcome: Outcome, aborted_by: int | None) -> Outcome:
        """The outcome, where a refusal is not the clock's."""
        if aborted_by == KafkaError.INVALID_TIMESTAMP:
            self._misdated = self._ended
        if outcome.verdict is Verdict.REFUSED and self._ended - self._misdated < MISDATED_S:
            return Outcome(Verdict.ABORTED, outcome.error)
        return outcome

    def _begin_anew(self) -> None:
        """Another producer, once what is open under its id is seen to: before it is initialised, for after that nobody
        can tell how that had ended; and after, unless it is known that there can be nothing.

        Raises:
            TransportError: not before `RETRY_PAUSE` is over, so that whoever asks again at once does not spin.
        """
        began, self._producer = time.monotonic(), None
        try:
            self._met = self._signs.outages
            self._end_left()
            producer = self._initialised()
            _hear(producer)
            self._is_alone &= self._signs.outages == self._met
            self._require_alone()
        except TransportError:
            self._is_worn, self._is_alone = True, False
            time.sleep(max(0.0, began + RETRY_PAUSE - time.monotonic()))
            raise
        self._producer, self._is_worn = producer, False
        self._is_fresh, self._has_committed = True, False

    def _initialised(self) -> Producer:
        try:
            producer = Producer({**self._settings.transactional(self._id, self._timeout), "error_cb": self._signs})
            with self.calls:
                producer.init_transactions(self._settings.patience)
        except CLIENT_ERRORS as error:
            # Not that it is tried again: who starts a group alone does not, where a right is missing.
            raise failure(f"{self._id}: its producer was not initialised: {told(error)}", error) from error
        return producer

    def _look_for_outage(self) -> None:
        """After an outage between two transactions the producer is replaced, and what is open under its name asked for:
        a broker that comes back may have left out markers of the last one, whose fate would be that of the next
        (docs/decisions/0123)."""
        if self._producer is not None:
            _hear(self._producer)
            if self._signs.outages != self._met:
                self._is_worn, self._is_alone = True, False

    def _end_left(self) -> None:
        from farandole.transport.kafka.leftovers import end_leftovers

        end_leftovers(self._settings, self._id, is_committed=self._has_committed)

    def _require_alone(self) -> None:
        from farandole.transport.kafka.leftovers import require_none

        if not self._is_alone:
            require_none(self._settings, self._id)
            self._is_alone = True

    def _say(self, what: str) -> TransportError:
        return TransportError(f"{self._id}: {what}")


class _Transaction:
    """One transaction from its begin to its end."""

    def __init__(self, producer: Producer, signs: Signs, patience: float, calls: CallWatch) -> None:
        self._calls = calls
        self._producer = producer
        self._signs = signs
        self._patience = patience
        self._undelivered: tuple[KafkaError, str] | None = None
        self._signs_before, self._outages_before = signs.count, signs.outages
        self._began: float | None = None
        self._is_slow = False
        self.aborted_by: int | None = None
        """The error for which it was aborted."""

    def run(self, records: Sequence[NewRecord], offsets: list[KafkaPartition], group: object) -> Outcome:
        """All of it."""
        try:
            self._producer.begin_transaction()
            self._produce(records)
            with self._calls:
                left = self._producer.flush(self._patience) if records else 0
            if self._undelivered is not None:
                return self._abort(*self._undelivered)
            if left:
                late = KafkaError(KafkaError._TIMED_OUT)
                return self._abort(late, f"{left} records were not acknowledged in {self._patience} s")
            self._began = time.monotonic()
            with self._calls:
                self._producer.send_offsets_to_transaction(offsets, group, self._patience)
            self._time(OFFSETS_SUSPECT)
            with self._calls:
                self._producer.commit_transaction(self._patience)
            self._time(COMMIT_SUSPECT)
        except CLIENT_ERRORS as error:
            return self._failed(error_of(error), told(error))
        _hear(self._producer)
        return Outcome(Verdict.COMMITTED)

    def is_suspect(self) -> bool:
        """Whether any of its requests may have been repeated."""
        return self._is_slow or self._signs.count != self._signs_before

    def _produce(self, records: Sequence[NewRecord]) -> None:
        for record in records:
            try:
                self._produce_one(record)
            except BufferError:
                # The client's queue is full: what is in it goes out now.
                self._producer.flush(self._patience)
                self._produce_one(record)

    def _produce_one(self, record: NewRecord) -> None:
        try:
            self._producer.produce(
                record.topic,
                record.value,
                record.key,
                partition=-1 if record.partition is None else record.partition,
                on_delivery=self._delivered,
                headers=list(record.headers),
            )
        except KafkaException as error:
            what = error_of(error)
            raise KafkaException(KafkaError(what.code(), f"{record.topic}: {what.str()}", what.fatal())) from error

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._undelivered is None:
            partition = message.partition()
            place = message.topic() if partition is None else f"{message.topic()}/{partition}"
            self._undelivered = error, f"{place}: {error.name()}: {error.str()}"

    def _time(self, suspect: float) -> None:
        """Note whether the call that has just ended took so long that its request may have been repeated."""
        now = time.monotonic()
        self._is_slow |= self._began is not None and now - self._began >= suspect
        self._began = now

    def _failed(self, error: KafkaError, why: str) -> Outcome:
        """A call failed. Nothing but an abort that succeeds makes the end certain."""
        if error.code() in FENCED:
            return Outcome(Verdict.FENCED, TransportError(why))
        if self._began is not None:
            self._time(COMMIT_SUSPECT)
            _hear(self._producer)
            # The broker may have what it seems to have refused, or may get it after the abort.
            if not error.txn_requires_abort() or self.is_suspect():
                return Outcome(Verdict.DOUBT, because(error, why))
        elif error.fatal():
            return Outcome(Verdict.DOUBT, because(error, why))
        return self._abort(error, why)

    def _abort(self, error: KafkaError, why: str) -> Outcome:
        self._began, self.aborted_by = time.monotonic(), error.code()
        try:
            with self._calls:
                self._producer.abort_transaction(self._patience)
            self._time(COMMIT_SUSPECT)
        except CLIENT_ERRORS as second:
            verdict = Verdict.FENCED if error_of(second).code() in FENCED else Verdict.DOUBT
            return Outcome(verdict, TransportError(f"{why}; and then: {told(second)}"))
        _hear(self._producer)
        if self._signs.outages != self._outages_before:  # it may have ended the one before too (docs/decisions/0123)
            return Outcome(Verdict.DOUBT, because(error, why))
        return Outcome(verdict_of_abort(error), because(error, why))


def _hear(producer: Producer) -> None:
    """Let the client tell what it has to. A fatal error is raised again by the call that matters."""
    with contextlib.suppress(*CLIENT_ERRORS):
        producer.poll(0)


def _offsets(positions: Mapping[TopicPartition, Position]) -> list[KafkaPartition]:
    return [KafkaPartition(*at, position.offset, position.metadata) for at, position in positions.items()]
