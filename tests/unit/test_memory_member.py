"""The shells over the broker in memory: time that stands still, leaps, wakings, budgets, many threads."""

import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from farandole.clock import ManualClock
from farandole.errors import FatalTransportError, NotJoined
from farandole.transport.memory import MemoryTransport
from farandole.transport.memory.member import MemoryMember
from farandole.transport.memory.membership import Snapshot
from farandole.transport.port import (
    Commit,
    MemberSettings,
    NewRecord,
    Position,
    Record,
    TopicPartition,
    TopicSpec,
    Trouble,
    Verdict,
)

AT = TopicPartition("t", 0)
OTHER = TopicPartition("nowhere", 0)


class Reads:
    """Reads everything from the start; lets go when `may_go`."""

    def __init__(self, member: MemoryMember) -> None:
        self.member = member
        self.may_go = True
        self.moves: list[tuple[str, tuple[TopicPartition, ...]]] = []

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.moves.append(("assigned", tuple(partitions)))
        for at in partitions:
            self.member.seek(at, 0)
        self.member.resume(partitions)

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        self.moves.append(("releasing", tuple(partitions)))
        return self.may_go

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        self.moves.append(("lost" if lost else "gone", tuple(partitions)))

    def what(self) -> list[str]:
        return [what for what, _ in self.moves]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def transport(clock: ManualClock) -> MemoryTransport:
    transport = MemoryTransport(clock)
    transport.admin().create([TopicSpec("t", 2)])
    return transport


def joined(transport: MemoryTransport, client_id: str = "a") -> tuple[MemoryMember, Reads]:
    member = transport.member(MemberSettings("g", client_id))
    reads = Reads(member)
    member.subscribe(["t"], reads)
    member.poll(0)
    return member, reads


def write(transport: MemoryTransport, count: int = 1) -> None:
    producer = transport.producer("p")
    for number in range(count):
        producer.send(NewRecord("t", None, b"%d" % number, (), 0))


def test_one_poll_joins_and_assigns(transport: MemoryTransport) -> None:
    member, reads = joined(transport)

    assert reads.moves == [("assigned", (AT, TopicPartition("t", 1)))]
    assert member.assignment() == {AT, TopicPartition("t", 1)}


def test_nothing_blocks_while_the_clock_stands_still(transport: MemoryTransport) -> None:
    member, _ = joined(transport)
    reader = transport.reader("r")
    reader.assign({AT: 0})
    began = time.monotonic()

    polled = [member.poll(60.0), member.poll(60.0), reader.poll(60.0), reader.poll(60.0)]
    replies = member.replies(60.0)

    assert polled[-1] == []
    assert replies == []
    assert time.monotonic() - began < 10.0


def test_leap_of_the_clock_ends_no_session(transport: MemoryTransport, clock: ManualClock) -> None:
    first, reads = joined(transport)
    second, _ = joined(transport, "b")
    for member in (first, second, first, second):
        member.poll(0)
    moves = len(reads.moves)

    clock.advance(timedelta(hours=5))
    second.poll(0)

    first.poll(0)
    assert len(reads.moves) == moves
    assert transport.admin().members("g") == {"a", "b"}


def test_silence_while_others_go_on_ends_the_session(transport: MemoryTransport, clock: ManualClock) -> None:
    silent, reads = joined(transport)
    other, _ = joined(transport, "b")

    for _ in range(20):
        clock.advance(timedelta(seconds=1))
        other.poll(0)

    assert len(other.assignment()) == 2
    silent.poll(0)
    assert reads.what()[1] == "lost"


def test_member_that_was_removed_cannot_take_a_snapshot_until_it_has_joined_again(
    transport: MemoryTransport, clock: ManualClock
) -> None:
    silent, _ = joined(transport)
    other, _ = joined(transport, "b")
    for _ in range(20):
        clock.advance(timedelta(seconds=1))
        other.poll(0)

    silent.poll(0)
    other.poll(0)

    with pytest.raises(NotJoined, match="R3"):
        silent.snapshot()
    silent.poll(0)
    assert silent.snapshot().generation > 0


def test_release_budget_ends_where_time_stands_still(transport: MemoryTransport) -> None:
    stubborn, reads = joined(transport)
    reads.may_go = False
    other, _ = joined(transport, "b")

    for member in (stubborn, other, stubborn, other):
        member.poll(0)

    assert reads.what().count("gone") == 1
    assert len(other.assignment()) == 1


def test_release_budget_is_half_a_session_of_real_time() -> None:
    transport = MemoryTransport()
    transport.admin().create([TopicSpec("t", 2)])
    member = transport.member(MemberSettings("g", "a", session_timeout=timedelta(milliseconds=100)))
    reads = Reads(member)
    member.subscribe(["t"], reads)
    member.poll(0)
    reads.may_go = False
    began = time.monotonic()

    member.close()

    assert 0.04 < time.monotonic() - began < 5.0
    assert reads.what()[-1] == "gone"


def test_closed_member_refuses_to_go_on(transport: MemoryTransport) -> None:
    member, reads = joined(transport)

    member.close()
    member.close()

    assert reads.what() == ["assigned", "releasing", "gone"]
    with pytest.raises(FatalTransportError, match="closed"):
        member.poll(0)
    assert transport.admin().members("g") == frozenset()


