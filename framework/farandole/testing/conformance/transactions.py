"""Transactions: whole or not at all, invisible while open, fenced by whoever comes after."""

from farandole.testing.conformance.case import cases, expect_error
from farandole.testing.conformance.kit import BEGINNING, Kit
from farandole.transport.port import (
    Commit,
    FenceWriter,
    Isolation,
    NewRecord,
    Position,
    ReadEnds,
    RenewProducer,
    TopicPartition,
    Verdict,
)

TOO_LARGE = b"x" * 9_000_000
METADATA_CHARACTERS_MAX = 4095
"""The broker's default bound is 4,096; confluent-kafka sends the NUL that ends a C string as one of them."""


def _to(at: TopicPartition, value: bytes) -> NewRecord:
    return NewRecord(at.topic, None, value, (), at.partition)


def a_transaction_is_seen_whole_on_every_partition(kit: Kit) -> None:
    """Records on several partitions and positions with their metadata, all or nothing."""
    inbox, also = kit.topic_of([[], []])
    out = kit.topic_of([[], [], []], "out")
    member, reading = kit.joined([inbox.topic]), kit.reading(dict.fromkeys(out, BEGINNING))

    reply = member.commit(
        [_to(at, b"%d%d" % (at.partition, number)) for number in range(5) for at in out],
        {inbox: Position(3, "three"), also: Position(4)},
    )

    assert reply.verdict is Verdict.COMMITTED
    assert reply.error is None
    kit.until(lambda: len(reading.records) == 15, "15 records")
    for at in out:
        assert reading.values(at) == [b"%d%d" % (at.partition, number) for number in range(5)]
    assert member.positions([inbox, also]) == {inbox: Position(3, "three"), also: Position(4)}


def a_transaction_of_positions_alone_commits(kit: Kit) -> None:
    """How epochs and ends are committed (R3, R6, R9)."""
    (inbox,) = kit.topic_of([[b"x"]])
    member = kit.joined([inbox.topic])

    member.commits([], {inbox: Position(1, "read")})

    assert member.positions([inbox]) == {inbox: Position(1, "read")}


def transactions_follow_one_another(kit: Kit) -> None:
    """One producer, many transactions, in order."""
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member, reading = kit.joined([inbox.topic]), kit.reading({out: BEGINNING})

    for number in range(10):
        member.commits([_to(out, b"%d" % number)], {inbox: Position(number)})

    kit.until(lambda: len(reading.records) == 10, "10 records")
    assert reading.values() == [b"%d" % number for number in range(10)]
    assert member.positions([inbox]) == {inbox: Position(9)}


def an_open_transaction_holds_committed_readers_back_and_ends_differ(kit: Kit) -> None:
    """Readers stop at the last stable offset, and the ends tell where they will go on (R12)."""
    held, free = kit.topic_of([[b"before"], []])
    kit.hang(kit.name("dead"), [_to(held, b"open")])
    kit.write([_to(held, b"behind"), _to(free, b"elsewhere")])

    member = kit.joined([held.topic])
    reading = kit.reading({held: BEGINNING, free: BEGINNING})

    reading.reaches(held, 1)
    reading.reaches(free, 1)
    kit.until(lambda: member.ends.get(held) == 1 and member.values(free), "the last stable offset in a member")
    assert reading.values(held) == member.values(held) == [b"before"]
    assert reading.reader.position(held) == 1
    assert kit.admin.ends([held], Isolation.COMMITTED)[held] == 1
    assert kit.admin.ends([held], Isolation.UNCOMMITTED)[held] == 3
    assert member.ask(ReadEnds([held], Isolation.COMMITTED)).ends == {held: 1}
    assert member.ask(ReadEnds([held], Isolation.UNCOMMITTED)).ends == {held: 3}


def fencing_a_dead_writer_frees_readers_and_its_records_are_never_seen(kit: Kit) -> None:
    """At once, not after the transaction's time-out (R7)."""
    (held,) = kit.topic_of([[b"before"]])
    dead = kit.name("dead")
    kit.hang(dead, [_to(held, b"open")])
    kit.write([_to(held, b"behind")])
    member, reading = kit.joined([held.topic]), kit.reading({held: BEGINNING})
    reading.reaches(held, 1)

    reply = member.ask(FenceWriter(dead))

    assert reply.error is None
    kit.until(lambda: len(reading.records) == 2 and len(member.records) == 2, "what stood behind the transaction")
    assert reading.values() == member.values() == [b"before", b"behind"]
    end = kit.admin.ends([held], Isolation.COMMITTED)[held]
    assert end == 4
    reading.reaches(held, end)


