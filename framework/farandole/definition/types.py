"""Between Python values, plain values and Avro schemas.

Plain is what Avro encodes and decodes: dicts, lists, str, int, float, bool, bytes, None, aware
datetimes and dates. The schemas are derived by ourselves (docs/decisions/0020). Knows nothing of
agents, and leaves the bytes to `events`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from farandole.definition import plain
from farandole.definition.shapes import (
    MISSING,
    Choice,
    EnumOf,
    ListOf,
    MapOf,
    Maybe,
    RecordOf,
    Scalar,
    Shape,
    remembered,
    shape_of,
    type_name,
)
from farandole.errors import DefinitionError, RecordError

__all__ = [
    "ContractError",
    "Member",
    "canonical_json",
    "from_plain",
    "is_optional",
    "is_record",
    "record_text",
    "schema_text",
    "to_plain",
    "type_name",
]

_AVRO: Mapping[type, object] = {
    bool: "boolean",
    int: "long",
    float: "double",
    str: "string",
    bytes: "bytes",
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
    date: {"type": "int", "logicalType": "date"},
    type(None): "null",
}


class ContractError(RecordError):
    """A handler's result (or a given param) breaks its annotation; `path`, `expected` and `found` say where and how."""

    def __init__(self, what: str, path: str, expected: str, found: str) -> None:
        super().__init__(f"{what}{path}: expected {expected}, but found {found}", reason="contract")
        self.path = path
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a record that has no class: a parameter of an agent or a pipeline."""

    name: str
    type: object
    default: object = MISSING


def canonical_json(value: object) -> str:
    """JSON as definitions are hashed: sorted keys, no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def is_record(tp: object) -> bool:
    """Whether the type travels as an Avro record."""
    return isinstance(shape_of(tp), RecordOf)


def is_optional(tp: object) -> bool:
    """Whether the type takes None."""
    shape = shape_of(tp)
    return isinstance(shape, Maybe) or shape == Scalar(type(None))


@remembered
def schema_text(tp: object, name: str | None = None) -> str:
    """The Avro schema of a type as canonical JSON text; `name` replaces the name of a record at the top.

    Raises:
        DefinitionError: the type cannot travel.
    """
    return canonical_json(_Namer(type_name(tp)).node(shape_of(tp), name))


def record_text(name: str, members: Sequence[Member]) -> str:
    """The schema of a record with these fields, as canonical JSON text.

    Raises:
        DefinitionError: a type cannot travel, or a default cannot be written in a schema.
    """
    namer = _Namer(name, taken=name)
    fields = [namer.field(each.name, shape_of(each.type), each.default) for each in members]
    for each, made in zip(members, fields, strict=True):
        if each.default is not MISSING and "default" not in made:
            raise DefinitionError(
                f"{name}.{each.name}: expected a default that a schema can hold (a text, number, truth value, list or "
                f"dict of its type, or None for `T | None`), but found {each.default!r}. Default to None, and let the "
                "handler put in what that means"
            )
    return canonical_json({"type": "record", "name": name, "fields": fields})


class _Namer:
    """Writes out each named type at its first use and names it afterwards; `taken`: the name of a record around all."""

    def __init__(self, place: str, taken: str = "") -> None:
        self.place = place
        self.taken = taken
        self.written: dict[str, type] = {}

    def node(self, shape: Shape, name: str | None = None) -> object:
        match shape:
            case Scalar(python=python):
                return _AVRO[python]
            case Choice():
                return "string"
            case ListOf(item=item):
                return {"type": "array", "items": self.node(item)}
            case MapOf(value=value):
                return {"type": "map", "values": self.node(value)}
            case Maybe(inner=inner):
                return ["null", self.node(inner)]
            case EnumOf(cls=cls, symbols=symbols):
                if self.known(cls, cls.__name__):
                    return cls.__name__
                return {"type": "enum", "name": cls.__name__, "symbols": list(symbols)}
            case RecordOf(cls=cls):
                return self.record(shape, name or cls.__name__)

    def record(self, shape: RecordOf, name: str) -> object:
        if self.known(shape.cls, name):
            return name
        fields = [self.field(each.name, each.shape, each.default) for each in shape.fields]
        return {"type": "record", "name": name, "fields": fields}

    def field(self, name: str, shape: Shape, default: object) -> dict[str, object]:
        node, extra = self.node(shape), _default_json(shape, default)
        if isinstance(shape, Maybe) and isinstance(node, list) and extra.get("default") is not None:
            node.reverse()  # a default belongs to the first branch of its union (Avro 1.12, "Unions")
        return {"name": name, "type": node, **extra}

    def known(self, cls: type, name: str) -> bool:
        if name == self.taken:
            raise DefinitionError(
                f"type {self.place}: expected a class of another name, for the record of all parameters has this one, "
                f"but found {cls.__module__}.{cls.__qualname__}. Rename the class"
            )
        if name not in self.written:
            self.written[name] = cls
            return False
        other = self.written[name]
        if other is cls:
            return True
        raise DefinitionError(
            f"type {self.place}: expected one type of the name {name!r}, but found "
            f"{other.__module__}.{other.__qualname__} and {cls.__module__}.{cls.__qualname__}"
        )


def _default_json(shape: Shape, default: object) -> dict[str, object]:
    """`{"default": ...}` where JSON can say it plainly, else nothing."""
    if default is MISSING:
        return {}
    try:
        value = plain.writer(shape)(default)
        json.dumps(value, allow_nan=False)
    except (plain.Mismatch, TypeError, ValueError):
        return {}
    return {"default": value}


def to_plain(value: object, tp: object, *, what: str = "result") -> object:
    """The plain value of a Python value of that type.

    Raises:
        ContractError: the value breaks the type; `what` names it in the message.
    """
    try:
        return _writer(tp)(value)
    except plain.Mismatch as bad:
        raise ContractError(what, bad.path, bad.expected, plain.shown(bad.found)) from bad


def from_plain(value: object, tp: object, *, what: str = "input") -> object:
    """The Python value of a plain one; lenient only as Avro is (an int may become a float).

    Raises:
        RecordError: it is not of the type, or the type's own constructor refuses it.
    """
    try:
        return _reader(tp)(value)
    except plain.Mismatch as bad:
        raise RecordError(f"{what}{bad.path}: expected {bad.expected}, but found {plain.shown(bad.found)}") from bad


@remembered
def _writer(tp: object) -> plain.Converter:
    return plain.writer(shape_of(tp))


@remembered
def _reader(tp: object) -> plain.Converter:
    return plain.reader(shape_of(tp))
