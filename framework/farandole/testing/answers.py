"""What agents put on the log, as values: the smallest agent there can be.

A `Task` is a trigger as an agent reads it. Answering one gives the fact, and the triggers of
the successors that the definition lets an agent fire (DESIGN section 5). No handler runs, and
nothing is written: whoever drives the test says what the attempt came to.
"""

import base64
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from farandole.definition.graph import Graph
from farandole.definition.inputs import holds, inbox_value
from farandole.errors import RecordError
from farandole.events.avro import Schema
from farandole.events.envelope import parse_envelope
from farandole.events.facts import StepCancelled, StepFailed, StepSucceeded
from farandole.events.outgoing import Trigger
from farandole.ids import NO_ITEM


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt that waits in an inbox; `params` are the projected ones, unframed."""

    run: str
    step: str
    item: int
    attempt: int
    input: bytes
    params: bytes = b""

    @property
    def is_of(self) -> tuple[str, int]:
        """The step and the item."""
        return self.step, self.item


def task_of(headers: Sequence[tuple[str, bytes]], value: bytes | None) -> Task:
    """The task in an inbox record.

    Raises:
        RecordError: its headers are not ours.
    """
    it = parse_envelope(headers)
    return Task(it.run, it.step, it.item, it.attempt, value or b"", base64.b64decode(it.params))


def trigger_of(task: Task, graph: Graph) -> Trigger:
    """The task as it is put into an inbox."""
    agent = graph.step(task.step).agent
    return Trigger(task.run, task.step, agent, task.attempt, task.input, task.item, task.params)


def success(
    graph: Graph, task: Task, output: bytes, leave_out: Collection[str] = ()
) -> tuple[StepSucceeded, list[Task]]:
    """The fact of a result, and the tasks that the agent fires with it; it leaves out what it is told to."""
    fired = [child for child in _children(graph, task, output) if child.step not in leave_out]
    names = tuple(child.step for child in fired)
    return StepSucceeded(task.run, task.step, task.attempt, output, names, task.item), fired


def failure(
    task: Task, *, retryable: bool = True, error: str = "boom", retry_after_ms: int | None = None
) -> StepFailed:
    """The fact of a failure; the agent writes the dead letter itself where no other attempt can help."""
    return StepFailed(
        run=task.run,
        step=task.step,
        attempt=task.attempt,
        kind="exception",
        error=error,
        fingerprint="f00d",
        retryable=retryable,
        input=task.input,
        dead_lettered=not retryable,
        retry_after_ms=retry_after_ms,
        item=task.item,
    )


def refusal(task: Task, reason: str = "the run is stopping") -> StepCancelled:
    """The answer to a trigger whose run is stopping."""
    return StepCancelled(task.run, task.step, task.attempt, reason, task.item)


def _children(graph: Graph, task: Task, output: bytes) -> list[Task]:
    names = graph.fired_by_agent[task.step]
    if not names:
        return []
    env: dict[str, object] = {task.step: Schema.parse(graph.step(task.step).output_schema).decode(output)}
    if task.params:
        env["params"] = Schema.parse(graph.carried_schema).decode_body(task.params)
    return [child for name in names if (child := _child(graph, task, name, env)) is not None]


def _child(graph: Graph, task: Task, name: str, env: dict[str, object]) -> Task | None:
    """The trigger of one successor; None if its condition says no, or if it cannot be evaluated."""
    step = graph.step(name)
    try:
        if not holds(step, env):
            return None
        given = Schema.parse(step.input_schema).encode(inbox_value(step, env))
    except RecordError:
        return None
    return Task(task.run, name, NO_ITEM, 1, given, task.params)
