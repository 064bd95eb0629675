"""A definition as it is read back from the log: proven usable before anybody relies on it.

Whoever may write to `definitions` could publish anything under any key. Coordinators and agents
take definitions for granted afterwards, in the midst of other runs' work, so that what could
fail later must fail here: a row that is left out costs its own runs, never a partition.
"""

from farandole.definition.graph import Graph, graph_of
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
        graph = graph_of(found)
        _check_order(graph)
        _check_whole(found)
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
    return [it.params_schema, graph.carried_schema, *([it.output_schema] if it.output_schema else []), *steps]


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
