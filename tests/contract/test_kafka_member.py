"""A member on Kafka where the port leaves room: what it does when the network or a foreign client misbehaves."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from farandole.errors import FatalTransportError, NotJoined, TransportError
from farandole.testing.conformance import Kit
from farandole.testing.conformance.driven import Driven
from farandole.testing.proxy import ADD_OFFSETS_TO_TXN, END_TXN, INIT_PRODUCER_ID, Fate, KafkaProxy
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import (
    Commit,
    Isolation,
    ListMembers,
    MemberSettings,
    NewRecord,
    Position,
    ReadEnds,
    ReadPositions,
    Record,
    RenewProducer,
    TopicPartition,
    Transport,
    Verdict,
)

pytestmark = pytest.mark.kafka

MANY = 500
CALL_TIMEOUT = timedelta(seconds=2)
SLOW_SECONDS = 0.3
"""Longer than a call may take and certainly not have been repeated (0.2 s)."""


def _no_hang(
    transport: Transport,
    client_id: str,
    records: Sequence[NewRecord],
    group: str,
    positions: Mapping[TopicPartition, Position],
) -> None:
    raise AssertionError("no test here leaves a transaction open")


@pytest.fixture
def kit(kafka: str) -> Iterator[Kit]:
    """The transport and the simplest loops on it."""
    with Kit(lambda: KafkaTransport(KafkaSettings(kafka)), hang=_no_hang) as kit:
        yield kit


@pytest.fixture
def proxy(kafka: str) -> Iterator[KafkaProxy]:
    """A bad network in front of the real broker."""
    with KafkaProxy(kafka) as proxy:
        yield proxy


@pytest.fixture
def through_proxy(proxy: KafkaProxy) -> Iterator[Kit]:
    """The transport behind the bad network."""
    settings = KafkaSettings(proxy.bootstrap, call_timeout=CALL_TIMEOUT)
    with Kit(lambda: KafkaTransport(settings), hang=_no_hang) as kit:
        yield kit


def _to(at: TopicPartition, value: bytes) -> NewRecord:
    return NewRecord(at.topic, None, value, (), at.partition)


def _wait_until(is_so: Callable[[], object]) -> None:
    """Ask again and again; the asking waits by itself."""
    until = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < until, "it did not become so in time"


# --- a producer whose requests may have been repeated --------------------------------------------


def test_member_whose_commit_took_long_tells_success_and_replaces_its_producer(
    through_proxy: Kit, proxy: KafkaProxy
) -> None:
    kit = through_proxy
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])
    member.commits([_to(out, b"1")], {inbox: Position(1)})
    member.commits([_to(out, b"2")], {inbox: Position(2)})
    before = proxy.counts[INIT_PRODUCER_ID]

    proxy.meddle(END_TXN, Fate.DELAY, seconds=SLOW_SECONDS)
    slow = member.commit([_to(out, b"3")], {inbox: Position(3)})
    member.commits([_to(out, b"4")], {inbox: Position(4)})

    assert slow.verdict is Verdict.COMMITTED
    assert proxy.counts[INIT_PRODUCER_ID] > before
    kit.sees(out, [b"1", b"2", b"3", b"4"])


def test_member_whose_connection_was_cut_at_the_commit_replaces_its_producer(
    through_proxy: Kit, proxy: KafkaProxy
) -> None:
    # The client repeats the EndTxn unseen; a late copy of it could end the next transaction.
    kit = through_proxy
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])
    member.commits([_to(out, b"1")], {inbox: Position(1)})
    inits, ends = proxy.counts[INIT_PRODUCER_ID], proxy.counts[END_TXN]

    proxy.meddle(END_TXN, Fate.CUT)
    reply = member.commit([_to(out, b"2")], {inbox: Position(2)})

    assert proxy.counts[END_TXN] == ends + 2, "the client did not repeat the request"
    if reply.verdict is not Verdict.COMMITTED:
        assert reply.verdict is Verdict.DOUBT
        member.ask(RenewProducer())
    member.commits([_to(out, b"3")], {inbox: Position(3)})
    assert proxy.counts[INIT_PRODUCER_ID] > inits
    kit.sees(out, [b"1", b"2", b"3"])


def test_member_whose_abort_was_cut_replaces_its_producer(through_proxy: Kit, proxy: KafkaProxy) -> None:
    kit = through_proxy
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    small = kit.topic("small", config={"max.message.bytes": "2000"})
    member = kit.joined([inbox.topic])
    member.commits([_to(out, b"1")], {inbox: Position(1)})
    inits = proxy.counts[INIT_PRODUCER_ID]

    proxy.meddle(END_TXN, Fate.CUT)
    reply = member.commit([_to(out, b"aborted"), NewRecord(small, None, b"x" * 3_000)], {inbox: Position(2)})

    if reply.verdict is Verdict.DOUBT:
        member.ask(RenewProducer())
    else:
        assert reply.verdict is Verdict.REFUSED
    member.commits([_to(out, b"2")], {inbox: Position(3)})
    assert proxy.counts[INIT_PRODUCER_ID] > inits
    kit.sees(out, [b"1", b"2"])


def test_positions_alone_right_after_a_commit_are_not_refused_by_the_broker(
    through_proxy: Kit, proxy: KafkaProxy
) -> None:
    # The story: the markers of the commit before were not written yet, AddOffsetsToTxn was repeated after 100 ms.
    kit = through_proxy
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])
    member.commits([_to(out, b"0")], {inbox: Position(0)})
    before = proxy.counts[ADD_OFFSETS_TO_TXN]

    for number in range(1, 6):
        member.commits([_to(out, b"%d" % number)], {inbox: Position(number)})
        member.commits([], {inbox: Position(number)})

    # One repetition is a busy machine; one each time is the story.
    assert proxy.counts[ADD_OFFSETS_TO_TXN] - before <= 12


def test_member_answers_questions_while_a_transaction_is_under_way(through_proxy: Kit, proxy: KafkaProxy) -> None:
    kit = through_proxy
    (inbox,) = kit.topic_of([[b"x"]])
    member = kit.joined([inbox.topic])
    member.commits([], {inbox: Position(0)})

    proxy.meddle(END_TXN, Fate.DELAY, seconds=1.0)
    first = member.member.call(Commit([], {inbox: Position(1)}, member.member.snapshot()))
    asked = member.member.call(ReadEnds([inbox], Isolation.COMMITTED))
    answered: list[int] = []

    def has_both() -> bool:
        answered.extend(each.ticket for each in member.member.replies(0.1))
        return len(answered) == 2

    _wait_until(has_both)

    assert answered == [asked, first]


# --- the broker is away -----------------------------------------------------------------------------


def test_member_without_a_broker_is_in_trouble_once_a_second_and_goes_on_alone(
    through_proxy: Kit, proxy: KafkaProxy
) -> None:
    kit = through_proxy
    (inbox,) = kit.topic_of([[b"before"]])
    member = kit.joined([inbox.topic])
    kit.until(lambda: member.values() == [b"before"], "the first record")

    proxy.go_away()
    began = time.monotonic()
    kit.until(lambda: member.trouble("unreachable"), "a trouble")
    # The story: a question to the group's coordinator that had timed out in the client aborted the process
    # (librdkafka issue 4605) when the broker came back.
    asked = [member.ask(request) for request in (ReadPositions([inbox]), ListMembers())]
    troubles = [each for each in member.troubles if each.kind == "unreachable"]
    seconds = time.monotonic() - began
    proxy.come_back()
    kit.write([_to(inbox, b"after")])

    assert all(each.at is None for each in troubles)
    assert len(troubles) <= seconds + 1
    assert all(isinstance(each.error, TransportError) for each in asked)
    kit.until(lambda: member.values()[-1] == b"after", "the record after the outage")
    kit.until(lambda: member.ask(ListMembers()).members == {member.client_id}, "the members")
    kit.until(lambda: member.commit([], {inbox: Position(2)}).verdict is Verdict.COMMITTED, "a commit")


def test_member_that_cannot_initialise_its_producer_aborts_and_tries_again(
    through_proxy: Kit, proxy: KafkaProxy
) -> None:
    kit = through_proxy
    (inbox,) = kit.topic_of([[]])

    proxy.meddle(INIT_PRODUCER_ID, Fate.LOSE_REQUEST, times=1_000)  # it is initialised while the member joins
    member = kit.joined([inbox.topic])
    first = member.commit([], {inbox: Position(1)})
    renewed = member.ask(RenewProducer())
    proxy.leave_alone()

    assert first.verdict is Verdict.ABORTED
    assert first.error is not None
    assert renewed.error is not None
    kit.until(lambda: member.commit([], {inbox: Position(2)}).verdict is Verdict.COMMITTED, "a commit")


def test_member_without_a_broker_closes(through_proxy: Kit, proxy: KafkaProxy) -> None:
    kit = through_proxy
    (inbox,) = kit.topic_of([[]])
    member = kit.joined([inbox.topic])
    proxy.go_away()
    kit.until(lambda: member.trouble("unreachable"), "a trouble")

    member.close()

    with pytest.raises(FatalTransportError, match="closed"):
        member.member.poll(0.0)
    assert member.moved("gone", "lost") == {inbox}


# --- places -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("assignor", ["cooperative-sticky", "range"])
def test_partition_starts_exactly_where_it_is_sought_however_soon_that_is(kit: Kit, assignor: str) -> None:
    # The story: assigned at the logical end, its fetcher went there though a seek had come since, and a whole
    # inbox was skipped in silence. It took a seek within 2 ms of the assignment, as in the callback here.
    places = kit.topic_of([[b"%d" % number for number in range(MANY)]] * 4)

    for round_number in range(8):
        wanted = 7 * round_number
        member = kit.member(
            [places[0].topic], f"group{round_number}", f"client{round_number}", assignor=assignor, start=wanted
        )
        kit.until(lambda m=member: len(m.ends) == 4, "the ends")  # type: ignore[misc]

        for at in places:
            assert member.offsets(at) == list(range(wanted, MANY))
        member.close()


def test_partition_whose_beginning_is_cleaned_away_starts_where_it_is_sought(kafka: str, kit: Kit) -> None:
    (at,) = kit.topic_of([[b"%d" % number for number in range(20)]])
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_records([KafkaPartition(*at, 10)])[KafkaPartition(*at)].result(10)

    member = kit.joined([at.topic], start=12)

    kit.until(lambda: at in member.ends, "the end")
    assert member.offsets(at) == list(range(12, 20))
    assert member.troubles == []


def test_partition_that_is_paused_and_resumed_alone_delivers_at_once(kit: Kit) -> None:
    # The story: the client's fetcher slept for up to a second after a resume, on every take-over.
    (at,) = kit.topic_of([[b"x"]])
    member = kit.joined([at.topic])
    kit.until(lambda: at in member.ends, "the end")
    waits = []

    for number in range(5):
        member.member.pause([at])
        kit.pump()
        kit.write([_to(at, b"%d" % number)])
        began, before = time.monotonic(), len(member.records)
        member.member.resume([at])
        kit.until(lambda n=before: len(member.records) > n, "the record")  # type: ignore[misc]
        waits.append(time.monotonic() - began)

    assert sorted(waits)[2] < 0.5


# --- foreign records --------------------------------------------------------------------------------


def test_record_with_unreadable_headers_is_delivered_without_them_and_the_partition_goes_on(
    kafka: str, kit: Kit
) -> None:
    # The story: once the interpreter had specialised the call, such a record was a segmentation fault.
    (at,) = kit.topic_of([[]])
    warm = 300
    kit.write(NewRecord(at.topic, None, b"before", [("name", b"value")], at.partition) for _ in range(warm))
    asyncio.run(_write_unreadable(kafka, at))
    foreign = Producer({"bootstrap.servers": kafka})
    foreign.produce(at.topic, b"null", headers=[("name", None)])
    assert foreign.flush(10) == 0
    kit.write([_to(at, b"after")])

    member = kit.joined([at.topic])

    before = [(b"before", [("name", b"value")])] * warm
    expected = [*before, (b"unreadable", []), (b"null", [("name", b"")]), (b"after", [])]
    kit.until(lambda: len(member.records) == len(expected), "all of them")
    assert [(each.value, list(each.headers)) for each in member.records] == expected
    tailed = asyncio.run(_tail(kit, at, len(expected)))
    assert [(each.value, list(each.headers)) for each in tailed] == expected


class _NotText(str):
    """A header's name as kcat may send it: any bytes."""

    def encode(self, *unused: object) -> bytes:
        """Not UTF-8."""
        return b"\xff\xfe"


