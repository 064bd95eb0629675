"""A client that does not come back from a call: nobody waits for it beyond its time."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

import pytest

from farandole.testing.conformance import Kit
from farandole.testing.proxy import ADD_OFFSETS_TO_TXN, Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import (
    Commit,
    NewRecord,
    Position,
    RenewProducer,
    Reply,
    TopicPartition,
    Transport,
    Verdict,
)

pytestmark = pytest.mark.kafka

CALL_TIMEOUT = timedelta(seconds=2)
ANSWER_MAX_SECONDS = 15


def _no_hang(
    transport: Transport,
    client_id: str,
    records: Sequence[NewRecord],
    group: str,
    positions: Mapping[TopicPartition, Position],
) -> None:
    raise AssertionError("no test here leaves a transaction open")


@pytest.fixture
def proxy(kafka: str) -> Iterator[KafkaProxy]:
    """A network in front of the broker that can be away."""
    with KafkaProxy(kafka) as proxy:
        yield proxy


@pytest.fixture
def kit(proxy: KafkaProxy) -> Iterator[Kit]:
    """The transport behind it."""
    settings = KafkaSettings(proxy.bootstrap, call_timeout=CALL_TIMEOUT)
    with Kit(lambda: KafkaTransport(settings), hang=_no_hang) as kit:
        yield kit


def _first(replies: Callable[[float], Sequence[Reply]]) -> Reply | None:
    """The first reply, or None if none comes in time."""
    until = time.monotonic() + ANSWER_MAX_SECONDS
    while time.monotonic() < until:
        if found := replies(0.1):
            return found[0]
    return None


def test_transaction_in_whose_midst_the_broker_goes_away_is_in_doubt_in_time_and_the_member_goes_on(
    kit: Kit, proxy: KafkaProxy
) -> None:
    """A coordinator stood still for ever after an outage: its client never came back from sending positions.

    librdkafka forgets the time-out of that call when the broker goes away after AddOffsetsToTxn (issue 5456). Seen in
    one of five kills of an only broker; a broker that is started again does not wake it.
    """
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])
    record = NewRecord(out.topic, None, b"effect", (), out.partition)
    member.commits([record], {inbox: Position(1)})

    proxy.meddle(ADD_OFFSETS_TO_TXN, Fate.LEAVE)
    ticket = member.member.call(Commit([record], {inbox: Position(2)}, member.member.snapshot()))
    reply = _first(member.member.replies)
    proxy.come_back()

    assert reply is not None, "nobody heard of the transaction again"
    assert (reply.ticket, reply.verdict) == (ticket, Verdict.DOUBT)
    assert reply.error is not None
    kit.until(lambda: member.ask(RenewProducer()).error is None, "a new producer on the same id")
    position = member.positions([inbox])[inbox]  # once nothing is pending
    assert position is not None
    # Judged by what is committed (R4): the client that was given up may get through before it is fenced.
    assert position.offset in (1, 2)
    if position.offset == 1:
        kit.until(lambda: member.commit([record], {inbox: Position(2)}).verdict is Verdict.COMMITTED, "a commit")
    kit.sees(out, [b"effect", b"effect"])
