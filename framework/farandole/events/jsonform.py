"""From JSON to the plain values of a schema: for commands from kcat, and for the schema's own defaults.

Plain JSON: a union's value stands for itself, without Avro's `{"string": …}` around it; the
first branch that fits takes it. Timestamps, dates and times are ISO 8601 text (or the raw
integer), decimals are numbers or text, bytes are text of code points 0 to 255 as Avro's own
JSON has them, floats that JSON has no number for are text (`_NO_NUMBERS`). Missing fields take
their defaults; unknown keys are refused. What `cli.output.as_json` shows of a value reads back as it,
but for a union in which several branches are texts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from math import inf, isfinite, nan

from farandole.errors import SchemaRefused
from farandole.events.encoding import unknown_keys
from farandole.events.logical import logical_of
from farandole.events.misfit import Misfit, missing, shown
from farandole.events.resolution import fresh
from farandole.events.schema_tree import Array, Enum, Field, Fixed, Map, Node, Primitive, Record, Union, kind_of
from farandole.events.wire import FLOAT, INT_MAX, INT_MIN, LONG_MAX, LONG_MIN

Convert = Callable[[object], object]

DEFAULT_VALUES_MAX = 256
"""Values in one default. They are filled in for nothing that the record says, nested defaults included."""


def misfit(expected: str, value: object) -> Misfit:
    """A misfit that shows what was found; JSON has numbers where we read a `Decimal`."""
    return Misfit(expected, shown(value, "number" if isinstance(value, Decimal) else ""))


@dataclass(slots=True)
class JsonForm:
    """Compiles the nodes of one tree, each once.

    Without `defaults` it reads defaults themselves, which spell decimals as bytes; the form that reads
    data is given the one that read the defaults.
    """

    defaults: "JsonForm | None" = None
    _known: dict[int, Convert] = field(default_factory=dict)
    _plain: dict[int, object] = field(default_factory=dict)

    def compile(self, node: Node) -> Convert:
        """The function that turns a JSON value into the plain one, or raises `Misfit`."""
        if id(node) not in self._known:
            self._known[id(node)] = self._compile(node)
        return self._known[id(node)]

    def _compile(self, node: Node) -> Convert:
        match node:
            case Primitive() | Fixed():
                return self._leaf(node)
            case Enum(symbols=symbols):
                return _enum(symbols)
            case Array():
                return _array(self.compile(node.items))
            case Map():
                return _map(self.compile(node.values))
            case Union():
                return _union(node, [self.compile(branch) for branch in node.branches])
            case Record():
                return self._record(node)

    def _leaf(self, node: Primitive | Fixed) -> Convert:
        base = _PRIMITIVES[node.kind] if isinstance(node, Primitive) else _fixed(node.size)
        logical = logical_of(node)
        if logical is None:
            return _or_no_number(base) if base in (_double, _float) and self.defaults is not None else base
        if self.defaults is not None or node.logical != "decimal":
            return logical.from_json
        from_raw = logical.from_raw
        return lambda value: from_raw(base(value))

    def _record(self, node: Record) -> Convert:
        fields = [(each.name, self.compile(each.type), self._fresh(each)) for each in node.fields]

        def convert(value: object) -> object:
            if not isinstance(value, dict):
                raise misfit(f"an object for {node.name}", value)
            plain: dict[str, object] = {}
            given = 0
            for name, convert_field, default in fields:
                if name in value:
                    given += 1
                    try:
                        plain[name] = convert_field(value[name])
                    except Misfit as bad:
                        raise bad.under(f".{name}") from None
                elif default is not None:
                    plain[name] = default()
                else:
                    strange = unknown_keys(value, (each for each, _, _ in fields), node.name).found
                    raise missing(node.name, strange).under(f".{name}")
            if given != len(value):
                raise unknown_keys(value, (name for name, _, _ in fields), node.name)
            return plain

        return convert

    def _fresh(self, each: Field) -> Callable[[], object] | None:
        return fresh(self.default(each)) if each.has_default else None

    def default(self, each: Field) -> object:
        """The plain value of a field's default, computed once.

        Raises:
            SchemaRefused: it does not fit the field's type, or is too large.
        """
        if self.defaults is not None:
            return self.defaults.default(each)
        if id(each) not in self._plain:
            convert = self.compile(each.type)
            try:
                _check_size(each.default)
                self._plain[id(each)] = _check_size(convert(each.default))
            except Misfit as bad:
                told = bad.told(f"default of field {each.name}")
                raise SchemaRefused(f"{told}. The schema was refused") from None
            except (ValueError, OverflowError) as bad:
                raise SchemaRefused(f"default of field {each.name}: {bad}. The schema was refused") from None
        return self._plain[id(each)]


def _check_size(value: object) -> object:
    pending, count = [value], 0
    while pending:
        node = pending.pop()
        count += 1
        if count > DEFAULT_VALUES_MAX:
            raise Misfit(f"at most {DEFAULT_VALUES_MAX} values", "more")
        if isinstance(node, dict):
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return value


def _null(value: object) -> object:
    if value is not None:
        raise misfit("null", value)
    return None


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise misfit("true or false", value)
    return value


def _integer(low: int, high: int, bits: int) -> Convert:
    def convert(value: object) -> object:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise misfit(f"an integer of {bits} bits", value)
        return value

    return convert


def _double(value: object) -> object:
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise misfit("a number", value)
    try:
        number = float(value)
    except OverflowError:
        raise misfit("a number of 64 bits", value) from None
    if not isfinite(number):
        raise misfit("a number of 64 bits", value)
    return number


def _float(value: object) -> object:
    number = _double(value)
    assert isinstance(number, float)
    try:
        FLOAT.pack(number)
    except OverflowError:
        raise misfit("a number of 32 bits", value) from None
    return number


_NO_NUMBERS = {"NaN": nan, "Infinity": inf, "-Infinity": -inf}
"""Floats that no JSON number is, by the texts that protobuf's JSON has for them, and that we print."""


