"""F5: the end of one transaction that arrives inside the next one, on the real client.

The wire holds an EndTxn and cuts the connection; the client repeats it on another, and the
transaction commits. Inside the next one, when its records are produced and its positions are not
sent, the broker gets what was held. No client for Python has an epoch per transaction (KIP-890): to the
broker it is the end of the one under way. Then the process dies. What is on the log afterwards
tells whether records and positions went together.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from confluent_kafka import Producer

from farandole.errors import NotJoined
from farandole.testing.cluster import wait_until
from farandole.testing.proxy import END_TXN, Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport, transactions
from farandole.transport.kafka.member import KafkaMember
from farandole.transport.kafka.transactions import Snapshot, Transactor
from farandole.transport.port import End, MemberSettings, NewRecord, Position, Record, TopicPartition, TopicSpec

BEGINNING = -2
CALL_TIMEOUT = timedelta(seconds=10)
JOIN_MAX = timedelta(seconds=30)


class _DiedError(BaseException):
    """The process ends here, for all that its transaction knows."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What is on the log when all is over.

    `verdict` is of the transaction whose end was repeated. `effects` are the values that readers see,
    `position` is what is committed: after the n-th transaction it is n, as are its values.
    """

    verdict: str
    held: int
    effects: tuple[str, ...]
    position: int

    @property
    def is_torn(self) -> bool:
        """Whether there are effects of what counts as not consumed, so that it will be done again."""
        return self.effects != tuple(str(n) for n in range(1, self.position + 1))


def late_end(bootstrap: str, *, is_guarded: bool = True) -> Aftermath:
    """Live through it; without the guard, a producer is kept whose requests may have been repeated."""
    name = f"x{uuid.uuid4().hex[:8]}"
    inbox, out = TopicPartition(f"{name}.in", 0), TopicPartition(f"{name}.out", 0)
    direct = KafkaSettings(bootstrap)
    with ExitStack() as stack:
        admin = stack.enter_context(closing(KafkaTransport(direct).admin()))
        admin.create([TopicSpec(inbox.topic, 1), TopicSpec(out.topic, 1)])
        proxy = stack.enter_context(KafkaProxy(bootstrap))
        group = MemberSettings(name, f"{name}.member", "range", timedelta(seconds=15))
        snapshot = stack.enter_context(_joined(KafkaMember(direct, group), inbox.topic))
        if not is_guarded:
            stack.enter_context(patch.object(transactions._Transaction, "is_suspect", lambda self: False))
        dying = _dying_when_produced(proxy.release)
        stack.enter_context(patch.object(transactions, "Producer", dying))
        transactor = Transactor(KafkaSettings(proxy.bootstrap, call_timeout=CALL_TIMEOUT), f"{name}.writer")

        def transact(number: int) -> str:
            record = NewRecord(out.topic, None, str(number).encode(), (), out.partition)
            return transactor.commit([record], {inbox: Position(number)}, snapshot()).verdict.value

        transact(1)
        proxy.meddle(END_TXN, Fate.HOLD)
        verdict, held = transact(2), proxy.held
        transactor.rest()  # what the helper thread does between transactions: the guard works here
        dying.is_next = True
        try:
            transact(3)
        except _DiedError:
            Transactor(direct, f"{name}.writer").renew()  # its heir
        position = admin.positions(name, [inbox])[inbox].offset
        return Aftermath(verdict, held, _visible(direct, out), position)


@contextmanager
def _joined(member: KafkaMember, topic: str) -> Iterator[Callable[[], Snapshot]]:
    """A member that only lends its view of the group."""
    with closing(member):
        member.subscribe([topic], _Still())

        def snapshot() -> Snapshot | None:
            member.poll(0.05)
            try:
                return member.snapshot()
            except NotJoined:
                return None

        def certain() -> Snapshot:
            found = wait_until(snapshot, JOIN_MAX, "the member to have joined")
            assert found is not None
            return found

        certain()
        yield certain


class _Still:
    """Has its partition and reads nothing."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Good."""

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """At once."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Good."""


def _dying_when_produced(last_words: Callable[[], object]) -> Any:
    """The real producer, which dies when its next records are produced if `is_next`, after its last words."""

    class Dying(Producer):
        is_next = False

        def flush(self, *given: Any) -> int:
            left: int = super().flush(*given)
            if Dying.is_next:
                last_words()
                raise _DiedError
            return left

    return Dying


def _visible(settings: KafkaSettings, at: TopicPartition) -> tuple[str, ...]:
    """The committed values of a partition."""
    found: list[str] = []
    with closing(KafkaTransport(settings).reader("late-end")) as reader:
        reader.assign({at: BEGINNING})
        while True:
            for each in reader.poll(1.0):
                if isinstance(each, Record):
                    found.append((each.value or b"").decode())
                elif isinstance(each, End):
                    return tuple(found)
