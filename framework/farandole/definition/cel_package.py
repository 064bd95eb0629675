"""What the package gives otherwise than CEL, put right in the text that it is given.

A place is put right by a function of ours around it; no author can write its name. The definition keeps the text as it
was written. Knows nothing of types: the package says what it can do with a value.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from farandole.definition.cel_nodes import Call, Literal, Node, Unary, rebuilt

_NEGATED, _IN_UTC, _AS_TEXT = "_negated", "_in_utc", "_as_text"
_LEAST = -(2**63)
_OURS = re.compile(r"Function '_\w+' error: Python function call failed: (.*)\. Check function arguments", re.DOTALL)


def adapted(node: Node) -> Node:
    """The tree with `FUNCTIONS` called where the package alone would give something else than CEL does."""
    match node:
        case Unary(operator="-"):
            return _minus(node)
        case Call(function="timestamp", arguments=(given,)):
            made = rebuilt(node, adapted)
            is_utc = isinstance(given, Literal) and str(given.value).endswith("Z")
            return made if is_utc else Call(_IN_UTC, (made,))
        case Call(function="string", arguments=(given,)):
            return Call("string", (Call(_AS_TEXT, (adapted(given),)),))
        case _:
            return rebuilt(node, adapted)


def said(bad: Exception) -> str:
    """What the package says of an error; where one of our functions raised it, what that says."""
    ours = _OURS.search(str(bad))
    return ours[1] if ours else f"{type(bad).__name__}: {bad}"


def _minus(node: Node) -> Node:
    """A row of signs as one or two calls: a hundred inside each other would be deeper than the package survives."""
    count = 0
    while isinstance(node, Unary) and node.operator == "-":
        node, count = node.operand, count + 1
    once = Call(_NEGATED, (adapted(node),))
    return once if count % 2 else Call(_NEGATED, (once,))


def _negated(value: int | float) -> int | float:
    """The package gives the least integer for its own negation."""
    if value == _LEAST and isinstance(value, int):
        raise OverflowError(f"expected an integer of 64 bits, but found {-value}")
    return -value


def _in_utc(value: datetime) -> datetime:
    """The package keeps the offset that a text had, and gives hours and days in it."""
    return value.astimezone(UTC)


def _as_text(value: object) -> object:
    """A timestamp as RFC 3339 has it in UTC; anything else as it is. The package writes `+00:00` for `Z`."""
    if not isinstance(value, datetime):
        return value
    at = value.astimezone(UTC).replace(tzinfo=None)
    precision = "seconds" if not at.microsecond else "milliseconds" if at.microsecond % 1000 == 0 else "microseconds"
    return f"{at.isoformat(timespec=precision)}Z"


FUNCTIONS: Mapping[str, Callable[..., object]] = {_NEGATED: _negated, _IN_UTC: _in_utc, _AS_TEXT: _as_text}
"""What `adapted` calls, by name."""
