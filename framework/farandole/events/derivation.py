"""Avro schemas of our own records, derived from their dataclasses.

Only what facts, commands and tables are made of: text, integers, bytes, booleans, floats,
instants, tuples, other such dataclasses, and `X | None`. The types of users' steps are
derived elsewhere, from more than this.
"""

import dataclasses
import json
from datetime import datetime
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints

NAMESPACE = "farandole"

_PRIMITIVE: dict[object, object] = {
    str: "string",
    int: "long",
    bytes: "bytes",
    bool: "boolean",
    float: "double",
    datetime: {"type": "long", "logicalType": "timestamp-millis"},
}


def schema_text(record: type) -> str:
    """The schema of a dataclass as JSON text, laid out for readers; this is what is published."""
    return json.dumps(_record(record, set()), indent=2) + "\n"


def schema_name(record: type) -> str:
    """The full name of a dataclass's schema."""
    return f"{NAMESPACE}.{record.__name__}"


def optional(annotation: object) -> object | None:
    """The type inside `X | None`; None if the annotation is not of that form."""
    if get_origin(annotation) is not UnionType:
        return None
    inner: list[object] = [each for each in get_args(annotation) if each is not NoneType]
    if len(inner) != 1:
        raise TypeError(f"expected X | None, but found {annotation}")
    return inner[0]


def element(annotation: object) -> object | None:
    """The type of the elements of `tuple[X, ...]`; None if the annotation is not of that form."""
    if get_origin(annotation) is not tuple:
        return None
    item: object = get_args(annotation)[0]
    return item


def _record(record: type, written: set[type]) -> object:
    if record in written:
        return schema_name(record)
    namespace = {} if written else {"namespace": NAMESPACE}  # inner records inherit it
    written.add(record)
    hints = get_type_hints(record)
    fields = [_field(each, hints[each.name], written) for each in dataclasses.fields(record)]
    return {"type": "record", "name": record.__name__, **namespace, "fields": fields}


def _field(each: "dataclasses.Field[object]", annotation: object, written: set[type]) -> dict[str, object]:
    schema: dict[str, object] = {"name": each.name, "type": _type(annotation, written)}
    if each.default is not dataclasses.MISSING:
        schema["default"] = _default(each.default)
    return schema


def _default(value: object) -> object:
    """A default as Avro spells it: bytes as text of code points 0 to 255."""
    match value:
        case tuple():
            return list(value)
        case bytes():
            return value.decode("latin-1")
    return value


def _type(annotation: object, written: set[type]) -> object:
    if (inner := optional(annotation)) is not None:
        return ["null", _type(inner, written)]
    if (item := element(annotation)) is not None:
        return {"type": "array", "items": _type(item, written)}
    if annotation in _PRIMITIVE:
        return _PRIMITIVE[annotation]
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _record(annotation, written)
    raise TypeError(f"expected a type of our own records, but found {annotation}")
