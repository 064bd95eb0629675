"""The first bytes of a value say what it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farandole.errors import RecordError
from farandole.events.framing import Frame, Kind, confluent, single_object, unframe


@given(st.binary(min_size=8, max_size=8), st.binary())
def test_single_object_frame_is_taken_apart_as_it_was_put_together(fingerprint: bytes, body: bytes) -> None:
    assert unframe(single_object(fingerprint, body)) == Frame(Kind.SINGLE_OBJECT, fingerprint, body)


@given(st.integers(0, (1 << 32) - 1), st.binary())
def test_confluent_frame_is_taken_apart_as_it_was_put_together(schema_id: int, body: bytes) -> None:
    assert unframe(confluent(schema_id, body)) == Frame(Kind.CONFLUENT, schema_id, body)


@pytest.mark.parametrize("text", [b"{}", b"[1]", b'"x"', b"-1", b"0", b"true", b"null", b" {}", b"\n[]"])
def test_json_text_is_told_from_avro(text: bytes) -> None:
    assert unframe(text) == Frame(Kind.JSON, None, text)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xc3\x01abc", "only 3 follow"),
        (b"\0abc", "only 3 follow"),
        (b"\xc3\x02abcdefgh", "begins with C3 02 61 62"),
        (b"Obj\x01", "begins with 4F 62 6A 01"),
        (b"\xef\xbb\xbf{}", "begins with EF BB BF 7B"),
    ],
)
def test_value_that_begins_like_none_of_them_is_undecodable(value: bytes | None, why: str) -> None:
    with pytest.raises(RecordError, match=why) as refusal:
        unframe(value)

    assert refusal.value.reason == "undecodable"
