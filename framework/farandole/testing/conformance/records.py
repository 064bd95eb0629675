"""Records: where they are placed, that they come back as written, what members and readers are told."""

from farandole.errors import TransportError
from farandole.ids import partition_of
from farandole.testing.conformance.case import cases, expect_error
from farandole.testing.conformance.kit import BEGINNING, LATEST, Kit
from farandole.transport.port import Isolation, NewRecord, Position, ReadEnds, TopicPartition

KEYS = [f"run-{number}".encode() for number in range(40)]


def _all_of(kit: Kit, topic: str, count: int) -> dict[bytes | None, int]:
    """Partition by key of the `count` records of a topic."""
    reading = kit.reading(dict.fromkeys(kit.places(topic), BEGINNING))
    kit.until(lambda: len(reading.records) >= count, f"{count} records of {topic}")
    assert len(reading.records) == count
    return {each.key: each.partition for each in reading.records}


def a_plain_record_with_a_key_lies_where_murmur2_places_it(kit: Kit) -> None:
    """As Java's default partitioner; librdkafka's own (CRC32) would part a run from its home."""
    topic = kit.topic(partitions=7)

    kit.write(NewRecord(topic, key, b"") for key in KEYS)

    assert _all_of(kit, topic, len(KEYS)) == {key: partition_of(key, 7) for key in KEYS}


def a_record_of_a_transaction_lies_where_murmur2_places_it(kit: Kit) -> None:
    """Transactional producers place as plain ones do."""
    (inbox,), topic = kit.topic_of([[]]), kit.topic("out", partitions=7)
    member = kit.joined([inbox.topic])

    member.commits([NewRecord(topic, key, b"") for key in KEYS], {inbox: Position(0)})

    assert _all_of(kit, topic, len(KEYS)) == {key: partition_of(key, 7) for key in KEYS}


def an_explicit_partition_wins_over_the_key(kit: Kit) -> None:
    """Records of a home name their partition, because a key such as `run#chunk` hashes elsewhere."""
    (inbox,), topic = kit.topic_of([[]]), kit.topic("out", partitions=3)
    member = kit.joined([inbox.topic])

    member.commits([NewRecord(topic, key, b"", (), 2) for key in KEYS[:20]], {inbox: Position(0)})
    kit.write(NewRecord(topic, key, b"", (), 1) for key in KEYS[20:])

    placed = _all_of(kit, topic, len(KEYS))
    assert placed == {key: 2 if index < 20 else 1 for index, key in enumerate(KEYS)}


def a_record_without_key_and_partition_lies_somewhere(kit: Kit) -> None:
    """On any partition, but each exactly once."""
    topic = kit.topic(partitions=3)

    kit.write(NewRecord(topic, None, b"%d" % number) for number in range(12))

    reading = kit.reading(dict.fromkeys(kit.places(topic), BEGINNING))
    kit.until(lambda: len(reading.records) == 12, "all 12 records")
    assert sorted(reading.values(), key=lambda value: int(value or b"")) == [b"%d" % number for number in range(12)]


def a_record_comes_back_as_it_was_written(kit: Kit) -> None:
    """Null and empty are different, header names may repeat, their order counts; bytes are bytes."""
    (at,) = kit.topic_of([[]])
    headers = (("ce_id", b"1"), ("twice", b"a"), ("twice", b"b"), ("empty", b""), ("bytes", bytes(range(256))))
    written = [
        NewRecord(at.topic, None, None, headers, 0),
        NewRecord(at.topic, b"", b"", (), 0),
        NewRecord(at.topic, b"tombstone", None, (), 0),
        NewRecord(at.topic, b"\x00\xff", b"\x00" * 1000, (), 0),
    ]
    member = kit.joined([at.topic])

    kit.write(written)
    member.commits(written, {at: Position(0)})

    kit.until(lambda: len(member.records) == 2 * len(written), "records in a member")
    reading = kit.reading({at: BEGINNING})
    kit.until(lambda: len(reading.records) == 2 * len(written), "records in a reader")
    for read in (member.records, reading.records):
        for record, expected in zip(read, [*written, *written], strict=True):
            assert (record.topic, record.partition) == at
            assert (record.key, record.value) == (expected.key, expected.value)
            assert tuple(record.headers) == tuple(expected.headers)
            assert record.timestamp_ms > 0
    assert [each.offset for each in reading.records] == [0, 1, 2, 3, 4, 5, 6, 7]


def records_of_a_partition_keep_their_order(kit: Kit) -> None:
    """Over many polls, without a gap or a repetition."""
    (at,) = kit.topic_of([[b"%d" % number for number in range(2_000)]])

    member = kit.joined([at.topic], poll_max_records=300)

    kit.until(lambda: len(member.records) >= 2_000, "2,000 records")
    assert member.offsets(at) == list(range(2_000))
    assert member.values(at) == [b"%d" % number for number in range(2_000)]


def a_poll_brings_no_more_records_than_it_may(kit: Kit) -> None:
    """`poll_max_records` bounds what a loop has to hold."""
    first, second = kit.topic_of([[b"x"] * 100, [b"x"] * 100])

    member = kit.joined([first.topic], poll_max_records=15)

    kit.until(lambda: len(member.records) == 200, "200 records")
    assert member.largest_poll <= 15
    assert member.offsets(first) == member.offsets(second) == list(range(100))


