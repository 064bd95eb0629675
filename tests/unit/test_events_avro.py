"""Payloads: what is written is what was given, and others can read it."""

import io
import json
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import cast
from uuid import UUID

import avro.io
import avro.schema
import fastavro
import pytest
from fastavro.types import Schema as FastSchema
from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.errors import RecordError, UnknownSchema
from farandole.events.avro import Schema, SchemaBook

ORDER = json.dumps(
    {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "total", "type": "double"},
            {"name": "note", "type": ["null", "string"], "default": None},
            {
                "name": "lines",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "Line",
                        "fields": [{"name": "sku", "type": "string"}, {"name": "count", "type": "int", "default": 1}],
                    },
                },
            },
        ],
    }
)
PLAIN = {"id": "o-1", "total": 12.5, "note": None, "lines": [{"sku": "a", "count": 2}, {"sku": "b", "count": 1}]}

LONG_MAX = (1 << 63) - 1
INT_MAX = (1 << 31) - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

LEAVES: list[tuple[FastSchema, st.SearchStrategy[object]]] = [
    ("boolean", st.booleans()),
    ("int", st.integers(-INT_MAX - 1, INT_MAX)),
    ("long", st.integers(-LONG_MAX - 1, LONG_MAX)),
    ("float", st.floats(width=32, allow_nan=False)),
    ("double", st.floats(allow_nan=False)),
    ("bytes", st.binary(max_size=40)),
    ("string", TEXT),
]


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3, name: str = "N") -> tuple[FastSchema, st.SearchStrategy[object]]:
    """An admissible schema without logical types, its named types under `name`, and values that fit it."""
    kinds = ["leaf"] if depth == 0 else ["leaf", "array", "map", "record", "optional", "enum", "fixed"]
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "leaf":
            return draw(st.sampled_from(LEAVES))
        case "enum":
            return {"type": "enum", "name": name, "symbols": ["A", "B", "C"]}, st.sampled_from("ABC")
        case "fixed":
            return {"type": "fixed", "name": name, "size": 5}, st.binary(min_size=5, max_size=5)
        case "array":
            item, values = draw(schemas(depth - 1, name + "0"))
            return {"type": "array", "items": item}, st.lists(values, max_size=4)
        case "map":
            value, values = draw(schemas(depth - 1, name + "0"))
            return {"type": "map", "values": value}, st.dictionaries(TEXT, values, max_size=4)
        case "optional":
            inner, values = draw(schemas(depth - 1, name + "0").filter(lambda found: not isinstance(found[0], list)))
            return ["null", inner], st.none() | values
    fields = [draw(schemas(depth - 1, f"{name}{index}")) for index in range(draw(st.integers(1, 4)))]
    named = [{"name": f"f{index}", "type": schema} for index, (schema, _) in enumerate(fields)]
    plain = st.fixed_dictionaries({f"f{index}": values for index, (_, values) in enumerate(fields)})
    return {"type": "record", "name": name, "namespace": "n.s", "fields": named}, plain


def apache_decode(text: str, body: bytes) -> object:
    """What the reference implementation reads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = avro.schema.parse(text)
        return avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(io.BytesIO(body)))


def fastavro_decode(schema: FastSchema, body: bytes) -> object:
    """What fastavro's C reader makes of bytes, which nothing of ours reads with any more; RecordError if it refuses."""
    stream = io.BytesIO(body)
    try:
        plain: object = fastavro.schemaless_reader(stream, schema, None)
    except Exception:  # whatever a C reader makes of bytes that are not its schema's
        return RecordError
    return plain if stream.tell() == len(body) else RecordError


