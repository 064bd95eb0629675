"""One transaction at a time on one producer: every call bounded, every end judged (R2 to R5).

Runs in the member's helper thread and knows nothing of it. A producer of whose state there is
any doubt is never used again: whoever asks next must renew it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from farandole.errors import TransportError
from farandole.transport.kafka.errors import FENCED, REFUSED, error_of, verdict_of_abort
from farandole.transport.kafka.placing import Placing
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import Commit, MemberSettings, Verdict

RETRIED_AFTER = 0.4
"""A call that took longer may have been retried unseen, so that a late copy of it may still arrive, seconds.

Source: librdkafka waits at least 0.8 × 500 ms before it repeats an EndTxn (see reliability notes, F5).
"""

CALL_TIMEOUT = 10.0
"""Longest that one client call may take, seconds: the transaction has timed out by then."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the client knows of its membership at one moment (KIP-447); `raw` is librdkafka's own object."""

    raw: object
    generation: int


class Refusal(Exception):  # noqa: N818 - a record that cannot be written, told to whoever wrote it
    """A record was refused by the client or the broker."""

    def __init__(self, error: KafkaError, about: str) -> None:
        super().__init__(f"{about}: {error.str()}")
        self.error = error


class Transactor:
    """A transactional id and the producer that serves it now."""

    def __init__(self, settings: KafkaSettings, member: MemberSettings, placing: Placing) -> None:
        self._settings = settings
        self._member = member
        self._placing = placing
        self._producer: Producer | None = None
        self._suspect = False
        self._errors = 0

    def renew(self) -> None:
        """A new producer on the same id; it fences the old one and aborts what that left open.

        Raises:
            KafkaException: it could not be initialised; ask again.
        """
        self._producer, self._suspect = None, False
        producer = Producer({**self._settings.transactional(self._member), "error_cb": self._told})
        producer.init_transactions(CALL_TIMEOUT)
        self._producer = producer

    def commit(self, request: Commit) -> tuple[Verdict, TransportError | None]:
        """Begin, produce, flush, send positions, commit; the verdict is final unless it is DOUBT or FENCED."""
        if self._producer is None or self._suspect:
            try:
                self.renew()
            except (KafkaException, TransportError) as error:
                # Nothing of this transaction has been sent.
                return Verdict.ABORTED, TransportError(f"{self._member.client_id}: {error}")
        assert self._producer is not None
        try:
            return self._transact(self._producer, request)
        except (KafkaException, BufferError) as error:
            return self._failed(self._producer, error)
        except SystemError as error:
            # The binding's way of saying that a delivery callback ran while a client error was being raised.
            if not isinstance(error.__cause__, KafkaException):
                raise
            return self._failed(self._producer, error.__cause__)
        except Refusal as refusal:
            if refusal.error.code() in FENCED:
                self._producer = None
                return Verdict.FENCED, TransportError(str(refusal))
            return self._abort(self._producer, verdict_of_abort(refusal.error), str(refusal))

    def _transact(self, producer: Producer, request: Commit) -> tuple[Verdict, TransportError | None]:
        refused: list[Refusal] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None and not refused:
                refused.append(Refusal(error, f"{message.topic()}"))

        producer.begin_transaction()
        for record in request.records:
            producer.produce(
                record.topic,
                record.value,
                record.key,
                partition=self._placing.partition(record),
                on_delivery=delivered,
                headers=list(record.headers),
            )
        left = producer.flush(CALL_TIMEOUT)
        if refused:
            raise refused[0]
        if left:
            self._producer = None
            return Verdict.DOUBT, TransportError(f"{left} records were not acknowledged in {CALL_TIMEOUT} s")
        errors, snapshot = self._errors, request.snapshot
        assert isinstance(snapshot, Snapshot)
        offsets = [
            KafkaPartition(at.topic, at.partition, position.offset, position.metadata)
            for at, position in request.positions.items()
        ]
        self._timed(lambda: producer.send_offsets_to_transaction(offsets, snapshot.raw, CALL_TIMEOUT))
        self._timed(lambda: producer.commit_transaction(CALL_TIMEOUT))
        self._suspect = self._suspect or self._errors != errors
        return Verdict.COMMITTED, None

    def _timed(self, call: Callable[[], None]) -> None:
        began = time.monotonic()
        call()
        if time.monotonic() - began >= RETRIED_AFTER:
            self._suspect = True

    def _failed(
        self, producer: Producer, exception: KafkaException | BufferError
    ) -> tuple[Verdict, TransportError | None]:
        error = error_of(exception)
        if error is None:
            return self._abort(producer, Verdict.ABORTED, str(exception))
        if error.code() in FENCED:
            self._producer = None
            return Verdict.FENCED, TransportError(error.str())
        if error.txn_requires_abort() or (error.code() in REFUSED and not error.fatal()):
            return self._abort(producer, verdict_of_abort(error), error.str())
        self._producer = None
        return Verdict.DOUBT, TransportError(f"{error.name()}: {error.str()}")

    def _abort(self, producer: Producer, verdict: Verdict, why: str) -> tuple[Verdict, TransportError | None]:
        try:
            producer.abort_transaction(CALL_TIMEOUT)
        except KafkaException as exception:
            error = error_of(exception)
            self._producer = None
            fenced = error is not None and error.code() in FENCED
            return (Verdict.FENCED if fenced else Verdict.DOUBT), TransportError(f"{why}; and then: {exception}")
        return verdict, TransportError(why)

    def _told(self, error: KafkaError) -> None:
        self._errors += 1


def fence(settings: KafkaSettings, member: MemberSettings, transactional_id: str) -> None:
    """Initialise another's id: what it left open is aborted (R7).

    Raises:
        KafkaException: it could not be initialised.
    """
    config = settings.transactional(member)
    producer = Producer({**config, "transactional.id": transactional_id, "client.id": f"{member.client_id}.fence"})
    producer.init_transactions(CALL_TIMEOUT)
