"""Converters between Python values and plain ones, made once per type.

On the path of every attempt, so each shape becomes one closure and the path to a mismatch is
put together only when there is one. Knows nothing of schemas.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import cast

from farandole.definition.shapes import Choice, EnumOf, ListOf, MapOf, Maybe, RecordOf, Scalar, Shape

Converter = Callable[[object], object]

INT64 = range(-(2**63), 2**63)
"""Avro's `long`."""

SHOWN_MAX = 80
"""Characters of a wrong value in a message: enough to recognise it, too few to flood a log."""


class Mismatch(Exception):  # noqa: N818 - becomes a ContractError or RecordError one level up
    """A value is not of its shape; `path` grows from the inside out."""

    def __init__(self, expected: str, found: object, path: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.found = found
        self.path = path

    def inside(self, part: str) -> "Mismatch":
        """The same one, seen from the value around it."""
        self.path = part + self.path
        return self


@dataclass(frozen=True, slots=True)
class Absent:
    """Stands where there is no value to show; `reason` is shown instead."""

    reason: str = "nothing"


def shown(value: object) -> str:
    """A wrong value with its type, cut to a line."""
    if isinstance(value, Absent):
        return value.reason
    if value is None:
        return "None"
    try:
        text = repr(value)
    except Exception as broken:
        text = f"a value whose repr raises {type(broken).__name__}"
    text = text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 1] + "…"
    return f"{text} ({type(value).__qualname__})"


def writer(shape: Shape) -> Converter:
    """From a Python value to a plain one."""
    match shape:
        case Scalar(python=python):
            return _SCALARS[python]
        case ListOf(item=item, is_tuple=is_tuple):
            return _list(writer(item), tuple if is_tuple else list, list)
        case MapOf(value=value):
            return _map(writer(value))
        case Maybe(inner=inner):
            return _maybe(writer(inner))
        case EnumOf(cls=cls, symbols=symbols):
            return _enum_writer(cls, symbols)
        case Choice(values=values):
            return _choice(values)
        case RecordOf():
            return _record_writer(shape)


def reader(shape: Shape) -> Converter:
    """From a plain value to a Python one."""
    match shape:
        case Scalar(python=python):
            return _SCALARS[python]
        case ListOf(item=item, is_tuple=is_tuple):
            return _list(reader(item), list, tuple if is_tuple else list)
        case MapOf(value=value):
            return _map(reader(value))
        case Maybe(inner=inner):
            return _maybe(reader(inner))
        case EnumOf(cls=cls, symbols=symbols):
            return _enum_reader(cls, symbols)
        case Choice(values=values):
            return _choice(values)
        case RecordOf():
            return _record_reader(shape)


def _bool(value: object) -> object:
    if value is True or value is False:
        return value
    raise Mismatch("bool", value)


def _int(value: object) -> object:
    if type(value) is not int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Mismatch("int", value)
        value = int(value)
    if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        return value
    raise Mismatch("int of 64 bits", value)


def _float(value: object) -> object:
    if type(value) is float:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise Mismatch("float of 64 bits", value) from None
    raise Mismatch("float", value)


def _str(value: object) -> object:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise Mismatch("str", value)


def _bytes(value: object) -> object:
    if isinstance(value, bytes):
        return value
    raise Mismatch("bytes", value)


def _datetime(value: object) -> object:
    if not isinstance(value, datetime):
        raise Mismatch("datetime", value)
    if value.tzinfo is None:
        raise Mismatch("datetime with a time zone", value)
    try:
        return value if value.tzinfo is UTC else value.astimezone(UTC)
    except OverflowError:
        raise Mismatch("datetime of the years 1 to 9999 in UTC", value) from None


def _date(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise Mismatch("date", value)


def _none(value: object) -> object:
    if value is None:
        return None
    raise Mismatch("None", value)


_SCALARS: Mapping[type, Converter] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    datetime: _datetime,
    date: _date,
    type(None): _none,
}


