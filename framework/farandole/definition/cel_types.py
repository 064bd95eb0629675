"""The type of an expression, from those of the values it reads.

Refuses at definition time what would fail in a run. Follows the package, not the whole
specification: no implicit conversion in arithmetic, comparison across int and double. None is
looked at where a value is given away, not inside an expression, which may guard itself.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import reduce

from farandole.definition.cel_guards import not_null
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
    path_of,
)
from farandole.definition.cel_text import written
from farandole.definition.type_joins import Apart, joined
from farandole.definition.value_types import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    NULL,
    NUMBER,
    STRING,
    TIMESTAMP,
    Keyed,
    Many,
    Member,
    Nullable,
    Record,
    Simple,
    Symbols,
    ValueType,
    described,
    has_opaque,
)

Types = Mapping[str, ValueType]

_NUMBERS = ("int", "double", NUMBER.name)
_ORDERED = (*_NUMBERS, "string", "timestamp", "duration", "bool")
_FROM: Mapping[str, tuple[tuple[str, ...], ValueType]] = {
    "int": (("int", "double", "string"), INT),
    "double": (("int", "double", "string"), DOUBLE),
    "string": (("int", "double", "string", "timestamp"), STRING),
    "timestamp": (("string", "timestamp"), TIMESTAMP),
    "duration": (("string", "duration"), DURATION),
}


class TypeProblem(Exception):  # noqa: N818 - becomes a DefinitionError with its place
    """An expression that its types do not allow."""


def expression_type(node: Node, types: Types) -> ValueType:
    """The type of a whole expression.

    Raises:
        TypeProblem: a name or field is unknown, or an operation does not fit its operands.
    """
    if path_of(node) is None:
        return _value(node, types)
    below = node
    while isinstance(below, Select):
        below = below.base
        if isinstance(_infer(below, types), Nullable):
            raise TypeProblem(f"{written(below)} may be null: guard it, as `{written(below)} == null ? … : …`")
    return _infer(node, types)


def part_type(node: Node, types: Types) -> ValueType:
    """The type of a part of an expression that is still being built.

    Raises:
        TypeProblem: as `expression_type`; but whether None is guarded is not known yet.
    """
    return _infer(node, types) if path_of(node) else _value(node, types)


def _value(node: Node, types: Types) -> ValueType:
    """The type of a value that is computed with, which must be one that expressions know."""
    found = _infer(node, types)
    if opaque := has_opaque(found):
        raise TypeProblem(
            f"{written(node)} holds {opaque.name}, which can be passed on whole but not computed with "
            f"(expressions know bool, int, double, string and timestamp)"
        )
    return found


def _infer(node: Node, types: Types) -> ValueType:
    match node:
        case Literal(value=value):
            return _literal(value)
        case Name(name=name):
            return types[name] if name in types else _unknown(name, types)
        case Select(base=base, field=field):
            guarded = types.get(written(node)) if path_of(node) else None
            return _field(base, field, types) if guarded is None else guarded
        case Index(base=base, index=index):
            return _index(base, index, types)
        case Has(what=what):
            _member(_base(what.base, types), what.base, what.field)
            return BOOL
        case Unary(operator=operator, operand=operand):
            wanted = (
                ("bool",) if operator == "!" else ("int", "double")
            )  # the package negates no duration, as CEL would
            return _of(operand, types, wanted, operator)
        case Binary(operator=operator, left=left, right=right):
            return _binary(operator, left, right, types)
        case Choose(condition=condition, yes=yes, no=no):
            _of(condition, types, ("bool",), "?")
            return _common(
                [_value(yes, _guarded(condition, types, True)), _value(no, _guarded(condition, types, False))]
            )
        case Items(items=items):
            return Many(_common([_value(each, types) for each in items]) if items else None)
        case Entries(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return Record(None, tuple(Member(key, _value(each, types)) for key, each in pairs))
        case Macro():
            return _macro(node, types)
        case Call(target=None, function=function, arguments=(argument,)):
            return _function(function, argument, types)
        case Call(target=target, function=function, arguments=arguments) if target is not None:
            return _method(target, function, arguments, types)
        case _:
            raise TypeProblem(f"{written(node)} is not supported")


def _literal(value: object) -> ValueType:
    match value:
        case None:
            return NULL
        case bool():
            return BOOL
        case int():
            return INT
        case float():
            return DOUBLE
        case _:
            return Simple("string", frozenset({str(value)}))


def _unknown(name: str, types: Types) -> ValueType:
    raise TypeProblem(f"expected {_one_of(name, types)}, but found {name!r}")


def _guarded(condition: Node, types: Types, holds: bool) -> Types:
    """The types where the condition has this answer: what it compares with null is not null there.

    A field is found under its whole path, beside the names.
    """
    found = {written(each): _infer(each, types) for each in not_null(condition, holds=holds)}
    sure = {path: tp.inner for path, tp in found.items() if isinstance(tp, Nullable)}
    return {**types, **sure} if sure else types


def _one_of(name: str, names: Iterable[str]) -> str:
    known = [each for each in names if "." not in each]
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"{near[0]!r}" if near else f"one of {', '.join(sorted(known))}"


def _bare(tp: ValueType) -> ValueType:
    """Without None, and an enum as the string it is."""
    tp = tp.inner if isinstance(tp, Nullable) else tp
    return STRING if isinstance(tp, Symbols) else tp


def _simple(tp: ValueType) -> str:
    bare = _bare(tp)
    return bare.name if isinstance(bare, Simple) else ""


def _of(node: Node, types: Types, wanted: tuple[str, ...], where: str) -> ValueType:
    found = _value(node, types)
    is_known = _simple(found) in wanted or (_bare(found) == NUMBER and {"int", "double"}.issubset(wanted))
    if not is_known:
        raise TypeProblem(f"expected {' or '.join(wanted)} for {where}, but {written(node)} is {described(found)}")
    return _bare(found)


def _base(base: Node, types: Types) -> ValueType:
    # A path is read field by field, so what lies beside it does not matter.
    return _infer(base, types) if path_of(base) else _value(base, types)


def _field(base: Node, field: str, types: Types) -> ValueType:
    return _sure(_member(_base(base, types), base, field), base)


def _member(found: ValueType, base: Node, field: str) -> Member:
    """The field of a base whose type has been found."""
    match found.inner if isinstance(found, Nullable) else found:
        case Record(members=members) as record:
            if member := record.member(field):
                return member
            known = [each.name for each in members]
            raise TypeProblem(f"expected a field of {described(record)} ({_one_of(field, known)}), but found {field!r}")
        case Keyed(value=value):
            return Member(field, value)
    raise TypeProblem(f"expected a record at {written(base)}, but it is {described(found)} and has no field {field!r}")


def _sure(member: Member, base: Node) -> ValueType:
    if not member.always:
        raise TypeProblem(f"expected a field that {written(base)} always has, but some records lack {member.name!r}")
    return member.type


def _index(base: Node, index: Node, types: Types) -> ValueType:
    found, by = _bare(_value(base, types)), _simple(_value(index, types))
    match found:
        case Many(item=item) if by == "int" and item is not None:
            return item
        case Keyed(value=value) if by == "string":
            return value
        case Record(name=None) if isinstance(index, Literal) and by == "string":
            return _sure(_member(found, base, str(index.value)), base)
    raise TypeProblem(
        f"expected a list with an int or a map with a string, but found {written(base)}[{written(index)}]"
    )


def _binary(operator: str, left: Node, right: Node, types: Types) -> ValueType:
    if operator in ("&&", "||"):
        _of(left, types, ("bool",), operator)
        return _of(right, types, ("bool",), operator)
    one, other = _value(left, types), _value(right, types)
    if operator in ("==", "!="):
        return _equality(operator, one, other)
    if operator == "in":
        return _membership(one, other)
    a, b = _simple(one), _simple(other)
    if operator in ("<", "<=", ">", ">="):
        if a in _ORDERED and (a == b or (a in _NUMBERS and b in _NUMBERS)):
            return BOOL
        raise _operands(operator, one, other)
    return _arithmetic(operator, one, other)


def _operands(operator: str, one: ValueType, other: ValueType, hint: str = "") -> TypeProblem:
    return TypeProblem(
        f"expected operands that fit {operator}, but found {described(one)} and {described(other)}{hint}"
    )


def _equality(operator: str, one: ValueType, other: ValueType) -> ValueType:
    for this, that in ((one, other), (other, one)):
        plain = this.inner if isinstance(this, Nullable) else this
        texts = that.literals if isinstance(that, Simple) else None
        if isinstance(plain, Symbols) and texts and texts.isdisjoint(plain.symbols):
            raise TypeProblem(f"expected one of {', '.join(plain.symbols)}, but found {min(texts)!r}")
    if NULL in (one, other):
        return BOOL
    a, b = _bare(one), _bare(other)
    both = (_simple(one), _simple(other))
    alike = type(a) is type(b) and not isinstance(a, Simple)
    if alike or (both[0] and both[0] == both[1]) or all(each in _NUMBERS for each in both):
        return BOOL
    raise _operands(operator, one, other)


def _membership(one: ValueType, other: ValueType) -> ValueType:
    match _bare(other):
        case Many(item=None):
            return BOOL
        case Many(item=item) if item is not None:
            return _equality("in", one, item)
        case Keyed() if _simple(one) == "string":
            return BOOL
    raise _operands("in", one, other)


def _arithmetic(operator: str, one: ValueType, other: ValueType) -> ValueType:
    a, b = _simple(one), _simple(other)
    match operator, a, b:
        case "+" | "-" | "*" | "/" | "%", "int", "int":
            return INT
        case "+" | "-" | "*" | "/", "double", "double":
            return DOUBLE
        case "+", "string", "string":
            return STRING
        case "+" | "-", "timestamp", "duration":
            return TIMESTAMP
        case ("-", "timestamp", "timestamp") | ("+" | "-", "duration", "duration"):
            return DURATION
    lists = [each for each in (_bare(one), _bare(other)) if isinstance(each, Many)]
    if operator == "+" and len(lists) == 2:
        first, second = lists
        with suppress(Apart):
            return joined(first, second)
    is_mixed = {a, b} <= set(_NUMBERS) and (a != b or a == NUMBER.name)
    hint = "; write double(x), or 2.0 for 2" if is_mixed else ""
    hint = "; write the timestamp first" if (operator, a, b) == ("+", "duration", "timestamp") else hint
    raise _operands(operator, one, other, hint)


def _common(found: list[ValueType]) -> ValueType:
    """The type of alternatives."""
    try:
        return reduce(joined, found)
    except Apart as bad:
        raise TypeProblem(str(bad)) from None


def _macro(node: Macro, types: Types) -> ValueType:
    base = _bare(_value(node.base, types))
    if not isinstance(base, Many):
        hint = " (a map has no order)" if isinstance(base, Keyed | Record) else ""
        raise TypeProblem(f"expected a list for {node.kind}(), but {written(node.base)} is {described(base)}{hint}")
    if base.item is None:
        return base if node.kind in ("map", "filter") else BOOL
    outer = {name: tp for name, tp in types.items() if not name.startswith(f"{node.variable}.")}
    inner = {**outer, node.variable: base.item}
    if node.kind != "map" or len(node.arguments) == 2:
        _of(node.arguments[0], inner, ("bool",), f"{node.kind}()")
    if node.kind == "map":
        return Many(_value(node.arguments[-1], inner))
    return base if node.kind == "filter" else BOOL


def _function(function: str, argument: Node, types: Types) -> ValueType:
    if function == "size":
        return _size(argument, types)
    wanted, result = _FROM[function]
    _of(argument, types, wanted, f"{function}()")
    return result


def _size(node: Node, types: Types) -> ValueType:
    found = _bare(_value(node, types))
    if isinstance(found, Many | Keyed):
        return INT
    is_text = _simple(found) == "string"
    hint = ' (bytes would be counted; write `x == ""`, or `x.matches("^.{0,20}$")` for a length)' if is_text else ""
    raise TypeProblem(f"expected a list or a map for size(), but {written(node)} is {described(found)}{hint}")


def _method(target: Node, function: str, arguments: tuple[Node, ...], types: Types) -> ValueType:
    if function == "size":
        return _size(target, types)
    if function.startswith("get") and arguments:
        raise TypeProblem(f"expected no time zone for {function}(), which is in UTC, but found {written(arguments[0])}")
    for each in arguments:
        _of(each, types, ("string",), f"{function}()")
    if function.startswith("get"):
        _of(target, types, ("timestamp",), f"{function}()")
        return INT
    _of(target, types, ("string",), f"{function}()")
    return BOOL