def outcome(call: Callable[[], object]) -> object:
    """What a call gives, or that its record was refused: anything else is an error."""
    try:
        return call()
    except RecordError:
        return RecordError


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_payload_of_any_schema_is_read_back_by_us_by_fastavro_and_by_apache_avro(data: st.DataObject) -> None:
    json_schema, values = data.draw(schemas())
    plain = data.draw(values)
    text = json.dumps(json_schema)
    schema = Schema.parse(text)

    framed = schema.encode(plain)

    assert schema.decode(framed) == plain
    assert schema._own(framed, 10) == (plain, len(framed))
    assert fastavro.schemaless_reader(io.BytesIO(framed[10:]), json_schema, None) == plain
    assert apache_decode(text, framed[10:]) == plain


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_bytes_that_nobody_wrote_are_refused_or_read_never_worse(data: st.DataObject) -> None:
    json_schema, values = data.draw(schemas())
    schema = Schema.parse(json.dumps(json_schema))
    good = schema.encode_body(data.draw(values))
    at = data.draw(st.integers(0, len(good)))
    bad = good[:at] + data.draw(st.binary(max_size=12)) + good[at + data.draw(st.integers(0, 3)) :]

    by_fastavro = fastavro_decode(json_schema, bad)
    by_us = outcome(lambda: schema.decode_body(bad))

    # Ours is the stricter: it knows no negative branches and no booleans of 7.
    assert by_us is RecordError or repr(by_us) == repr(by_fastavro)


ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
LONGS = {"type": "array", "items": "long"}
DOUBLES = {"type": "array", "items": "double"}


