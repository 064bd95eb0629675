"""Constants written in a pipeline: records, enums, lists and texts need not be alike to the letter."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import pytest

from farandole.definition.agents import agent
from farandole.definition.cel_parser import parse
from farandole.definition.cel_types import TypeProblem, expression_type
from farandole.definition.pipelines import pipeline
from farandole.definition.value_types import Member, Record, avro_of, described, misfit, value_type
from farandole.errors import DefinitionError
from farandole.testing.harness import Harness


class Color(Enum):
    RED = "RED"
    BLUE = "BLUE"


@dataclass(frozen=True)
class Item:
    name: str
    n: int | None = None
    color: Color = Color.RED
    weight: float = 1.0


@agent
def paint(colors: list[Color]) -> str:
    """Names them."""
    return " ".join(each.name for each in colors)


@agent
def paint_one(color: Color) -> str:
    """Names it."""
    return color.name


@agent
def use(items: list[Item]) -> str:
    """Shows them."""
    return " ".join(f"{each.name}:{each.n}:{each.color.name}:{each.weight}" for each in items)


@agent
def texts(t: list[list[str]]) -> str:
    """Shows them."""
    return str(t)


@agent
def maps(t: list[dict[str, str]]) -> str:
    """Shows them."""
    return str(t)


@agent
def floats(t: list[float]) -> str:
    """Shows them."""
    return str(t)


def _written() -> str:
    return use([{"name": "a"}, {"name": "b", "weight": 2.5}, {"name": "c", "weight": 1}])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (lambda: paint([Color.RED, Color.BLUE]), "RED BLUE"),
        (lambda: use([Item("x"), Item("y", 3, Color.BLUE)]), "x:None:RED:1.0 y:3:BLUE:1.0"),
        (_written, "a:None:RED:1.0 b:None:RED:2.5 c:None:RED:1.0"),
        (lambda: texts([["a"], ["b"], []]), "[['a'], ['b'], []]"),
        (lambda: texts([[], ["a", "b"]]), "[[], ['a', 'b']]"),
        (lambda: maps([{"a": "x"}, {"b": "y"}]), "[{'a': 'x'}, {'b': 'y'}]"),
        (lambda: floats([1, 2.5]), "[1.0, 2.5]"),
    ],
)
def test_list_of_constants_that_differ_is_given_as_it_was_written(body: Callable[[], str], result: str) -> None:
    """The story: the text of a constant was part of its type, so a list of two records with different names was
    refused: `expected values of one type, but found {name} and {name}`. Two that were the same passed."""

    def sample() -> str:
        return body()

    with Harness(pipeline(owner="o@example.org")(sample)) as harness:
        run: Any = harness.run()

    assert run.result == result


def test_map_over_constants_that_differ_gives_each_to_its_item() -> None:
    @pipeline(owner="o@example.org")
    def sample() -> list[str]:
        return paint_one.map([Color.RED, Color.BLUE])

    with Harness(sample) as harness:
        run: Any = harness.run()

    assert run.result == ["RED", "BLUE"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[1, 2.5]", "list of int or double"),
        ("[1, null, 2.5]", "list of int or double or null"),
        ("[null, [1], []]", "list of list of int or null"),
        ('["a"] + ["b"]', "list of string"),
        ("true ? 1 : 2.5", "int or double"),
        ('[{"a": 1, "b": "x"}, {"a": null}].map(r, r.a)', "list of int or null"),
        ('[{"a": 1}, {"b": 2}].filter(r, has(r.b))', "list of {a, b}"),
        ("[1, 2.5].map(x, double(x) * 2.0)", "list of double"),
        ("[1, 2.5].exists(x, x > 2)", "bool"),
    ],
)
def test_values_that_differ_have_a_type_together(text: str, found: str) -> None:
    assert described(expression_type(parse(text), {})) == found


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ('[1, "a"]', "expected values of one type, but found int and string"),
        ('[{"a": 1}, {"a": "x"}]', "expected values of one type at .a, but found int and string"),
        ("[[1], [true]]", "expected values of one type at [], but found int and bool"),
        (
            "[1, 2.5].map(x, x * 2.0)",
            "expected operands that fit *, but found int or double and double; write double(x)",
        ),
        ('[{"a": 1}, {"b": 2}].map(r, r.b)', "expected a field that r always has, but some records lack 'b'"),
        ('[{"a": 1}, {"b": 2}][0]["b"]', "always has, but some records lack 'b'"),
        (
            'params.item != null ? params.item : {"id": 1}',
            "expected values of one type at .id, but found string and int",
        ),
        ('params.item != null ? params.item : {"no": "1"}', "expected values of one type, but found Thing and {no}"),
    ],
)
def test_values_of_which_a_run_could_not_make_use_are_refused_still(text: str, claim: str) -> None:
    """No implicit conversion: CEL adds no int to a double, and a field that one record lacks is an error in a run."""
    thing = '{"type": "record", "name": "Thing", "fields": [{"name": "id", "type": "string"}]}'
    schema = f'{{"type": "record", "name": "P", "fields": [{{"name": "item", "type": ["null", {thing}]}}]}}'

    with pytest.raises(TypeProblem) as refused:
        expression_type(parse(text), {"params": value_type(schema)})

    assert claim in str(refused.value)


def test_number_that_may_be_an_int_leaves_as_a_double() -> None:
    found = expression_type(parse("[1, 2.5]"), {})

    assert avro_of(found) == {"type": "array", "items": "double"}


def test_constant_of_which_one_is_no_symbol_is_refused_and_named() -> None:
    def sample() -> str:
        return paint([Color.RED, "GREEN"])  # type: ignore[list-item]

    with pytest.raises(DefinitionError, match=r"expected Color at colors\[\], but found string 'GREEN'"):
        pipeline(sample)


@dataclass(frozen=True)
class Choosing:
    mode: Literal["a", "b"]


@agent
def choose(m: Literal["a", "b"]) -> str:
    """Gives it back."""
    return m


@agent
def choose_all(ms: list[Choosing], by: dict[str, Literal["a", "b"] | None]) -> str:
    """Names them."""
    return str(ms)


@pytest.mark.parametrize(
    ("body", "claim"),
    [
        (lambda: choose("zzz"), "expected one of 'a', 'b' at m, but found 'zzz'"),  # type: ignore[arg-type]
        (lambda: choose.map(["a", "zzz"]), "expected one of 'a', 'b' at m, but found 'zzz'"),
        (
            lambda: choose_all([{"mode": "a"}, {"mode": "c"}], {}),  # type: ignore[list-item]
            "expected one of 'a', 'b' at ms[].mode, but found 'c'",
        ),
        (
            lambda: choose_all([], {"x": None, "y": "c"}),  # type: ignore[dict-item]
            "expected one of 'a', 'b' at by.y, but found 'c'",
        ),
    ],
)
def test_constant_outside_a_literal_is_refused_before_a_run(body: Callable[[], object], claim: str) -> None:
    """Avro says only that a Literal is a string: `check` passed, and each run ended in a dead letter."""

    def sample() -> None:
        body()

    with pytest.raises(DefinitionError) as refused:
        pipeline(sample)

    assert claim in str(refused.value)


def test_constant_of_a_literal_passes_and_so_does_a_text_that_is_not_known_yet() -> None:
    @pipeline
    def sample(text: str) -> str:
        choose("a")
        choose_all([Choosing("a"), Choosing("b")], {"x": None, "y": "b"})
        return choose(text)  # type: ignore[arg-type]

    assert len(sample.definition.steps) == 3


def test_types_that_name_the_one_before_them_twice_are_compared_in_linear_time() -> None:
    """Records were gone through once for each way that leads to them: 2 to the power of their depth."""

    def tower() -> Record:
        below = Record("R0", ())
        for n in range(60):
            below = Record(f"R{n + 1}", (Member("a", below), Member("b", below)))
        return below

    one, other = tower(), tower()

    assert misfit(one, other) is None
    assert described(expression_type(parse("[a, b]"), {"a": one, "b": other})) == "list of R60"
