"""Committed positions do not go back by themselves: what a process has committed, it knows (docs/decisions/0122)."""

import pytest

from farandole.errors import MetadataUnreadable
from farandole.runtime.remembered import Remembered
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import Position, TopicPartition

A, B = TopicPartition("inbox", 0), TopicPartition("inbox", 1)


def position(offset: int, epoch: int = 5, *above: int, writer: str = "me") -> Position:
    """Committed by an owner of that epoch; `above`: what is done behind the position, counted from it."""
    bits = sum(1 << each for each in above)
    return Position(
        offset, encode(Metadata(writer, 1, epoch, bitmap=bits.to_bytes(bits.bit_length() // 8 + 1, "little")))
    )


@pytest.mark.parametrize(
    ("found", "is_behind"),
    [
        (position(100, 5, 3, 7), False),
        (position(104, 5, 3), False),
        (position(104, 5, 1), True),
        (position(107, 5), True),
        (position(108, 5), False),
        (position(100, 6, 3, 7, writer="other"), False),
        (position(100, 6, 3, writer="other"), True),
        (position(99, 6, 4, 8, writer="other"), True),
        (position(200, 4, writer="other"), False),
        (Position(0), False),
        (None, True),
    ],
    ids=[
        "the same",
        "gone on",
        "gone on, and one that was done is not",
        "it stands at one that was done",
        "all that was done is behind it",
        "another's, who took over all",
        "another's, who lacks one",
        "offset lower",
        "an owner of an epoch before ours, who has done it all",
        "a start position, of an inbox that was made anew",
        "none any more",
    ],
)
def test_position_is_behind_if_it_lacks_anything_that_we_had_done(found: Position | None, is_behind: bool) -> None:
    remembered = Remembered()
    remembered.note({A: position(100, 5, 3, 7)})

    assert remembered.is_behind(A, found) is is_behind


def test_of_partitions_that_were_never_ours_nothing_is_known() -> None:
    remembered = Remembered()
    remembered.note({A: position(100)})

    assert remembered.places == {A}
    assert not remembered.is_behind(B, position(0))
    assert (remembered.epoch_of(A), remembered.epoch_of(B)) == (5, 0)
    assert (remembered.is_beyond(A, 99), remembered.is_beyond(A, 100), remembered.is_beyond(B, 0)) == (
        True,
        False,
        False,
    )


def test_last_transaction_counts_and_a_topic_made_anew_begins_anew() -> None:
    remembered = Remembered()
    remembered.note({A: position(100)})
    remembered.note({A: position(120)})
    assert remembered.is_behind(A, position(110))
    assert remembered.told(A, position(110, 3)) == "from 120 to 110 (epoch 5 to 3)"

    remembered.forget(A)

    assert not remembered.is_behind(A, position(0))


def test_position_of_a_newer_version_is_neither_behind_nor_not() -> None:
    remembered = Remembered()
    remembered.note({A: position(100)})

    with pytest.raises(MetadataUnreadable):
        remembered.is_behind(A, Position(100, "f9.future"))


def numbered(offset: int, number: int) -> Position:
    return Position(offset, encode(Metadata("me", number, 5)))


@pytest.mark.parametrize(
    ("found", "are_torn"),
    [
        ({A: numbered(100, 1), B: numbered(50, 2)}, True),
        ({A: numbered(100, 1)}, True),
        ({A: numbered(90, 0), B: numbered(50, 2)}, False),
        ({A: numbered(100, 1), B: None}, False),
        ({A: numbered(110, 9)}, True),
        ({A: Position(0)}, False),
        ({}, False),
    ],
    ids=[
        "both",
        "one of them",
        "one went further back",
        "one has none",
        "somebody else has begun",
        "made anew",
        "none",
    ],
)
def test_one_transaction_is_torn_if_each_partition_stands_where_it_stood_before_it(
    found: dict[TopicPartition, Position | None], are_torn: bool
) -> None:
    remembered = Remembered()
    remembered.note({A: numbered(100, 1)})
    remembered.note({B: numbered(50, 2)})
    remembered.note({A: numbered(120, 3), B: numbered(60, 3)})

    assert remembered.are_torn(found) is are_torn


def test_two_transactions_that_are_missing_are_no_torn_one() -> None:
    remembered = Remembered()
    for number in (1, 2, 3):
        remembered.note({A: numbered(100 * number, number)})
        remembered.note({B: numbered(10 * number, 10 + number)})

    assert not remembered.are_torn({A: numbered(200, 2), B: numbered(20, 12)})


def test_of_a_partition_that_was_committed_once_nothing_can_be_torn() -> None:
    """What stood there before was another's: who knows how much of it is missing?"""
    remembered = Remembered()
    remembered.note({A: numbered(100, 1)})

    assert not remembered.are_torn({A: numbered(90, 0)})


def test_last_transaction_that_never_was_is_undone_but_for_its_token() -> None:
    """Handlers may have had it: no later owner's may be lower."""
    remembered = Remembered()
    remembered.note({A: position(100, 4)})
    remembered.note({A: position(120, 5)})

    remembered.undo(A)

    assert remembered.position(A) == position(100, 4)
    assert not remembered.is_behind(A, position(100, 4))
    assert remembered.epoch_of(A) == remembered.copy().epoch_of(A) == 5
    remembered.undo(A)
    assert remembered.position(A) == position(100, 4), "of what was before nothing is known"
