"""Guards against null: those that `check` asks for have the type they promise, and those never asked are refused."""

import json
from textwrap import indent

import pytest

from farandole.definition.agents import agent
from farandole.definition.cel_guards import not_null
from farandole.definition.cel_parser import parse
from farandole.definition.cel_text import written
from farandole.definition.cel_types import TypeProblem, expression_type
from farandole.definition.model import Definition
from farandole.definition.validation import compile_draft
from farandole.definition.value_types import described, value_type
from farandole.definition.yaml import draft_of, read_yaml
from farandole.errors import DefinitionError


@agent
def number(x: int) -> int:
    """Gives it back."""
    return x


HEAD = """\
pipeline: sample
owner: o@example.org
agents: ./agents.py
params: {n: int, force: bool}
steps:
  first: {agent: number, when: params.n > 5, with: {x: "${params.n}"}}
"""


def check(steps: str) -> Definition:
    """Compile a file in which `first` may be skipped."""
    text = HEAD + indent(steps, "  ")
    return compile_draft(draft_of(read_yaml(text.encode(), "sample.yaml"), {"number": number.spec}, {}))


@pytest.mark.parametrize(
    "when",
    [
        "first != null ? first > 10 : true",
        "!(first != null)",
        "first != null || params.force",
        "params.force || first != null && first > 1",
        "[1].all(x, first != null)",
        "(first != null) == false",
    ],
)
def test_condition_that_could_hold_for_a_skipped_step_needs_a_join_that_asks_it(when: str) -> None:
    """`first == null` was refused under the default join and `first != null ? … : true` was not: the step was silently
    skipped with `first`, whatever its condition said."""
    with pytest.raises(DefinitionError, match=r"expected the join all_done with the guard 'first != null', since"):
        check(f'second: {{agent: number, when: "{when}", with: {{x: 7}}}}')

    it = check(f'second: {{agent: number, when: "{when}", with: {{x: 7}}, join: all_done}}')
    assert it.steps["second"].when is not None


@pytest.mark.parametrize(
    "when",
    [
        "first != null",
        "!(first == null)",
        "null != first && first > 10",
        "params.force && (first != null && first > 10)",
        "!(first == null || params.force)",
        "first != null && first > 3 || first != null && params.force",
        "first != null ? first > 10 : false",
        "first == null ? false : true",
        "first != null || false",
        "params.force ? first != null : first != null && first > 3",
    ],
)
def test_condition_that_null_makes_false_needs_no_join_since_a_skip_is_the_answer_either_way(when: str) -> None:
    it = check(f'second: {{agent: number, when: "{when}", with: {{x: "${{first}}"}}}}')

    assert it.steps["second"].when is not None


@pytest.mark.parametrize("join", ["all_succeeded", "all_done"])
def test_guard_in_a_map_is_refused_since_a_map_goes_without_no_step_that_it_reads(join: str) -> None:
    """`${first == null ? [1, 2] : [first]}` was accepted, and the step was skipped with `first` under every join."""
    with pytest.raises(DefinitionError, match=r"sample.second.map: expected no guard 'first == null' in a map, since"):
        check(f'second: {{agent: number, join: {join}, map: "${{first == null ? [1, 2] : [first]}}"}}')


@pytest.mark.parametrize(
    ("condition", "where_true", "where_false"),
    [
        ("a.b != null", {"a.b"}, set()),
        ("null == a", set(), {"a"}),
        ("a != null && b != null", {"a", "b"}, set()),
        ("a == null || !(b != null)", set(), {"a", "b"}),
        ("a != null || b != null", set(), set()),
        ("a == b && a[0] != null", set(), set()),
    ],
)
def test_condition_says_what_is_not_null(condition: str, where_true: set[str], where_false: set[str]) -> None:
    node = parse(condition)

    assert {written(each) for each in not_null(node)} == where_true
    assert {written(each) for each in not_null(node, holds=False)} == where_false


SOURCE = {"type": "record", "name": "Source", "fields": [{"name": "weight", "type": "double"}]}
FIELDS = [
    {"name": "o", "type": ["null", "long"]},
    {"name": "b", "type": ["null", "boolean"]},
    {"name": "source", "type": ["null", SOURCE]},
    {"name": "sources", "type": {"type": "array", "items": ["null", "Source"]}},
    {"name": "m", "type": ["null", {"type": "map", "values": "long"}]},
]
TYPES = {"p": value_type(json.dumps({"type": "record", "name": "P", "fields": FIELDS}))}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("p.o == null ? 1 : p.o", "int"),
        ("p.o != null ? p.o : 1", "int"),
        ("p.b == null ? false : p.b", "bool"),
        ("p.o != null && p.b != null ? p.o : 1", "int"),
        ("p.o == null || p.o < 3 ? 3 : p.o", "int"),
        ('p.source == null ? {"weight": 1.0} : p.source', "Source"),
        ("p.source != null ? p.source.weight : 0.0", "double"),
        ("p.sources.map(s, s == null ? 0.0 : s.weight)", "list of double"),
        ('p.m == null ? {"a": 1} : p.m', "map of int"),
        ("p.o != null ? 1 : p.o", "int or null"),
        ("p.o != null || p.b == true ? p.o : 1", "int or null"),
        ("p.o == null ? [0] : p.sources.map(p, 1)", "list of int"),
    ],
)
def test_value_behind_its_guard_is_not_null(text: str, found: str) -> None:
    """`check` asked for a guard (`x == null ? … : …`), and refused it as a value that may be null."""
    assert described(expression_type(parse(text), TYPES)) == found


def test_guard_of_a_field_says_nothing_of_a_macros_variable_of_the_same_name() -> None:
    with pytest.raises(TypeProblem, match="expected a field of Source"):
        expression_type(parse("p.o == null ? [0] : p.sources.map(p, p.o)"), TYPES)
