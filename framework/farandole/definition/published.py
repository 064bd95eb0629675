"""A definition as it is read back from the log: proven usable before anybody relies on it.

Whoever may write to `definitions` could publish anything under any key. Coordinators and agents
take definitions for granted afterwards, in the midst of other runs' work, so that what could
fail later must fail here: a row that is left out costs its own runs, never a partition.
"""

import json

from farandole.definition.expressions import compile_expression
from farandole.definition.graph import RESERVED, Graph, graph_of
from farandole.definition.model import Definition, parse_definition
from farandole.errors import DefinitionError, RecordError
from farandole.events.avro import Schema
from farandole.ids import is_name


def read_published(digest: str, value: str | bytes) -> Definition:
    """The definition that stands under that hash.

    Raises:
        DefinitionError: it is malformed, of another version, not what its hash says, or cannot be run.
    """
    found = parse_definition(value)
    try:
        if found.hash != digest:
            raise DefinitionError(f"expected the definition {digest}, but its content gives {found.hash}")
        if not is_name(str(found.name)):  # what was parsed may be of any type
            raise DefinitionError(f"expected the name of a pipeline, but found {found.name!r:.80}")
        if not found.steps:
            raise DefinitionError("expected at least one step, but found none")
        _check_params(found)
        graph = graph_of(found)
        _check_order(graph)
        _check_whole(found)
        _check_output(found)
        for schema in _schemas(graph):
            Schema.parse(schema)
    except DefinitionError:
        raise
    except (RecordError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as bad:
        raise DefinitionError(f"expected a definition that can be run, but {type(bad).__name__}: {bad}") from bad
    return found


def _schemas(graph: Graph) -> list[str]:
    it = graph.definition
    steps = [text for step in it.steps.values() for text in (step.input_schema, step.output_schema)]
    return [graph.carried_schema, *([it.output_schema] if it.output_schema else []), *steps]


def _check_params(it: Definition) -> None:
    """Params are a record, from which an agent's projection takes fields."""
    schema = json.loads(it.params_schema)
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise DefinitionError(f"params: expected the schema of a record, but found {it.params_schema:.80}")
    Schema.parse(it.params_schema)


def _check_output(it: Definition) -> None:
    """It is not read before a run ends."""
    text: object = it.output
    if text is None:
        return
    if not isinstance(text, str):
        raise DefinitionError(f"output: expected an expression, but found {text!r:.80}")
    for root in sorted(compile_expression(text).roots - it.steps.keys() - RESERVED):
        raise DefinitionError(f"output: expected a step, params or run, but found {root!r:.80}")


def _check_whole(it: Definition) -> None:
    """Whoever fires such a step passes on its only input."""
    for step in it.steps.values():
        if step.whole and len(step.inputs) != 1:
            raise DefinitionError(
                f"{step.name}: expected one input that is its whole value, but found {len(step.inputs)}"
            )


def _check_order(graph: Graph) -> None:
    """A circle would be waited for, or gone round, for ever."""
    open_parents = {name: len(parents) for name, parents in graph.parents.items()}
    ready = [name for name, count in open_parents.items() if count == 0]
    while ready:
        name = ready.pop()
        del open_parents[name]
        for child in graph.children[name]:
            open_parents[child] -= 1
            if open_parents[child] == 0:
                ready.append(child)
    if open_parents:
        raise DefinitionError(f"expected steps without a circle, but found one among {', '.join(sorted(open_parents))}")
