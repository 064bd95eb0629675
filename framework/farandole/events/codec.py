"""Our own records to and from Avro's binary form, each class by a function written for it.

Every hop writes and reads a handful of facts, so this is the hottest code of the pure core.
The functions are put together as source text from the dataclass's annotations and compiled
once, as `dataclasses` itself does: no value passes through a dict, a walk over fields or a
call per field. The schema is that of `derivation`; tests hold both against fastavro.

Writing trusts the types, which mypy has checked; reading trusts nothing.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, get_type_hints

from farandole.events.derivation import element, optional
from farandole.events.logical import EPOCH
from farandole.events.wire import DOUBLE, VARINT, read_length, read_long

_MILLISECOND = timedelta(milliseconds=1)

Writer = Callable[[object], bytes]
"""Body of a record, with `head` in front; raises whatever a value of a wrong type makes it raise."""

Reader = Callable[[bytes, int], tuple[object, int]]
"""The record that begins at a place, and where it ends; IndexError, ValueError, TypeError, OverflowError if none does.

A cut value may be returned short: the end then lies beyond the data, which the caller must refuse.
"""


def writer(record: type, head: bytes = b"") -> Writer:
    """The function that writes objects of a dataclass."""
    return _Writing().function(record, head)


def reader(record: type) -> Reader:
    """The function that reads objects of a dataclass."""
    return _Reading().function(record)


def part_reader(record: type, name: str) -> Reader:
    """The function that reads one field alone: what stands before it is passed over, what follows is not looked at."""
    return _Reading().part_function(record, name)


@dataclass(slots=True)
class _Writing:
    """An expression per field, each a comma-separated run of `bytes` inside one tuple."""

    names: dict[str, object] = field(default_factory=dict)

    def function(self, record: type, head: bytes) -> Writer:
        """Compile the writer of one class."""
        self.names |= {"V": VARINT, "join": b"".join, "head": head, "millis": _millis, "double": DOUBLE.pack}
        hints = get_type_hints(record)
        parts = ["head", *(self.part(hints[each.name], f"it.{each.name}") for each in dataclasses.fields(record))]
        return _compile(f"def write(it): return join(({', '.join(parts)},))", "write", self.names)

    def part(self, annotation: object, value: str) -> str:
        """The expression for a value of a type."""
        if (inner := optional(annotation)) is not None:
            write = self.named(self.value_writer(inner))
            return f"b'\\0' if (o := {value}) is None else b'\\2' + {write}(o)"
        if (item := element(annotation)) is not None:
            return f"{self.named(_sequence(self.value_writer(item)))}(o) if (o := {value}) else b'\\0'"
        if annotation is str:
            return f"V[len(o := {value}.encode())], o"
        if annotation is bytes:
            return f"V[len(o := {value})], o"
        return {
            int: f"V[{value}]",
            bool: f"b'\\1' if {value} else b'\\0'",
            float: f"double({value})",
            datetime: f"V[millis({value})]",
        }[annotation]  # type: ignore[index]  # a KeyError tells who adds a type that is not here

    def value_writer(self, annotation: object) -> Writer:
        """A function for values that stand inside others."""
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            return writer(annotation)
        return _compile(f"def write(it): return join(({self.part(annotation, 'it')},))", "write", self.names)

    def named(self, function: Writer) -> str:
        """A name by which the source may call a function."""
        name = f"f{len(self.names)}"
        self.names[name] = function
        return name


def _sequence(write: Writer) -> Writer:
    def write_all(items: object) -> bytes:
        assert isinstance(items, tuple)
        return b"".join((VARINT[len(items)], *map(write, items), b"\0"))

    return write_all


def _millis(instant: datetime) -> int:
    return (instant - EPOCH) // _MILLISECOND


class _Reading:
    """Statements per field, each moving `at` past what it took from `data`."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {"long": read_long, "length": read_length, "unpack": DOUBLE.unpack_from}
        self.names |= {"instant": lambda ms: EPOCH + ms * _MILLISECOND, "flag": _flag, "present": _present}

    def function(self, record: type) -> Reader:
        """Compile the reader of one class."""
        self.names["cls"] = record
        hints = get_type_hints(record)
        fields = [each.name for each in dataclasses.fields(record)]
        lines = [line for name in fields for line in self.lines(hints[name], f"v_{name}")]
        made = ", ".join(f"v_{name}" for name in fields)
        body = "\n ".join([*lines, f"return cls({made}), at"])
        return _compile(f"def read(data, at):\n {body}", "read", self.names)

    def part_function(self, record: type, name: str) -> Reader:
        """Compile the reader of one field of a class."""
        hints = get_type_hints(record)
        fields = [each.name for each in dataclasses.fields(record)]
        lines = [line for before in fields[: fields.index(name)] for line in self.passing(hints[before])]
        body = "\n ".join([*lines, *self.lines(hints[name], "it"), "return it, at"])
        return _compile(f"def read(data, at):\n {body}", "read", self.names)

    def passing(self, annotation: object) -> list[str]:
        """The statements that pass over a value of a type; of most, without making it."""
        if annotation in (str, bytes):
            return [*_length("n"), "at += n"]
        if annotation in (int, datetime):
            return ["while data[at] > 127: at += 1", "at += 1"]
        return self.lines(annotation, "it")

    def lines(self, annotation: object, target: str) -> list[str]:
        """The statements that read a value of a type into a variable."""
        if (inner := optional(annotation)) is not None:
            nested = self.named(self.value_reader(inner))
            return [
                "b, at = present(data, at)",
                f"if b: {target}, at = {nested}(data, at)",
                f"else: {target} = None",
            ]
        if (item := element(annotation)) is not None:
            return [f"{target}, at = {self.named(_items(self.value_reader(item)))}(data, at)"]
        if annotation in (str, bytes):
            decoded = ".decode()" if annotation is str else ""
            return [*_length("n"), f"{target} = data[at:at + n]{decoded}", "at += n"]
        return {
            int: _long(target),
            bool: [f"{target}, at = flag(data, at)"],
            float: [f"{target}, = unpack(data, at)", "at += 8"],
            datetime: [*_long("n"), f"{target} = instant(n)"],
        }[annotation]  # type: ignore[index]

    def value_reader(self, annotation: object) -> Reader:
        """A function for values that stand inside others."""
        if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
            return reader(annotation)
        body = "\n ".join([*self.lines(annotation, "it"), "return it, at"])
        return _compile(f"def read(data, at):\n {body}", "read", self.names)

    def named(self, function: Reader) -> str:
        """A name by which the source may call a function."""
        name = f"f{len(self.names)}"
        self.names[name] = function
        return name


