"""The codec of commit metadata, and how doubt is judged by it (R4, R9)."""

import zlib
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farandole.errors import MetadataUnreadable
from farandole.transport.doubt import judge, judge_all
from farandole.transport.metadata import (
    FRESH,
    TEXT_MAX,
    WINDOW,
    WRITER_MAX,
    Metadata,
    decode,
    encode,
)
from farandole.transport.port import Position, TopicPartition

BITMAPS = st.one_of(
    st.binary(max_size=WINDOW // 8),
    st.sets(st.integers(1, WINDOW - 1), max_size=40).map(
        lambda bits: sum(1 << bit for bit in bits).to_bytes(WINDOW // 8, "little")
    ),
    st.integers(1, WINDOW - 2).map(lambda n: (((1 << n) - 1) << 1).to_bytes(WINDOW // 8, "little")),
).map(lambda bitmap: bitmap.rstrip(b"\0"))

METADATA = st.builds(
    Metadata,
    writer=st.text("abc.-_xyz019", max_size=WRITER_MAX),
    number=st.integers(0, (1 << 64) - 1),
    epoch=st.integers(0, 1 << 40),
    clean=st.booleans(),
    now_ms=st.none() | st.integers(0, 1 << 45),
    bitmap=BITMAPS,
)

A, B = TopicPartition("inbox", 0), TopicPartition("inbox", 1)


@given(METADATA)
def test_metadata_when_encoded_is_read_back_as_it_was(it: Metadata) -> None:
    assert decode(encode(it)) == it


@given(METADATA)
def test_metadata_text_is_ascii_and_far_below_the_brokers_limit(it: Metadata) -> None:
    text = encode(it)

    assert text.isascii()
    assert len(text) <= TEXT_MAX


def test_metadata_of_the_worst_window_and_longest_writer_fits() -> None:
    worst = Metadata("w" * WRITER_MAX, (1 << 64) - 1, 1 << 40, False, 1 << 45, b"\xaa" * (WINDOW // 8))

    assert len(encode(worst)) <= TEXT_MAX


def test_metadata_of_one_stuck_record_below_a_full_window_is_short() -> None:
    stuck = Metadata("ns.unit.0", 1, 1, bitmap=(((1 << WINDOW) - 1) & ~1).to_bytes(WINDOW // 8, "little"))

    assert len(encode(stuck)) < 60


def test_empty_text_is_a_position_nobody_has_touched() -> None:
    assert decode("") == FRESH
    assert (FRESH.epoch, FRESH.clean, FRESH.writer, FRESH.bitmap) == (0, True, "", b"")


@given(METADATA, st.data())
def test_metadata_with_one_character_altered_is_never_taken_for_another(it: Metadata, data: st.DataObject) -> None:
    text = encode(it)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Aab0_-").filter(lambda letter: letter != text[at]))

    try:
        found = decode(text[:at] + other + text[at + 1 :])
    except MetadataUnreadable:
        found = None

    # The last character may carry bits that stand for nothing.
    assert found is None or found == it


@pytest.mark.parametrize("text", ["f2.AAAA", "AQAB", "f1.", "f1.????", "f1.A", "bytes\0", "f1.AAAAAAAA"])
def test_metadata_that_is_not_ours_stops_the_partition(text: str) -> None:
    with pytest.raises(MetadataUnreadable, match="The partition stops"):
        decode(text)


def test_metadata_too_large_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValueError):
        encode(Metadata(bitmap=b"\x01" * (WINDOW // 8 + 1)))
    with pytest.raises(ValueError):
        encode(Metadata("w" * (WRITER_MAX + 1)))


def committed(writer: str, number: int) -> Position:
    return Position(7, encode(Metadata(writer, number, 1)))


@pytest.mark.parametrize("taken_over", [A, B])
def test_doubt_with_our_number_on_any_partition_means_committed(taken_over: TopicPartition) -> None:
    # Its next owner has committed over it meanwhile: judging by it alone doubled results.
    positions = {at: committed("next", 9) if at == taken_over else committed("me", 41) for at in (A, B)}

    assert judge(positions, "me", 41)
    assert judge_all([A, B], positions, "me", 41) is True


@pytest.mark.parametrize("position", [None, Position(7), committed("me", 40), committed("other", 41)])
def test_doubt_without_our_number_anywhere_means_it_had_no_effect(position: Position | None) -> None:
    assert not judge({A: position}, "me", 41)


def test_doubt_with_a_partition_still_pending_has_no_answer_yet() -> None:
    assert judge_all([A, B], {A: committed("other", 1)}, "me", 41) is None
    assert judge_all([A, B], {A: committed("me", 41)}, "me", 41) is True
    assert judge_all([A], {A: committed("other", 1)}, "me", 41) is False


@pytest.mark.parametrize(
    "bitmap",
    [b"\x05\x02\x02", b"\x01\x02\x02", b"\x81\x08" + b"\x02" + b"\xff" * 1024],
    ids=["short", "long", "window"],
)
def test_metadata_whose_bitmap_is_not_as_long_as_it_says_stops_the_partition(bitmap: bytes) -> None:
    """Its checksum fits, so another version wrote it: a bitmap that was cut would be offsets that nobody finished."""
    body = bytes(9) + b"\0\0" + bitmap
    text = "f1." + urlsafe_b64encode(body + zlib.crc32(body).to_bytes(4, "big")).rstrip(b"=").decode()

    with pytest.raises(MetadataUnreadable, match="its bitmap"):
        decode(text)