async def _write_unreadable(bootstrap: str, at: TopicPartition) -> None:
    """No Python client lets such a name pass, so that the batch is built by hand."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        batch = producer.create_batch()
        batch._builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 16_384)
        batch._builder.append(0, 1_700_000_000_000, None, b"unreadable", [(_NotText("name"), b"v")])
        batch._relative_offset = 1
        await (await producer.send_batch(batch, at.topic, partition=at.partition))
    finally:
        await producer.stop()


async def _tail(kit: Kit, at: TopicPartition, count: int) -> list[Record]:
    edge = kit.transport.edge(kit.name("edge"))
    found: list[Record] = []
    try:
        async with asyncio.timeout(30):
            async for each in edge.tail({at: 0}):
                if isinstance(each, Record):
                    found.append(each)
                if len(found) == count:
                    break
    finally:
        await edge.close()
    return found


# --- membership -------------------------------------------------------------------------------------


def test_snapshot_after_the_poll_interval_was_exceeded_is_refused(kafka: str, kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    shortest = timedelta(seconds=6)
    settings = MemberSettings(kit.name("group"), kit.name("late"), session_timeout=shortest, poll_interval=shortest)
    member = Driven(kit, kit.transport.member(settings), 0)
    member.subscribe([at.topic])

    def polls_until(is_so: Callable[[], object]) -> None:
        def look() -> object:
            member.pump(0.05)
            return is_so()

        _wait_until(look)

    polls_until(lambda: member.owned)
    member.member.snapshot()

    def is_refused() -> bool:
        member.member.replies(0.1)
        try:
            member.member.snapshot()
        except NotJoined:
            return True
        return False

    _wait_until(is_refused)

    polls_until(lambda: member.moved("lost"))
    assert member.moved("lost") == {at}
    polls_until(lambda: member.owned)
    assert member.member.snapshot() is not None
    member.close()
