"""An Avro schema as a tree: names resolved, logical types recognised, recursion refused.

What every other part of our Avro works on. A named type that is used twice is one node
with two parents, so who walks the tree remembers nodes by identity, or pays for every
path. Knows neither how schemas are written (`schema_parser`) nor data.
"""

from dataclasses import dataclass

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

LOGICAL = frozenset(
    {
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-micros"),
        ("long", "local-timestamp-millis"),
        ("long", "local-timestamp-micros"),
        ("bytes", "decimal"),
        ("fixed", "decimal"),
        ("string", "uuid"),
        ("double", "dataclasses-avroschema-timedelta"),
    }
)
"""Logical types that change the plain form; any other is ignored, as Avro asks."""


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """One of Avro's primitive types; `logical` is None unless it is one that we know."""

    kind: str
    logical: str | None = None
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """A named run of `size` bytes."""

    name: str
    size: int
    aliases: tuple[str, ...] = ()
    logical: str | None = None
    precision: int = 0
    scale: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Enum:
    """A named set of symbols; `default` stands for symbols of a newer writer."""

    name: str
    symbols: tuple[str, ...]
    default: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """A list."""

    items: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A dict with string keys."""

    values: "Node"


@dataclass(frozen=True, slots=True, eq=False)
class Union:
    """One of several types."""

    branches: tuple["Node", ...]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A field of a record; `default` is JSON as the schema spells it, meaningless without `has_default`."""

    name: str
    type: "Node"
    has_default: bool = False
    default: object = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A named sequence of fields."""

    name: str
    fields: tuple[Field, ...]
    aliases: tuple[str, ...] = ()


Node = Primitive | Fixed | Enum | Array | Map | Union | Record


def kind_of(node: Node) -> str:
    """The Avro type of a node, in Avro's own word."""
    return node.kind if isinstance(node, Primitive) else type(node).__name__.lower()


def children(node: Node) -> tuple[Node, ...]:
    """The types directly inside a type."""
    match node:
        case Array(items=only) | Map(values=only):
            return (only,)
        case Union(branches=branches):
            return branches
        case Record(fields=fields):
            return tuple(each.type for each in fields)
    return ()


def tree_json(node: Node) -> object:
    """The schema again as JSON, without what changes neither bytes nor plain values (documentation, defaults, …)."""
    return _json(node, set(), "")


def _json(node: Node, written: set[str], namespace: str) -> object:
    """`namespace` is that of the enclosing type, in which a name without a dot is read."""
    match node:
        case Primitive():
            return {"type": node.kind, **_logical_json(node)} if node.logical else node.kind
        case Array():
            return {"type": "array", "items": _json(node.items, written, namespace)}
        case Map():
            return {"type": "map", "values": _json(node.values, written, namespace)}
        case Union():
            return [_json(branch, written, namespace) for branch in node.branches]
    if node.name in written:
        return node.name
    written.add(node.name)
    own = node.name.rpartition(".")[0]
    named = {"name": node.name, **({"namespace": ""} if namespace and not own else {})}
    match node:
        case Fixed():
            return {"type": "fixed", **named, "size": node.size, **_logical_json(node)}
        case Enum():
            return {"type": "enum", **named, "symbols": list(node.symbols)}
        case Record():
            fields = [{"name": each.name, "type": _json(each.type, written, own)} for each in node.fields]
            return {"type": "record", **named, "fields": fields}


def _logical_json(node: Primitive | Fixed) -> dict[str, object]:
    if node.logical == "decimal":
        return {"logicalType": node.logical, "precision": node.precision, "scale": node.scale}
    return {"logicalType": node.logical} if node.logical else {}
