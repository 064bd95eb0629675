"""Lanes keep the order of a key and let the others go; bounds count what is in flight."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farandole.runtime.lanes import Lanes, Load

ENTRIES = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), max_size=40)


@given(ENTRIES, st.randoms(use_true_random=False))
def test_lanes_in_any_order_of_completion_keep_the_order_of_each_key(
    entries: list[tuple[str, int]], chance: random.Random
) -> None:
    lanes: Lanes[tuple[int, str]] = Lanes()
    for n, (key, _) in enumerate(entries):
        lanes.put(key, (n, key))
    out: list[tuple[int, str]] = []
    running: list[tuple[int, str]] = []

    while not lanes.is_empty:
        while (entry := lanes.take()) is not None:
            assert all(other[1] != entry[1] for other in running), "one of a key at a time"
            running.append(entry)
        ended = running.pop(chance.randrange(len(running)))
        out.append(ended)
        lanes.done(ended[1])

    assert sorted(out) == [(n, key) for n, (key, _) in enumerate(entries)]
    for key in "abcd":
        mine = [n for n, each in out if each == key]
        assert mine == sorted(mine)


@given(ENTRIES, st.integers(0, 9))
def test_dropped_entries_never_come_out_and_leave_the_others_in_order(
    entries: list[tuple[str, int]], gone: int
) -> None:
    lanes: Lanes[tuple[str, int]] = Lanes()
    for key, number in entries:
        lanes.put(key, (key, number))

    dropped = lanes.drop(lambda entry: entry[1] == gone)
    out: list[tuple[str, int]] = []
    while (entry := lanes.take()) is not None:
        out.append(entry)
        lanes.done(entry[0])

    assert len(dropped) == sum(1 for _, number in entries if number == gone)
    for key in "abcd":
        assert [n for k, n in out if k == key] == [n for k, n in entries if k == key and n != gone]
    assert lanes.is_empty


def test_key_whose_first_entry_was_dropped_before_it_came_out_lets_the_next_go() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.put("a", "gone")
    lanes.put("a", "next")

    lanes.drop(lambda entry: entry == "gone")

    assert lanes.take() == "next"


def test_what_waits_in_a_lane_can_be_looked_at_and_stays() -> None:
    lanes: Lanes[str] = Lanes()
    for entry in ("out", "next", "last"):
        lanes.put("a", entry)
    lanes.take()

    assert (list(lanes.waiting("a")), list(lanes.waiting("b"))) == (["next", "last"], [])

    lanes.done("a")
    assert lanes.take() == "next"


@pytest.mark.parametrize(
    ("sizes", "is_full", "is_low"),
    [
        ([], False, True),
        ([10, 10], False, True),
        ([10, 10, 10], False, False),
        ([1, 1, 1, 1], True, False),
        ([90], False, False),
        ([50], False, True),
        ([100], True, False),
    ],
)
def test_load_is_full_by_records_or_by_bytes_and_low_at_half_of_both(
    sizes: list[int], is_full: bool, is_low: bool
) -> None:
    load = Load(4, 100)
    for size in (*sizes, 7):
        load.add(size)
    load.remove(7)

    assert (load.is_full, load.is_low) == (is_full, is_low)
