"""The parts of an expression as a tree, and walks over it.

Source: the CEL specification, "Syntax" and "Macros".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
"""Macros that bind a variable."""


@dataclass(frozen=True, slots=True)
class Literal:
    """null, a bool, an int of 64 bits, a double or a string."""

    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Name:
    """A step, `params`, `run`, `item` or the variable of a macro."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`base.field`."""

    base: "Node"
    field: str


@dataclass(frozen=True, slots=True)
class Index:
    """`base[index]`."""

    base: "Node"
    index: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`, or `target.function(arguments)`."""

    function: str
    arguments: tuple["Node", ...]
    target: "Node | None" = None


@dataclass(frozen=True, slots=True)
class Has:
    """`has(base.field)`."""

    what: Select


@dataclass(frozen=True, slots=True)
class Macro:
    """`base.kind(variable, arguments)`."""

    kind: str
    base: "Node"
    variable: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """`!operand` or `-operand`."""

    operator: str
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Choose:
    """`condition ? yes : no`."""

    condition: "Node"
    yes: "Node"
    no: "Node"


@dataclass(frozen=True, slots=True)
class Items:
    """`[a, b]`."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """`{"a": x}`; keys are strings."""

    keys: tuple[str, ...]
    values: tuple["Node", ...]


Node = Literal | Name | Select | Index | Call | Has | Macro | Unary | Binary | Choose | Items | Entries


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below."""
    match node:
        case Literal() | Name():
            return
        case Has(what=what):
            yield what
        case Items(items=items):
            yield from items
        case Entries(values=values):
            yield from values
        case Macro(base=base, arguments=arguments):
            yield base
            yield from arguments
        case _:
            for each in fields(node):
                value = getattr(node, each.name)
                if isinstance(value, tuple):
                    yield from value
                elif value is not None and not isinstance(value, str):
                    yield value


def nodes(root: Node) -> Iterator[Node]:
    """Each node of the tree."""
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(children(node))


def depth(root: Node) -> int:
    """The longest way from the root to a leaf."""
    deepest, todo = 0, [(root, 1)]
    while todo:
        node, level = todo.pop()
        deepest = max(deepest, level)
        todo.extend((child, level + 1) for child in children(node))
    return deepest


def macro_depth(root: Node) -> int:
    """How many macros stand inside each other: the exponent of the work that an expression may do."""
    deepest, todo = 0, [(root, 0)]
    while todo:
        node, level = todo.pop()
        deepest = max(deepest, level)
        if isinstance(node, Macro):
            todo.append((node.base, level))
            todo.extend((each, level + 1) for each in node.arguments)
            deepest = max(deepest, level + 1)
        else:
            todo.extend((child, level) for child in children(node))
    return deepest


def free_paths(root: Node) -> Iterator[tuple[str, ...]]:
    """Each free name with the fields that follow it: `("params", "order", "total")`. Variables of macros are bound."""
    todo: list[tuple[Node, frozenset[str]]] = [(root, frozenset())]
    while todo:
        node, bound = todo.pop()
        path = path_of(node)
        if path is not None:
            if path[0] not in bound:
                yield path
        elif isinstance(node, Macro):
            todo.append((node.base, bound))
            todo.extend((each, bound | {node.variable}) for each in node.arguments)
        else:
            todo.extend((child, bound) for child in children(node))


def null_checks(root: Node) -> Iterator[tuple[str, Binary]]:
    """Each name that is compared with null, and the comparison."""
    for node in nodes(root):
        if isinstance(node, Binary) and node.operator in ("==", "!="):
            for one, other in ((node.left, node.right), (node.right, node.left)):
                if isinstance(one, Name) and other == Literal(None):
                    yield one.name, node


def path_of(node: Node) -> tuple[str, ...] | None:
    """The parts of `a.b.c`; None for anything else."""
    parts: list[str] = []
    while isinstance(node, Select):
        parts.append(node.field)
        node = node.base
    if not isinstance(node, Name):
        return None
    return (node.name, *reversed(parts))


def rebuilt(node: Node, below: Callable[[Node], Node]) -> Node:
    """The same node over what `below` makes of each node directly under it."""
    match node:
        case Literal() | Name():
            return node
        case Select(base=base, field=field):
            return Select(below(base), field)
        case Has(what=what):
            return Has(Select(below(what.base), what.field))
        case Macro(kind=kind, base=base, variable=variable, arguments=arguments):
            return Macro(kind, below(base), variable, tuple(map(below, arguments)))
        case Call(function=function, arguments=arguments, target=target):
            return Call(function, tuple(map(below, arguments)), None if target is None else below(target))
        case Items(items=items):
            return Items(tuple(map(below, items)))
        case Entries(keys=keys, values=values):
            return Entries(keys, tuple(map(below, values)))
        case Index(base=base, index=index):
            return Index(below(base), below(index))
        case Unary(operand=operand):
            return replace(node, operand=below(operand))
        case Binary(operator=operator, left=left, right=right):
            return Binary(operator, below(left), below(right))
        case Choose(condition=condition, yes=yes, no=no):
            return Choose(below(condition), below(yes), below(no))


def renamed(node: Node, old: str, new: str) -> Node:
    """The tree with a free name replaced."""
    if isinstance(node, Name):
        return Name(new) if node.name == old else node
    if isinstance(node, Macro) and node.variable == old:
        return replace(node, base=renamed(node.base, old, new))
    return rebuilt(node, lambda child: renamed(child, old, new))