def fencing_a_writer_that_never_was_changes_nothing(kit: Kit) -> None:
    """Metadata may name a writer that the log has forgotten."""
    (inbox,) = kit.topic_of([[]])
    member = kit.joined([inbox.topic])

    reply = member.ask(FenceWriter(kit.name("nobody")))

    assert reply.error is None
    member.commits([], {inbox: Position(0)})


def renewing_the_producer_aborts_what_it_left_open(kit: Kit) -> None:
    """After doubt nothing may be added to the old transaction any more (R4)."""
    (held,) = kit.topic_of([[]])
    member = kit.joined([held.topic])
    member.commits([], {held: Position(0)})  # its producer takes the name beside the join, and not in the midst of this
    kit.hang(member.client_id, [_to(held, b"open")])
    reading = kit.reading({held: BEGINNING})
    reading.reaches(held, 0)

    reply = member.ask(RenewProducer())

    assert reply.error is None
    member.commits([_to(held, b"after")], {held: Position(0)})
    kit.until(lambda: reading.records, "a record after the renewal")
    assert reading.values() == [b"after"]


def a_renewed_producer_goes_on(kit: Kit) -> None:
    """As often as it takes (R4)."""
    (inbox,) = kit.topic_of([[]])
    member = kit.joined([inbox.topic])
    member.commits([], {inbox: Position(1)})

    replies = [member.ask(RenewProducer()), member.ask(RenewProducer())]

    assert [each.error for each in replies] == [None, None]
    member.commits([], {inbox: Position(2)})


def the_first_of_two_members_with_one_client_id_is_fenced(kit: Kit) -> None:
    """Two processes in one slot: the later one wins, nothing is written twice."""
    (inbox,), (other,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "other"), kit.topic_of([[]], "out")
    first = kit.joined([inbox.topic], "group", "twin")
    first.commits([_to(out, b"first")], {inbox: Position(1)})
    second = kit.joined([other.topic], "others", "twin")
    second.commits([_to(out, b"second")], {other: Position(1)})

    reply = first.commit([_to(out, b"fenced")], {inbox: Position(2)})

    assert reply.verdict is Verdict.FENCED
    second.commits([_to(out, b"third")], {other: Position(2)})
    kit.sees(out, [b"first", b"second", b"third"])
    assert first.positions([inbox]) == {inbox: Position(1)}


def a_fenced_member_that_renews_fences_in_its_turn(kit: Kit) -> None:
    """The port has no opinion who is right; loops give up after two fencings."""
    (inbox,), (other,) = kit.topic_of([[]]), kit.topic_of([[]], "other")
    first = kit.joined([inbox.topic], "group", "twin")
    first.commits([], {inbox: Position(1)})
    second = kit.joined([other.topic], "others", "twin")
    second.commits([], {other: Position(1)})
    assert first.commit([], {inbox: Position(2)}).verdict is Verdict.FENCED

    first.ask(RenewProducer())

    first.commits([], {inbox: Position(3)})
    assert second.commit([], {other: Position(2)}).verdict is Verdict.FENCED


def a_record_that_is_too_large_refuses_its_transaction_alone(kit: Kit) -> None:
    """The verdict is certain, so that a batch can be bisected, and the producer is fit for the next one."""
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])
    member.commits([_to(out, b"first")], {inbox: Position(1)})

    reply = member.commit([_to(out, b"neighbour"), _to(out, TOO_LARGE)], {inbox: Position(2)})

    assert reply.verdict is Verdict.REFUSED
    assert reply.error is not None
    member.commits([_to(out, b"last")], {inbox: Position(3)})
    kit.sees(out, [b"first", b"last"])
    assert member.positions([inbox]) == {inbox: Position(3)}


