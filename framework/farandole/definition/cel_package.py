"""What the package gives otherwise than CEL, put right in the text that it is given.

A place is put right by a function of ours around it; no author can write its name. The definition keeps the text as it
was written. Knows nothing of types: the package says what it can do with a value.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from farandole.definition.cel_nodes import Call, Node, Unary, rebuilt

_NEGATED, _IN_UTC, _AS_TEXT = "_negated", "_in_utc", "_as_text"
_LEAST = -(2**63)


def is_put_right(node: Node) -> bool:
    """Whether a function of ours is called for it, each time that it is evaluated."""
    match node:
        case Unary(operator="-") | Call(function="string"):
            return True
        case Call(function=function, target=target):
            return target is not None and function.startswith("get")
    return False


def adapted(node: Node) -> Node:
    """The tree with functions of `Ours` called where the package alone would give something else than CEL does."""
    match node:
        case Unary(operator="-"):
            return _minus(node)
        case Call(function="string", arguments=(given,)):
            return Call("string", (Call(_AS_TEXT, (adapted(given),)),))
        case Call(function=function, arguments=arguments, target=target) if target is not None and is_put_right(node):
            return Call(function, tuple(map(adapted, arguments)), Call(_IN_UTC, (adapted(target),)))
        case _:
            return rebuilt(node, adapted)


def _minus(node: Node) -> Node:
    """A row of signs as one or two calls: a hundred inside each other would be deeper than the package survives."""
    count = 0
    while isinstance(node, Unary) and node.operator == "-":
        node, count = node.operand, count + 1
    once = Call(_NEGATED, (adapted(node),))
    return once if count % 2 else Call(_NEGATED, (once,))


class Ours:
    """The functions of one evaluation. None raises, for the package would log it; `failed` says what has no value."""

    def __init__(self) -> None:
        self.failed = ""

    @property
    def functions(self) -> Mapping[str, Callable[..., object]]:
        """What `adapted` calls, by name."""
        return {_NEGATED: self._negated, _IN_UTC: self._in_utc, _AS_TEXT: self._as_text}

    def _negated(self, value: int | float) -> object:
        """The package gives the least integer for its own negation."""
        if value == _LEAST and isinstance(value, int):
            self._fail(f"expected an integer of 64 bits, but found {-value}")
            return None
        return -value

    def _in_utc(self, value: object) -> object:
        """The package keeps the offset that a text had, and gives hours and days in it. A duration has hours, too."""
        if not isinstance(value, datetime):
            return value
        try:
            return value.astimezone(UTC)
        except OverflowError as bad:
            self._fail(str(bad))
            return None

    def _as_text(self, value: object) -> object:
        """A timestamp as RFC 3339 has it in UTC; anything else as it is. The package writes `+00:00` for `Z`."""
        at = self._in_utc(value)
        if not isinstance(at, datetime):
            return at
        micros = at.microsecond
        precision = "seconds" if not micros else "milliseconds" if micros % 1000 == 0 else "microseconds"
        return f"{at.replace(tzinfo=None).isoformat(timespec=precision)}Z"

    def _fail(self, why: str) -> None:
        self.failed = self.failed or why
