"""Schemas under which a record could cost more than its bytes are refused before any record is read."""

import json
import tracemalloc

import fastavro
import pytest

from farandole.errors import RecordError, SchemaRefused
from farandole.events.avro import Schema, SchemaBook

EMPTY = {"type": "record", "name": "Empty", "fields": []}
NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "next", "type": ["null", "Node"], "default": None}],
}


def record(name: str, **fields: object) -> dict[str, object]:
    """A record schema."""
    return {"type": "record", "name": name, "fields": [{"name": k, "type": v} for k, v in fields.items()]}


def nested(depth: int) -> object:
    """Arrays inside arrays."""
    return {"type": "array", "items": nested(depth - 1)} if depth else "int"


def doubling(levels: int) -> object:
    """A record of nothing that holds the next one twice: 2^levels dicts out of no bytes."""
    schema: object = {"type": "record", "name": f"R{levels}", "fields": []}
    for level in reversed(range(levels)):
        schema = record(f"R{level}", a=schema, b=f"R{level + 1}")
    return schema


def chained(length: int) -> list[object]:
    """A union of records, each holding the one before: deep by names, flat as text."""
    first: list[object] = [record("C0", x="int")]
    return first + [record(f"C{n}", x=f"C{n - 1}") for n in range(1, length)]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (NODE, "recursion"),
        (record("Tree", children={"type": "array", "items": "Tree"}), "recursion"),
        ({"type": "array", "items": "null"}, "at least one byte"),
        ({"type": "array", "items": EMPTY}, "at least one byte"),
        ({"type": "map", "values": "null"}, "at least one byte"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "at least one byte"),
        ({"type": "array", "items": record("Two", a=EMPTY, b="null")}, "at least one byte"),
        (record("Outer", inner={"type": "array", "items": record("In", a="null")}), "at least one byte"),
        ({"type": "array", "items": record("Thin", **{f"n{i}": "null" for i in range(20)}, b="boolean")}, "per byte"),
        (doubling(24), "take no bytes"),
        (nested(40), "nested at most 32"),
        (chained(60), "nested at most 32"),
        (record("Wide", **{f"f{i}": "int" for i in range(2001)}), "at most 2000"),
        ({"type": "record", "name": "R", "fields": "x"}, "list of fields"),
        ({"type": "record", "fields": []}, "a name"),
        ({"type": "record", "name": "int", "fields": []}, "none of Avro's own"),
        (record("bad-name", a="int"), "letters, digits"),
        (record("R", **{"a-b": "int"}), "letters, digits"),
        ({**record("R", a="int"), "fields": [{"name": "a", "type": "int"}] * 2}, "each field once"),
        ({"type": "enum", "name": "E", "symbols": []}, "symbols"),
        ({"type": "enum", "name": "E", "symbols": ["A", "A"]}, "each symbol once"),
        ({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}, "one of its symbols"),
        ({"type": "fixed", "name": "F", "size": -1}, "size"),
        ({"type": "fixed", "name": "F", "size": True}, "size"),
        ([], "at least one branch"),
        (["int", "int"], "each type once"),
        (["int", ["string"]], "no union directly"),
        ([record("A", x="int"), record("A", y="int")], "defined once"),
        ("Unknown", "defined before"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 3}, "decimal"),
        ({"type": "bytes", "logicalType": "decimal"}, "decimal"),
        (5, "a schema"),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", "default": "x"}]}, "default"),
        (
            {
                "type": "record",
                "name": "R",
                "fields": [{"name": "a", "type": {"type": "array", "items": "int"}, "default": [1] * 300}],
            },
            "at most 256 values",
        ),
    ],
)
def test_schema_is_refused(schema: object, why: str) -> None:
    with pytest.raises(SchemaRefused, match=why) as refusal:
        Schema.parse(json.dumps(schema))

    assert refusal.value.reason == "schema_refused"


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"type":"int","type":"long"}', '{"type": NaN}', "[" * 5000, '"\\ud800"', " " * 300_000, "\ud800"],
)
def test_text_that_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(SchemaRefused):
        Schema.parse(text)


@pytest.mark.parametrize(("size", "digits"), [(1, 2), (2, 4), (4, 9), (8, 18), (16, 38), (415, 999)])
def test_fixed_that_is_too_short_for_its_decimal_is_refused_as_any_other_schema(size: int, digits: int) -> None:
    """fastavro raised an error of its own, which nobody caught: a row of `schemas`, or a record under the id of a
    registry that had taken such a schema, ended every process that read it."""
    money = {"type": "fixed", "name": "Money", "namespace": "shop", "size": size, "logicalType": "decimal"}

    with pytest.raises(SchemaRefused, match=f"shop.Money: expected a decimal of no more digits than {size} bytes hold"):
        Schema.parse(json.dumps({**money, "precision": digits + 1}))

    assert Schema.parse(json.dumps({**money, "precision": digits})).name == "shop.Money"


