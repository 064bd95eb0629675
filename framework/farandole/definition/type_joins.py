"""The type of a value that has one of several: the items of a list, the branches of a condition.

Goes into what is written out (records, lists, maps), so that constants need not be alike to the letter. Knows nothing
of expressions.
"""

from dataclasses import replace
from functools import reduce

from farandole.definition.value_types import (
    DOUBLE,
    INT,
    NULL,
    NUMBER,
    Keyed,
    Many,
    Member,
    Nullable,
    Record,
    Simple,
    Symbols,
    ValueType,
    described,
    misfit,
)

_NUMBERS = frozenset({INT.name, DOUBLE.name, NUMBER.name})


class Apart(Exception):  # noqa: N818 - becomes a TypeProblem one level up
    """Two types that no value has both of; the message says where."""

    def __init__(self, one: ValueType, other: ValueType, path: str) -> None:
        where = f" at {path}" if path else ""
        super().__init__(f"expected values of one type{where}, but found {described(one)} and {described(other)}")


def joined(one: ValueType, other: ValueType, path: str = "") -> ValueType:
    """The type of what is of the one type or of the other.

    Raises:
        Apart: there is none.
    """
    if one is other:
        return one
    if NULL in (one, other):
        return _or_null(other if one == NULL else one)
    if isinstance(one, Nullable) or isinstance(other, Nullable):
        return _or_null(joined(_without_null(one), _without_null(other), path))
    match one, other:
        case Simple(), Simple():
            return _simple(one, other, path)
        case (Symbols() as enum, Simple(literals=frozenset() as texts)) | (
            Simple(literals=frozenset() as texts),
            Symbols() as enum,
        ) if texts.issubset(enum.symbols):
            return enum
        case Many(item=inner), Many(item=None):
            return one
        case Many(item=None), Many():
            return other
        case Many(item=inner), Many(item=outer) if inner is not None and outer is not None:
            return Many(joined(inner, outer, f"{path}[]"))
        case Keyed(value=inner), Keyed(value=outer):
            return Keyed(joined(inner, outer, f"{path}[…]"))
        case (Record(name=None, members=members), Keyed(value=value)) | (
            Keyed(value=value),
            Record(name=None, members=members),
        ):
            return Keyed(reduce(lambda so_far, each: joined(so_far, each.type, f"{path}.{each.name}"), members, value))
        case Record(), Record():
            return _record(one, other, path)
    return _alike(one, other, path)


def _or_null(tp: ValueType) -> ValueType:
    return tp if tp == NULL or isinstance(tp, Nullable) else Nullable(tp)


def _without_null(tp: ValueType) -> ValueType:
    return tp.inner if isinstance(tp, Nullable) else tp


def _simple(one: Simple, other: Simple, path: str) -> ValueType:
    if one.name == other.name:
        known = one.literals is not None and other.literals is not None
        return Simple(one.name, one.literals | other.literals if known else None)  # type: ignore[operator]
    if {one.name, other.name} <= _NUMBERS:
        return NUMBER
    raise Apart(one, other, path)


def _record(one: Record, other: Record, path: str) -> ValueType:
    if one.name is not None and other.name is not None:
        return _alike(one, other, path)
    if one.name is not None or other.name is not None:
        named, literal = (one, other) if one.name is not None else (other, one)
        return _named(named, literal, path)
    return Record(None, tuple(_members(one, other, path)))


def _members(one: Record, other: Record, path: str) -> list[Member]:
    """The fields of two literal records; those of one alone are not always there."""
    found: list[Member] = []
    for each in one.members:
        if twin := other.member(each.name):
            inner = joined(each.type, twin.type, f"{path}.{each.name}")
            found.append(Member(each.name, inner, always=each.always and twin.always))
        else:
            found.append(replace(each, always=False))
    return found + [replace(each, always=False) for each in other.members if one.member(each.name) is None]


def _named(named: Record, literal: Record, path: str) -> ValueType:
    """A literal is of a named type if it has all its fields, and they are what they are there."""
    same = {each.name for each in literal.members} == {each.name for each in named.members}
    if not same or not all(each.always for each in literal.members):
        raise Apart(named, literal, path)
    for each in named.members:
        twin = literal.member(each.name)
        assert twin is not None
        inner = f"{path}.{each.name}"
        _alike(each.type, joined(each.type, twin.type, inner), inner)
    return named


def _alike(one: ValueType, other: ValueType, path: str) -> ValueType:
    if misfit(one, other) or misfit(other, one):
        raise Apart(one, other, path)
    return one
