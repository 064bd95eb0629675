"""Types as YAML names them: `Order`, `int`, `list[Order]`, `tuple[int, ...]`, `dict[str, float]`, `Order | None`.

Names come from the agents' modules, where an alias is as good as a class; the text is parsed, never evaluated.
"""

import ast
from collections.abc import Mapping
from datetime import date, datetime
from difflib import get_close_matches
from typing import NewType, get_origin

from farandole.definition.shapes import shape_of
from farandole.errors import DefinitionError

_BUILTIN: Mapping[str, object] = {
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "datetime": datetime,
    "date": date,
}


def type_of(text: str, names: Mapping[str, object]) -> object:
    """The type that a text names.

    Raises:
        DefinitionError: it is malformed, unknown, or cannot travel.
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise DefinitionError(f"expected a type such as Order, list[Order] or int | None, but found {text!r}") from None
    tp = _build(tree, text, names)
    shape_of(tp)
    return tp


def _build(node: ast.expr, text: str, names: Mapping[str, object]) -> object:
    match node:
        case ast.Name(id=name):
            return _named(name, names)
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            return _optional(_build(left, text, names))
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_build(item, text, names)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[item, ast.Constant(value=end)])) if (
            end is Ellipsis
        ):
            return tuple[_build(item, text, names), ...]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[ast.Name(id="str"), value])):
            return dict[str, _build(value, text, names)]  # type: ignore[misc]
    raise DefinitionError(f"expected a type such as Order, list[Order] or int | None, but found {text!r}")


def _optional(tp: object) -> object:
    return tp | None  # type: ignore[operator]


def _named(name: str, names: Mapping[str, object]) -> object:
    if name in _BUILTIN:
        return _BUILTIN[name]
    found = names.get(name)
    if _is_written_as_type(found):
        return found
    known = sorted(key for key, each in names.items() if not key.startswith("_") and _can_travel(each))
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    expected = f"the type {near[0]!r}" if near else f"one of the types {', '.join([*known, *_BUILTIN])}"
    raise DefinitionError(f"expected {expected}, but found {name!r}")


def _is_written_as_type(found: object) -> bool:
    """Whether it is a class or an alias (`Literal["a"]`, `list[str]`, a NewType), and not a value of the module's."""
    is_alias = get_origin(found) is not None or type(found).__name__ == "TypeAliasType"
    return is_alias or isinstance(found, type | NewType)


def _can_travel(found: object) -> bool:
    if not _is_written_as_type(found):
        return False
    try:
        shape_of(found)
    except Exception:  # of all that a module imports, to be told; what raises otherwise is nothing to offer either
        return False
    return True