def test_commit_with_a_snapshot_taken_before_joining_is_refused_at_submission(transport: MemoryTransport) -> None:
    member, _ = joined(transport)

    with pytest.raises(NotJoined):
        member.call(Commit([], {AT: Position(1)}, Snapshot("g", "", -1)))

    assert transport.admin().positions("g") == {}


def test_unknown_assignor_is_refused_when_the_member_is_made(transport: MemoryTransport) -> None:
    with pytest.raises(ValueError, match="roundrobin"):
        transport.member(MemberSettings("g", "a", "roundrobin"))


def test_other_assignor_than_the_groups_is_fatal(transport: MemoryTransport) -> None:
    joined(transport)
    member = transport.member(MemberSettings("g", "b", "range"))
    member.subscribe(["t"], Reads(member))

    with pytest.raises(FatalTransportError, match="range"):
        member.poll(0)


def test_retention_that_overtakes_a_reader_is_a_trouble_of_that_partition(transport: MemoryTransport) -> None:
    write(transport, 10)
    reader = transport.reader("r")
    reader.assign({AT: 3})
    with transport.hub as broker:
        broker.truncate_before(AT, 5)

    (trouble,) = reader.poll(0)

    assert isinstance(trouble, Trouble)
    assert (trouble.kind, trouble.at) == ("position_out_of_range", AT)
    assert reader.poll(0) == []
    assert transport.admin().beginnings([AT]) == {AT: 5}


def test_topic_made_later_is_assigned_and_read(transport: MemoryTransport) -> None:
    member = transport.member(MemberSettings("g", "a"))
    reads = Reads(member)
    member.subscribe(["later"], reads)
    (trouble,) = member.poll(0)

    transport.admin().create([TopicSpec("later", 1)])
    transport.producer("p").send(NewRecord("later", b"k", b"v"))

    records = [each for each in member.poll(0) if isinstance(each, Record)]
    assert isinstance(trouble, Trouble)
    assert trouble.kind == "unknown_topic"
    assert [each.value for each in records] == [b"v"]


def test_partitions_with_much_to_read_take_turns(transport: MemoryTransport) -> None:
    producer = transport.producer("p")
    for number in range(100):
        producer.send(NewRecord("t", None, b"%d" % number, (), number % 2))
    member = transport.member(MemberSettings("g", "a", poll_max_records=10))
    member.subscribe(["t"], Reads(member))

    polls = [member.poll(0) for _ in range(4)]

    seen = {each.partition for polled in polls for each in polled if isinstance(each, Record)}
    assert seen == {0, 1}


def test_blocked_poll_is_woken_by_a_record_of_another_thread() -> None:
    transport = MemoryTransport()
    transport.admin().create([TopicSpec("t", 1)])
    member, _ = joined(transport)
    member.poll(0)
    writer = threading.Timer(0.1, lambda: write(transport))

    writer.start()
    began = time.monotonic()
    polled = member.poll(30.0)

    writer.join()
    assert [each.value for each in polled if isinstance(each, Record)] == [b"0"]
    assert time.monotonic() - began < 10.0
    member.close()


def test_two_threads_hand_a_partition_over() -> None:
    transport = MemoryTransport()
    transport.admin().create([TopicSpec("t", 2)])
    first, reads = joined(transport)
    second = transport.member(MemberSettings("g", "b"))
    second.subscribe(["t"], Reads(second))
    stop = threading.Event()

    def drive() -> None:
        while not stop.is_set():
            first.poll(0.05)

    thread = threading.Thread(target=drive)
    thread.start()
    deadline = time.monotonic() + 10.0
    while not second.assignment() and time.monotonic() < deadline:
        second.poll(0.05)
    stop.set()
    thread.join()

    assert len(second.assignment()) == 1
    assert reads.what() == ["assigned", "releasing", "gone"]


def test_member_commits_and_reads_fifty_thousand_records_a_second(transport: MemoryTransport) -> None:
    member, _ = joined(transport)

    rates = [records_per_cpu_second(member, 10_000) for _ in range(3)]

    assert max(rates) > 50_000, rates


def records_per_cpu_second(member: MemoryMember, count: int) -> float:
    """Processor time, not the wall's, and the best of several: other work on the machine says nothing about us."""
    began = time.process_time()
    for start in range(0, count, 200):
        records = [NewRecord("t", None, b"v" * 100, (("ce_id", b"x"),), number % 2) for number in range(200)]
        member.call(Commit(records, {AT: Position(start)}, member.snapshot()))
        member.replies(0)
    read = 0
    while read < count:
        read += sum(isinstance(each, Record) for each in member.poll(0))
    return count / (time.process_time() - began)


def test_position_of_an_unknown_topic_leaves_the_transaction_in_doubt_as_on_a_broker(
    transport: MemoryTransport,
) -> None:
    """It was refused for certain here, and in doubt on Kafka, where the client asks until its time is over."""
    member, _ = joined(transport)

    ticket = member.call(
        Commit([NewRecord("t", b"k", b"v", (), 0)], {AT: Position(1), OTHER: Position(0)}, member.snapshot())
    )

    (reply,) = member.replies(0)
    assert (reply.ticket, reply.verdict) == (ticket, Verdict.DOUBT)
    assert transport.admin().positions("g") == {}
