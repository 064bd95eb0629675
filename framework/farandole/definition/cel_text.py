"""Writing a tree as text, always in the same way: two spellings of one expression get one hash."""

import re

from farandole.definition.cel_nodes import (
    Binary,
    Call,
    Choose,
    Entries,
    Has,
    Index,
    Items,
    Literal,
    Macro,
    Name,
    Node,
    Select,
    Unary,
)
from farandole.definition.cel_parser import PRECEDENCE

_CHOOSE, _UNARY, _MEMBER = 0, 6, 7
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_TO_ESCAPE = re.compile(r'["\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


def written(node: Node) -> str:
    """The expression as canonical text, with no more brackets than it needs."""
    return _write(node)[0]


def literal_text(value: bool | int | float | str | None) -> str:
    """A literal in CEL."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case str():
            return '"' + _TO_ESCAPE.sub(lambda c: _ESCAPED.get(c[0]) or f"\\u{ord(c[0]):04x}", value) + '"'


def _within(node: Node, lowest: int) -> str:
    text, precedence = _write(node)
    return text if precedence >= lowest else f"({text})"


def _list(nodes: tuple[Node, ...]) -> str:
    return ", ".join(written(each) for each in nodes)


def _write(node: Node) -> tuple[str, int]:
    """The text, and how tightly it holds together."""
    match node:
        case Literal(value=value):
            negative = isinstance(value, int | float) and literal_text(value).startswith("-")
            return literal_text(value), _UNARY if negative else _MEMBER
        case Name(name=name):
            return name, _MEMBER
        case Select(base=base, field=field):
            return f"{_within(base, _MEMBER)}.{field}", _MEMBER
        case Index(base=base, index=index):
            return f"{_within(base, _MEMBER)}[{written(index)}]", _MEMBER
        case Call(function=function, arguments=arguments, target=target):
            before = "" if target is None else _within(target, _MEMBER) + "."
            return f"{before}{function}({_list(arguments)})", _MEMBER
        case Has(what=what):
            return f"has({written(what)})", _MEMBER
        case Macro(kind=kind, base=base, variable=variable, arguments=arguments):
            return f"{_within(base, _MEMBER)}.{kind}({variable}, {_list(arguments)})", _MEMBER
        case Items(items=items):
            return f"[{_list(items)}]", _MEMBER
        case Entries(keys=keys, values=values):
            pairs = sorted(zip(keys, values, strict=True), key=lambda pair: pair[0])
            return "{" + ", ".join(f"{literal_text(k)}: {written(v)}" for k, v in pairs) + "}", _MEMBER
        case Unary(operator=operator, operand=operand):
            return operator + _within(operand, _MEMBER), _UNARY
        case Binary(operator=operator, left=left, right=right):
            mine = PRECEDENCE[operator]
            return f"{_within(left, mine)} {operator} {_within(right, mine + 1)}", mine
        case Choose(condition=condition, yes=yes, no=no):
            return f"{_within(condition, 1)} ? {_within(yes, 1)} : {_within(no, 1)}", _CHOOSE
