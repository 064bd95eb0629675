"""What one version wrote, another reads, as Avro's rules say and fastavro does."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

import fastavro
import pytest
from fastavro.types import Schema as FastSchema
from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.errors import RecordError
from farandole.events.avro import Schema, SchemaBook


def record(*fields: dict[str, object], name: str = "R", **more: object) -> dict[str, object]:
    """A record schema."""
    return {"type": "record", "name": name, "namespace": "n", "fields": list(fields), **more}


def field(name: str, kind: object, **more: object) -> dict[str, object]:
    """A field of it."""
    return {"name": name, "type": kind, **more}


def resolve(writer: object, reader: object, plain: object) -> object:
    """What a reader makes of a value of the writer's."""
    ours, theirs = Schema.parse(json.dumps(reader)), Schema.parse(json.dumps(writer))
    return SchemaBook([theirs]).decode_as(ours, theirs.encode(plain))


def fast(writer: object, reader: object, plain: object) -> object:
    """What fastavro makes of it, which resolves more than Apache avro's Python does; on data that is in order."""
    body = Schema.parse(json.dumps(writer)).encode_body(plain)
    return cast(
        object, fastavro.schemaless_reader(io.BytesIO(body), cast(FastSchema, writer), cast(FastSchema, reader))
    )


CASES: list[tuple[object, object, object, object]] = [
    ("int", "long", 5, 5),
    ("int", "double", 5, 5.0),
    ("long", "float", 5, 5.0),
    ("float", "double", 0.5, 0.5),
    ("string", "bytes", "ä", "ä".encode()),
    ("bytes", "string", "ä".encode(), "ä"),
    ("int", ["null", "int"], 5, 5),
    (["null", "int"], "long", 5, 5),
    (["null", "string"], ["string", "null"], None, None),
    (["int", "string"], ["string", "double"], 5, 5.0),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "double"}, [1, 2], [1.0, 2.0]),
    ({"type": "map", "values": "int"}, {"type": "map", "values": ["null", "long"]}, {"a": 1}, {"a": 1}),
    (record(field("a", "int"), field("b", "string")), record(field("b", "string")), {"a": 1, "b": "x"}, {"b": "x"}),
    (record(field("a", "int")), record(field("b", "long", default=7), field("a", "int")), {"a": 1}, {"a": 1, "b": 7}),
    (
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        {"type": "enum", "name": "E", "symbols": ["B", "A"]},
        "A",
        "A",
    ),
]


@pytest.mark.parametrize(("writer", "reader", "plain", "wanted"), CASES)
def test_value_of_another_version_is_read_as_fastavro_reads_it(
    writer: object, reader: object, plain: object, wanted: object
) -> None:
    found = resolve(writer, reader, plain)

    assert found == wanted
    assert type(found) is type(wanted)
    assert fast(writer, reader, plain) == wanted


def test_enum_symbol_of_a_newer_writer_becomes_the_default() -> None:
    writer = {"type": "enum", "name": "E", "symbols": ["A", "NEW"]}
    reader = {"type": "enum", "name": "E", "symbols": ["A", "OTHER"], "default": "OTHER"}

    assert [resolve(writer, reader, "A"), resolve(writer, reader, "NEW")] == ["A", "OTHER"]


def test_field_that_was_renamed_is_read_by_its_alias() -> None:
    writer = record(field("colour", "string"))
    reader = record(field("color", "string", aliases=["colour"]), name="S", aliases=["R"])

    assert resolve(writer, reader, {"colour": "red"}) == {"color": "red"}


def test_field_that_was_written_under_its_own_name_is_not_read_by_its_alias() -> None:
    """The one that was written first won: whoever kept the old field beside the new one was given the old value."""
    old, new = field("old", "long"), field("new", "long")
    reader = record(field("new", "long", aliases=["old"]))

    found = [resolve(record(*fields), reader, {"old": 1, "new": 2}) for fields in ((old, new), (new, old))]

    assert found == [{"new": 2}, {"new": 2}]


def test_default_is_plain_and_never_shared() -> None:
    when = {"type": "long", "logicalType": "timestamp-millis"}
    reader = record(
        field("a", "int"),
        field("raw", "bytes", default="\u00ff"),
        field("at", when, default=0),
        field("tags", {"type": "array", "items": "string"}, default=["x"]),
    )

    first = resolve(record(field("a", "int")), reader, {"a": 1})
    assert first == {"a": 1, "raw": b"\xff", "at": datetime(1970, 1, 1, tzinfo=UTC), "tags": ["x"]}
    cast(dict[str, list[str]], first)["tags"].append("mine")

    assert cast(dict[str, list[str]], resolve(record(field("a", "int")), reader, {"a": 1}))["tags"] == ["x"]


