"""From Avro's binary form to plain values, where the reader's schema may differ from the writer's.

Avro's resolution rules, compiled once per pair of schemas. fastavro is not used for this:
what the reader does not want it skips without looking for the end of the data, so that six
bytes keep it busy for ever, and the defaults it fills in are raw and shared. Here
everything is read, then dropped. The reader's logical types give the plain form.

Source: Avro 1.12 specification, "Schema Resolution"; branches of the reader's union are
tried for the same type first, then for promotions, as Java does.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from farandole.events.encoding import Default
from farandole.events.logical import logical_of
from farandole.events.reading import PRIMITIVES, Read, array, fixed, floats, mapping
from farandole.events.schema_tree import Array, Enum, Field, Fixed, Map, Node, Primitive, Record, Union, kind_of
from farandole.events.wire import DOUBLE, FLOAT, read_length


class Unresolvable(Exception):  # noqa: N818 - internal; becomes a RecordError at the edge
    """The reader's schema cannot read what the writer wrote; the text says where and why."""


@dataclass(slots=True)
class Resolver:
    """Compiles pairs of nodes, each pair once; `default` gives plain defaults of the reader's fields.

    `is_strict`: both are versions of one type, so what only one of them calls an instant was not meant as the other
    reads it. Avro's rules know raw types alone, and strangers write instants as plain numbers.

    `is_whole`: all that the writer may write is to be read, by agents too, who take only what their annotations say:
    then a branch that nobody reads counts, and so does text where bytes are wanted, or the reverse.
    """

    default: Default
    is_strict: bool = False
    is_whole: bool = False
    _known: dict[tuple[int, int], Read | Unresolvable] = field(default_factory=dict)

    def compile(self, writer: Node, reader: Node, place: str) -> Read:
        """The function that reads what `writer` describes as `reader` wants it.

        Raises:
            Unresolvable: no value of the writer's could be read.
        """
        found = self._try(writer, reader, place)
        if isinstance(found, Unresolvable):
            raise found
        return found

    def _try(self, writer: Node, reader: Node, place: str) -> Read | Unresolvable:
        key = (id(writer), id(reader))
        if key not in self._known:
            try:
                self._known[key] = self._compile(writer, reader, place)
            except Unresolvable as bad:
                self._known[key] = bad
        return self._known[key]

    def _compile(self, writer: Node, reader: Node, place: str) -> Read:
        match writer, reader:
            case Union(branches=branches), _:
                return _union([self._try(branch, reader, place) for branch in branches], self.is_whole)
            case _, Union():
                return self.compile(writer, self._branch(writer, reader, place), place)
            case Record(), Record():
                _check_names(writer, reader, place)
                return self._record(writer, reader)
            case Array(items=written), Array(items=wanted):
                return self._array(written, wanted, place)
            case Map(values=written), Map(values=wanted):
                return mapping(self.compile(written, wanted, f"{place}{{}}"))
            case Enum(), Enum():
                _check_names(writer, reader, place)
                return _enum(writer, reader)
            case Fixed(), Fixed():
                _check_names(writer, reader, place)
                if writer.size != reader.size:
                    raise Unresolvable(f"{place}: written with {writer.size} bytes, wanted with {reader.size}")
                self._check_meaning(writer, reader, place)
                return _logical(writer, reader, fixed(writer.size), place)
            case Primitive(), Primitive():
                self._check_meaning(writer, reader, place)
                if self.is_whole and _are_text_and_bytes(writer, reader):
                    raise _mismatch(writer, reader, place)
                return _primitive(writer, reader, place)
        raise _mismatch(writer, reader, place)

    def _check_meaning(self, writer: Primitive | Fixed, reader: Primitive | Fixed, place: str) -> None:
        if self.is_strict and _meaning(writer) != _meaning(reader):
            raise _mismatch(writer, reader, place)

    def _branch(self, writer: Node, reader: Union, place: str) -> Node:
        same = [branch for branch in reader.branches if kind_of(branch) == kind_of(writer)]
        very = [branch for branch in same if getattr(branch, "name", None) == getattr(writer, "name", None)]
        for branch in [*very, *same, *reader.branches]:  # by an alias, or a last part alone, others may pass for it
            if not isinstance(self._try(writer, branch, place), Unresolvable):
                return branch
        raise _mismatch(writer, reader, place)

    def _array(self, written: Node, wanted: Node, place: str) -> Read:
        match written, wanted:
            case Primitive("float", None), Primitive("float", None):
                return floats(FLOAT)
            case Primitive("double", None), Primitive("double", None):
                return floats(DOUBLE)
        return array(self.compile(written, wanted, f"{place}[]"))

    def _record(self, writer: Record, reader: Record) -> Read:
        wanted = {each.name: each for each in reader.fields}
        # What was written under the very name is not asked for by an alias too, whichever was written first.
        exact = {each.name for each in writer.fields}
        aliased = {alias: each for each in reader.fields if each.name not in exact for alias in each.aliases}
        steps: list[tuple[str | None, Read]] = []
        for written in writer.fields:
            target = wanted.get(written.name) or aliased.get(written.name)
            if target is None or target.name not in wanted:
                steps.append((None, self.compile(written.type, written.type, f"{writer.name}.{written.name}")))
            else:
                del wanted[target.name]
                place = f"{reader.name}.{target.name}"
                steps.append((target.name, self.compile(written.type, target.type, place)))
        fill = [(each.name, self._fresh(each, reader)) for each in wanted.values()]

        def read(data: bytes, at: int) -> tuple[object, int]:
            record: dict[str, object] = {}
            for name, read_field in steps:
                value, at = read_field(data, at)
                if name is not None:
                    record[name] = value
            for name, fresh in fill:
                record[name] = fresh()
            return record, at

        return read

    def _fresh(self, each: Field, reader: Record) -> Callable[[], object]:
        if not each.has_default:
            raise Unresolvable(f"{reader.name}.{each.name}: not written, and it has no default")
        return fresh(self.default(each))


