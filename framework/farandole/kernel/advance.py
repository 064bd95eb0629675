"""Which steps may go now: the edges that the coordinator fires.

An edge is never fired to a step that is scheduled or beyond (R10). A step is looked at when
one of its parents ends; the cost is that of the step's own edges, whatever the run's size.
"""

from datetime import datetime
from enum import Enum

from farandole.definition.graph import Parent
from farandole.definition.inputs import holds
from farandole.definition.model import Step
from farandole.definition.policy import JoinKind
from farandole.events.facts import StepCompleted, StepExpanded, StepScheduled, StepSkipped
from farandole.ids import NO_ITEM
from farandole.kernel.decision import Decision
from farandole.kernel.state import TERMINAL, Phase, Run, Status
from farandole.kernel.values import input_roots, roots_of


class Ready(Enum):
    """Whether a step may go."""

    WAIT = "wait"
    GO = "go"
    SKIP_INPUT = "input"
    SKIP_JOIN = "join"


def advance(it: Decision) -> None:
    """Look at the successors of everything that ended, until nothing more follows."""
    while it.todo and it.run.head.phase is Phase.RUNNING:
        step, item = it.todo.popleft()
        if item != NO_ITEM:
            _item_ended(it, step, item)
            continue
        for child in it.run.graph.children[step]:
            consider(it, child)


def consider(it: Decision, name: str) -> None:
    """Fire, expand or skip a pending step if its parents allow it."""
    if it.run.step(name).status is not Status.PENDING:
        return
    ready = readiness(it.run, name)
    if ready is Ready.GO:
        _go(it, it.run.graph.step(name))
    elif ready is not Ready.WAIT:
        _skip(it, name, NO_ITEM, ready.value)


def readiness(run: Run, name: str) -> Ready:
    """What the states of a step's parents mean for it.

    `any` and `n_of` count successes of data parents only; `.after()` waits for an end, of whatever kind.
    """
    step, parents = run.graph.step(name), run.graph.parents[name]
    ended = {p.name: _ended_for(run, step, p) for p in parents}
    if any(p.ordering and not ended[p.name] for p in parents):
        return Ready.WAIT
    data = [p for p in parents if not p.ordering]
    won = sum(_won_for(run, step, p) for p in data)
    over = all(ended[p.name] for p in data)
    match step.join.kind:
        case JoinKind.ALL_SUCCEEDED:
            if any(p.required and ended[p.name] and not _won_for(run, step, p) for p in data):
                return Ready.SKIP_INPUT
            return Ready.GO if over else Ready.WAIT
        case JoinKind.ALL_DONE:
            return Ready.GO if over else Ready.WAIT
        case JoinKind.ANY | JoinKind.N_OF:
            needed = 1 if step.join.kind is JoinKind.ANY else step.join.needed
            if won >= needed:
                return Ready.GO
            return Ready.SKIP_JOIN if over else Ready.WAIT


def _ended_for(run: Run, step: Step, parent: Parent) -> bool:
    """Whether the step need not wait for this parent."""
    return run.step(parent.name).status in TERMINAL or _flows(run, step, parent)


def _won_for(run: Run, step: Step, parent: Parent) -> bool:
    return run.step(parent.name).status is Status.SUCCEEDED or _flows(run, step, parent)


def _flows(run: Run, step: Step, parent: Parent) -> bool:
    """Whether the step goes on item by item while this parent is expanded, because it reads its whole list nowhere."""
    if run.step(parent.name).status is not Status.EXPANDED or run.graph.items_of(step) != parent.name:
        return False
    return parent.name not in roots_of(step.when) | input_roots(step)


def _go(it: Decision, step: Step) -> None:
    if _lacks_input(it.run, step):
        return _skip(it, step.name, NO_ITEM, "input")
    per_item = step.is_mapped and step.item_name in roots_of(step.when)
    if not per_item and not holds(step, it.values.env(it.run, roots_of(step.when))):
        return _skip(it, step.name, NO_ITEM, "condition")
    if not step.is_mapped:
        return schedule(it, step, NO_ITEM, 1)
    return _expand(it, step)


def _lacks_input(run: Run, step: Step) -> bool:
    """Whether a required input comes from a step without a result (only joins other than the default get here so)."""
    return any(p.required and not _won_for(run, step, p) for p in run.graph.parents[step.name])


def _expand(it: Decision, step: Step) -> None:
    above = it.run.graph.items_of(step)
    count = it.run.step(above).items if above else len(it.values.items(it.run, step))
    it.emit(StepExpanded(it.run.id, step.name, count))
    it.ended(step.name, NO_ITEM)  # not yet, but maps over it begin now: there is no barrier between them
    for item in range(count):
        _item_may_go(it, step, above, item)
    if not count:
        _complete(it, step.name)


def _item_may_go(it: Decision, step: Step, above: str | None, item: int) -> None:
    """Fire or skip one item of an expanded step, unless the item it is mapped over is still under way."""
    if above is not None:
        status = it.run.unit(it.run.number(above, item)).status
        if status not in TERMINAL:
            return
        if status is not Status.SUCCEEDED:
            return _skip(it, step.name, item, "input")
    roots = roots_of(step.when)
    if step.item_name in roots and not holds(step, it.values.item_env(it.run, step, item, roots)):
        return _skip(it, step.name, item, "condition")
    schedule(it, step, item, 1)


def _item_ended(it: Decision, name: str, item: int) -> None:
    for child in it.run.graph.children[name]:
        step, unit = it.run.graph.step(child), it.run.step(child)
        follows = it.run.graph.items_of(step) == name and unit.status is Status.EXPANDED
        if follows and it.run.unit(unit.first + item).status is Status.PENDING:
            _item_may_go(it, step, name, item)
    unit = it.run.step(name)
    if unit.status is Status.EXPANDED and unit.done == unit.items:
        _complete(it, name)


def _complete(it: Decision, name: str) -> None:
    it.emit(StepCompleted(it.run.id, name, it.run.step(name).succeeded))
    it.ended(name, NO_ITEM)


def _skip(it: Decision, name: str, item: int, reason: str) -> None:
    it.emit(StepSkipped(it.run.id, name, reason, item))
    it.ended(name, item)


def schedule(it: Decision, step: Step, item: int, attempt: int, *, fresh_budget: bool = False) -> None:
    """Trigger an attempt; the step's deadline runs from the first one, and anew from a replay."""
    first = attempt == 1 or fresh_budget
    deadline: datetime | None = it.now + step.deadline if step.deadline and first else None
    it.emit(StepScheduled(it.run.id, step.name, attempt, item, deadline, fresh_budget))