@pytest.mark.parametrize(
    ("writer", "reader", "plain", "why"),
    [
        ("string", "int", "x", "int: written as string, wanted as int"),
        (record(field("a", "int")), record(field("b", "int")), {"a": 1}, "n.R.b: not written, and it has no default"),
        (record(field("a", "string")), record(field("a", "int")), {"a": "x"}, "n.R.a: written as string"),
        (record(field("a", "int")), record(field("a", "int"), name="S"), {"a": 1}, "written as n.R, wanted as n.S"),
        (["null", "string"], "string", None, "written as null, wanted as string"),
        (
            {"type": "enum", "name": "E", "symbols": ["A", "B"]},
            {"type": "enum", "name": "E", "symbols": ["A"]},
            "B",
            "written as B, which it lacks",
        ),
        (
            {"type": "fixed", "name": "F", "size": 2},
            {"type": "fixed", "name": "F", "size": 3},
            b"ab",
            "written with 2 bytes, wanted with 3",
        ),
        (
            record(field("t", {"type": "long", "logicalType": "timestamp-micros"})),
            record(field("t", {"type": "long", "logicalType": "timestamp-millis"}), field("x", "int", default=0)),
            {"t": datetime(2026, 1, 1, tzinfo=UTC)},
            "written as timestamp-micros, wanted as timestamp-millis",
        ),
    ],
)
def test_value_that_the_reader_cannot_take_is_refused_with_the_place(
    writer: object, reader: object, plain: object, why: str
) -> None:
    with pytest.raises(RecordError, match=why) as refusal:
        resolve(writer, reader, plain)

    assert refusal.value.reason == "contract"


INSTANT = {"type": "long", "logicalType": "timestamp-micros"}
UUID_TEXT = {"type": "string", "logicalType": "uuid"}
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("writer", "reader", "plain", "why"),
    [
        (INSTANT, "long", AT, "written as timestamp-micros, wanted as long"),
        ("long", INSTANT, 5, "written as long, wanted as timestamp-micros"),
        ("int", INSTANT, 5, "written as int, wanted as timestamp-micros"),
        (["null", INSTANT], ["null", "long"], AT, "written as timestamp-micros, wanted as null or long"),
        ("long", ["null", INSTANT], 5, "written as long, wanted as null or timestamp-micros"),
        (
            {"type": "bytes", "logicalType": "decimal", "precision": 3},
            "bytes",
            Decimal(7),
            "decimal.*, wanted as bytes",
        ),
        ("int", {"type": "int", "logicalType": "date"}, 5, "written as int, wanted as date"),
    ],
)
def test_number_of_a_strangers_may_be_an_instant_but_not_that_of_another_version(
    writer: object, reader: object, plain: object, why: str
) -> None:
    old, new = (Schema.parse(json.dumps(record(field("a", kind)))) for kind in (writer, reader))
    more = Schema.parse(json.dumps(record(field("a", reader), field("b", "long", default=0))))
    body = old.encode_body({"a": plain})

    for version in (new, more):
        with pytest.raises(RecordError, match=why) as refusal:
            version.decode_version(body, old)
        assert refusal.value.reason == "contract"
    more.decode_body(body, old)


@pytest.mark.parametrize(
    ("writer", "reader", "plain", "wanted"),
    [
        (UUID_TEXT, "string", UUID(int=1), str(UUID(int=1))),
        ("string", UUID_TEXT, str(UUID(int=1)), UUID(int=1)),
        (["null", INSTANT], INSTANT, AT, AT),
        ("long", [INSTANT, "double"], 5, 5.0),
        ("int", "long", 5, 5),
    ],
)
def test_value_of_another_version_that_says_the_same_is_read(
    writer: object, reader: object, plain: object, wanted: object
) -> None:
    old, new = (Schema.parse(json.dumps(record(field("a", kind)))) for kind in (writer, reader))

    assert new.decode_version(old.encode_body({"a": plain}), old) == {"a": wanted}


NAMES = ["a", "b", "c", "d"]
WIDER = {"int": ["int", "long", "double"], "long": ["long", "double"], "double": ["double"], "string": ["string"]}
VALUES: dict[str, st.SearchStrategy[object]] = {
    "int": st.integers(-1000, 1000),
    "long": st.integers(-(1 << 40), 1 << 40),
    "double": st.floats(allow_nan=False),
    "string": st.text("xyz", max_size=5),
}
DEFAULTS: dict[str, object] = {"int": 1, "long": 2, "double": 0.5, "string": "s"}


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_records_that_gained_lost_moved_and_widened_fields_are_read_as_fastavro_does(data: st.DataObject) -> None:
    written = {name: data.draw(st.sampled_from(sorted(WIDER))) for name in data.draw(st.sets(st.sampled_from(NAMES)))}
    wanted = data.draw(st.permutations(NAMES).map(lambda names: names[:3]))
    kinds = {
        name: data.draw(st.sampled_from(WIDER[written[name]] if name in written else sorted(WIDER))) for name in wanted
    }
    lists = data.draw(st.booleans())
    kind = [field(name, {"type": "array", "items": of} if lists else of) for name, of in written.items()]
    reader = [
        field(name, {"type": "array", "items": of}, default=[]) if lists else field(name, of, default=DEFAULTS[of])
        for name, of in kinds.items()
    ]
    plain = {name: data.draw(st.lists(VALUES[of], max_size=3) if lists else VALUES[of]) for name, of in written.items()}

    found = resolve(record(*kind), record(*reader), plain)

    assert found == fast(record(*kind), record(*reader), plain)