@pytest.mark.parametrize(
    ("kind", "body", "why"),
    [
        (ENUM, b"\x01", "a length of -1"),
        (["null", "long"], b"\x01\x06", "a length of -1"),
        (["null", "long"], b"\x03", "a length of -2"),
        ("boolean", b"\x05", "a boolean of 5"),
        ("int", b"\xfe\xff\xff\xff\xff\x7f", "an int of more than 32 bits"),
        ("long", b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        ("long", b"\xff" * 12 + b"\x01", "more than 10 bytes"),
        ("string", b"\x82" + b"\x80" * 10 + b"\x00a", "more than 10 bytes"),
        (LONGS, b"\x03\x7e\x02\x04\x00", "a block that ends -61 bytes off"),
        (LONGS, b"\x03\x01\x02\x04\x00", "a length of -1"),
        (DOUBLES, b"\x01\x0e" + b"\0" * 8 + b"\x00", "a block that ends 1 bytes off"),
        (DOUBLES, b"\x04" + b"\0" * 8 + b"\x00", "16 bytes wanted, 9 left"),
    ],
)
def test_bytes_that_avro_does_not_know_are_undecodable_and_never_another_value(
    kind: FastSchema, body: bytes, why: str
) -> None:
    """fastavro's C reader was ours. It took the enum's index -1 for the last symbol, a branch of -1 for the last one, a
    boolean of 5 for True, and cut what had more bits than its type."""
    schema = Schema.parse(json.dumps(kind))

    for decode in (schema.decode_body, lambda body: schema.decode(schema.frame + body)):
        with pytest.raises(RecordError, match=why) as refusal:
            decode(body)
        assert refusal.value.reason == "undecodable"


@pytest.mark.parametrize(
    ("kind", "body", "plain"),
    [
        (LONGS, b"\x03\x04\x02\x04\x00", [1, 2]),
        (LONGS, b"\x02\x02\x02\x04\x00", [1, 2]),
        (DOUBLES, b"\x01\x10" + b"\0" * 8 + b"\x02" + b"\0" * 8 + b"\x00", [0.0, 0.0]),
        ({"type": "map", "values": "long"}, b"\x01\x06\x02b\x02\x02\x02a\x04\x00", {"b": 1, "a": 2}),
        ("long", b"\x82\x80\x00", 1),
    ],
)
def test_what_others_write_otherwise_than_we_do_is_read(kind: FastSchema, body: bytes, plain: object) -> None:
    """Blocks with their size, several blocks, keys in any order, longs in more bytes than they need: all of it is Avro.
    Strictness by writing again what was read, and comparing, would have refused it."""
    assert Schema.parse(json.dumps(kind)).decode_body(body) == plain == fastavro_decode(kind, body)


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_list_of_floats_is_read_at_once_and_as_one_by_one(data: st.DataObject) -> None:
    kind, values = data.draw(
        st.sampled_from([("float", st.floats(width=32, allow_nan=False)), ("double", st.floats(allow_nan=False))])
    )
    plain = data.draw(st.lists(values))
    schema = Schema.parse(json.dumps({"type": "array", "items": kind}))
    within = Schema.parse(json.dumps({"type": "array", "items": ["null", kind]}))

    found = schema.decode(schema.encode(plain))

    assert found == plain == within.decode(within.encode(plain))
    assert [type(each) for each in cast(list[object], found)] == [float] * len(plain)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_fingerprint_is_that_of_apache_avro(data: st.DataObject) -> None:
    json_schema, _ = data.draw(schemas())
    text = json.dumps(json_schema)

    found = Schema.parse(text).fingerprint

    assert found == avro.schema.parse(text).fingerprint("CRC-64-AVRO")
    assert found.hex() == fastavro.schema.fingerprint(
        fastavro.schema.to_parsing_canonical_form(json_schema), "CRC-64-AVRO"
    )


def test_type_in_no_namespace_keeps_its_name_inside_one_that_has_a_namespace() -> None:
    """It was taken for `shop.Line`: what others had written with the schema was unknown to us, and what we wrote to
    them. Beside a `shop.Line` fastavro raised an error of its own, which ended who read a record of that schema."""
    line = {"type": "record", "name": "Line", "namespace": "", "fields": [{"name": "sku", "type": "string"}]}
    order = {"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "line", "type": line}]}
    ours = {"type": "enum", "name": "Line", "symbols": ["A"]}
    both = {**order, "fields": [{"name": "line", "type": line}, {"name": "ours", "type": ours}]}

    canonical = fastavro.schema.to_parsing_canonical_form(cast(FastSchema, both))

    found, plain = Schema.parse(json.dumps(both)), {"line": {"sku": "a"}, "ours": "A"}

    assert Schema.parse(json.dumps(order)).fingerprint.hex() == "9b5b61d5586c0e15"
    assert found.fingerprint.hex() == fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")
    assert found.decode(found.encode(plain)) == plain


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, datetime(2026, 2, 3, 4, 5, 6, 7000, tzinfo=UTC)),
        ({"type": "long", "logicalType": "timestamp-micros"}, datetime(1905, 2, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, datetime(2026, 2, 3, 4, 5, 6, 7000)),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, datetime(2026, 2, 3, 4, 5, 6, 7)),
        ({"type": "int", "logicalType": "date"}, date(2013, 1, 31)),
        ({"type": "int", "logicalType": "time-millis"}, time(23, 59, 59, 999000)),
        ({"type": "long", "logicalType": "time-micros"}, time(0, 0, 0, 1)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("-1234567.89")),
        ({"type": "bytes", "logicalType": "decimal", "precision": 3}, Decimal("0")),
        (
            {"type": "fixed", "name": "D", "size": 6, "logicalType": "decimal", "precision": 9, "scale": 2},
            Decimal("0.10"),
        ),
        ({"type": "string", "logicalType": "uuid"}, UUID("12345678-1234-5678-1234-567812345678")),
    ],
)
def test_logical_value_is_read_back_by_us_and_by_fastavro(kind: dict[str, object], plain: object) -> None:
    schema = Schema.parse(json.dumps(kind))

    body = schema.encode_body(plain)

    assert schema.decode_body(body) == plain
    assert schema._own(body, 0) == (plain, len(body))
    assert fastavro.schemaless_reader(io.BytesIO(body), kind, None) == plain


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_decimal_is_kept_to_the_digit_or_refused(number: Decimal) -> None:
    schema = Schema.parse('{"type":"bytes","logicalType":"decimal","precision":12,"scale":4}')

    body = outcome(lambda: schema.encode_body(number))

    assert body is RecordError or (isinstance(body, bytes) and schema.decode_body(body) == number)


def test_decimal_with_a_monstrous_exponent_is_refused_at_once() -> None:
    schema = Schema.parse('{"type":"bytes","logicalType":"decimal","precision":12,"scale":4}')

    refused = [outcome(lambda n=n: schema.encode(Decimal(n))) for n in ("1e999999999", "1e-999999999")]  # type: ignore[misc]

    assert refused == [RecordError, RecordError]
    assert schema.decode(schema.encode(Decimal("0e999999999"))) == 0


def test_decimal_with_thousands_of_zeros_behind_the_point_is_what_it_says() -> None:
    """They were made an int first, of which Python makes none of more than 4,300 digits: ValueError ended who read."""
    schema = Schema.parse('{"type":"bytes","logicalType":"decimal","precision":12,"scale":4}')
    zeros = "0" * 5_000

    found = [schema.from_json(f"1.5{zeros}".encode()), schema.decode(schema.encode(Decimal(f"-7.{zeros}")))]

    assert found == [Decimal("1.5"), Decimal(-7)]
    for lost in (f"1.{zeros}1", f"0.{zeros}1", f"1{zeros}", "9" * 5_000):
        with pytest.raises(RecordError, match="expected a decimal of at most 12 digits"):
            schema.encode(Decimal(lost))