def fresh(default: object) -> Callable[[], object]:
    """Gives a default again and again; what could be changed by who gets it is copied."""
    if isinstance(default, list | dict):
        return lambda: copy.deepcopy(default)
    return lambda: default


def _mismatch(writer: Node, reader: Node, place: str) -> Unresolvable:
    branches = reader.branches if isinstance(reader, Union) else (reader,)
    is_promoted = any(_are_text_and_bytes(writer, each) for each in branches)
    why = ": Avro takes one for the other, an annotation does not" if is_promoted else ""
    return Unresolvable(f"{place}: written as {_told(writer)}, wanted as {_told(reader)}{why}")


def _are_text_and_bytes(one: Node, other: Node) -> bool:
    kinds = {each.kind for each in (one, other) if isinstance(each, Primitive) and each.logical is None}
    return kinds == {"string", "bytes"}


def _told(node: Node) -> str:
    if isinstance(node, Union):
        return " or ".join(_told(branch) for branch in node.branches[:10])
    if isinstance(node, Primitive | Fixed) and node.logical is not None:
        return f"{node.logical}(scale {node.scale})" if node.logical == "decimal" else node.logical
    return str(getattr(node, "name", None) or kind_of(node))


def _check_names(writer: Record | Enum | Fixed, reader: Record | Enum | Fixed, place: str) -> None:
    """Names match without their namespace, or by an alias of the reader's."""
    plain = writer.name.rpartition(".")[2]
    if plain != reader.name.rpartition(".")[2] and not {plain, writer.name} & set(reader.aliases):
        raise Unresolvable(f"{place}: written as {writer.name}, wanted as {reader.name}")


def _logical(writer: Primitive | Fixed, reader: Primitive | Fixed, read_raw: Read, place: str) -> Read:
    """The reader's logical type over the raw value; two different ones would silently give wrong values."""
    logical = logical_of(reader)
    if logical is None:
        return read_raw
    theirs, ours = (writer.logical, writer.precision, writer.scale), (reader.logical, reader.precision, reader.scale)
    if writer.logical is not None and (theirs[0] != ours[0] or theirs[2] != ours[2]):
        raise _mismatch(writer, reader, place)
    from_raw = logical.from_raw

    def read(data: bytes, at: int) -> tuple[object, int]:
        raw, at = read_raw(data, at)
        return from_raw(raw), at

    return read


def _meaning(node: Primitive | Fixed) -> str | None:
    """Its logical type, if without it the raw value says something else; the text of a UUID does not."""
    return None if node.logical == "uuid" else node.logical


def _primitive(writer: Primitive, reader: Primitive, place: str) -> Read:
    read_raw = PRIMITIVES[writer.kind]
    if writer.kind == reader.kind:
        return _logical(writer, reader, read_raw, place)
    promote = _PROMOTIONS.get((writer.kind, reader.kind))
    if promote is None:
        raise _mismatch(writer, reader, place)

    def read(data: bytes, at: int) -> tuple[object, int]:
        raw, at = read_raw(data, at)
        return promote(raw), at

    return _logical(writer, reader, read, place)


def _same(value: object) -> object:
    return value


def _to_float(value: object) -> object:
    assert isinstance(value, int)
    return float(value)


def _to_bytes(value: object) -> object:
    assert isinstance(value, str)
    return value.encode()


def _to_text(value: object) -> object:
    assert isinstance(value, bytes)
    return value.decode()


_PROMOTIONS: dict[tuple[str, str], Callable[[object], object]] = {
    ("int", "long"): _same,
    ("int", "float"): _to_float,
    ("int", "double"): _to_float,
    ("long", "float"): _to_float,
    ("long", "double"): _to_float,
    ("float", "double"): _same,
    ("string", "bytes"): _to_bytes,
    ("bytes", "string"): _to_text,
}


def _enum(writer: Enum, reader: Enum) -> Read:
    known = [symbol if symbol in reader.symbols else reader.default for symbol in writer.symbols]

    def read(data: bytes, at: int) -> tuple[object, int]:
        index, at = read_length(data, at)
        if index >= len(known):
            raise ValueError(f"symbol {index} of {len(known)}")
        if known[index] is None:
            raise Unresolvable(f"{reader.name}: written as {writer.symbols[index]}, which it lacks, without a default")
        return known[index], at

    return read


def _union(branches: list[Read | Unresolvable], is_whole: bool) -> Read:
    unread = [branch for branch in branches if isinstance(branch, Unresolvable)]
    if len(unread) == len(branches) or (unread and is_whole):
        raise unread[0]

    def read(data: bytes, at: int) -> tuple[object, int]:
        index, at = read_length(data, at)
        if index >= len(branches):
            raise ValueError(f"branch {index} of {len(branches)}")
        branch = branches[index]
        if isinstance(branch, Unresolvable):
            raise Unresolvable(str(branch))
        return branch(data, at)

    return read
