"""What a value of a run may be, read from Avro schemas: the types that validation compares.

Knows nothing of Python types nor of expressions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Simple:
    """`bool int double string timestamp duration null`, or `int or double`.

    `literals` are the texts that a string written in the expression may be; None if they are not known.
    """

    name: str
    literals: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """A type that travels but that expressions cannot compute with: bytes, date, decimal and the like."""

    name: str
    avro: str


@dataclass(frozen=True, slots=True)
class Symbols:
    """An enum; in expressions a string."""

    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Many:
    """A list; `item` is None for the empty literal."""

    item: "ValueType | None"


@dataclass(frozen=True, slots=True)
class Keyed:
    """A map from strings."""

    value: "ValueType"


@dataclass(frozen=True, slots=True)
class Nullable:
    """A type or None."""

    inner: "ValueType"


@dataclass(frozen=True, slots=True)
class Member:
    """A field of a record; `default` is its JSON text, None if it has none.

    `always`: false where some of the literal records that stand in one place lack it.
    """

    name: str
    type: "ValueType"
    default: str | None = None
    always: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """A record; without a name it is a literal `{"a": x}`."""

    name: str | None
    members: tuple[Member, ...]

    def member(self, name: str) -> Member | None:
        """The field of that name, if there is one."""
        return next((each for each in self.members if each.name == name), None)


ValueType = Simple | Opaque | Symbols | Many | Keyed | Nullable | Record

BOOL, INT, DOUBLE = Simple("bool"), Simple("int"), Simple("double")
STRING, TIMESTAMP, DURATION, NULL = Simple("string"), Simple("timestamp"), Simple("duration"), Simple("null")
NUMBER = Simple("int or double")
"""What `[1, 2.5]` holds: it may be given away as a double, but CEL does not add an int to one."""

_PRIMITIVES: Mapping[str, ValueType] = {
    "boolean": BOOL,
    "int": INT,
    "long": INT,
    "float": DOUBLE,
    "double": DOUBLE,
    "string": STRING,
    "null": NULL,
    "bytes": Opaque("bytes", '"bytes"'),
}
_AVRO = {"bool": "boolean", "int": "long", "double": "double", "string": "string", "null": "null"}
_AVRO |= {NUMBER.name: "double"}
_TIMESTAMP = {"logicalType": "timestamp-micros", "type": "long"}


@lru_cache(maxsize=2048)
def value_type(schema: str) -> ValueType:
    """The type of the values that an Avro schema (JSON text) describes."""
    return _read(json.loads(schema), {})


def _read(node: object, named: dict[str, ValueType]) -> ValueType:
    if isinstance(node, str):
        return _PRIMITIVES[node] if node in _PRIMITIVES else named[node]
    if isinstance(node, list):
        return _read_union(node, named)
    assert isinstance(node, dict)
    kind, logical = node["type"], node.get("logicalType")
    if logical is not None:
        known = logical in ("timestamp-micros", "timestamp-millis")
        return TIMESTAMP if known else Opaque(str(logical), json.dumps(node, sort_keys=True))
    if kind == "array":
        return Many(_read(node["items"], named))
    if kind == "map":
        return Keyed(_read(node["values"], named))
    if kind == "enum":
        named[node["name"]] = Symbols(node["name"], tuple(node["symbols"]))
        return named[node["name"]]
    if kind == "record":
        return _read_record(node, named)
    return _read(kind, named) if kind != "fixed" else Opaque("fixed", json.dumps(node, sort_keys=True))


def _read_union(node: list[object], named: dict[str, ValueType]) -> ValueType:
    rest = [each for each in node if each != "null"]
    if len(rest) == 1 and len(rest) < len(node):
        return Nullable(_read(rest[0], named))
    return Opaque("union", json.dumps(node, sort_keys=True))


def _read_record(node: dict[str, object], named: dict[str, ValueType]) -> ValueType:
    name, fields = str(node["name"]), node["fields"]
    assert isinstance(fields, list)
    members = [
        Member(each["name"], _read(each["type"], named), json.dumps(each["default"]) if "default" in each else None)
        for each in fields
    ]
    named[name] = Record(name, tuple(members))
    return named[name]


def described(tp: ValueType) -> str:
    """How a type is called in messages."""
    match tp:
        case Simple(name=name) | Opaque(name=name) | Symbols(name=name):
            return name
        case Many(item=item):
            return "empty list" if item is None else f"list of {described(item)}"
        case Keyed(value=value):
            return f"map of {described(value)}"
        case Nullable(inner=inner):
            return f"{described(inner)} or null"
        case Record(name=None, members=members):
            return "{" + ", ".join(each.name for each in members) + "}"
        case Record(name=name):
            return str(name)


def has_opaque(tp: ValueType) -> Opaque | None:
    """A part of the type that expressions cannot compute with, if there is one."""
    return _opaque_in(tp, set())


def _opaque_in(tp: ValueType, seen: set[int]) -> Opaque | None:
    """A record is looked into once, however often it is named: types may name the one before them twice, and so on."""
    match tp:
        case Opaque():
            return tp
        case Many(item=inner) | Keyed(value=inner) | Nullable(inner=inner):
            return None if inner is None else _opaque_in(inner, seen)
        case Record(members=members) if id(tp) not in seen:
            seen.add(id(tp))
            return next((found for each in members if (found := _opaque_in(each.type, seen))), None)
        case _:
            return None


def misfit(source: ValueType, target: ValueType, path: str = "") -> str | None:
    """Why a value of type `source` cannot be given where `target` is expected; None if it can."""
    return _misfit(source, target, path, set())


_Fitting = set[tuple[int, int]]
"""Pairs of records, by identity, of which one fits the other, or is being looked at: each pair is looked at once."""


def _misfit(source: ValueType, target: ValueType, path: str, fitting: _Fitting) -> str | None:
    if isinstance(target, Nullable):
        if source == NULL:
            return None
        return _misfit(source.inner if isinstance(source, Nullable) else source, target.inner, path, fitting)
    match source, target:
        case Simple(name="int" | NUMBER.name), Simple(name="double"):
            return None
        case Simple(literals=frozenset() as texts), Symbols(symbols=symbols):
            odd = sorted(texts.difference(symbols))
            return f"{_clash(source, target, path)} {odd[0]!r} (it takes {', '.join(symbols)})" if odd else None
        case Symbols(), Simple(name="string"):
            return None
        case Many(item=None), Many():
            return None
        case Many(item=inner), Many(item=outer) if inner is not None and outer is not None:
            return _misfit(inner, outer, f"{path}[]", fitting)
        case Keyed(value=inner), Keyed(value=outer):
            return _misfit(inner, outer, f"{path}[…]", fitting)
        case Record(name=None, members=members), Keyed(value=outer):
            misfits = (_misfit(each.type, outer, f"{path}.{each.name}", fitting) for each in members)
            return next(filter(None, misfits), None)
        case Record(), Record():
            return _record_misfit(source, target, path, fitting)
        case Simple(name=one), Simple(name=other) if one == other:
            return None
    return None if source == target else _clash(source, target, path)


def _clash(source: ValueType, target: ValueType, path: str) -> str:
    where = f" at {path}" if path else ""
    return f"expected {described(target)}{where}, but found {described(source)}"


def _record_misfit(source: Record, target: Record, path: str, fitting: _Fitting) -> str | None:
    if source.name is not None and source.name != target.name:
        return _clash(source, target, path)
    if (id(source), id(target)) in fitting:
        return None
    fitting.add((id(source), id(target)))
    for wanted in target.members:
        given = source.member(wanted.name)
        if (given is None or not given.always) and wanted.default is None:
            return f"expected {described(target)} with the field {path}.{wanted.name}, but it is missing"
        if given is not None and (bad := _misfit(given.type, wanted.type, f"{path}.{wanted.name}", fitting)):
            return bad
    extra = [each.name for each in source.members if target.member(each.name) is None]
    if extra:  # the writer refuses what its schema does not name
        return f"expected the fields of {described(target)}, but found {path}.{extra[0]} too"
    return None


def avro_of(tp: ValueType, named: set[str] | None = None) -> object:
    """The Avro schema of a type; None if it has none (a literal record, an empty list, a duration)."""
    named = set() if named is None else named
    match tp:
        case Simple(name="timestamp"):
            return _TIMESTAMP
        case Simple(name=name):
            return _AVRO.get(name)
        case Opaque(avro=avro):
            found: object = json.loads(avro)
            return found
        case Symbols(name=name, symbols=symbols):
            return _once(name, named, {"type": "enum", "name": name, "symbols": list(symbols)})
        case Many(item=inner) if inner is not None:
            below = avro_of(inner, named)
            return None if below is None else {"type": "array", "items": below}
        case Keyed(value=inner):
            below = avro_of(inner, named)
            return None if below is None else {"type": "map", "values": below}
        case Nullable(inner=inner):
            below = avro_of(inner, named)
            return None if below is None else ["null", below]
        case Record(name=str(name)) if name in named:
            return name
        case Record(name=str(name), members=members):
            named.add(name)
            return {"type": "record", "name": name, "fields": [_avro_field(each, named) for each in members]}
        case _:
            return None


def _once(name: str, named: set[str], node: dict[str, object]) -> object:
    if name in named:
        return name
    named.add(name)
    return node


def _avro_field(member: Member, named: set[str]) -> dict[str, object]:
    node = avro_of(member.type, named)
    if member.default is None:
        return {"name": member.name, "type": node}
    if isinstance(node, list) and member.default != "null":
        node = node[::-1]
    return {"name": member.name, "type": node, "default": json.loads(member.default)}