def test_schema_that_only_fastavro_refuses_is_refused_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of `schemas`, of definitions and of a registry leave out what is refused; anything else ends them."""

    def refuse(schema: object) -> str:
        raise fastavro.schema.SchemaParseException("not for me")

    monkeypatch.setattr("farandole.events.avro.to_parsing_canonical_form", refuse)

    with pytest.raises(SchemaRefused, match="Empty: expected an Avro schema, but SchemaParseException: not for me"):
        Schema(json.dumps(EMPTY))


def test_defaults_that_multiply_are_refused() -> None:
    """Each level's default holds the next one's four times; all of it is written in some hundred bytes."""
    schema: object = {**record("D9"), "fields": [{"name": "x", "type": "int", "default": 1}]}
    for level in reversed(range(9)):
        fields = [{"name": "f0", "type": schema, "default": {}}]
        fields += [{"name": f"f{n}", "type": f"D{level + 1}", "default": {}} for n in range(1, 4)]
        schema = {"type": "record", "name": f"D{level}", "fields": fields}

    with pytest.raises(SchemaRefused, match="at most 256 values"):
        Schema.parse(json.dumps(schema))


@pytest.mark.parametrize(
    "schema",
    [
        "null",
        EMPTY,
        {"type": "array", "items": ["null", "int"]},
        {"type": "array", "items": record("Order", note=["null", "string"], inner=record("In", ok="boolean"))},
        record("Report", rows={"type": "map", "values": {"type": "array", "items": record("Row", a="int")}}, e=EMPTY),
        nested(31),
        {"type": {"type": "string"}},
        {"type": "string", "logicalType": "something-of-somebody"},
    ],
)
def test_schema_that_people_write_is_admitted(schema: object) -> None:
    admitted = Schema.parse(json.dumps(schema))

    assert len(admitted.fingerprint) == 8


def test_recursive_schema_never_meets_the_5_kb_datum_that_kills_fastavro() -> None:
    """5,000 bytes of `a branch follows` overflow the C stack of fastavro 1.13 and end the process."""
    with pytest.raises(SchemaRefused, match="it refers to Node, of which it is a part"):
        Schema.parse(json.dumps(NODE)).decode_body(b"\x02" * 5000)


BOMBS = [
    ({"type": "array", "items": "boolean"}, b"\xfe\xff\xff\xff\x0f"),
    ({"type": "array", "items": ["null", "int"]}, b"\xfe\xff\xff\xff\x0f"),
    ({"type": "array", "items": "double"}, b"\xfe\xff\xff\xff\x0f"),
    ({"type": "array", "items": "float"}, b"\xfe" + b"\xff" * 8 + b"\x01"),
    ({"type": "map", "values": "int"}, b"\xfe\xff\xff\xff\x0f"),
    ({"type": "array", "items": "int"}, b"\xfd\xff\xff\xff\x0f\x02"),
    ("bytes", b"\xfe\xff\xff\xff\x0f"),
    ("string", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    ({"type": "fixed", "name": "F", "size": 2_000_000_000}, b"\0\0\0\0\0"),
]


@pytest.mark.parametrize(("schema", "body"), BOMBS)
def test_few_bytes_that_announce_billions_take_no_memory(schema: object, body: bytes) -> None:
    admitted = Schema.parse(json.dumps(schema))
    tracemalloc.start()

    for decode in (admitted.decode_body, lambda data: admitted._own(data, 0)):
        with pytest.raises((RecordError, IndexError, ValueError)):
            decode(body)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_field_that_the_reader_skips_is_bounded_by_the_data_too() -> None:
    """fastavro skips booleans without looking for the end: six bytes kept its resolving reader busy for ever."""
    flags = {"name": "flags", "type": {"type": "array", "items": "boolean"}}
    kept = {"name": "id", "type": "int"}
    writer = Schema.parse(json.dumps({"type": "record", "name": "R", "fields": [flags, kept]}))
    reader = Schema.parse(json.dumps({"type": "record", "name": "R", "fields": [kept]}))

    with pytest.raises(RecordError):
        reader.decode_body(b"\xfe\xff\xff\xff\xff\x7f", writer)

    assert reader.decode_body(writer.encode_body({"flags": [True], "id": 3}), writer) == {"id": 3}


def test_book_refuses_what_the_writer_could_not_have_written() -> None:
    schema = Schema.parse('["null","string"]')

    with pytest.raises(RecordError):
        SchemaBook([schema]).decode(schema.encode(None)[:-1] + b"\x0a")
