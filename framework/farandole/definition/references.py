"""References: what stands for a value while a pipeline's body is read.

An operation on a reference makes another one, whose expression CEL evaluates in each run. What
Python would decide at once (`if`, `in`, iteration, text) raises, and says what to write instead.
"""

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import NoReturn

from farandole.definition.cel_nodes import (
    Binary,
    Call,
    Entries,
    Index,
    Items,
    Literal,
    Node,
    Select,
    Unary,
    free_paths,
)
from farandole.definition.cel_text import written
from farandole.definition.cel_types import TypeProblem, Types, part_type
from farandole.definition.problems import problem
from farandole.definition.value_types import DOUBLE, INT, Many, Nullable, Record, ValueType, described
from farandole.errors import DefinitionError

_HERE = str(Path(__file__).parent)


def caller_place() -> str:
    """`file:line` of the user's code that led here: the nearest frame outside this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class Reference:
    """Stands for a value of the run: fields, items, comparison, `&`, `|`, `~` and arithmetic make expressions."""

    __slots__ = ("_ref_node", "_ref_type", "_ref_types")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node, types: Types) -> None:
        self._ref_node = node
        self._ref_types = types
        self._ref_type = _type(node, types)

    def __repr__(self) -> str:
        return f"<reference {written(self._ref_node)}: {described(self._ref_type)}>"

    def __getattr__(self, name: str) -> "Reference":
        if name.startswith("__"):
            raise AttributeError(name)
        kind = self._ref_type.inner if isinstance(self._ref_type, Nullable) else self._ref_type
        if not isinstance(kind, Record):
            fact = f"expected a record with a field {name!r}, but it is {described(kind)}; compute in an agent instead"
            raise problem(caller_place(), written(self._ref_node), fact)
        return Reference(Select(self._ref_node, name), self._ref_types)

    def __getitem__(self, key: object) -> "Reference":
        if isinstance(key, slice) or (isinstance(key, int) and key < 0):
            _refuse(self, "an index of at least 0", f"[{key}]", "slice in an agent")
        return Reference(Index(self._ref_node, node_of(key)), self._ref_types)

    def __eq__(self, other: object) -> "Reference":  # type: ignore[override]
        return _binary("==", self, other)

    def __ne__(self, other: object) -> "Reference":  # type: ignore[override]
        return _binary("!=", self, other)

    def __lt__(self, other: object) -> "Reference":
        return _binary("<", self, other)

    def __le__(self, other: object) -> "Reference":
        return _binary("<=", self, other)

    def __gt__(self, other: object) -> "Reference":
        return _binary(">", self, other)

    def __ge__(self, other: object) -> "Reference":
        return _binary(">=", self, other)

    def __and__(self, other: object) -> "Reference":
        return _binary("&&", self, other)

    def __rand__(self, other: object) -> "Reference":
        return _binary("&&", other, self)

    def __or__(self, other: object) -> "Reference":
        return _binary("||", self, other)

    def __ror__(self, other: object) -> "Reference":
        return _binary("||", other, self)

    def __invert__(self) -> "Reference":
        return Reference(Unary("!", self._ref_node), self._ref_types)

    def __neg__(self) -> "Reference":
        return Reference(Unary("-", self._ref_node), self._ref_types)

    def __add__(self, other: object) -> "Reference":
        return _arithmetic("+", self, other)

    def __radd__(self, other: object) -> "Reference":
        return _arithmetic("+", other, self)

    def __sub__(self, other: object) -> "Reference":
        return _arithmetic("-", self, other)

    def __rsub__(self, other: object) -> "Reference":
        return _arithmetic("-", other, self)

    def __mul__(self, other: object) -> "Reference":
        return _arithmetic("*", self, other)

    def __rmul__(self, other: object) -> "Reference":
        return _arithmetic("*", other, self)

    def __truediv__(self, other: object) -> "Reference":
        return _arithmetic("/", self, other)

    def __rtruediv__(self, other: object) -> "Reference":
        return _arithmetic("/", other, self)

    def __floordiv__(self, other: object) -> NoReturn:
        _refuse(self, "+ - * or /", "//", "its rounding differs from Python's in CEL; compute in an agent")

    def __mod__(self, other: object) -> NoReturn:
        _refuse(self, "+ - * or /", "%", "its sign differs from Python's in CEL; compute in an agent")

    def __bool__(self) -> NoReturn:
        _refuse(self, "no decision in the body", "if, and, or, not", "write agent.when(condition), `&`, `|` or `~`")

    def __iter__(self) -> NoReturn:
        _refuse(self, "no iteration in the body", "for, * or unpacking", "write agent.map(items)")

    def __len__(self) -> NoReturn:
        _refuse(self, "no length in the body", "len()", "give the list to an agent, or agent.map(items)")

    def __contains__(self, item: object) -> NoReturn:
        _refuse(self, "no membership test in the body", "in", "compare with == and `|`, or decide in an agent")

    def __str__(self) -> str:
        _refuse(self, "no text of a value in the body", "str()", "format it in an agent")

    def __format__(self, spec: str) -> str:
        _refuse(self, "no text of a value in the body", "an f-string or format()", "format it in an agent")

    def __int__(self) -> NoReturn:
        _refuse(self, "no conversion in the body", "int()", "convert in an agent")

    def __float__(self) -> NoReturn:
        _refuse(self, "no conversion in the body", "float()", "convert in an agent")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        _refuse(self, "no call of a value in the body", "a call", "a method of a value runs in an agent")


def _refuse(of: Reference, expected: str, found: str, instead: str) -> NoReturn:
    fact = f"expected {expected}, but found {found}: the value is not known until a run; {instead}"
    raise problem(caller_place(), written(of._ref_node), fact)


def steps_of(value: object) -> frozenset[str] | None:
    """The free names that a reference reads; None if it is no reference."""
    return frozenset(path[0] for path in free_paths(value._ref_node)) if isinstance(value, Reference) else None


def types_of(value: Reference) -> Types:
    """The values among which a reference was made: one and the same object for one body."""
    return value._ref_types


def text_of(value: object) -> str:
    """A value of a body as an expression: a reference, or a constant that may hold some.

    Raises:
        DefinitionError: it cannot be said in an expression.
    """
    return written(node_of(value))


def node_of(value: object) -> Node:
    """As `text_of`, as a tree."""
    match value:
        case Reference():
            return value._ref_node
        case Enum():
            return node_of(value.value)
        case None | bool() | float() | str():
            return _literal(value)
        case int():
            return _literal(int(value))
        case datetime():
            return _timestamp(value)
        case list() | tuple():
            return Items(tuple(node_of(each) for each in value))
        case dict():
            return _entries({key: node_of(each) for key, each in value.items()})
    if is_dataclass(value) and not isinstance(value, type):
        return _entries({each.name: node_of(getattr(value, each.name)) for each in fields(value)})
    dump = getattr(type(value), "model_fields", None)
    if isinstance(dump, Mapping):
        return _entries({name: node_of(getattr(value, name)) for name in dump})
    kind = "a date" if isinstance(value, date) else f"{value!r} ({type(value).__qualname__})"
    raise DefinitionError(
        f"expected a reference, or a constant of bool, int, float, str, datetime, list, dict or a dataclass, "
        f"but found {kind}",
        place=caller_place(),
    )


def _literal(value: bool | int | float | str | None) -> Node:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and not -(2**63) <= value < 2**63:  # type: ignore[operator]
        found = value if value.bit_length() <= 128 else f"one of {value.bit_length():,}"  # type: ignore[union-attr]
        raise DefinitionError(f"expected an integer of 64 bits, but found {found}", place=caller_place())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise DefinitionError(f"expected a finite number, but found {value}", place=caller_place())
    return Literal(str.__str__(value) if isinstance(value, str) else value)


def _timestamp(value: datetime) -> Node:
    if value.tzinfo is None:
        raise DefinitionError(f"expected a datetime with a time zone, but found {value!r}", place=caller_place())
    return Call("timestamp", (Literal(value.astimezone(UTC).isoformat().replace("+00:00", "Z")),))


def _entries(nodes: dict[object, Node] | dict[str, Node]) -> Node:
    for key in nodes:
        if not isinstance(key, str):
            raise DefinitionError(f"expected a dict with text keys, but found {key!r}", place=caller_place())
    return Entries(tuple(str(key) for key in nodes), tuple(nodes.values()))


def _types(left: object, right: object) -> Types:
    for each in (left, right):
        if isinstance(each, Reference):
            return each._ref_types
    raise AssertionError("one operand is a reference")


def _binary(operator: str, left: object, right: object) -> Reference:
    return Reference(Binary(operator, node_of(left), node_of(right)), _types(left, right))


def _arithmetic(operator: str, left: object, right: object) -> Reference:
    """As Python computes: an int beside a float is one, and `/` divides floats."""
    types = _types(left, right)
    one, other = node_of(left), node_of(right)
    kinds = [_number(_type(each, types)) for each in (one, other)]
    if DOUBLE in kinds or operator == "/":
        one, other = (_as_double(each, kind) for each, kind in zip((one, other), kinds, strict=True))
    return Reference(Binary(operator, one, other), types)


def _type(node: Node, types: Types) -> ValueType:
    try:
        return part_type(node, types)
    except TypeProblem as bad:
        raise problem(caller_place(), written(node), str(bad)) from None


def _number(tp: ValueType) -> ValueType | None:
    bare = tp.inner if isinstance(tp, Nullable) else tp
    return bare if bare in (INT, DOUBLE) else None


def _as_double(node: Node, kind: ValueType | None) -> Node:
    if kind != INT:
        return node
    if isinstance(node, Literal) and isinstance(node.value, int):
        return Literal(float(node.value))
    return Call("double", (node,))


def is_list(value: object) -> bool:
    """Whether a value of a body stands for a list."""
    if isinstance(value, Reference):
        return isinstance(value._ref_type, Many)
    return isinstance(value, list | tuple)
