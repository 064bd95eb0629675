"""The Python types that may travel between steps, as a small closed tree.

A type is read once and refused with the exact place of what cannot be said in Avro; schemas and
converters are made from the tree. Knows nothing of Avro's JSON, of agents or of pipelines.
"""

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from functools import lru_cache, wraps
from typing import Annotated, Final, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from farandole.errors import DefinitionError

AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
"""Names of records, fields and symbols. Source: Avro specification 1.12, "Names"."""

ALLOWED = (
    "bool, int, float, str, bytes, datetime, date, list[T], tuple[T, ...], dict[str, T], T | None, "
    "an Enum of str, Literal of str, a dataclass or a pydantic model"
)


class Missing(Enum):
    """Type of `MISSING`: a sentinel of our own, since that of `dataclasses` cannot be a default itself."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""Stands for the default of a field that has none."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without parts; `python` is exactly one of `SCALARS`."""

    python: type


@dataclass(frozen=True, slots=True)
class ListOf:
    """`list[item]`, or `tuple[item, ...]` if `is_tuple`."""

    item: "Shape"
    is_tuple: bool = False


@dataclass(frozen=True, slots=True)
class MapOf:
    """`dict[str, value]`."""

    value: "Shape"


@dataclass(frozen=True, slots=True)
class Maybe:
    """`inner | None`; `inner` is never a `Maybe` nor None itself."""

    inner: "Shape"


@dataclass(frozen=True, slots=True)
class EnumOf:
    """An Enum whose values are strings; it travels by value."""

    cls: type[Enum]
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`Literal["a", "b"]`: travels as a string and is checked at both ends."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record; `default` is `MISSING` if it has none that is the same every time."""

    name: str
    shape: "Shape"
    default: object = MISSING
    required: bool = True


@dataclass(frozen=True, slots=True)
class RecordOf:
    """A dataclass, or a pydantic model if `is_model`; a class has one shape, so it alone is compared."""

    cls: type
    fields: tuple[Field, ...] = field(compare=False)
    is_model: bool = field(default=False, compare=False)


Shape = Scalar | ListOf | MapOf | Maybe | EnumOf | Choice | RecordOf

SCALARS: Mapping[object, type] = {
    bool: bool,
    int: int,
    float: float,
    str: str,
    bytes: bytes,
    datetime: datetime,
    date: date,
    None: type(None),
    type(None): type(None),
}


def type_name(tp: object) -> str:
    """How a type is called in messages."""
    return tp.__qualname__ if isinstance(tp, type) and get_origin(tp) is None else str(tp).replace("typing.", "")


_P = ParamSpec("_P")
_T = TypeVar("_T")


