"""The planner: every result is in exactly one transaction that stands, with the positions that belong to it."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.runtime.partition import Partition, Stage
from farandole.runtime.planner import Answer, Flight, Limits, Planner
from farandole.transport.metadata import decode
from farandole.transport.port import NewRecord, TopicPartition


def partition(number: int, offsets: int = 0) -> Partition:
    it = Partition(TopicPartition("inbox", number), number, stage=Stage.RUNNING, epoch=7)
    for offset in range(offsets):
        it.offsets.admit(offset)
    return it


def answer(p: Partition, offset: int, records: int = 1, retreat: str = "less") -> Answer:
    def instead(refused: int, error: str) -> Sequence[NewRecord]:
        return [NewRecord("events", b"k", f"{retreat} {refused}".encode())]

    made = [NewRecord("events", b"k", f"{p.number}/{offset}/{n}".encode()) for n in range(records)]
    return Answer(p, offset, made, 10 * records, 1, instead)


def planner(records_max: int = 100, bytes_max: int = 10_000) -> Planner:
    return Planner("me", 5, Limits(records_max, bytes_max))


def always(p: Partition) -> bool:
    return True


def plan(it: Planner) -> Flight:
    flight = it.plan()
    assert flight is not None
    return flight


def test_transaction_names_position_and_metadata_of_each_partition_it_answers() -> None:
    it, a, b = planner(), partition(0, 3), partition(1, 2)
    it.add(answer(a, 1))
    it.add(answer(b, 0))

    flight = plan(it)

    assert flight.positions[a.at].offset == 0
    assert flight.positions[b.at].offset == 1
    metadata = decode(flight.positions[a.at].metadata)
    assert (metadata.writer, metadata.number, metadata.epoch, metadata.clean) == ("me", 6, 7, False)
    assert metadata.bitmap == bytes([0b10])


def test_results_that_came_meanwhile_all_go_with_the_next_within_its_bounds() -> None:
    it, a = planner(records_max=5), partition(0, 10)
    for offset in range(10):
        it.add(answer(a, offset, records=2))

    sizes = []
    while (flight := it.plan()) is not None:
        sizes.append(len(flight.records))
        it.committed(flight, always)

    assert sizes == [4] * 5
    assert a.offsets.commit_point() == (10, b"")


@pytest.mark.parametrize("taken_max", [1, 7, 40])
@pytest.mark.parametrize("limits", [{"records_max": 100}, {"bytes_max": 1_000}], ids=["by records", "by bytes"])
def test_log_that_cannot_take_a_full_transaction_in_time_is_given_smaller_ones(
    limits: dict[str, int], taken_max: int
) -> None:
    """The same results came back to the front each time, and the same prefix of them was chosen, for ever."""
    it, a = planner(**limits), partition(0, 300)
    for offset in range(300):
        it.add(answer(a, offset))

    turns = 0
    while (flight := it.plan()) is not None:
        turns += 1
        assert turns < 2_000, "it does not get on"
        if len(flight.answers) > taken_max:
            it.shrink()
            it.without_effect(flight)
        else:
            it.grow()
            it.committed(flight, always)

    assert a.offsets.commit_point() == (300, b"")


def test_transactions_get_smaller_down_to_one_answer_and_then_larger_up_to_the_setting() -> None:
    it, a = planner(records_max=20), partition(0, 200)
    for offset in range(200):
        it.add(answer(a, offset))

    sizes = []
    for change in [it.shrink] * 6 + [it.grow] * 11:
        change()
        flight = plan(it)
        sizes.append(len(flight.answers))
        it.without_effect(flight)

    assert sizes == [10, 5, 2, 1, 1, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 20, 20]


def test_half_of_a_refused_batch_is_made_smaller_too_where_the_log_is_slow() -> None:
    it, a = planner(), partition(0, 8)
    for offset in range(8):
        it.add(answer(a, offset))
    it.refused(plan(it), "too large")
    for _ in range(6):
        it.shrink()

    sizes = []
    while (flight := it.plan()) is not None:
        sizes.append([each.offset for each in flight.answers])
        it.committed(flight, always)

    assert sizes == [[n] for n in range(8)]


def test_one_answer_larger_than_the_bounds_still_goes_alone() -> None:
    it, a = planner(records_max=2, bytes_max=15), partition(0, 2)
    it.add(answer(a, 0, records=9))
    it.add(answer(a, 1))

    assert [len(plan(it).answers), len(plan(it).answers)] == [1, 1]


def test_transaction_without_effect_is_made_again_with_the_same_results_first_and_another_number() -> None:
    it, a = planner(), partition(0, 3)
    it.add(answer(a, 0))
    it.add(answer(a, 1))
    flight = plan(it)
    it.add(answer(a, 2))

    it.without_effect(flight)
    again = plan(it)

    assert [each.offset for each in again.answers] == [0, 1, 2]
    assert again.number != flight.number
    assert a.offsets.base == 0


def test_results_of_an_earlier_assignment_are_dropped_and_their_offsets_stay_unfinished() -> None:
    it, gone, kept = planner(), partition(0, 1), partition(1, 1)
    it.add(answer(gone, 0))
    it.add(answer(kept, 0))

    dropped = it.drop(lambda p: p is kept)

    assert [each.partition for each in dropped] == [gone]
    assert list(plan(it).touched) == [kept.at]


def test_opening_commits_the_next_epoch_unclean_before_anything_is_dispatched() -> None:
    it, a = planner(), partition(0)
    a.stage = Stage.EPOCH

    flight = it.plan(opening=[a])
    assert flight is not None
    it.committed(flight, always)

    metadata = decode(flight.positions[a.at].metadata)
    assert (metadata.epoch, metadata.clean, flight.records) == (8, False, [])
    assert (a.stage, a.epoch) == (Stage.RUNNING, 8)


def test_closing_is_clean_only_when_all_results_of_the_partition_go_with_it() -> None:
    it, a = planner(records_max=1), partition(0, 2)
    it.add(answer(a, 0))
    it.add(answer(a, 1))

    first = it.plan(closing=[a])
    assert first is not None
    it.committed(first, always)
    assert not a.is_released
    last = it.plan(closing=[a])
    assert last is not None
    it.committed(last, always)

    assert [decode(flight.positions[a.at].metadata).clean for flight in (first, last)] == [False, True]
    assert a.is_released


def test_nothing_to_say_is_no_transaction() -> None:
    assert planner().plan() is None


@settings(max_examples=200)
@given(st.integers(1, 30), st.sets(st.integers(0, 29), max_size=3), st.integers(0, 1 << 30))
def test_refused_batch_is_halved_until_only_the_culprits_say_something_else(
    count: int, bad: set[int], seed: int
) -> None:
    """Whatever aborts in between: each result is written exactly once, the culprits' retreat in place of theirs."""
    chance, it, a = random.Random(seed), planner(), partition(0, count)
    for offset in range(count):
        it.add(answer(a, offset))
    log: list[bytes] = []

    for _ in range(1000):
        flight = it.plan()
        if flight is None:
            break
        values = [record.value or b"" for record in flight.records]
        if chance.random() < 0.2:
            it.without_effect(flight)
        elif any(value == f"0/{offset}/0".encode() for value in values for offset in bad):
            it.refused(flight, "too large")
        else:
            log += values
            it.committed(flight, always)

    expected = [f"0/{n}/0".encode() if n not in bad else b"less 1" for n in range(count)]
    assert sorted(log) == sorted(expected)
    assert a.offsets.commit_point() == (count, b"")