def test_timedelta_of_dataclasses_avroschema_needs_no_registration_with_fastavro() -> None:
    schema = Schema.parse('{"type":"double","logicalType":"dataclasses-avroschema-timedelta"}')

    assert schema.decode(schema.encode(timedelta(seconds=1.5))) == timedelta(seconds=1.5)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": 3}, "shop.Order.id: expected text, but found int 3"),
        ({"total": True}, "shop.Order.total: expected a number, but found bool True"),
        ({"total": "1.5"}, "shop.Order.total: expected a number, but found str '1.5'"),
        ({"note": 5}, "shop.Order.note: expected null or string, but found int 5"),
        ({"lines": "ab"}, "shop.Order.lines: expected a list, but found str 'ab'"),
        (
            {"lines": [{"sku": "a"}, {"sku": "b", "count": 1 << 31}]},
            "shop.Order.lines[1].count: expected an integer of 32 bits, but found int 2147483648",
        ),
        ({"lines": [{}]}, "shop.Order.lines[0].sku: expected a value, for there is no default, but found none"),
        ({"colour": "red"}, "shop.Order: expected only fields of shop.Order, but found colour"),
        ({"id": "\ud800"}, "shop.Order.id: expected text without lone surrogates"),
    ],
)
def test_value_that_does_not_fit_is_refused_by_the_name_of_its_field(change: dict[str, object], told: str) -> None:
    with pytest.raises(RecordError) as refusal:
        Schema.parse(ORDER).encode({**PLAIN, **change})

    assert str(refusal.value).startswith(told)
    assert refusal.value.reason == "contract"


class Unspeakable:
    """A value of a user's."""

    def __repr__(self) -> str:
        raise OSError("not today")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": 10**5_000}, "shop.Order.id: expected text, but found int whose repr raises ValueError"),
        ({"lines": [{"sku": "a", "count": 10**5_000}]}, "shop.Order.lines[0].count: expected an integer of 32 bits"),
        ({"id": Unspeakable()}, "shop.Order.id: expected text, but found Unspeakable whose repr raises OSError"),
        ({10**5_000: 1}, "shop.Order: expected only fields of shop.Order, but found int whose repr raises ValueError"),
    ],
)
def test_value_that_cannot_be_shown_is_refused_all_the_same(change: dict[str, object], told: str) -> None:
    """The message that was to refuse it raised itself: a ValueError went through all that wait for a RecordError."""
    with pytest.raises(RecordError) as refusal:
        Schema.parse(ORDER).encode({**PLAIN, **change})

    assert str(refusal.value).startswith(told)


@pytest.mark.parametrize("kind", ["float", "double"])
def test_integer_that_no_float_can_be_made_of_is_refused_as_one_that_is_too_large(kind: str) -> None:
    """`struct` has an error of its own for it, beside OverflowError, and that went through."""
    with pytest.raises(RecordError, match=f"{kind}: expected a number of .. bits, but found int 1000"):
        Schema.parse(f'"{kind}"').encode(10**400)


def test_equal_maps_are_equal_bytes_whatever_their_order() -> None:
    schema = Schema.parse('{"type": "map", "values": {"type": "map", "values": "long"}}')
    one = {"a": {"x": 1, "y": 2}, "b": {}, "é": {}}
    other = {"é": {}, "b": {}, "a": {"y": 2, "x": 1}}

    assert schema.encode(one) == schema.encode(other)
    assert schema.decode(schema.encode(other)) == one
    with pytest.raises(RecordError, match="expected text, but found int 7"):
        schema.encode({"a": {}, 7: {}})


def test_naive_datetime_is_refused_not_read_by_the_machines_zone() -> None:
    schema = Schema.parse('{"type":"long","logicalType":"timestamp-millis"}')

    with pytest.raises(RecordError, match="with a time zone"):
        schema.encode(datetime(2026, 1, 1))


