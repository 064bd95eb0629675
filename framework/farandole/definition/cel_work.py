"""What stands in the values that an expression reads: lists too long to go through, and numbers that are none.

The package keeps what `map` and `filter` find by copying all it has kept before: the work is
quadratic in the list, and no other thread runs meanwhile. Here the lists are bounded; what their
entries may hold besides is `cel_copies`. Knows nothing of texts or types.
"""

from collections.abc import Iterator
from math import isnan

from farandole.definition.cel_nodes import Binary, Choose, Index, Macro, Node, children, nodes

LIST_MAX = 1000
"""Most entries of a list or map that an expression with a macro reads: 0.1 s for numbers, 1 s for flat records.

Source: the most items of one map, which `MACRO_DEPTH_MAX` assumes too.
"""

INNER_MAX = 100
"""The same where a macro keeps what it finds within another: with 300 such lists of 300 it took 5 s."""

_KEEPING = frozenset({"map", "filter"})


def entries_max(root: Node) -> int | None:
    """Most entries of what the expression reads; None if it goes through nothing. A sum of lists shares the bound."""
    found = _macros(root)
    if not found:
        return None
    is_inner = any(
        inner.kind in _KEEPING for each in found for argument in each.arguments for inner in _macros(argument)
    )
    terms = max(_terms(each.base) for each in found)
    return max(1, (INNER_MAX if is_inner else LIST_MAX) // terms)


def excess(value: object, most: int) -> int:
    """The length of a list or map in the value with more entries than that; 0 if there is none."""
    return next((len(one) for one in _parts(value) if isinstance(one, list | dict) and len(one) > most), 0)


def has_nan(value: object) -> bool:
    """Whether a double in the value is no number: the package refuses to compare it as if its type were wrong."""
    return any(isinstance(one, float) and isnan(one) for one in _parts(value))


def _parts(value: object) -> Iterator[object]:
    todo = [value]
    while todo:
        one = todo.pop()
        yield one
        if isinstance(one, list | dict):
            todo.extend(one if isinstance(one, list) else one.values())


def _macros(root: Node) -> list[Macro]:
    return [node for node in nodes(root) if isinstance(node, Macro)]


def _terms(node: Node) -> int:
    """How many lists are added up to the one that the node gives; a macro, a condition or an index adds none."""
    match node:
        case Binary(operator="+", left=left, right=right):
            return _terms(left) + _terms(right)
        case Macro(base=base) | Index(base=base):
            return _terms(base)
        case Choose(yes=yes, no=no):
            return max(_terms(yes), _terms(no))
        case _:
            return max(map(_terms, children(node)), default=1)
