"""JSON from strangers: strict, and converted to the schema's plain values."""

import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.errors import RecordError, SchemaRefused
from farandole.events.avro import Schema, SchemaBook
from farandole.events.jsontext import parse_json

EVERYTHING = Schema.parse(
    json.dumps(
        {
            "type": "record",
            "name": "Everything",
            "namespace": "n",
            "fields": [
                {"name": "text", "type": "string"},
                {"name": "count", "type": "int", "default": 3},
                {"name": "ratio", "type": "double", "default": 1},
                {"name": "raw", "type": "bytes", "default": ""},
                {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
                {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}], "default": None},
                {"name": "hour", "type": ["null", {"type": "int", "logicalType": "time-millis"}], "default": None},
                {"name": "id", "type": ["null", {"type": "string", "logicalType": "uuid"}], "default": None},
                {
                    "name": "price",
                    "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
                    "default": "\u0001",
                },
                {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}, "default": "A"},
                {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []},
                {"name": "size", "type": {"type": "map", "values": "long"}, "default": {}},
            ],
        }
    )
)


def read(value: object) -> object:
    """What the schema makes of a JSON value."""
    return SchemaBook().decode_as(EVERYTHING, json.dumps(value).encode())


def test_json_becomes_plain_values_and_defaults_are_filled_in() -> None:
    assert read({"text": "x"}) == {
        "text": "x",
        "count": 3,
        "ratio": 1.0,
        "raw": b"",
        "at": None,
        "day": None,
        "hour": None,
        "id": None,
        "price": Decimal("0.01"),
        "kind": "A",
        "tags": [],
        "size": {},
    }


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("ratio", 1.5, 1.5),
        ("raw", "\u00e9\u0000", b"\xe9\0"),
        ("at", "2026-01-02T03:04:05.678Z", datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)),
        ("at", "2026-01-02T04:04:05+01:00", datetime(2026, 1, 2, 3, 4, 5, 0, UTC)),
        ("at", 1000, datetime(1970, 1, 1, 0, 0, 1, 0, UTC)),
        ("day", "2013-01-31", date(2013, 1, 31)),
        ("hour", "23:59:01", time(23, 59, 1)),
        ("id", "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
        ("price", "12.30", Decimal("12.30")),
        ("price", 12.3, Decimal("12.30")),
        ("price", -7, Decimal("-7.00")),
        ("kind", "B", "B"),
        ("tags", ["a"], ["a"]),
        ("size", {"a": 1 << 40}, {"a": 1 << 40}),
    ],
)
def test_json_form_of_each_type_is_converted(name: str, value: object, plain: object) -> None:
    found = read({"text": "x", name: value})

    assert isinstance(found, dict)
    assert found[name] == plain
    assert EVERYTHING.decode(EVERYTHING.encode(found)) == found


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("text", 1, ".text: expected text, but found int 1"),
        ("count", 1.0, ".count: expected an integer of 32 bits"),
        ("count", True, ".count: expected an integer"),
        ("count", 1 << 31, ".count: expected an integer of 32 bits"),
        ("ratio", "1", ".ratio: expected a number"),
        ("raw", "\u20ac", ".raw: expected bytes as text of code points 0 to 255"),
        ("at", "yesterday", ".at: expected null or long"),
        ("at", "2026-01-02T03:04:05", ".at: expected null or long"),
        ("at", 1 << 62, ".at: expected null or long"),
        ("day", "2013-02-31", ".day: expected"),
        ("price", "1.234", ".price: expected a decimal of at most 9 digits, 2 of them after the point"),
        ("price", "1e999999999", ".price: expected a decimal"),
        ("price", "NaN", ".price: expected a decimal"),
        ("kind", "C", ".kind: expected one of A, B"),
        ("tags", ["a", 2], ".tags[1]: expected text"),
        ("size", {"a": None}, ".size['a']: expected an integer of 64 bits"),
        ("other", 1, ": expected only fields of n.Everything, but found other"),
    ],
)
def test_json_that_does_not_fit_is_refused_by_the_name_of_its_field(name: str, value: object, told: str) -> None:
    with pytest.raises(RecordError) as refusal:
        read({"text": "x", name: value})

    assert str(refusal.value).startswith("n.Everything" + told)
    assert refusal.value.reason == "contract"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "expected JSON"),
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b'{"a":NaN}', "no JSON number"),
        (b"[Infinity]", "no JSON number"),
        (b"1e9999999999999999999", "out of range"),
        (b"[1,]", "expected JSON"),
        (b"{} {}", "expected JSON"),
        (b"\xef\xbb\xbf{}", "expected JSON"),
        (b'"\xff"', "UTF-8"),
        ('"x"'.encode("utf-16"), "UTF-8"),
        (b'["\\ud800"]', "lone surrogate"),
        (b'{"\\udfff":1}', "lone surrogate"),
        (b"[" * 100 + b"]" * 100, "at most 64 deep"),
        (b"[" * 200_000, "deep"),
        (b'"' + b"x" * 1_048_576 + b'"', "at most 1048576 bytes"),
        (b"1" * 5000, "expected JSON"),
    ],
)
def test_text_that_is_no_strict_json_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(RecordError, match=why) as refusal:
        parse_json(text)

    assert refusal.value.reason == "undecodable"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab"), inner, max_size=4),
    max_leaves=15,
)