def test_union_takes_the_closest_branch() -> None:
    schema = Schema.parse('["null","float","double","long","string"]')

    values = [schema.decode(schema.encode(value)) for value in (None, 0.1, 3, "x")]

    assert values == [None, 0.1, 3, "x"]
    assert isinstance(values[2], int)


def test_union_of_records_takes_the_one_that_fits_whole() -> None:
    record = {"type": "record", "fields": [{"name": "a", "type": "int"}]}
    other = {"type": "record", "name": "B", "fields": [{"name": "a", "type": "string"}]}
    schema = Schema.parse(json.dumps([{**record, "name": "A"}, other]))

    assert [schema.encode_body({"a": 1})[0], schema.encode_body({"a": "x"})[0]] == [0, 2]


@pytest.mark.parametrize("framed", [b"", b"\xc3", b"\xc3\x01short", b"\x05\x06", b"\x00\x01"])
def test_value_without_a_frame_is_undecodable(framed: bytes) -> None:
    with pytest.raises(RecordError) as refusal:
        Schema.parse(ORDER).decode(framed)

    assert refusal.value.reason == "undecodable"


def test_payload_that_is_cut_or_has_bytes_left_over_is_undecodable() -> None:
    schema = Schema.parse(ORDER)
    framed = schema.encode(PLAIN)

    for bad in (framed[:-1], framed + b"\0"):
        with pytest.raises(RecordError) as refusal:
            schema.decode(bad)
        assert refusal.value.reason == "undecodable"


def test_payload_of_another_schema_is_unknown_until_its_writer_is_given() -> None:
    ours, theirs = Schema.parse('"double"'), Schema.parse('"int"')
    framed = theirs.encode(7)

    with pytest.raises(UnknownSchema):
        ours.decode(framed)

    assert ours.decode(framed, theirs) == 7.0


def test_book_finds_by_fingerprint_and_by_registry_id() -> None:
    schema = Schema.parse(ORDER)
    book = SchemaBook([schema])
    book.add(Schema.parse('"int"'), registry_id=12)
    framed = schema.encode(PLAIN)

    assert book.decode(framed) == PLAIN
    assert book.decode(b"\0\0\0\0\x0c\x0e") == 7
    assert book.find(schema.fingerprint) is schema
    with pytest.raises(UnknownSchema, match="id 13"):
        book.decode(b"\0\0\0\0\x0d\x0e")
    with pytest.raises(RecordError, match="found JSON"):
        book.decode(b"{}")


def test_same_text_is_the_same_schema_object() -> None:
    assert Schema.parse(ORDER) is Schema.parse(str(ORDER))


def named(kind: str, namespace: str, **more: object) -> dict[str, object]:
    """A type `Changed` of that namespace."""
    return {"type": kind, "name": "Changed", "namespace": namespace, **more}


@pytest.mark.parametrize(
    ("branches", "value"),
    [
        (
            [
                named("record", "order", fields=[{"name": "note", "type": "string", "default": ""}]),
                named("record", "stock", fields=[{"name": "sku", "type": "string"}]),
            ],
            {"sku": "A-1"},
        ),
        (
            [
                named("record", "a", fields=[{"name": "v", "type": "double"}]),
                named("record", "b", fields=[{"name": "v", "type": "long"}, {"name": "w", "type": "int"}]),
            ],
            {"v": 2**53 + 1, "w": 1},
        ),
        (
            [named("enum", "a", symbols=["X"], default="X"), named("enum", "b", symbols=["Q"])],
            "Q",
        ),
        (
            [
                {
                    "type": "record",
                    "name": "A",
                    "aliases": ["B"],
                    "fields": [{"name": "n", "type": "int", "default": 1}],
                },
                {"type": "record", "name": "B", "fields": [{"name": "m", "type": "int"}]},
            ],
            {"m": 5},
        ),
    ],
    ids=["records", "numbers", "enums", "alias"],
)
def test_own_payload_of_a_union_is_of_the_branch_that_it_was_written_by(branches: list[object], value: object) -> None:
    """Names are compared without their namespace between versions, and the first branch that fitted took the value."""
    schema = Schema.parse(json.dumps({"type": "record", "name": "E", "fields": [{"name": "body", "type": branches}]}))

    assert schema.decode(schema.encode({"body": value})) == {"body": value}
