"""What is read back from `definitions`: usable, or refused before anybody relies on it."""

import json
import re

import pytest

from farandole.definition.model import parse_definition
from farandole.definition.published import read_published
from farandole.errors import DefinitionError
from farandole.testing.sketch import define, node

GOOD = define(node("a"), node("b", "a"), node("c", "b"), output="c")


def changed(step: int, **fields: object) -> tuple[str, bytes]:
    """The definition with fields of a step exchanged, and its hash."""
    tree = json.loads(GOOD.to_json())
    tree["steps"][step] |= fields
    text = json.dumps(tree).encode()
    return parse_definition(text).hash, text


def test_a_definition_is_read_under_its_own_hash() -> None:
    assert read_published(GOOD.hash, GOOD.to_json()).hash == GOOD.hash


def test_a_definition_under_another_hash_is_refused() -> None:
    """A coordinator took it: whoever wrote it could have changed what running runs are pinned to."""
    with pytest.raises(DefinitionError, match="its content gives"):
        read_published("0" * 64, GOOD.to_json())


@pytest.mark.parametrize(
    ("step", "fields", "why"),
    [
        (1, {"after": ["nope"]}, "nope"),
        (1, {"when": "1s"}, "1s"),
        (1, {"map": "nope.items"}, "nope"),
        (0, {"after": ["c"]}, "one among a, b, c"),
        (1, {"inputs": {}}, "b: expected one input that is its whole value, but found 0"),
        (1, {"inputs": {"p": {"expression": "a"}, "q": {"expression": "a"}}}, "but found 2"),
        (1, {"input_schema": {"type": "array", "items": "null"}}, "at least one byte"),
        (1, {"output_schema": "x"}, "primitive"),
    ],
)
def test_a_definition_that_cannot_be_run_is_refused_before_anybody_names_it(
    step: int, fields: dict[str, object], why: str
) -> None:
    digest, text = changed(step, **fields)

    with pytest.raises(DefinitionError, match=re.escape(why)):
        read_published(digest, text)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"params": {"type": "record", "name": "p", "fields": {}}}, "expected a list of fields in p, but found dict"),
        ({"params": {"type": "array", "items": "long", "fields": {}}}, "params: expected the schema of a record"),
        ({"params": "long"}, 'params: expected the schema of a record, but found "long"'),
        ({"steps": []}, "expected at least one step"),
        ({"output": "a +"}, "expression 'a +', character 4"),
        ({"output": 5}, "output: expected an expression, but found 5"),
        ({"output": "nope.n"}, "output: expected a step, params or run, but found 'nope'"),
    ],
)
def test_a_definition_of_a_stranger_is_refused_for_what_no_step_shows(fields: dict[str, object], why: str) -> None:
    """`fields` as an object ended every coordinator, and every client, that read the row: an AssertionError. An
    output that is no expression was met by whoever asked for the end of the pipeline, when runs were under way."""
    text = json.dumps({**json.loads(GOOD.to_json()), **fields})

    with pytest.raises(DefinitionError, match=re.escape(why)):
        read_published(parse_definition(text).hash, text)


def test_a_definition_with_a_step_twice_is_refused() -> None:
    """The last one stood for both, under the hash of a definition with it alone."""
    tree = json.loads(GOOD.to_json())
    tree["steps"].append({**tree["steps"][2], "timeout": "5s"})

    with pytest.raises(DefinitionError, match="expected each step once, but found 'c' again"):
        parse_definition(json.dumps(tree))


@pytest.mark.parametrize(
    "fields", [{"deadline": "999999999d"}, {"timeout": "999999999d"}, {"retry": {"total": "10001d"}}]
)
def test_a_definition_of_a_stranger_with_an_endless_duration_is_refused(fields: dict[str, object]) -> None:
    """Its runs ended whoever took them: the instants that follow from it are behind the last that there is."""
    tree = json.loads(GOOD.to_json())
    tree["steps"][0] |= fields

    with pytest.raises(DefinitionError, match="at most 10,000 days"):
        read_published("0" * 64, json.dumps(tree))


def test_a_definition_nested_beyond_the_interpreter_s_stack_is_malformed() -> None:
    """`json.loads` raised RecursionError for 3,000 brackets, which nobody caught. Found by fuzzing."""
    with pytest.raises(DefinitionError, match="malformed"):
        parse_definition(b"[" * 3000)