@settings(deadline=None)
@given(JSON)
def test_strict_json_is_read_as_python_reads_it(value: object) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("text", "number"), [("NaN", math.nan), ("Infinity", math.inf), ("-Infinity", -math.inf)], ids=str
)
@pytest.mark.parametrize("kind", ["float", "double"])
def test_floats_that_json_has_no_number_for_are_texts(text: str, number: float, kind: str) -> None:
    """They are shown so, and were not read: a dead letter with one anywhere could not be repaired in another field."""
    schema = Schema.parse(json.dumps(kind))

    found = schema.from_json(json.dumps(text).encode())

    assert isinstance(found, float)
    assert repr(found) == repr(number)


@pytest.mark.parametrize("branches", [["double", "string"], ["string", "double"], ["null", "float", "string"]])
def test_text_that_may_be_a_float_stays_a_text_where_texts_may_stand(branches: list[str]) -> None:
    """A dead letter with the text `NaN` had the number when it was put back."""
    assert Schema.parse(json.dumps(branches)).from_json(b'"NaN"') == "NaN"


@pytest.mark.parametrize("text", ["nan", "inf", "+Infinity", "Infinity ", "1.5", ""])
def test_other_texts_are_no_floats(text: str) -> None:
    with pytest.raises(RecordError, match="double: expected a number, but found str"):
        Schema.parse('"double"').from_json(json.dumps(text).encode())


def test_default_is_a_number_as_avro_has_it() -> None:
    fields = [{"name": "ratio", "type": "double", "default": "NaN"}]

    with pytest.raises(SchemaRefused, match="default of field ratio"):
        Schema.parse(json.dumps({"type": "record", "name": "R", "fields": fields}))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("count", "2.5", "expected an integer of 32 bits, but found number 2.5"),
        ("count", "1.0", "expected an integer of 32 bits, but found number 1.0"),
        ("ratio", "1e999", "expected a number of 64 bits, but found number 1E+999"),
        ("text", "0.10", "expected text, but found number 0.10"),
    ],
)
def test_number_that_does_not_fit_is_shown_as_a_number(name: str, text: str, told: str) -> None:
    """Its author was told of a `Decimal Decimal('2.5')`, which they had not written."""
    with pytest.raises(RecordError) as refusal:
        EVERYTHING.from_json(f'{{"text": "x", "{name}": {text}}}'.replace('"text": "x", "text"', '"text"').encode())

    assert told in str(refusal.value)


def test_misspelt_name_of_a_field_that_must_be_there_is_named() -> None:
    """Only that `text` was missing was said, though `txet` stood there."""
    with pytest.raises(RecordError) as refusal:
        read({"txet": "x", "count": 1})

    assert str(refusal.value) == (
        "n.Everything.text: expected a value, for there is no default, but found none; n.Everything has no field txet"
    )
    with pytest.raises(RecordError, match=r"found none; n\.Everything has no field txet"):
        EVERYTHING.encode({"txet": "x", "count": 1})