def an_end_is_told_past_the_markers_of_transactions(kit: Kit) -> None:
    """Else lag would never reach 0 (R9), and a restore would wait for ever (R12)."""
    (inbox,), (at,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    writer, member = kit.joined([inbox.topic]), kit.joined([at.topic], "others", "other")

    for number in range(3):
        writer.commits([NewRecord(at.topic, None, b"%d" % number, (), 0)], {inbox: Position(0)})

    reading = kit.reading({at: BEGINNING})
    end = 6  # three records, three markers
    reading.reaches(at, end)
    kit.until(lambda: member.ends.get(at) == end, "the end in a member")
    assert reading.values() == member.values() == [b"0", b"1", b"2"]
    assert reading.offsets(at) == [0, 2, 4]
    assert [kit.admin.ends([at], isolation)[at] for isolation in Isolation] == [end, end]
    assert reading.ends[at] == end
    assert reading.reader.position(at) == end


def an_end_is_told_again_after_more_records(kit: Kit) -> None:
    """Once each time the end is reached, not once for ever."""
    (at,) = kit.topic_of([[b"first"]])
    reading, member = kit.reading({at: BEGINNING}), kit.joined([at.topic])
    reading.reaches(at, 1)
    kit.until(lambda: member.ends.get(at) == 1, "the first end in a member")

    kit.write([NewRecord(at.topic, None, b"second", (), 0)])

    reading.reaches(at, 2)
    kit.until(lambda: member.ends.get(at) == 2, "the second end in a member")
    assert reading.values() == member.values() == [b"first", b"second"]


def an_empty_partition_has_an_end(kit: Kit) -> None:
    """A table without rows is read to its end too (R13)."""
    (at,) = kit.topic_of([[]])

    reading = kit.reading({at: BEGINNING})

    assert reading.reader.position(at) is None
    reading.reaches(at, 0)
    assert reading.reader.position(at) == 0


def a_reader_begins_at_the_end_if_it_is_told_so(kit: Kit) -> None:
    """-1 is the end as of the assignment."""
    (at,) = kit.topic_of([[b"old", b"old"]])
    reading = kit.reading({at: LATEST})
    reading.reaches(at, 2)

    kit.write([NewRecord(at.topic, None, b"new", (), 0)])

    kit.until(lambda: reading.records, "the new record")
    assert reading.values() == [b"new"]


def a_reader_begins_at_a_number_and_reads_exactly_what_was_assigned_last(kit: Kit) -> None:
    """Nothing of an earlier assignment is delivered any more."""
    first, second = kit.topic_of([[b"a0", b"a1", b"a2"], [b"b0", b"b1"]])
    reading = kit.reading({first: 1})
    reading.reaches(first, 3)
    before = reading.values()

    reading.assign({second: 0})

    reading.reaches(second, 2)
    kit.write([NewRecord(first.topic, None, b"a3", (), 0), NewRecord(first.topic, None, b"b2", (), 1)])
    reading.reaches(second, 3)
    assert before == [b"a1", b"a2"]
    assert reading.values() == [b"b0", b"b1", b"b2"]


def ends_and_beginnings_are_told_for_empty_and_written_partitions(kit: Kit) -> None:
    """At both isolation levels, which agree while nothing is open."""
    empty, written = kit.topic_of([[], [b"x", b"y"]])
    asked = [empty, written]

    found = [kit.admin.ends(asked, isolation) for isolation in Isolation]

    assert [dict(each) for each in found] == [{empty: 0, written: 2}] * 2
    assert dict(kit.admin.beginnings(asked)) == {empty: 0, written: 0}


def ends_of_a_topic_that_does_not_exist_are_an_error(kit: Kit) -> None:
    """Never a zero, which would look like an empty topic."""
    (at,) = kit.topic_of([[]])
    member = kit.joined([at.topic])
    nowhere = TopicPartition(kit.name("nowhere"), 0)

    expect_error(TransportError, lambda: kit.admin.ends([nowhere], Isolation.COMMITTED))
    assert member.ask(ReadEnds([nowhere], Isolation.COMMITTED)).error is not None


CASES = cases(
    a_plain_record_with_a_key_lies_where_murmur2_places_it,
    a_record_of_a_transaction_lies_where_murmur2_places_it,
    an_explicit_partition_wins_over_the_key,
    a_record_without_key_and_partition_lies_somewhere,
    a_record_comes_back_as_it_was_written,
    records_of_a_partition_keep_their_order,
    a_poll_brings_no_more_records_than_it_may,
    an_end_is_told_past_the_markers_of_transactions,
    an_end_is_told_again_after_more_records,
    an_empty_partition_has_an_end,
    a_reader_begins_at_the_end_if_it_is_told_so,
    a_reader_begins_at_a_number_and_reads_exactly_what_was_assigned_last,
    ends_and_beginnings_are_told_for_empty_and_written_partitions,
    ends_of_a_topic_that_does_not_exist_are_an_error,
)
