"""What `check` says of a unit: its agents, and its pipelines step by step."""

from collections.abc import Iterator

from farandole.cli.units import Named
from farandole.definition.graph import Graph, graph_of
from farandole.definition.model import Definition, Step
from farandole.definition.policy import JoinKind, OnDeadLetter, duration_text
from farandole.definition.spec import AgentSpec


def describe_unit(named: Named) -> str:
    """The unit for a person."""
    return "\n".join(_lines(named))


def _lines(named: Named) -> Iterator[str]:
    agents, definitions = named.unit.agents, named.definitions
    yield f"unit {named.name}: {len(agents)} agents, {len(definitions)} pipelines"
    for name in sorted(agents):
        yield f"  agent {name}  {agent_line(agents[name])}"
    for definition in definitions:
        yield ""
        yield from describe_pipeline(definition)


def agent_line(spec: AgentSpec) -> str:
    """What is particular about an agent."""
    facts = [spec.isolation, f"{spec.retry.attempts} attempts"]
    if spec.timeout is not None:
        facts.append(f"timeout {duration_text(spec.timeout)}")
    if spec.publishes:
        facts.append(f"publishes {', '.join(spec.publishes)}")
    return "  ".join(facts)


def describe_pipeline(it: Definition) -> Iterator[str]:
    """A pipeline, one line for each step."""
    graph = graph_of(it)
    deadline = f"  deadline {duration_text(it.deadline)}" if it.deadline else ""
    yield f"pipeline {it.name}  {it.hash[:12]}  owner {it.owner or 'none'}{deadline}"
    if not it.owner:
        yield '  without an owner `apply` and `dev` refuse it: add @pipeline(owner="you@example.org")'
    for step in it.steps.values():
        yield f"  {step.name}  {step_line(graph, step)}"
    if it.output:
        yield f"  gives {it.output}"


def step_line(graph: Graph, step: Step) -> str:
    """How a step comes to run, and what is particular about it."""
    parents = graph.parents[step.name]
    facts = [f"agent {step.agent}" if step.agent != step.name else ""]
    facts.append(f"after {', '.join(parent.name for parent in parents)}" if parents else "first")
    if len(parents) == 1:
        fires = step.name in graph.fired_by_agent[parents[0].name]
        facts.append("fired by its agent" if fires else "fired by the coordinator")
    if step.map_over is not None:
        facts.append(f"for each {step.item_name} of {step.map_over}")
    if step.when is not None:
        facts.append(f"when {step.when}")
    if step.join.kind is not JoinKind.ALL_SUCCEEDED:
        facts.append(f"join {step.join.kind}{f'({step.join.needed})' if step.join.needed else ''}")
    if step.on_dead_letter is not OnDeadLetter.HOLD:
        facts.append(f"on dead letter {step.on_dead_letter}")
    return "  ".join(filter(None, facts))


def unit_fields(named: Named) -> dict[str, object]:
    """The unit for programs."""
    return {
        "unit": named.name,
        "agents": {
            name: {"isolation": spec.isolation, "publishes": list(spec.publishes), "place": spec.place}
            for name, spec in sorted(named.unit.agents.items())
        },
        "pipelines": {
            each.name: {"hash": each.hash, "owner": each.owner, "steps": list(each.steps), "output": each.output}
            for each in named.definitions
        },
    }
