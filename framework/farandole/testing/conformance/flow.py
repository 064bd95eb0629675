"""Pause, resume, seek; and partitions that cannot deliver without stopping the others."""

from farandole.testing.conformance.case import cases
from farandole.testing.conformance.kit import BEGINNING, Kit
from farandole.transport.port import NewRecord, Position, TopicPartition

MANY = 3_000


def _numbers(until: int) -> list[bytes]:
    return [b"%d" % number for number in range(until)]


def a_paused_partition_delivers_nothing_and_goes_on_where_it_stood(kit: Kit) -> None:
    """Back-pressure; not even what the client had fetched already is delivered."""
    paused, other = kit.topic_of([_numbers(MANY), []])
    member = kit.joined([paused.topic], poll_max_records=50)
    kit.until(lambda: member.values(paused), "the first records")

    member.member.pause([paused])
    before = len(member.records)
    kit.write([NewRecord(other.topic, None, b"sign", (), 1)])

    kit.until(lambda: member.values(other), "a record of the other partition")
    assert len(member.records) == before + 1, "a paused partition delivered"
    member.member.resume([paused])
    kit.until(lambda: len(member.values(paused)) >= MANY, "the rest")
    assert member.offsets(paused) == list(range(MANY))


def pausing_and_resuming_loses_and_repeats_nothing(kit: Kit) -> None:
    """However often."""
    at, other = kit.topic_of([_numbers(MANY), _numbers(MANY)])
    member = kit.joined([at.topic], poll_max_records=100)

    for _ in range(20):
        member.member.pause([at])
        kit.pump()
        member.member.resume([at])
        kit.pump()

    kit.until(lambda: len(member.records) >= 2 * MANY, "everything")
    assert member.offsets(at) == member.offsets(other) == list(range(MANY))


def after_a_seek_nothing_stale_is_delivered(kit: Kit) -> None:
    """Forwards and backwards."""
    (at,) = kit.topic_of([_numbers(MANY)])
    member = kit.joined([at.topic], poll_max_records=50)
    kit.until(lambda: len(member.records) >= 100, "the first records")
    before = len(member.records)

    member.member.seek(at, MANY - 10)

    kit.until(lambda: len(member.records) >= before + 10, "the last records")
    member.member.seek(at, 5)
    kit.until(lambda: len(member.records) >= before + 10 + 20, "earlier records again")
    assert member.offsets(at)[:before] == list(range(before))
    assert member.offsets(at)[before : before + 10] == list(range(MANY - 10, MANY))
    assert member.offsets(at)[before + 10 : before + 30] == list(range(5, 25))


def a_paused_partition_may_be_moved_and_goes_on_there(kit: Kit) -> None:
    """How a partition starts after its assignment, and again after an abort (R5)."""
    at, other = kit.topic_of([_numbers(MANY), []])
    member = kit.joined([at.topic], poll_max_records=50)
    kit.until(lambda: member.records, "the first records")

    member.member.pause([at])
    before = len(member.records)
    member.member.seek(at, MANY - 3)
    kit.write([NewRecord(other.topic, None, b"sign", (), 1)])
    kit.until(lambda: member.values(other), "a record of the other partition")
    member.member.resume([at])

    kit.until(lambda: len(member.values(at)) >= before + 3, "records from the new place")
    assert member.offsets(at)[before:] == [MANY - 3, MANY - 2, MANY - 1]


def a_position_among_markers_goes_on_with_the_next_record(kit: Kit) -> None:
    """Committed positions often are markers (R9)."""
    (inbox,), (at,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    writer = kit.joined([inbox.topic])
    for number in range(3):
        writer.commits([NewRecord(at.topic, None, b"%d" % number, (), 0)], {inbox: Position(0)})
    member = kit.joined([at.topic], "others", "other", start=None)

    member.member.seek(at, 1)
    member.member.resume([at])

    kit.until(lambda: len(member.records) == 2, "the records after the first marker")
    assert member.values() == [b"1", b"2"]


def a_partition_without_a_position_is_in_trouble_alone(kit: Kit) -> None:
    """A missing position stops the partition and is never guessed (R8); a seek mends it."""
    missing, fine = kit.topic_of([[b"x"], [b"y"]])
    member = kit.joined([missing.topic], start=None)

    member.member.seek(fine, 0)
    member.member.resume([missing, fine])

    kit.until(lambda: member.trouble("position_missing"), "a trouble")
    kit.until(lambda: member.values(fine), "a record of the other partition")
    assert {each.at for each in member.troubles} == {missing}
    assert not member.values(missing)
    member.member.seek(missing, 0)
    kit.until(lambda: member.values(missing), "a record after the seek")


def a_member_out_of_range_is_in_trouble_in_that_partition_alone(kit: Kit) -> None:
    """No reset by itself, which would skip or repeat in silence (R8); a seek mends it."""
    beyond, fine = kit.topic_of([[b"x"], [b"y"]])
    member = kit.joined([beyond.topic], start=None)

    member.member.seek(beyond, 1_000)
    member.member.seek(fine, 0)
    member.member.resume([beyond, fine])

    kit.until(lambda: member.trouble("position_out_of_range"), "a trouble")
    kit.until(lambda: member.values(fine), "a record of the other partition")
    assert {each.at for each in member.troubles} == {beyond}
    assert not member.values(beyond)
    member.member.seek(beyond, 0)
    kit.until(lambda: member.values(beyond), "a record after the seek")


def a_reader_out_of_range_is_in_trouble_in_that_partition_alone(kit: Kit) -> None:
    """As a member."""
    beyond, fine = kit.topic_of([[b"x"], [b"y"]])

    reading = kit.reading({beyond: 1_000, fine: BEGINNING})

    kit.until(lambda: reading.trouble("position_out_of_range"), "a trouble")
    kit.until(lambda: reading.values(fine), "a record of the other partition")
    assert {each.at for each in reading.troubles} == {beyond}
    assert not reading.values(beyond)


def an_unknown_topic_is_in_trouble_alone(kit: Kit) -> None:
    """What exists goes on."""
    (at,), nowhere = kit.topic_of([[b"x"]]), kit.name("nowhere")

    member = kit.member([at.topic, nowhere])
    reading = kit.reading({at: BEGINNING, TopicPartition(nowhere, 0): BEGINNING})

    kit.until(lambda: member.trouble("unknown_topic"), "a trouble of the member")
    trouble = kit.until(lambda: reading.trouble("unknown_topic"), "a trouble of the reader")
    assert trouble.at == TopicPartition(nowhere, 0), "without a place it would be the connection's"
    kit.until(lambda: member.values(at) and reading.values(at), "records of the topic that exists")
    assert member.owned == {at}


CASES = cases(
    a_paused_partition_delivers_nothing_and_goes_on_where_it_stood,
    pausing_and_resuming_loses_and_repeats_nothing,
    after_a_seek_nothing_stale_is_delivered,
    a_paused_partition_may_be_moved_and_goes_on_there,
    a_position_among_markers_goes_on_with_the_next_record,
    a_partition_without_a_position_is_in_trouble_alone,
    a_member_out_of_range_is_in_trouble_in_that_partition_alone,
    a_reader_out_of_range_is_in_trouble_in_that_partition_alone,
    an_unknown_topic_is_in_trouble_alone,
)
