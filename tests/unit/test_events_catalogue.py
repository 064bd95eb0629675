"""Our own records: every class is read back as it was, by us and by everyone else."""

import dataclasses
import io
import json
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints

import avro.io
import avro.schema
import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.errors import RecordError, UnknownSchema
from farandole.events.avro import Schema, SchemaBook
from farandole.events.catalogue import ALL, decode, encode, part_decoder, schema_of, type_name
from farandole.events.facts import RunStarted, StepScheduled, StepSucceeded
from farandole.events.tables import Claim, SettledRun, SettledStep

INSTANTS = st.integers(-(1 << 40), 1 << 41).map(
    lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
)
VALUES: dict[object, st.SearchStrategy[object]] = {
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    int: st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-70, 70),
    bytes: st.binary(max_size=200),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    datetime: INSTANTS,
}


def values(annotation: object) -> st.SearchStrategy[object]:
    """Values of a field."""
    if get_origin(annotation) is UnionType:
        return st.none() | st.one_of([values(each) for each in get_args(annotation) if each is not NoneType])
    if get_origin(annotation) is tuple:
        return st.lists(values(get_args(annotation)[0]), max_size=4).map(tuple)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return records(annotation)
    return VALUES[annotation]


def records(record: type) -> st.SearchStrategy[object]:
    """Objects of a class."""
    hints = get_type_hints(record)
    return st.builds(record, **{each.name: values(hints[each.name]) for each in dataclasses.fields(record)})


def plain(thing: object) -> object:
    """What a reader without our classes should see."""
    if isinstance(thing, tuple):
        return [plain(each) for each in thing]
    if dataclasses.is_dataclass(thing):
        return {each.name: plain(getattr(thing, each.name)) for each in dataclasses.fields(thing)}
    return thing


@pytest.mark.parametrize("record", ALL, ids=type_name)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_record_is_read_back_by_us_by_fastavro_and_by_apache_avro(record: type, data: st.DataObject) -> None:
    thing = data.draw(records(record))

    framed = encode(thing)

    schema = schema_of(record)
    assert decode(framed) == thing
    assert schema.decode(framed) == plain(thing)
    assert schema.encode(plain(thing)) == framed
    assert fastavro.schemaless_reader(io.BytesIO(framed[10:]), json.loads(schema.text), None) == plain(thing)
    reader = avro.io.DatumReader(avro.schema.parse(schema.text))
    assert reader.read(avro.io.BinaryDecoder(io.BytesIO(framed[10:]))) == plain(thing)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(ALL), st.data())
def test_bytes_that_nobody_wrote_are_refused_or_make_a_record(record: type, data: st.DataObject) -> None:
    good = encode(data.draw(records(record)))
    at = data.draw(st.integers(10, len(good)))
    bad = good[:at] + data.draw(st.binary(max_size=12)) + good[at + data.draw(st.integers(0, 3)) :]

    try:
        found: object = decode(bad)
    except RecordError as refusal:
        found = refusal.reason

    assert found == "undecodable" or isinstance(found, record)


@pytest.mark.parametrize("record", ALL, ids=type_name)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_each_field_alone_is_read_as_it_is_in_the_whole(record: type, data: st.DataObject) -> None:
    thing = data.draw(records(record))
    names = [each.name for each in dataclasses.fields(record)]

    found = {name: part_decoder(record, name)(encode(thing)) for name in names}

    assert found == {name: getattr(thing, name) for name in names}


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 60), st.binary(max_size=12))
def test_field_of_bytes_that_nobody_wrote_is_refused_or_is_some_text(at: int, strange: bytes) -> None:
    good = encode(Claim("ab" * 32, 5))

    try:
        found: object = part_decoder(Claim, "sha256")(good[: 10 + at] + strange)
    except RecordError as refusal:
        found = refusal.reason

    assert isinstance(found, str)


