"""What a condition says of null: the paths that are not null where it holds, or where it does not.

Knows nothing of types nor of steps.
"""

from collections.abc import Set

from farandole.definition.cel_nodes import Binary, Choose, Literal, Node, Unary, path_of

_NULL = Literal(None)

_Sure = Set[Node] | None
"""Paths that are not null; None where the condition never has this answer."""


def not_null(condition: Node, *, holds: bool = True) -> frozenset[Node]:
    """Names and fields (`a`, `a.b`) that cannot be null where the condition is true; with `holds=False`, false.

    So where one of them is null, a condition that is to hold is false whatever else it says.
    """
    return frozenset(_sure(condition, holds) or ())


def _sure(condition: Node, holds: bool) -> _Sure:
    match condition:
        case Literal(value=bool() as value):
            return frozenset() if value is holds else None
        case Unary(operator="!", operand=operand):
            return _sure(operand, not holds)
        case Binary(operator="&&" | "||" as operator, left=left, right=right):
            one, other = _sure(left, holds), _sure(right, holds)
            return _both(one, other) if holds is (operator == "&&") else _either(one, other)
        case Choose(condition=which, yes=yes, no=no):
            taken = _both(_sure(which, True), _sure(yes, holds))
            return _either(taken, _both(_sure(which, False), _sure(no, holds)))
        case Binary(operator="==" | "!=" as operator, left=left, right=right) if holds is (operator == "!="):
            sides = ((left, right), (right, left))
            return frozenset(side for side, beside in sides if beside == _NULL and path_of(side) is not None)
    return frozenset()


def _both(one: _Sure, other: _Sure) -> _Sure:
    return None if one is None or other is None else one | other


def _either(one: _Sure, other: _Sure) -> _Sure:
    if one is None or other is None:
        return other if one is None else one
    return one & other