def _list(convert: Converter, given: type, made: type) -> Converter:
    def whole(value: object) -> object:
        if not isinstance(value, given):
            raise Mismatch(given.__name__, value)
        values = cast("list[object]", value)
        out: list[object] = []
        add = out.append
        try:
            for each in values:
                add(convert(each))
        except Mismatch as bad:
            raise bad.inside(f"[{len(out)}]") from None
        return out if made is list else made(out)

    return whole


def _map(convert: Converter) -> Converter:
    def whole(value: object) -> object:
        if not isinstance(value, dict):
            raise Mismatch("dict", value)
        out: dict[str, object] = {}
        for key, each in value.items():
            if not isinstance(key, str):
                raise Mismatch("str as key", key)
            try:
                out[key] = convert(each)
            except Mismatch as bad:
                raise bad.inside(f"[{key!r}]") from None
        return out

    return whole


def _maybe(convert: Converter) -> Converter:
    def whole(value: object) -> object:
        if value is None:
            return None
        try:
            return convert(value)
        except Mismatch as bad:
            if not bad.path:
                bad.expected += " or None"
            raise

    return whole


def _enum_writer(cls: type, symbols: tuple[str, ...]) -> Converter:
    def whole(value: object) -> object:
        if isinstance(value, cls):
            return value.value  # type: ignore[attr-defined]
        if type(value) is str and value in symbols:
            return value  # a pydantic model with `use_enum_values` holds these
        raise Mismatch(cls.__name__, value)

    return whole


def _enum_reader(cls: type, symbols: tuple[str, ...]) -> Converter:
    def whole(value: object) -> object:
        if isinstance(value, str) and value in symbols:
            return cls(value)
        raise Mismatch(f"one of {', '.join(symbols)}", value)

    return whole


def _choice(values: tuple[str, ...]) -> Converter:
    known = {each: each for each in values}

    def whole(value: object) -> object:
        if isinstance(value, str) and value in known:
            return known[value]
        raise Mismatch(f"one of {', '.join(map(repr, values))}", value)

    return whole


@lru_cache(maxsize=4096)  # once per class, however often types name it
def _record_writer(shape: RecordOf) -> Converter:
    cls, pairs = shape.cls, tuple((each.name, writer(each.shape)) for each in shape.fields)
    is_model = shape.is_model

    def whole(value: object) -> object:
        if not isinstance(value, cls):
            raise Mismatch(cls.__name__, value)
        if is_model and (extra := value.model_extra):  # type: ignore[attr-defined]
            raise Mismatch(f"the fields of {cls.__name__}", Absent(f"{', '.join(map(repr, extra))[:SHOWN_MAX]} too"))
        out: dict[str, object] = {}
        name = ""
        try:
            for name, convert in pairs:
                out[name] = convert(getattr(value, name))
        except Mismatch as bad:
            raise bad.inside(f".{name}") from None
        return out

    return whole


@lru_cache(maxsize=4096)
def _record_reader(shape: RecordOf) -> Converter:
    cls = shape.cls
    fields = tuple((each.name, reader(each.shape), each.required) for each in shape.fields)
    construct = _model_constructor(cls) if shape.is_model else None

    def whole(value: object) -> object:
        if not isinstance(value, dict):
            raise Mismatch(cls.__name__, value)
        given: dict[str, object] = {}
        for name, convert, required in fields:
            if name not in value:
                if required:
                    raise Mismatch(f"the field {name!r}", Absent())
                continue
            try:
                given[name] = convert(value[name])
            except Mismatch as bad:
                raise bad.inside(f".{name}") from None
        try:
            return cls(**given) if construct is None else construct(given)
        except (TypeError, ValueError) as refused:
            raise Mismatch(f"what {cls.__name__} accepts", Absent(f"{type(refused).__name__}: {refused}")) from refused

    return whole


def _model_constructor(cls: type) -> Converter:
    validate: Callable[..., object] = cls.model_validate  # type: ignore[attr-defined]

    def construct(given: object) -> object:
        return validate(given, by_alias=False, by_name=True)

    def construct_root(given: object) -> object:
        return cls(*cast("dict[str, object]", given).values())  # no field by that name: the value itself is the model

    return construct_root if getattr(cls, "__pydantic_root_model__", False) else construct
