"""From the JSON of an Avro schema to its tree.

Resolves names, refuses recursion, bounds depth and number of parts, and says of every
mistake where it stands. Whether a well-formed schema is safe is `admission`'s to say.
"""

import re
from dataclasses import dataclass, field
from typing import TypeGuard

from farandole.errors import SchemaRefused
from farandole.events.schema_tree import (
    LOGICAL,
    PRIMITIVES,
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Node,
    Primitive,
    Record,
    Union,
    children,
    kind_of,
)

NODES_MAX = 2_000
"""Named types, fields and union branches in one schema; far above any written by hand (STYLE: limits on everything)."""

DEPTH_MAX = 32
"""Types inside types, names followed; three frames of C and of Python each, far below any stack's end."""

NAME_MAX = 512
"""Characters of a full name."""

PRECISION_MAX = 1_000
"""Decimal digits; far above any amount, low enough that powers of ten stay cheap."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}\Z")
"""Avro's own rule, with a limit: names stand in messages."""


def parse_tree(schema: object) -> Node:
    """The tree of a schema given as parsed JSON.

    Raises:
        SchemaRefused: it is not an Avro schema, refers to itself, is too deep or has too many parts.
    """
    return _Parser().node(schema, "", "the schema")


@dataclass(slots=True)
class _Parser:
    """`named` maps full names to nodes; None while a type is being read, which is how recursion shows.

    `heights` grows with the tree, from the leaves, so that nobody has to recurse into a chain of names.
    """

    named: dict[str, Node | None] = field(default_factory=dict)
    heights: dict[int, int] = field(default_factory=dict)
    parts: int = 0

    def node(self, schema: object, namespace: str, place: str) -> Node:
        """Any schema; `namespace` is that of the enclosing type."""
        node = self._node(schema, namespace, place)
        if id(node) not in self.heights:
            height = 1 + max((self.heights[id(child)] for child in children(node)), default=0)
            if height > DEPTH_MAX:
                raise _refused(place, f"types nested at most {DEPTH_MAX} deep", "more")
            self.heights[id(node)] = height
        return node

    def _node(self, schema: object, namespace: str, place: str) -> Node:
        if isinstance(schema, str):
            return Primitive(schema) if schema in PRIMITIVES else self._reference(schema, namespace, place)
        if isinstance(schema, list):
            return self._union(schema, namespace, place)
        if not isinstance(schema, dict):
            raise _refused(place, "a schema (text, list or object)", type(schema).__name__)
        kind = schema.get("type")
        if isinstance(kind, dict | list):
            return self.node(kind, namespace, place)
        match kind:
            case "record":
                return self._record(schema, namespace, place)
            case "enum":
                return self._enum(schema, namespace, place)
            case "fixed":
                return self._fixed(schema, namespace, place)
            case "array":
                return Array(self.node(schema.get("items"), namespace, f"{place}[]"))
            case "map":
                return Map(self.node(schema.get("values"), namespace, f"{place}{{}}"))
            case str() if kind in PRIMITIVES:
                return Primitive(kind, *_logical(kind, schema, place))
            case str():
                return self._reference(kind, namespace, place)
        raise _refused(place, "a `type`", repr(kind)[:60])

    def _reference(self, name: str, namespace: str, place: str) -> Node:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        if full not in self.named:
            raise _refused(place, "a primitive or a type defined before", repr(full[:120]))
        node = self.named[full]
        if node is None:
            raise SchemaRefused(
                f"{place}: expected no recursion, but it refers to {full}, of which it is a part. "
                "The schema was refused: a small record could exhaust the reader"
            )
        return node

    def _union(self, branches: list[object], namespace: str, place: str) -> Node:
        if not branches:
            raise _refused(place, "at least one branch", "an empty union")
        found: list[Node] = []
        seen: set[str] = set()
        for branch in branches:
            self._count(place)
            node = self.node(branch, namespace, place)
            if isinstance(node, Union):
                raise _refused(place, "no union directly inside a union", "one")
            name = getattr(node, "name", kind_of(node))
            if name in seen:
                raise _refused(place, "each type once in a union", f"{name} twice")
            seen.add(name)
            found.append(node)
        return Union(tuple(found))

    def _record(self, schema: dict[str, object], namespace: str, place: str) -> Node:
        name = self._begin(schema, namespace, place)
        inner = name.rpartition(".")[0]
        given = schema.get("fields")
        if not isinstance(given, list):
            raise _refused(place, f"a list of fields in {name}", type(given).__name__)
        fields = tuple(self._field(each, inner, name) for each in given)
        names = [each.name for each in fields]
        if len(set(names)) != len(names):
            raise _refused(name, "each field once", f"fields {sorted(n for n in set(names) if names.count(n) > 1)}")
        node = Record(name, fields, _aliases(schema, inner, name))
        self.named[name] = node
        return node

    def _field(self, given: object, namespace: str, record: str) -> Field:
        self._count(record)
        if not isinstance(given, dict) or not _is_name(name := given.get("name")):
            raise _refused(record, "a field with a name of letters, digits and _", repr(given)[:60])
        node = self.node(given.get("type"), namespace, f"{record}.{name}")
        aliases = _aliases(given, "", f"{record}.{name}")
        return Field(name, node, "default" in given, given.get("default"), aliases)

    def _enum(self, schema: dict[str, object], namespace: str, place: str) -> Node:
        name = self._begin(schema, namespace, place)
        symbols = schema.get("symbols")
        if not isinstance(symbols, list) or not symbols or not all(_is_name(each) for each in symbols):
            raise _refused(name, "a list of symbols of letters, digits and _", repr(symbols)[:60])
        if len(set(symbols)) != len(symbols):
            raise _refused(name, "each symbol once", "one twice")
        default = schema.get("default")
        if default is not None and default not in symbols:
            raise _refused(name, "a default that is one of its symbols", repr(default)[:60])
        node = Enum(name, tuple(symbols), str(default) if default is not None else None, _aliases(schema, "", name))
        self.named[name] = node
        return node

    def _fixed(self, schema: dict[str, object], namespace: str, place: str) -> Node:
        name = self._begin(schema, namespace, place)
        size = schema.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 31:
            raise _refused(name, "a size from 0 to 2,147,483,647", repr(size)[:60])
        logical, precision, scale = _logical("fixed", schema, name)
        # 10^p is no power of two, so that it is below 2^(8n - 1) if it has less than 8n bits.
        if logical == "decimal" and (10**precision).bit_length() >= 8 * size:
            raise _refused(name, f"a decimal of no more digits than {size} bytes hold", f"a precision of {precision}")
        node = Fixed(name, size, _aliases(schema, "", name), logical, precision, scale)
        self.named[name] = node
        return node

    def _begin(self, schema: dict[str, object], namespace: str, place: str) -> str:
        """The full name of a type that is being defined, reserved for it."""
        self._count(place)
        name, given = schema.get("name"), schema.get("namespace", namespace)
        if not isinstance(name, str) or not isinstance(given, str):
            raise _refused(place, f"a name for the {schema['type']}", repr(name)[:60])
        full = name if "." in name or not given else f"{given}.{name}"
        if len(full) > NAME_MAX or not all(_NAME.match(part) for part in full.split(".")) or full in PRIMITIVES:
            raise _refused(place, "a name of letters, digits and _, none of Avro's own", repr(full[:120]))
        if full in self.named:
            raise _refused(place, "each name defined once", f"{full} again")
        self.named[full] = None
        return full

    def _count(self, place: str) -> None:
        self.parts += 1
        if self.parts > NODES_MAX:
            raise _refused(place, f"at most {NODES_MAX} named types, fields and union branches", "more")


def _is_name(given: object) -> TypeGuard[str]:
    return isinstance(given, str) and _NAME.match(given) is not None


def _aliases(given: dict[str, object], namespace: str, place: str) -> tuple[str, ...]:
    aliases = given.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise _refused(place, "aliases as a list of names", repr(aliases)[:60])
    return tuple(alias if "." in alias or not namespace else f"{namespace}.{alias}" for alias in aliases)


def _logical(kind: str, schema: dict[str, object], place: str) -> tuple[str | None, int, int]:
    logical = schema.get("logicalType")
    if not isinstance(logical, str) or (kind, logical) not in LOGICAL:
        return None, 0, 0
    if logical != "decimal":
        return logical, 0, 0
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int) or not 0 <= scale <= precision <= PRECISION_MAX:
        expected = f"a decimal with 0 <= scale <= precision <= {PRECISION_MAX}"
        raise _refused(place, expected, f"{scale!r} and {precision!r}"[:60])
    return logical, precision, scale


def _refused(place: str, expected: str, found: str) -> SchemaRefused:
    return SchemaRefused(f"{place}: expected {expected}, but found {found}. The schema was refused")
