"""Whether versions understand each other, told with the place."""

import json

import pytest

from farandole.errors import SchemaRefused
from farandole.events.avro import Schema
from farandole.registry.compatibility import Compatibility, check, problems


def record(*fields: tuple[object, ...]) -> Schema:
    """A version: fields as (name, type) or (name, type, default)."""
    made = [dict(zip(("name", "type", "default"), each, strict=False)) for each in fields]
    return Schema.parse(json.dumps({"type": "record", "name": "R", "namespace": "n", "fields": made}))


OLD = record(("a", "int"))
WITH_DEFAULT = record(("a", "int"), ("b", "string", ""))
WITHOUT_DEFAULT = record(("a", "int"), ("b", "string"))


@pytest.mark.parametrize(
    ("new", "old", "mode", "told"),
    [
        (WITH_DEFAULT, OLD, Compatibility.FULL, []),
        (WITHOUT_DEFAULT, OLD, Compatibility.FORWARD, []),
        (WITHOUT_DEFAULT, OLD, Compatibility.BACKWARD, ["backward", "n.R.b: not written, and it has no default"]),
        (OLD, WITHOUT_DEFAULT, Compatibility.BACKWARD, []),
        (OLD, WITHOUT_DEFAULT, Compatibility.FORWARD, ["forward", "reader_field_missing_default_value"]),
        (record(("a", "long")), OLD, Compatibility.BACKWARD, []),
        (record(("a", "long")), OLD, Compatibility.FULL, ["forward", "type_mismatch", "n.R.a"]),
        (Schema.parse('["null","int"]'), Schema.parse('"int"'), Compatibility.BACKWARD, []),
        (Schema.parse('["null","int"]'), Schema.parse('"int"'), Compatibility.FORWARD, ["type_mismatch"]),
        (
            record(("a", {"type": "long", "logicalType": "timestamp-micros"})),
            record(("a", {"type": "long", "logicalType": "timestamp-millis"})),
            Compatibility.BACKWARD,
            ["written as timestamp-millis, wanted as timestamp-micros"],
        ),
        (
            record(("a", {"type": "long", "logicalType": "timestamp-micros"}), ("b", "string", "")),
            record(("a", "long")),
            Compatibility.FULL,
            [
                "backward: n.R.a: written as long, wanted as timestamp-micros",
                "forward: n.R.a: written as timestamp-micros",
            ],
        ),
    ],
)
def test_problems_of_two_versions_are_told(new: Schema, old: Schema, mode: Compatibility, told: list[str]) -> None:
    found = problems(new, old, mode)

    assert bool(found) is bool(told)
    assert all(part in " ".join(found) for part in told)


INSTANT = {"type": "long", "logicalType": "timestamp-micros"}


@pytest.mark.parametrize(
    "wrap", ["%s", '["null", %s]', '{"type": "array", "items": %s}', '{"type": "map", "values": %s}']
)
@pytest.mark.parametrize(("one", "other"), [("string", "bytes"), ("bytes", "string")])
def test_text_that_became_bytes_is_a_problem_both_ways_however_deep_it_stands(wrap: str, one: str, other: str) -> None:
    """Avro reads the one as the other, so `schema check` said 0; every trigger of a run under way was a dead letter
    then (`x: expected bytes, but found 'a' (str)`), for an agent takes what its annotation says."""
    old, new = (record(("a", json.loads(wrap % json.dumps(kind)))) for kind in (one, other))

    found = problems(new, old, Compatibility.FULL)

    assert len(found) == 2
    assert "backward: " in found[0]
    assert f"written as {one}, wanted as" in found[0]
    assert "Avro takes one for the other, an annotation does not" in found[0]
    assert "forward: " in found[1]


@pytest.mark.parametrize(("one", "other"), [("long", INSTANT), (INSTANT, "long")])
def test_number_or_null_that_became_an_instant_or_null_is_a_problem(one: object, other: object) -> None:
    """A null of the one is a null of the other, so something could be read, and nothing was said of the rest."""
    old, new = (record(("a", ["null", kind])) for kind in (one, other))

    found = problems(new, old, Compatibility.FULL)

    assert [each.partition(":")[0] for each in found] == ["backward", "forward"]
    assert "wanted as null or" in found[0]


def test_check_refuses_with_everything_that_is_wrong() -> None:
    with pytest.raises(
        SchemaRefused, match=r"n\.R: expected a version that is full compatible .* It was not published"
    ):
        check(WITHOUT_DEFAULT, OLD, Compatibility.FULL)