def an_unknown_topic_refuses_its_transaction_alone(kit: Kit) -> None:
    """Nothing creates topics but `Admin.create`."""
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])

    reply = member.commit(
        [_to(out, b"neighbour"), NewRecord(kit.name("nowhere"), b"key", b"lost")], {inbox: Position(2)}
    )

    assert reply.verdict is Verdict.REFUSED
    assert reply.error is not None
    assert kit.name("nowhere") not in kit.admin.topics()
    member.commits([_to(out, b"last")], {inbox: Position(3)})
    kit.sees(out, [b"last"])


def an_unknown_partition_refuses_its_transaction_alone(kit: Kit) -> None:
    """As an unknown topic."""
    (inbox,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])

    reply = member.commit([NewRecord(out.topic, b"key", b"lost", (), 9)], {inbox: Position(2)})

    assert reply.verdict is Verdict.REFUSED
    member.commits([_to(out, b"last")], {inbox: Position(3)})
    kit.sees(out, [b"last"])


def metadata_of_the_longest_length_comes_back(kit: Kit) -> None:
    """Bitmaps of finished offsets live in it (R4, R9)."""
    first, second = kit.topic_of([[], []])
    member = kit.joined([first.topic])
    longest = "".join(chr(ord("a") + number % 26) for number in range(METADATA_CHARACTERS_MAX))

    member.commits([], {first: Position(5, longest), second: Position(6)})

    assert member.positions([first, second]) == {first: Position(5, longest), second: Position(6)}
    assert kit.admin.positions(kit.name("group"))[first] == Position(5, longest)


def metadata_that_is_too_long_aborts_and_harms_no_neighbour(kit: Kit) -> None:
    """The broker refuses it per partition; the transaction ends without effect all the same."""
    first, second = kit.topic_of([[], []])
    (out,) = kit.topic_of([[]], "out")
    member = kit.joined([first.topic])
    member.commits([], {first: Position(1, "one"), second: Position(1, "one")})

    reply = member.commit(
        [_to(out, b"never")], {first: Position(2, "x" * (METADATA_CHARACTERS_MAX + 1)), second: Position(2, "two")}
    )

    assert reply.verdict in (Verdict.ABORTED, Verdict.REFUSED)
    assert member.positions([first, second]) == {first: Position(1, "one"), second: Position(1, "one")}
    member.commits([_to(out, b"last")], {first: Position(3, "three")})
    kit.sees(out, [b"last"])


def a_transaction_without_positions_is_refused_when_it_is_submitted(kit: Kit) -> None:
    """The broker would not fence it (R3)."""
    (inbox,) = kit.topic_of([[]])
    member = kit.joined([inbox.topic])
    snapshot = member.member.snapshot()

    expect_error(ValueError, lambda: member.member.call(Commit([_to(inbox, b"x")], {}, snapshot)))

    kit.sees(inbox, [])


def a_negative_position_is_refused_when_it_is_submitted(kit: Kit) -> None:
    """Clients drop it in silence, and then nothing is fenced (R3)."""
    (inbox,) = kit.topic_of([[]])
    member = kit.joined([inbox.topic])
    snapshot = member.member.snapshot()

    expect_error(ValueError, lambda: member.member.call(Commit([], {inbox: Position(-1001)}, snapshot)))

    assert member.positions([inbox]) == {inbox: None}


CASES = cases(
    a_transaction_is_seen_whole_on_every_partition,
    a_transaction_of_positions_alone_commits,
    transactions_follow_one_another,
    an_open_transaction_holds_committed_readers_back_and_ends_differ,
    fencing_a_dead_writer_frees_readers_and_its_records_are_never_seen,
    fencing_a_writer_that_never_was_changes_nothing,
    renewing_the_producer_aborts_what_it_left_open,
    a_renewed_producer_goes_on,
    the_first_of_two_members_with_one_client_id_is_fenced,
    a_fenced_member_that_renews_fences_in_its_turn,
    a_record_that_is_too_large_refuses_its_transaction_alone,
    an_unknown_topic_refuses_its_transaction_alone,
    an_unknown_partition_refuses_its_transaction_alone,
    metadata_of_the_longest_length_comes_back,
    metadata_that_is_too_long_aborts_and_harms_no_neighbour,
    a_transaction_without_positions_is_refused_when_it_is_submitted,
    a_negative_position_is_refused_when_it_is_submitted,
)