def test_answer_that_is_refused_again_and_again_says_less_each_time_and_is_written_once() -> None:
    """First a success without its triggers, then a failure, then that without its input: each is a retreat."""
    it, a = planner(), partition(0, 1)
    it.add(answer(a, 0))

    said: list[bytes | None] = []
    for _ in range(3):
        it.refused(plan(it), "no such topic")
        flight = plan(it)
        said.append(flight.records[0].value)
        it.without_effect(flight)
    last = plan(it)
    it.committed(last, always)

    assert said == [b"less 1", b"less 2", b"less 3"]
    assert not it.has_answers
    assert a.offsets.commit_point() == (1, b"")


def test_answer_of_which_not_even_the_least_is_taken_says_all_of_it_again() -> None:
    """No record is to blame then, as where a topic is gone for a minute; its process ended."""
    it, a = planner(), partition(0, 1)
    first = answer(a, 0, records=2)
    first.retreat = lambda refused, error: [NewRecord("events", b"k", b"less")] if refused == 1 else None
    it.add(first)

    said: list[list[bytes | None]] = []
    for _ in range(4):
        flight = plan(it)
        said.append([record.value for record in flight.records])
        it.refused(flight, "no such topic")

    assert said == [[b"0/0/0", b"0/0/1"], [b"less"]] * 2
    assert (first.refused, first.rounds, len(plan(it).records)) == (0, 2, 2)
