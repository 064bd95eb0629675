"""The conformance suite on a transport that reframes, and what it does while the registry is away."""

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from farandole.clock import ManualClock
from farandole.errors import TransportError, UnknownSchema
from farandole.testing.conformance import CASES, Case, Kit
from farandole.transport import framing
from farandole.transport.framed import FramedTransport
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import (
    Commit,
    Isolation,
    Member,
    MemberSettings,
    NewRecord,
    Position,
    Record,
    TopicPartition,
    TopicSpec,
    Transport,
    Trouble,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

AT = TopicPartition("t", 0)
NOBODY = object()
"""A snapshot that is never looked at."""


class Swap:
    """A framing that puts a byte before every value; on request the registry is away, or knows nothing."""

    def __init__(self) -> None:
        self.is_away = False
        self.is_ignorant = False
        self.refused = b""
        self.asked = 0
        self.met: list[list[bytes]] = []

    def meet(self, values: "Iterable[bytes]") -> None:
        """Remember them."""
        self.met.append(list(values))

    def outbound(self, framed: bytes) -> bytes:
        """One byte more."""
        self._check()
        return b"\0" + framed

    def inbound(self, value: bytes) -> bytes:
        """One byte less."""
        self._check()
        self.asked += 1
        if self.refused and self.refused in value:
            raise TransportError("registry: 500 for this one")
        return value[1:] if value[:1] == b"\0" else value

    def _check(self) -> None:
        if self.is_away:
            raise TransportError("registry: away")
        if self.is_ignorant:
            raise UnknownSchema("nobody published it")


def leave_open(
    transport: Transport,
    client_id: str,
    records: "Sequence[NewRecord]",
    group: str,
    positions: "Mapping[TopicPartition, Position]",
) -> None:
    """A transaction in the broker that nobody will end."""
    assert isinstance(transport, FramedTransport)
    assert isinstance(transport.inner, MemoryTransport)
    with transport.inner.hub as broker:
        writer = broker.init(client_id, 600.0)
        for record in records:
            broker.append_in(writer, record)
        if positions:
            broker.add_positions(writer, group, "", -1, positions)


def check_case(case: Case, kit: Kit) -> None:
    """The case asserts by itself."""
    case.run(kit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_transport_that_reframes_conforms(case: Case) -> None:
    clock = ManualClock()

    check_case(case, Kit(lambda: FramedTransport(MemoryTransport(clock), Swap()), hang=leave_open, clock=clock))


@pytest.fixture
def inner() -> MemoryTransport:
    """A log with one topic."""
    made = MemoryTransport()
    made.admin().create([TopicSpec("t", 1)])
    return made


class Taking:
    """A loop that reads all partitions from their beginning."""

    member: "Member"

    def assigned(self, partitions: "Sequence[TopicPartition]") -> None:
        """Read them."""
        for at in partitions:
            self.member.seek(at, 0)
        self.member.resume(partitions)

    def releasing(self, partitions: "Sequence[TopicPartition]") -> bool:
        """Nothing is under way."""
        return True

    def gone(self, partitions: "Sequence[TopicPartition]", *, lost: bool) -> None:
        """Nothing is kept."""


def values(polled: "Sequence[object]") -> list[bytes | None]:
    """Values of the records among what was polled."""
    return [each.value for each in polled if isinstance(each, Record)]


def polled_until(poll: "Callable[[float], Sequence[object]]", enough: "Callable[[list[object]], bool]") -> list[object]:
    """What polls bring, until it is enough."""
    out: list[object] = []
    until = time.monotonic() + 10
    while not enough(out):
        assert time.monotonic() < until, out[:5]
        out += poll(0.2)
    return out


def test_a_value_stands_on_the_topic_in_the_registrys_frame(inner: MemoryTransport) -> None:
    framed = FramedTransport(inner, Swap())
    producer, raw, ours = framed.producer("p"), inner.reader("raw"), framed.reader("ours")
    producer.send(NewRecord("t", b"k", b"value"))
    producer.send(NewRecord("t", b"k", None))
    producer.flush(1)
    for reader in (raw, ours):
        reader.assign({AT: 0})

    assert values(polled_until(raw.poll, lambda out: len(values(out)) == 2)) == [b"\0value", None]
    assert values(polled_until(ours.poll, lambda out: len(values(out)) == 2)) == [b"value", None]


def test_records_wait_for_a_registry_that_is_away_and_none_is_lost_or_told_as_read(inner: MemoryTransport) -> None:
    framing = Swap()
    framed = FramedTransport(inner, framing)
    producer, reader = framed.producer("p"), framed.reader("r")
    for value in (b"1", b"2", b"3"):
        producer.send(NewRecord("t", b"k", value))
    producer.flush(1)
    framing.is_away = True
    reader.assign({AT: 0})

    away = polled_until(reader.poll, lambda out: any(isinstance(each, Trouble) for each in out))
    position = reader.position(AT)
    framing.is_away = False
    back = polled_until(reader.poll, lambda out: len(values(out)) == 3)

    assert values(away) == []
    assert position in (None, 0)
    assert values(back) == [b"1", b"2", b"3"]
    assert reader.position(AT) == 3


def test_member_with_much_waiting_for_a_registry_goes_on_being_polled_and_takes_no_more(inner: MemoryTransport) -> None:
    # The story: while the registry was away for longer than `max.poll.interval.ms`, a member with 10,000 records in
    # hand was not polled any more, lost its partitions to nobody who could do better, and threw the records away.
    framing = Swap()
    framed = FramedTransport(inner, framing)
    write(framed, [b"%d" % n for n in range(12)])
    framing.is_away = True
    member = taking(framed, ["t"])

    told = [each for _ in range(30) for each in member.poll(0.01)]
    with inner.hub as broker:
        held = len(member._waiting)  # type: ignore[attr-defined]
        assert broker.members("g") == {"c"}
    framing.is_away = False
    back = polled_until(member.poll, lambda out: len(values(out)) == 12)

    assert values(told) == []
    assert held <= 5
    assert values(back) == [b"%d" % n for n in range(12)]
    member.close()


def test_a_record_that_waits_for_the_registry_holds_its_own_partition_and_no_other(inner: MemoryTransport) -> None:
    """One foreign record, for which the registry said 500, stopped every partition of the member for good."""
    inner.admin().create([TopicSpec("u", 1)])
    framing = Swap()
    framed = FramedTransport(inner, framing)
    framing.refused = b"foreign"
    write(framed, [b"foreign", *(b"behind %d" % n for n in range(12))])
    member = taking(framed, ["t", "u"])
    before = polled_until(member.poll, lambda out: any(isinstance(each, Trouble) for each in out))

    write(framed, [b"%d" % n for n in range(12)], "u")
    others = polled_until(member.poll, lambda out: len(values([*before, *out])) == 12)
    held = len(member._waiting)  # type: ignore[attr-defined]
    framing.refused = b""
    back = polled_until(member.poll, lambda out: len(values(out)) == 13)

    assert values([*before, *others]) == [b"%d" % n for n in range(12)]
    assert held == 1
    assert values(back) == [b"foreign", *(b"behind %d" % n for n in range(12))]
    member.close()


def test_a_partition_that_waits_for_the_registry_is_read_anew_from_where_it_is_sought(inner: MemoryTransport) -> None:
    framing = Swap()
    framed = FramedTransport(inner, framing)
    framing.refused = b"foreign"
    write(framed, [b"foreign", b"behind"])
    member = taking(framed, ["t"])
    polled_until(member.poll, lambda out: any(isinstance(each, Trouble) for each in out))

    member.pause([AT])
    member.seek(AT, 1)
    member.resume([AT])

    assert values(polled_until(member.poll, lambda out: bool(values(out)))) == [b"behind"]
    member.close()


@pytest.mark.parametrize("held_max", [10_000, 2], ids=["with room", "full"])
def test_a_reader_or_member_that_waits_for_the_registry_does_not_wait_in_a_busy_loop(
    inner: MemoryTransport, monkeypatch: pytest.MonkeyPatch, held_max: int
) -> None:
    monkeypatch.setattr("farandole.transport.framed.HELD_MAX", held_max)
    framing = Swap()
    framed = FramedTransport(inner, framing)
    framing.refused = b"foreign"
    write(framed, [b"foreign", b"behind"])
    member, reader = taking(framed, ["t"]), framed.reader("r")
    reader.assign({AT: 0})

    for poll in (member.poll, reader.poll):
        polled_until(poll, lambda out: any(isinstance(each, Trouble) for each in out))
        framing.asked, began = 0, time.monotonic()
        for _ in range(4):
            poll(0.05)
        assert time.monotonic() - began >= 0.15
        assert framing.asked <= 4
    member.close()


def write(transport: Transport, texts: "Sequence[bytes]", topic: str = "t") -> None:
    """Records on a topic."""
    producer = transport.producer("p")
    for each in texts:
        producer.send(NewRecord(topic, b"k", each))
    producer.flush(1)


def taking(transport: Transport, topics: "Sequence[str]") -> Member:
    """A member that reads its topics from their beginning, a record at a time."""
    made = transport.member(MemberSettings("g", "c", poll_max_records=1))
    loop = Taking()
    loop.member = made
    made.subscribe(topics, loop)
    return made


def test_a_value_of_an_unknown_schema_is_left_as_it_is(inner: MemoryTransport) -> None:
    framing = Swap()
    framing.is_ignorant = True
    framed = FramedTransport(inner, framing)
    producer, reader = framed.producer("p"), framed.reader("r")
    producer.send(NewRecord("t", b"k", b"\0foreign"))
    producer.flush(1)
    reader.assign({AT: 0})

    assert values(polled_until(reader.poll, lambda out: bool(values(out)))) == [b"\0foreign"]


def test_a_transaction_that_needs_a_registry_which_is_away_is_answered_as_aborted(inner: MemoryTransport) -> None:
    framing = Swap()
    framed = FramedTransport(inner, framing)
    member = framed.member(MemberSettings("g", "c"))
    framing.is_away = True

    ticket = member.call(Commit([NewRecord("t", b"k", b"v")], {AT: Position(1)}, NOBODY))
    (reply,) = member.replies(5)

    assert (reply.ticket, reply.verdict) == (ticket, Verdict.ABORTED)
    assert "registry: away" in str(reply.error)
    assert framed.admin().ends([AT], Isolation.UNCOMMITTED) == {AT: 0}
    member.close()


def test_a_transaction_has_the_schemas_of_all_its_records_looked_for_at_once(inner: MemoryTransport) -> None:
    swap = Swap()
    member = FramedTransport(inner, swap).member(MemberSettings("g", "c"))
    swap.is_away = True

    member.call(Commit([NewRecord("t", b"k", each) for each in (b"1", None, b"2")], {AT: Position(1)}, NOBODY))

    assert swap.met == [[b"1", b"2"]]
    member.close()


def test_one_transaction_asks_no_longer_than_it_may_and_has_less_to_ask_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a poll: the rest is not guessed at, it is answered as aborted, for a schema that is late is not unknown."""
    now, told = [0.0], set[bytes]()
    monkeypatch.setattr(framing, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(Swap):
        def outbound(self, framed: bytes) -> bytes:
            now[0] += 0.0 if framed in told else framing.ASK_S / 2
            told.add(framed)
            return super().outbound(framed)

    records = [NewRecord("t", b"k", b"%d" % n) for n in range(5)]
    slow = Slow()

    for left in (3, 1):
        with pytest.raises(TransportError, match=f"{left} of 5 records still wait"):
            framing.outbound_all(records, slow)

    assert [each.value for each in framing.outbound_all(records, slow)] == [b"\0%d" % n for n in range(5)]


def test_one_poll_asks_no_longer_than_it_may_though_each_question_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a registry that did not answer was bounded: many new ids, each answered late, outlasted the session."""
    now = [0.0]
    monkeypatch.setattr(framing, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(Swap):
        def inbound(self, value: bytes) -> bytes:
            now[0] += framing.ASK_S / 2
            return super().inbound(value)

    waiting = framing.Waiting(Slow())
    waiting.take([Record("t", 0, n, None, b"\0v") for n in range(5)])

    told = [[each.offset for each in waiting.tell() if isinstance(each, Record)] for _ in range(3)]

    assert told == [[0, 1], [2, 3], [4]]