def _or_no_number(base: Convert) -> Convert:
    """Of data alone: a default is published, and Avro has no such texts for it."""

    def convert(value: object) -> object:
        number = _NO_NUMBERS.get(value) if isinstance(value, str) else None
        return base(value) if number is None else number

    return convert


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise misfit("bytes as text of code points 0 to 255", value)
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise misfit("bytes as text of code points 0 to 255", value) from None


def _string(value: object) -> object:
    if not isinstance(value, str):
        raise misfit("text", value)
    return value


_PRIMITIVES: dict[str, Convert] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer(INT_MIN, INT_MAX, 32),
    "long": _integer(LONG_MIN, LONG_MAX, 64),
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
}


def _fixed(size: int) -> Convert:
    def convert(value: object) -> object:
        raw = _bytes(value)
        if len(raw) != size:
            raise misfit(f"{size} bytes as text of code points 0 to 255", value)
        return raw

    return convert


def _enum(symbols: tuple[str, ...]) -> Convert:
    def convert(value: object) -> object:
        if not isinstance(value, str) or value not in symbols:
            raise misfit(f"one of {', '.join(symbols[:10])}", value)
        return value

    return convert


def _array(convert_item: Convert) -> Convert:
    def convert(value: object) -> object:
        if not isinstance(value, list):
            raise misfit("a list", value)
        items: list[object] = []
        try:
            for item in value:
                items.append(convert_item(item))  # one by one: the length names the item that is wrong
        except Misfit as bad:
            raise bad.under(f"[{len(items)}]") from None
        return items

    return convert


def _map(convert_value: Convert) -> Convert:
    def convert(value: object) -> object:
        if not isinstance(value, dict):
            raise misfit("an object", value)
        plain: dict[str, object] = {}
        for key, each in value.items():
            try:
                plain[key] = convert_value(each)
            except Misfit as bad:
                raise bad.under(f"[{key!r:.60}]") from None
        return plain

    return convert


def _union(node: Union, converts: list[Convert]) -> Convert:
    names = " or ".join(getattr(branch, "name", kind_of(branch)) for branch in node.branches)
    containers = [isinstance(branch, Record | Array | Map) for branch in node.branches]
    tried = list(zip(converts, containers, strict=True))
    are_floats = [isinstance(branch, Primitive) and branch.kind in ("float", "double") for branch in node.branches]
    for_texts = [tried[number] for number in sorted(range(len(tried)), key=are_floats.__getitem__)]

    def convert(value: object) -> object:
        deepest: Misfit | None = None
        for convert_branch, is_container in for_texts if isinstance(value, str) else tried:  # "NaN" may be a text
            try:
                return convert_branch(value)
            except Misfit as bad:
                if is_container and bad.path and deepest is None:
                    deepest = bad  # the branch it was meant for: say what is wrong inside
        raise deepest or misfit(names, value)

    return convert
