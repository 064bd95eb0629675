"""From plain values to Avro's binary form: checked and written in one pass.

fastavro writes what is almost right: True as a number, the text "1.5" as a float, a naive
datetime by the machine's own zone, a record without its unknown keys. A result that breaks
its annotation must be a failure with a place, so we write ourselves. Compiled once per
schema into closures; fastavro and Apache avro read the result (tests).
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from farandole.events.logical import Logical, logical_of
from farandole.events.misfit import Misfit, misfit, missing, shown
from farandole.events.schema_tree import Array, Enum, Field, Fixed, Map, Node, Primitive, Record, Union, kind_of
from farandole.events.wire import DOUBLE, FLOAT, INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, VARINT

Put = Callable[[bytes], None]
Write = Callable[[Put, object], None]
Default = Callable[[Field], object]
"""The plain default of a field that has one."""

_ABSENT = object()
_END = VARINT[0]


@dataclass(slots=True)
class Encoders:
    """Compiles the nodes of one tree, each once; `default` gives plain defaults for missing fields."""

    default: Default
    _known: dict[int, Write] = field(default_factory=dict)

    def compile(self, node: Node) -> Write:
        """The function that writes a value of this type, or raises `Misfit`."""
        if id(node) not in self._known:
            self._known[id(node)] = self._compile(node)
        return self._known[id(node)]

    def _compile(self, node: Node) -> Write:
        match node:
            case Primitive():
                return _logical_writer(logical_of(node), _PRIMITIVES[node.kind])
            case Fixed():
                return _logical_writer(logical_of(node), _fixed(node))
            case Enum():
                return _enum(node)
            case Array():
                return _array(self.compile(node.items))
            case Map():
                return _map(self.compile(node.values))
            case Union():
                return _union(node, [self.compile(branch) for branch in node.branches])
            case Record():
                return self._record(node)

    def _record(self, node: Record) -> Write:
        fields = [(each.name, self.compile(each.type), self._written_default(each)) for each in node.fields]
        expected = f"a record {node.name}"

        def write(put: Put, value: object) -> None:
            if not isinstance(value, Mapping):
                raise misfit(expected, value)
            given = 0
            for name, write_field, default in fields:
                found = value.get(name, _ABSENT)
                if found is not _ABSENT:
                    given += 1
                    try:
                        write_field(put, found)
                    except Misfit as bad:
                        raise bad.under(f".{name}") from None
                elif default is not None:
                    put(default)
                else:
                    strange = unknown_keys(value, (each for each, _, _ in fields), node.name).found
                    raise missing(node.name, strange).under(f".{name}")
            if given != len(value):
                raise unknown_keys(value, (name for name, _, _ in fields), node.name)

        return write

    def _written_default(self, each: Field) -> bytes | None:
        if not each.has_default:
            return None
        out: list[bytes] = []
        self.compile(each.type)(out.append, self.default(each))
        return b"".join(out)


def unknown_keys(value: Mapping[object, object], known: Iterable[str], name: str) -> Misfit:
    """The misfit of a record with keys that its schema has no field for."""
    strange = sorted(key[:60] if isinstance(key, str) else shown(key) for key in set(value) - set(known))
    return Misfit(f"only fields of {name}", ", ".join(strange[:5]))


def _logical_writer(logical: Logical | None, write_raw: Write) -> Write:
    if logical is None:
        return write_raw
    to_raw = logical.to_raw
    return lambda put, value: write_raw(put, to_raw(value))


def _null(put: Put, value: object) -> None:
    if value is not None:
        raise misfit("null", value)


def _boolean(put: Put, value: object) -> None:
    if not isinstance(value, bool):
        raise misfit("a boolean", value)
    put(b"\1" if value else b"\0")


def _integer(low: int, high: int, bits: int) -> Write:
    def write(put: Put, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise misfit(f"an integer of {bits} bits", value)
        put(VARINT[value])

    return write


def _float(put: Put, value: object) -> None:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise misfit("a number", value)
    try:
        put(FLOAT.pack(value))
    except (OverflowError, struct.error):  # the latter for an int that no float can be made of
        raise misfit("a number of 32 bits", value) from None


def _double(put: Put, value: object) -> None:
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise misfit("a number", value)
    try:
        put(DOUBLE.pack(value))
    except (OverflowError, struct.error):  # the latter for an int that no float can be made of
        raise misfit("a number of 64 bits", value) from None


def _bytes(put: Put, value: object) -> None:
    if not isinstance(value, bytes | bytearray):
        raise misfit("bytes", value)
    put(VARINT[len(value)])
    put(bytes(value))


def _string(put: Put, value: object) -> None:
    if not isinstance(value, str):
        raise misfit("text", value)
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise misfit("text without lone surrogates", value) from None
    put(VARINT[len(raw)])
    put(raw)


_PRIMITIVES: dict[str, Write] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer(INT_MIN, INT_MAX, 32),
    "long": _integer(LONG_MIN, LONG_MAX, 64),
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
}


def _fixed(node: Fixed) -> Write:
    def write(put: Put, value: object) -> None:
        if not isinstance(value, bytes | bytearray) or len(value) != node.size:
            raise misfit(f"{node.size} bytes", value)
        put(bytes(value))

    return write


def _enum(node: Enum) -> Write:
    written = {symbol: VARINT[index] for index, symbol in enumerate(node.symbols)}

    def write(put: Put, value: object) -> None:
        found = written.get(value) if isinstance(value, str) else None
        if found is None:
            raise misfit(f"one of {', '.join(node.symbols[:10])}", value)
        put(found)

    return write


def _array(write_item: Write) -> Write:
    def write(put: Put, value: object) -> None:
        if not isinstance(value, list | tuple):
            raise misfit("a list", value)
        if value:
            put(VARINT[len(value)])
            at = 0
            try:
                for at, item in enumerate(value):  # noqa: B007 - `at` is for the error
                    write_item(put, item)
            except Misfit as bad:
                raise bad.under(f"[{at}]") from None
        put(_END)

    return write


def _map(write_value: Write) -> Write:
    """Entries go by key, so that equal maps are equal bytes: params are compared by their hash."""

    def write(put: Put, value: object) -> None:
        if not isinstance(value, Mapping):
            raise misfit("a map", value)
        if value:
            put(VARINT[len(value)])
            for key in _by_name(value):
                _string(put, key)
                try:
                    write_value(put, value[key])
                except Misfit as bad:
                    raise bad.under(f"[{key!r:.60}]") from None
        put(_END)

    return write


def _by_name(value: Mapping[object, object]) -> Iterable[object]:
    texts = sorted(key for key in value if isinstance(key, str))
    return texts if len(texts) == len(value) else value  # a key that is no text is refused where it is written


def _union(node: Union, writers: list[Write]) -> Write:
    """The branch is chosen by the value's type; where several may take it, the first that fits as a whole."""
    indexed = [(VARINT[index], write) for index, write in enumerate(writers)]
    by_type: dict[type, list[int]] = {}
    names = " or ".join(getattr(branch, "name", kind_of(branch)) for branch in node.branches)

    def write(put: Put, value: object) -> None:
        candidates = by_type.get(type(value))
        if candidates is None:
            candidates = by_type[type(value)] = candidates_for(node, type(value))
        if len(candidates) == 1:
            index, write_branch = indexed[candidates[0]]
            put(index)
            write_branch(put, value)
            return
        first: Misfit | None = None
        for candidate in candidates:
            index, write_branch = indexed[candidate]
            out = [index]
            try:
                write_branch(out.append, value)
            except Misfit as bad:
                first = first or bad
            else:
                put(b"".join(out))
                return
        raise first or misfit(names, value)

    return write


def candidates_for(node: Union, plain: type) -> list[int]:
    """Branches that may take a value of this Python type, the closest first: an int is a long before a double."""
    ranked = [(rank, index) for index, branch in enumerate(node.branches) if (rank := _rank(branch, plain)) is not None]
    return [index for _, index in sorted(ranked)]


def _rank(branch: Node, plain: type) -> int | None:
    if isinstance(branch, Primitive | Fixed) and (logical := logical_of(branch)) is not None:
        return 0 if issubclass(plain, logical.plain) else None
    kind = kind_of(branch)
    if kind in ("int", "long", "float", "double") and issubclass(plain, bool):
        return None
    if kind == "float" and issubclass(plain, float):
        return 1  # a double keeps what a float would cut
    if kind in ("float", "double") and issubclass(plain, int):
        return 2 if kind == "double" else 3
    return 0 if issubclass(plain, _PLAIN[kind]) else None


_PLAIN: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float,),
    "double": (float,),
    "bytes": (bytes, bytearray),
    "string": (str,),
    "fixed": (bytes, bytearray),
    "enum": (str,),
    "array": (list, tuple),
    "map": (Mapping,),
    "record": (Mapping,),
}
