"""Partitions in memory: markers, gaps, last stable offset, retention, sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farandole.ids import partition_of
from farandole.transport.memory.log import RECORD_BYTES_MAX, Log
from farandole.transport.memory.refusals import OutOfRange, RecordTooLarge, UnknownTopic
from farandole.transport.port import Isolation, NewRecord, Record, TopicPartition, TopicSpec

AT = TopicPartition("t", 0)
COMMITTED, UNCOMMITTED = Isolation.COMMITTED, Isolation.UNCOMMITTED


def a_log(partitions: int = 1, max_message_bytes: int = RECORD_BYTES_MAX) -> Log:
    log = Log()
    log.create(TopicSpec("t", partitions, config={"max.message.bytes": str(max_message_bytes)}))
    return log


def write(log: Log, value: str, writer: str = "") -> int:
    record = NewRecord("t", None, value.encode(), (), 0)
    return log.place(record).append(record, 0, writer)


def values(log: Log, isolation: Isolation = COMMITTED, position: int = 0) -> list[str]:
    records, _ = log.partition(AT).read(position, 1_000, isolation)
    return [(each.value or b"").decode() for each in records]


def test_commit_marker_burns_one_offset() -> None:
    log = a_log()
    write(log, "a", "w")

    log.partition(AT).mark("w", commit=True)

    assert write(log, "b") == 2
    assert values(log) == ["a", "b"]


def test_aborted_records_stay_for_uncommitted_reads_alone() -> None:
    log = a_log()
    write(log, "never", "w")
    log.partition(AT).mark("w", commit=False)

    write(log, "b")

    assert values(log) == ["b"]
    assert values(log, UNCOMMITTED) == ["never", "b"]


def test_committed_read_stops_before_the_first_open_transaction() -> None:
    log = a_log()
    write(log, "a")
    write(log, "open", "w")
    write(log, "done", "v")

    log.partition(AT).mark("v", commit=True)

    assert log.partition(AT).last_stable == 1
    assert log.partition(AT).end == 4
    assert values(log) == ["a"]
    log.partition(AT).mark("w", commit=True)
    assert values(log) == ["a", "open", "done"]


def test_read_goes_past_markers_to_the_last_stable_offset() -> None:
    log = a_log()
    write(log, "a", "w")
    log.partition(AT).mark("w", commit=True)

    records, position = log.partition(AT).read(0, 10, COMMITTED)

    assert [each.offset for each in records] == [0]
    assert position == 2


def test_read_skips_gaps_until_it_has_as_many_records_as_were_asked_for() -> None:
    log = a_log()
    for number in range(5):
        write(log, str(number), "w")
        log.partition(AT).mark("w", commit=number % 2 == 0)

    records, position = log.partition(AT).read(0, 2, COMMITTED)

    assert [each.value for each in records] == [b"0", b"2"]
    assert position == 5


def test_records_are_copied_so_that_their_writer_cannot_change_them() -> None:
    log = a_log()
    headers = [("name", b"value")]
    record = NewRecord("t", b"k", b"v", headers, 0)

    log.place(record).append(record, 7)
    headers.append(("late", b""))

    ((written,), _) = log.partition(AT).read(0, 1, COMMITTED)
    assert written == Record("t", 0, 0, b"k", b"v", (("name", b"value"),), 7)


@pytest.mark.parametrize("position", [-1, 0, 1, 4])
def test_position_before_the_beginning_or_past_the_end_is_out_of_range(position: int) -> None:
    log = a_log()
    for value in "abc":
        write(log, value)
    log.partition(AT).truncate_before(2)

    with pytest.raises(OutOfRange, match=f"from 2 to 3, but it is {position}"):
        log.partition(AT).read(position, 1, COMMITTED)


def test_truncation_keeps_offsets_and_what_comes_after() -> None:
    log = a_log()
    write(log, "a")
    write(log, "never", "w")
    log.partition(AT).mark("w", commit=False)
    write(log, "d")

    log.partition(AT).truncate_before(1)

    assert log.partition(AT).beginning == 1
    assert values(log, position=1) == ["d"]
    assert write(log, "e") == 4


def test_truncation_into_an_open_transaction_leaves_the_last_stable_offset_in_range() -> None:
    log = a_log()
    for value in "abc":
        write(log, value, "w")

    log.partition(AT).truncate_before(2)

    assert log.partition(AT).last_stable == 2
    assert log.partition(AT).read(2, 10, COMMITTED) == ([], 2)


def test_key_places_by_murmur2_and_keyless_records_in_turn() -> None:
    log = a_log(partitions=5)

    keyed = [log.place(NewRecord("t", b"run-%d" % n, b"")).at.partition for n in range(50)]
    keyless = [log.place(NewRecord("t", None, b"")).at.partition for _ in range(10)]

    assert keyed == [partition_of(b"run-%d" % n, 5) for n in range(50)]
    assert sorted(keyless) == sorted([*range(5), *range(5)])


@pytest.mark.parametrize("record", [NewRecord("u", b"k", b""), NewRecord("t", b"k", b"", (), 5)])
def test_unknown_topic_or_partition_is_refused(record: NewRecord) -> None:
    log = a_log(partitions=5)

    with pytest.raises(UnknownTopic, match="expected an existing partition"):
        log.place(record)


def test_record_size_counts_key_value_and_headers_against_the_limit_of_the_topic() -> None:
    log = a_log(max_message_bytes=1000)

    log.place(NewRecord("t", b"k" * 300, b"v" * 300, (("h" * 100, b"v" * 200),), 0))

    with pytest.raises(RecordTooLarge, match="at most 1000 bytes"):
        log.place(NewRecord("t", b"k" * 300, b"v" * 300, (("h" * 100, b"v" * 300),), 0))


def test_record_size_is_bounded_where_the_topic_says_nothing() -> None:
    log = Log()
    log.create(TopicSpec("t", 1))

    with pytest.raises(RecordTooLarge):
        log.place(NewRecord("t", None, b"x" * RECORD_BYTES_MAX, (), 0))


def test_topic_is_made_once_and_stays_as_it_is() -> None:
    log = a_log(partitions=2)

    made = log.create(TopicSpec("t", 7))

    assert not made
    assert log.count("t") == 2


def test_topic_without_partitions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one partition"):
        Log().create(TopicSpec("t", 0))


Step = tuple[str, str]


@given(st.lists(st.tuples(st.sampled_from("wvu-"), st.sampled_from(["write", "write", "commit", "abort"]))))
def test_committed_read_is_what_a_filter_over_the_whole_log_gives(steps: list[Step]) -> None:
    log = a_log()
    entries: list[tuple[str, str]] = []  # (value or "", fate: writer while open, then "yes" or "no")
    for number, (writer, what) in enumerate(steps):
        if what == "write" or writer == "-":
            write(log, str(number), "" if writer == "-" else writer)
            entries.append((str(number), "yes" if writer == "-" else writer))
        else:
            log.partition(AT).mark(writer, commit=what == "commit")
            fate = "yes" if what == "commit" else "no"
            entries = [(value, fate if was == writer else was) for value, was in entries]
            entries.append(("", "no"))

    still_open = [index for index, (_, fate) in enumerate(entries) if fate in "wvu"]
    stable = still_open[0] if still_open else len(entries)

    assert log.partition(AT).last_stable == stable
    assert values(log) == [value for value, fate in entries[:stable] if fate == "yes"]
    assert values(log, UNCOMMITTED) == [value for value, _ in entries if value]
