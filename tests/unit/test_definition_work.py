"""Work that grew out of proportion to what was written: comparisons in a run, types at `check`."""

import time
from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Any

import pytest

from farandole.definition.cel_parser import parse
from farandole.definition.cel_types import expression_type
from farandole.definition.expressions import ExpressionError, compile_expression
from farandole.definition.shapes import RecordOf, shape_of
from farandole.definition.types import from_plain, schema_text, to_plain
from farandole.definition.value_types import INT, described, has_opaque, misfit, value_type

GRID = [list(range(500)) for _ in range(500)]
ENV: dict[str, object] = {"l": list(range(60)), "a": GRID, "b": [list(row) for row in GRID], "ids": list(range(1000))}
ENV |= {"m": {str(n): n for n in range(1000)}}


@pytest.mark.parametrize(
    "text",
    [
        "l.all(x, l.all(y, a == b))",
        "l.exists(x, l.exists(y, a != b))",
        "l.all(x, l.all(y, b[499] in a))",
        "ids.all(x, ids.all(y, y in ids))",
        "ids.all(x, ids.all(y, [x, y] != ids + ids && {'a': a} == {'a': b}))",
    ],
)
def test_expression_that_would_compare_for_long_is_refused_before_it_begins(text: str) -> None:
    """The story: only copies were counted. 6,400 comparisons of two lists of 500 lists took 15 s, with all other
    threads at a stand, and a million were allowed."""
    with pytest.raises(ExpressionError, match=r"expected at most 5,000,000 .*what is compared counts too"):
        compile_expression(text).evaluate(ENV)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("l.all(x, a == b)", True),
        ("ids.all(x, x in ids)", True),
        ("l.all(x, ids.all(y, '1' in m && y == y && x != -1 && l != [x, y]))", True),
        ("ids.filter(x, x == 3 || x in [1, 2])", [1, 2, 3]),
        ("a == b && [1] in a", False),
    ],
)
def test_expression_that_compares_within_reason_has_its_value(text: str, found: object) -> None:
    assert compile_expression(text).evaluate(ENV) == found


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What it gives; it may take a hundredth of what it took, and that on a busy machine."""
    began = time.process_time()
    found = work()
    assert time.process_time() - began < seconds
    return found


def test_member_of_a_literal_within_a_literal_is_typed_in_linear_time() -> None:
    """Each `["a"]` had the type of all before it inferred twice: 193 characters took 25 s."""
    deep = '{"a": ' * 20 + "1" + "}" * 20 + '["a"]' * 20

    assert within(1.0, lambda: expression_type(parse(deep), {})) == INT


def test_types_that_name_the_one_before_them_twice_are_read_in_linear_time() -> None:
    """Each class was read once for each way that leads to it: 14 of them took six seconds, 20 six minutes."""
    tower = make_dataclass("C0", [("v", int)])
    for n in range(40):
        tower = make_dataclass(f"C{n + 1}", [("a", tower | None, None), ("b", tower | None, None)])

    shape = within(1.0, lambda: shape_of(tower))
    schema = within(1.0, lambda: schema_text(tower))
    plain = within(1.0, lambda: to_plain(tower(), tower))

    assert isinstance(shape, RecordOf)
    assert within(1.0, lambda: from_plain(plain, tower)) == tower()
    one, other = value_type(schema), value_type(f" {schema}")
    assert within(1.0, lambda: (misfit(one, other), has_opaque(one))) == (None, None)
    found = within(1.0, lambda: expression_type(parse("true ? [x] : [y]"), {"x": one, "y": other}))
    assert described(found) == "list of C40"
