"""Types as YAML names them: `Order`, `int`, `list[Order]`, `dict[str, float]`, `Order | None`.

Names come from the agents' modules; the text is parsed, never evaluated.
"""

import ast
from collections.abc import Mapping
from datetime import date, datetime
from difflib import get_close_matches

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
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[ast.Name(id="str"), value])):
            return dict[str, _build(value, text, names)]  # type: ignore[misc]
    raise DefinitionError(f"expected a type such as Order, list[Order] or int | None, but found {text!r}")


def _optional(tp: object) -> object:
    return tp | None  # type: ignore[operator]


def _named(name: str, names: Mapping[str, object]) -> object:
    if name in _BUILTIN:
        return _BUILTIN[name]
    found = names.get(name)
    if not isinstance(found, type):
        known = sorted(key for key, each in names.items() if isinstance(each, type) and not key.startswith("_"))
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        expected = f"the type {near[0]!r}" if near else f"one of the types {', '.join([*known, *_BUILTIN])}"
        raise DefinitionError(f"expected {expected}, but found {name!r}")
    return found
