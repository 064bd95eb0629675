"""A definition in plain text: its steps, what they wait for, who fires each edge, how they are retried."""

from collections.abc import Iterator

from farandole.definition.graph import Graph, graph_of
from farandole.definition.model import HOLD_MAX, STOP_MAX, Definition, Step
from farandole.definition.policy import JoinKind, OnDeadLetter, Retry, duration_text
from farandole.definition.value_types import Record, described, value_type

_HEADER = ("step", "waits for", "fired by", "tries", "timeout", "")


def describe(definition: Definition) -> str:
    """The whole definition, a line for each step in topological order."""
    return "\n".join([*_head(definition), "", *_table(definition)])


def _head(it: Definition) -> Iterator[str]:
    facts = [it.name, it.hash[:12], f"owner {it.owner or '(none)'}"]
    facts += [f"deadline {duration_text(it.deadline)}"] if it.deadline else []
    facts += [f"hold_max {duration_text(it.hold_max)}"] if it.hold_max != HOLD_MAX else []
    facts += [f"stop_max {duration_text(it.stop_max)}"] if it.stop_max != STOP_MAX else []
    facts += [f"tags {', '.join(it.tags)}"] if it.tags else []
    yield "  ".join(facts)
    if it.description:
        yield f"  {it.description.splitlines()[0]}"
    params = value_type(it.params_schema)
    assert isinstance(params, Record)
    yield f"  takes  {', '.join(f'{each.name}: {described(each.type)}' for each in params.members) or 'nothing'}"
    gives = f"{it.output}: {described(value_type(it.output_schema))}" if it.output and it.output_schema else "nothing"
    yield f"  gives  {gives}"


def _table(it: Definition) -> Iterator[str]:
    graph = graph_of(it)
    rows = [_HEADER, *(_row(graph, step) for step in it.steps.values())]
    widths = [max(len(row[n]) for row in rows) for n in range(len(_HEADER))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(graph: Graph, step: Step) -> tuple[str, ...]:
    return (
        step.name,
        _parents(graph, step),
        _fired_by(graph, step),
        _tries(step.retry),
        duration_text(step.timeout) if step.timeout else "-",
        "; ".join(_notes(step)),
    )


def _parents(graph: Graph, step: Step) -> str:
    names = []
    for parent in graph.parents[step.name]:
        mark = "after " if parent.ordering else "" if parent.required else "maybe "
        names.append(f"{mark}{parent.name}")
    return ", ".join(names) or "-"


def _fired_by(graph: Graph, step: Step) -> str:
    """An edge has one who fires it: the parent's agent where it may, else the coordinator."""
    by_agent = [p.name for p in graph.parents[step.name] if step.name in graph.fired_by_agent[p.name]]
    return f"agent of {by_agent[0]}" if by_agent else "coordinator"


def _tries(retry: Retry) -> str:
    if retry.attempts == 1:
        return "1"
    return f"{retry.attempts}, {duration_text(retry.base)} to {duration_text(retry.cap)}"


def _notes(step: Step) -> Iterator[str]:
    if step.agent != step.name:
        yield f"agent {step.agent}"
    if step.when is not None:
        yield f"when {step.when}"
    if step.map_over is not None:
        yield f"for each item of {step.map_over}"
    if step.join.kind is not JoinKind.ALL_SUCCEEDED:
        yield f"join {step.join.kind}" + (f"({step.join.needed})" if step.join.needed else "")
    if step.deadline is not None:
        yield f"deadline {duration_text(step.deadline)}"
    if step.retry.total is not None:
        yield f"retried for {duration_text(step.retry.total)} at most"
    if step.on_dead_letter is not OnDeadLetter.HOLD:
        yield f"on dead letter {step.on_dead_letter}"