def remembered(make: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make once per type; anew each time of one that cannot be a key, such as `Annotated[int, {}]`."""
    cached = lru_cache(maxsize=4096, typed=True)(make)

    @wraps(make)
    def found(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return cached(*args, **kwargs)  # type: ignore[arg-type]
        except TypeError:
            return make(*args, **kwargs)

    return found


@remembered
def shape_of(tp: object) -> Shape:
    """The shape of a type.

    Raises:
        DefinitionError: the type, or a type inside it, cannot travel; the message names the path to it.
    """
    return _shape(tp, type_name(tp), _Seen())


@dataclass(frozen=True, slots=True)
class _Seen:
    """The classes around a type, and those of which the shape is known: each is read once, however often it is named.

    Classes may name the one before them twice, and so on: without this, 14 of them took six seconds.
    """

    above: tuple[type, ...] = ()
    records: dict[type, RecordOf] = field(default_factory=dict)


def _shape(tp: object, path: str, seen: _Seen) -> Shape:
    tp = _unwrapped(tp)
    if _is_scalar(tp):
        return Scalar(SCALARS[tp])
    origin, args = get_origin(tp), get_args(tp)
    if origin in (Union, types.UnionType):
        return _union(args, path, seen)
    if origin is Literal:
        return _literal(args, path)
    if origin in (list, tuple):
        return _list(tp, path, seen)
    if origin is dict:
        if not args:  # typing.Dict: unlike dict it has an origin
            raise _refusal(path, type_name(tp))
        if args[0] is not str:
            raise _refusal(path, f"dict keys of type {type_name(args[0])}", "dict[str, T]: Avro maps have string keys")
        return MapOf(_shape(args[1], f"{path}{{}}", seen))
    if isinstance(tp, type) and origin is None:
        return _class(tp, path, seen)
    raise _refusal(path, type_name(tp))


def _is_scalar(tp: object) -> bool:
    try:
        return tp in SCALARS
    except TypeError:
        return False


def _unwrapped(tp: object) -> object:
    """Without Annotated, NewType and type aliases, which change nothing of what travels."""
    while True:
        if get_origin(tp) is Annotated:
            tp = get_args(tp)[0]
        elif isinstance(tp, typing.NewType):
            tp = tp.__supertype__
        elif type(tp).__name__ == "TypeAliasType" and get_origin(tp) is None:
            tp = getattr(tp, "__value__", None)
        else:
            return tp


def _refusal(path: str, found: str, expected: str = f"one of {ALLOWED}") -> DefinitionError:
    return DefinitionError(f"type {path}: expected {expected}, but found {found}")


def _union(args: tuple[object, ...], path: str, seen: _Seen) -> Shape:
    rest = [each for each in args if each is not type(None)]
    if len(rest) != 1 or len(rest) == len(args):
        names = " | ".join(type_name(each) for each in args)
        raise _refusal(path, names, "one type, or one type and None")
    inner = _shape(rest[0], path, seen)
    return inner if isinstance(inner, Maybe) else Maybe(inner)


def _literal(values: tuple[object, ...], path: str) -> Shape:
    texts = tuple(each for each in values if isinstance(each, str) and not isinstance(each, Enum))
    if len(texts) != len(values):
        odd = next(each for each in values if each not in texts)
        raise _refusal(path, f"Literal[{odd!r}]", "Literal of strings only")
    return Choice(texts)


def _list(tp: object, path: str, seen: _Seen) -> Shape:
    args = get_args(tp)
    if get_origin(tp) is tuple and (len(args) != 2 or args[1] is not Ellipsis):
        raise _refusal(path, type_name(tp), "tuple[T, ...] (of one type and any length)")
    if not args:  # typing.List: unlike list it has an origin
        raise _refusal(path, type_name(tp))
    item = _shape(args[0], f"{path}[]", seen)
    if _is_empty(item):
        raise _refusal(f"{path}[]", type_name(args[0]), "items that take space (a few bytes could claim millions)")
    return ListOf(item, is_tuple=get_origin(tp) is tuple)


def _is_empty(shape: Shape) -> bool:
    """Whether its Avro encoding takes no byte."""
    if isinstance(shape, RecordOf):
        return all(_is_empty(each.shape) for each in shape.fields)
    return isinstance(shape, Scalar) and shape.python is type(None)


def _class(cls: type, path: str, seen: _Seen) -> Shape:
    if issubclass(cls, Enum):
        return _enum(cls, path)
    is_model = _is_model(cls)
    if not is_model and not dataclasses.is_dataclass(cls):
        raise _refusal(path, type_name(cls))
    if cls in seen.above:
        chain = " -> ".join(each.__name__ for each in (*seen.above[seen.above.index(cls) :], cls))
        raise _refusal(path, f"{type_name(cls)} inside itself ({chain})", "a type that does not contain itself")
    if not AVRO_NAME.match(cls.__name__):
        raise _refusal(path, f"{cls.__name__!r}", "a class name of A-Z a-z 0-9 _")
    if known := seen.records.get(cls):
        return known
    below = _Seen((*seen.above, cls), seen.records)
    given = _model_fields(cls, path) if is_model else _dataclass_fields(cls, path)
    fields = [
        Field(_field_name(name, path), _shape(tp, f"{path}.{name}", below), default, required)
        for name, tp, default, required in given
    ]
    seen.records[cls] = RecordOf(cls, tuple(fields), is_model)
    return seen.records[cls]


def _field_name(name: str, path: str) -> str:
    if not AVRO_NAME.match(name):
        raise _refusal(f"{path}.{name}", f"{name!r}", "a field name of A-Z a-z 0-9 _")
    return name


def _enum(cls: type[Enum], path: str) -> Shape:
    values = [each.value for each in cls]
    for value in values:
        if not isinstance(value, str) or not AVRO_NAME.match(value):
            expected = "Enum values that are Avro symbols (A-Z a-z 0-9 _); Literal takes any text"
            raise _refusal(path, f"{cls.__name__} with {value!r}", expected)
    if not values:
        raise _refusal(path, f"{cls.__name__} without members", "an Enum with members")
    return EnumOf(cls, tuple(values))


def _is_model(cls: type) -> bool:
    """Whether it is a pydantic model; pydantic is not imported for the question."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


_Given = tuple[str, object, object, bool]


def _dataclass_fields(cls: type, path: str) -> Iterator[_Given]:
    hints = type_hints(cls, path)
    for name, hint in hints.items():
        if isinstance(hint, dataclasses.InitVar):
            raise _refusal(f"{path}.{name}", "InitVar", "a field that is kept")
    for each in dataclasses.fields(cls):
        if not each.init:
            raise _refusal(f"{path}.{each.name}", "field(init=False)", "a field that the constructor takes")
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        yield each.name, hints[each.name], _default(each.default, each.default_factory), required
    if not _takes_its_fields(cls):
        raise _refusal(path, "an __init__ of its own", "a dataclass whose constructor takes its fields by name")


def _takes_its_fields(cls: type) -> bool:
    """Whether an input can be made of what its record holds; an __init__ written by hand may take anything else."""
    names = [each.name for each in dataclasses.fields(cls)]
    try:
        inspect.signature(cls.__init__).bind(None, **dict.fromkeys(names))  # type: ignore[misc]
    except TypeError:
        return False
    return True


def _model_fields(cls: type, path: str) -> Iterator[_Given]:
    _complete_model(cls, path)
    fields: Mapping[str, object] = getattr(cls, "model_fields")  # noqa: B009 - pydantic is not imported here
    for name, info in fields.items():
        required = bool(info.is_required())  # type: ignore[attr-defined]
        factory = getattr(info, "default_factory", None)
        default = MISSING if required or factory is not None else getattr(info, "default", MISSING)
        yield name, getattr(info, "annotation", None), _default(default, factory), required


def _complete_model(cls: type, path: str) -> None:
    """Have pydantic look up the names that were defined after the model: it does so by itself only at first use."""
    if getattr(cls, "__pydantic_complete__", True):
        return
    rebuild: Callable[[], object] = getattr(cls, "model_rebuild")  # noqa: B009 - pydantic is not imported here
    try:
        rebuild()
    except NameError as missing:
        raise _refusal(path, str(missing).split("\n", 1)[0], "a model whose annotations can be evaluated") from missing


def _default(default: object, factory: object) -> object:
    """The default; of factories only those that give an empty list or dict, which are the same every time."""
    if factory is list:
        return []
    if factory is dict:
        return {}
    return MISSING if default is dataclasses.MISSING else default


def type_hints(thing: object, place: str) -> dict[str, object]:
    """The annotations of a class or function, evaluated.

    Raises:
        DefinitionError: a name in them cannot be found.
    """
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except NameError as missing:
        raise DefinitionError(
            f"expected annotations that can be evaluated at the top of their module, but {missing}", place=place
        ) from missing