def _long(target: str) -> list[str]:
    """An integer; one of a single byte, which is nearly every one, costs no call."""
    return ["b = data[at]", f"if b > 127: {target}, at = long(data, at)", "else:", *_taken(target, "b >> 1 ^ -(b & 1)")]


def _length(target: str) -> list[str]:
    """As `_long`; a set lowest bit is a negative number, which the call refuses."""
    return ["b = data[at]", f"if b & 129: {target}, at = length(data, at)", "else:", *_taken(target, "b >> 1")]


def _taken(target: str, value: str) -> list[str]:
    return [f"  {target} = {value}", "  at += 1"]


def _flag(data: bytes, at: int) -> tuple[bool, int]:
    byte = data[at]
    if byte > 1:
        raise ValueError(f"a boolean of {byte}")
    return byte == 1, at + 1


def _present(data: bytes, at: int) -> tuple[bool, int]:
    """Which branch of `X | None` follows; its index, 0 or 1, is zigzag-encoded."""
    byte = data[at]
    if byte not in (0, 2):
        raise ValueError(f"branch {byte / 2:g} of 2")
    return byte == 2, at + 1


def _items(read: Reader) -> Reader:
    def read_all(data: bytes, at: int) -> tuple[object, int]:
        items: list[object] = []
        while True:
            count, at = read_long(data, at)
            if count == 0:
                return tuple(items), at
            if count < 0:
                count = -count
                _, at = read_length(data, at)
            for _ in range(count):  # ends with the data: items take at least a byte
                item, at = read(data, at)
                items.append(item)

    return read_all


def _compile(source: str, name: str, names: dict[str, object]) -> Callable[..., Any]:
    scope: dict[str, Callable[..., Any]] = {}
    exec(compile(source, "<farandole codec>", "exec"), names, scope)
    return scope[name]