def test_field_of_another_record_or_of_one_cut_short_is_refused() -> None:
    decode_hash = part_decoder(Claim, "sha256")
    other = encode(SettledStep("a", "succeeded", 1, 0, 0))

    with pytest.raises(RecordError, match=r"expected a farandole\.Claim, but found farandole\.SettledStep"):
        decode_hash(other)
    with pytest.raises(RecordError, match=r"farandole\.Claim\.sha256, but 4 bytes are missing"):
        decode_hash(encode(Claim("ab" * 32, 5))[:-5])


def test_type_name_is_the_schemas_name() -> None:
    assert type_name(StepSucceeded) == "farandole.StepSucceeded"
    assert all(schema_of(record).name == type_name(record) for record in ALL)


def test_settled_run_holds_its_steps() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    steps = (SettledStep("a", "succeeded", 1, 0, 0), SettledStep("b", "skipped", 0, 3, 2))
    run = SettledRun("r", "p", "d", "succeeded", "", now, now, steps, b"out")

    assert decode(encode(run)) == run


def test_field_of_a_wrong_type_is_refused_when_written() -> None:
    with pytest.raises(RecordError, match="StepScheduled: expected fields of their declared types") as refusal:
        encode(StepScheduled("r", "s", "first"))  # type: ignore[arg-type]

    assert refusal.value.reason == "contract"


def test_object_that_is_no_record_of_ours_is_refused_when_written() -> None:
    with pytest.raises(RecordError, match="expected a record of ours, but found dict"):
        encode({"run": "r"})


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_record_that_is_cut_is_undecodable(cut: int) -> None:
    framed = encode(Claim("ab" * 32, 5))

    with pytest.raises(RecordError) as refusal:
        decode(framed[: len(framed) - cut])

    assert refusal.value.reason == "undecodable"


def other_version(record: type, **changes: object) -> Schema:
    """The schema of a class with fields added (a schema) or taken away (None)."""
    schema = json.loads(schema_of(record).text)
    schema["fields"] = [each for each in schema["fields"] if changes.get(each["name"], 1) is not None]
    schema["fields"] += [{"name": name, **change} for name, change in changes.items() if isinstance(change, dict)]
    return Schema.parse(json.dumps(schema))


def test_record_of_a_newer_version_is_read_without_what_we_do_not_know() -> None:
    newer = other_version(StepSucceeded, colour={"type": "string", "default": ""})
    thing = StepSucceeded("r", "s", 1, b"x", ("a",), 4, 9)
    framed = newer.encode({**schema_of(StepSucceeded).decode(encode(thing)), "colour": "red"})  # type: ignore[dict-item]

    assert decode(framed, SchemaBook([newer])) == thing


def test_record_of_an_older_version_is_read_with_the_defaults_of_what_it_lacks() -> None:
    older = other_version(StepSucceeded, duration_ms=None, fired=None)
    framed = older.encode({"run": "r", "step": "s", "attempt": 1, "output": b"x"})

    assert decode(framed, SchemaBook([older])) == StepSucceeded("r", "s", 1, b"x")


def test_record_of_a_version_that_nobody_published_is_unknown() -> None:
    older = other_version(StepSucceeded, duration_ms=None)
    framed = older.encode({"run": "r", "step": "s", "attempt": 1, "output": b"x"})

    for book in (None, SchemaBook()):
        with pytest.raises(UnknownSchema):
            decode(framed, book)


def test_payload_of_a_user_is_no_record_of_ours() -> None:
    users = Schema.parse('"string"')

    with pytest.raises(RecordError, match="expected a record of ours, but found string"):
        decode(users.encode("x"), SchemaBook([users]))


def test_instant_is_cut_to_the_millisecond() -> None:
    at = datetime(2026, 1, 1, 0, 0, 0, 123999, UTC)

    found = decode(encode(RunStarted("r", "p", "d", b"", "h", at)))

    assert isinstance(found, RunStarted)
    assert found.started_at == at.replace(microsecond=123000)
