"""Which schemas may come near a reader: those under which a record costs memory in proportion to its bytes.

A record is written by strangers; the schema says how much a reader makes of its bytes. A
type of zero size in an array lets five bytes stand for a billion items; recursion lets five
thousand overflow the C stack of fastavro; a chain of records that each hold the next one
twice makes four billion dicts of nothing. All of this shows in the schema alone, so it is
refused there, once, before any datum. Knows nothing of data.
"""

from farandole.errors import RecordError, SchemaRefused
from farandole.events.jsontext import parse_json
from farandole.events.schema_parser import DEPTH_MAX, parse_tree
from farandole.events.schema_tree import Array, Enum, Fixed, Map, Node, Primitive, Record, Union

TEXT_BYTES_MAX = 262_144
"""Largest schema text, bytes: the inline limit of payloads (DESIGN section 4)."""

OBJECTS_PER_BYTE_MAX = 8
"""Python objects that one byte of an array or map item may stand for: a record of a record of one boolean needs 3."""

FREE_OBJECTS_MAX = 10_000
"""Python objects that a whole record may bring beyond those its bytes pay for: nulls, empty records."""


def admit(text: str) -> Node:
    """The tree of a schema that is safe to read with.

    Raises:
        SchemaRefused: it is not, or is no schema; the message says where and why.
    """
    raw = text.encode(errors="surrogatepass")
    if len(raw) > TEXT_BYTES_MAX:
        raise SchemaRefused(
            f"schema: expected at most {TEXT_BYTES_MAX} bytes, but found {len(raw)}. The schema was refused"
        )
    try:
        parsed = parse_json(raw, bytes_max=TEXT_BYTES_MAX, depth_max=4 * DEPTH_MAX)
    except RecordError as bad:
        raise SchemaRefused(f"schema: {bad}. The schema was refused") from None
    tree = parse_tree(parsed)
    check(tree)
    return tree


def check(tree: Node) -> None:
    """Apply the rules to a tree.

    Raises:
        SchemaRefused: one is broken.
    """
    free = _excess(tree, {}, {}, "schema")
    if free > FREE_OBJECTS_MAX:
        raise SchemaRefused(
            f"schema: expected at most {FREE_OBJECTS_MAX} values that take no bytes, but found about {free}. "
            "It was refused: an empty record could exhaust the reader"
        )


def _least(node: Node, known: dict[int, int]) -> int:
    """The fewest bytes that a value takes."""
    if id(node) not in known:
        match node:
            case Primitive(kind="null"):
                least = 0
            case Primitive(kind="float"):
                least = 4
            case Primitive(kind="double"):
                least = 8
            case Fixed(size=size):
                least = size
            case Record(fields=fields):
                least = sum(_least(field.type, known) for field in fields)
            case Union(branches=branches):
                least = 1 + min(_least(branch, known) for branch in branches)
            case _:
                least = 1
        known[id(node)] = least
    return known[id(node)]


def _excess(node: Node, known: dict[int, int], least: dict[int, int], place: str) -> int:
    """The most objects that a value can bring beyond `OBJECTS_PER_BYTE_MAX` for each of its bytes.

    Additive over fields and maximal over branches; so, in a list whose items have none to
    spare, no number of items brings more than the bytes pay for.
    """
    if id(node) in known:
        return known[id(node)]
    match node:
        case Record(name=name, fields=fields):
            excess = 1 + sum(_excess(field.type, known, least, f"{name}.{field.name}") for field in fields)
        case Union(branches=branches):
            excess = max(_excess(branch, known, least, place) for branch in branches) - OBJECTS_PER_BYTE_MAX
        case Array(items=item) | Map(values=item):
            _check_item(item, _excess(item, known, least, place), least, place)
            excess = 1 - OBJECTS_PER_BYTE_MAX
        case Primitive() | Fixed() | Enum():
            excess = 1 - OBJECTS_PER_BYTE_MAX * _least(node, least)
    known[id(node)] = excess
    return excess


def _check_item(item: Node, excess: int, least: dict[int, int], place: str) -> None:
    if _least(item, least) == 0:
        raise SchemaRefused(
            f"{place}: expected items of at least one byte, but found items that take none. "
            "The schema was refused: a few bytes could stand for any number of them"
        )
    if excess > 0:
        raise SchemaRefused(
            f"{place}: expected items of at most {OBJECTS_PER_BYTE_MAX} values per byte, but found more. "
            "The schema was refused: a small record could exhaust the reader"
        )
