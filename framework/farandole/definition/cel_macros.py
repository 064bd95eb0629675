"""`exists` and `all` where the predicate of some entry has an error.

CEL joins the predicates by `||` and `&&`, so that one entry which decides makes up for errors of others, wherever they
stand; the package stops at the first error. So after an error they are asked once more, in a form in which the package
goes on and tells us of each predicate how it came out. Source: the CEL specification, "Macros".
"""

from collections.abc import Callable, Mapping
from itertools import count

from farandole.definition.cel_nodes import Binary, Call, Choose, Literal, Macro, Node, nodes, rebuilt

_ASKED_MAX = 8
"""Most such macros in an expression that is asked again: each adds brackets, of which the package bears few."""

_JOINING = ("exists", "all")


def may_be_decided(root: Node) -> bool:
    """Whether the expression may have a value in spite of an error."""
    return 0 < sum(isinstance(node, Macro) and node.kind in _JOINING for node in nodes(root)) <= _ASKED_MAX


def going_on(root: Node) -> Node:
    """The tree in which `exists` and `all` ask all predicates, and `Outcomes` is told.

    `b.exists(x, p)` becomes `_begin(0) && b.all(x, (p ? _yes(0) : _no(0)) || _asked(0)) ? (_exists(0) ? true : false)
    : false`: an error of `p` calls neither `_yes` nor `_no`, and ends at the `||`; an answer that is none is an error.
    """
    numbers = count()

    def below(node: Node) -> Node:
        made = rebuilt(node, below)
        if not isinstance(made, Macro) or made.kind not in _JOINING:
            return made
        number = (Literal(next(numbers)),)
        came_out = Choose(made.arguments[0], Call("_yes", number), Call("_no", number))
        each = Macro("all", made.base, made.variable, (Binary("||", came_out, Call("_asked", number)),))
        answer = Choose(Call(f"_{made.kind}", number), Literal(True), Literal(False))
        return Choose(Binary("&&", Call("_begin", number), each), answer, Literal(False))

    return below(root)


class Outcomes:
    """How the predicates of each macro came out in one evaluation."""

    def __init__(self) -> None:
        self._yes: dict[int, int] = {}
        self._no: dict[int, int] = {}
        self._asked: dict[int, int] = {}

    @property
    def functions(self) -> Mapping[str, Callable[[int], bool | None]]:
        """What the package calls, by name."""
        return {
            "_begin": self._begin,
            "_yes": self._found_yes,
            "_no": self._found_no,
            "_asked": self._went_on,
            "_exists": self._exists,
            "_all": self._all,
        }

    def _begin(self, macro: int) -> bool:
        self._yes[macro] = self._no[macro] = self._asked[macro] = 0
        return True

    def _found_yes(self, macro: int) -> bool:
        self._yes[macro] += 1
        return True

    def _found_no(self, macro: int) -> bool:
        self._no[macro] += 1
        return False

    def _went_on(self, macro: int) -> bool:
        """After each predicate that was not true, be it false or an error."""
        self._asked[macro] += 1
        return True

    def _exists(self, macro: int) -> bool | None:
        """None where no entry decides and some have an error."""
        return True if self._yes[macro] else None if self._failed(macro) else False

    def _all(self, macro: int) -> bool | None:
        return False if self._no[macro] else None if self._failed(macro) else True

    def _failed(self, macro: int) -> bool:
        return self._asked[macro] > self._no[macro]
