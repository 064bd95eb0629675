"""Playing a staged run to its end in a random order: any order that Kafka would allow.

Agents answer in any order, what they write is folded late or at once, timers come before or
after what else is due, people cancel, discard, release and replay. Every choice is drawn from the
`random.Random` that is handed in.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from farandole.events import facts
from farandole.kernel.state import HOLDING, Phase, Status
from farandole.testing.answers import failure, refusal
from farandole.testing.generate import Script
from farandole.testing.stage import Stage

TURNS_MAX = 2_000
"""Turns after which a run counts as stuck; the longest of 10,000 took 150."""


class Stuck(AssertionError):
    """The run has not ended, and nothing is left that could happen."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What else may happen: `hasty` lets time pass though work waits, `people` cancel, discard, suspect and release."""

    hasty: bool = False
    people: bool = False


CALM = Manners()


def play(
    stage: Stage,
    script: Script,
    rng: random.Random,
    manners: Manners = CALM,
    after_each: Callable[[Stage], None] = lambda stage: None,
) -> None:
    """Turn by turn until the run has ended; `after_each` looks at the stage after every turn.

    Raises:
        Stuck: it does not end.
    """
    for _ in range(TURNS_MAX):
        if stage.run.is_settled and stage.at == len(stage.log):
            return
        _turn(stage, script, rng, manners)
        after_each(stage)
    raise Stuck(f"after {TURNS_MAX} turns: {stage.run.head}")


def _turn(stage: Stage, script: Script, rng: random.Random, manners: Manners) -> None:
    unread = stage.at < len(stage.log)
    dead = [(step, item) for step, item, unit in _units(stage) if unit in HOLDING]
    due = stage.next_due()
    turns: list[Callable[[], None]] = [lambda: stage.fold(1)] * 3 * unread
    turns += [lambda: _work(stage, script, rng)] * 3 * bool(stage.tasks)
    if dead and stage.run.head.phase is Phase.RUNNING and not unread:
        turns.append(lambda: _replay(stage, rng, rng.choice(dead)))
    if manners.people and rng.random() < 0.05:
        turns.append(lambda: _interfere(stage, rng, dead))
    if due is not None and (manners.hasty or not turns):
        turns.append(lambda: stage.pass_time(max(due - stage.now, timedelta())))
    if not turns:
        raise Stuck(f"nothing is left to happen: {stage.run.head}, {list(stage.run.units())}")
    rng.choice(turns)()


def _units(stage: Stage) -> list[tuple[str, int, Status]]:
    return [] if stage.run.is_settled else [(step, item, unit.status) for step, item, unit in stage.run.units()]


def _work(stage: Stage, script: Script, rng: random.Random) -> None:
    """Some agent answers some trigger; one of a run that is known to be stopping is refused, or run all the same."""
    task = stage.tasks.pop(rng.randrange(len(stage.tasks)))
    if stage.kept.control and rng.random() < 0.5:
        return stage.write(refusal(task))
    result = script.result(task.step, task.item, task.attempt)
    if result.output is None:
        return stage.write(failure(task, retryable=result.retryable))
    edges = stage.graph.fired_by_agent[task.step]
    leave_out = edges if stage.kept.control else [name for name in edges if rng.random() < 0.2]
    stage.report(task, result.output, leave_out)


def _replay(stage: Stage, rng: random.Random, dead: tuple[str, int]) -> None:
    """Replay what holds the run; who doubts a trigger may also find that the suspicion was wrong."""
    step, item = dead
    unit = stage.unit(step, item)
    if unit.status is Status.SUSPECTED:
        stage.write(facts.ReleaseRequested(stage.run.id))
    if unit.status is Status.DEAD or rng.random() < 0.5:
        stage.write(facts.ReplayRequested(stage.run.id, step, unit.attempt, "dead/0/0", None, item))


def _interfere(stage: Stage, rng: random.Random, dead: list[tuple[str, int]]) -> None:
    """Somebody cancels or discards, or the watchdog grows suspicious of an attempt."""
    if dead and rng.random() < 0.5:
        step, item = rng.choice(dead)
        attempt = stage.unit(step, item).attempt
        return stage.write(facts.DiscardRequested(stage.run.id, step, attempt, "dead/0/0", "enough", item))
    scheduled = [(step, item) for step, item, unit in _units(stage) if unit is Status.SCHEDULED]
    if not scheduled or rng.random() < 0.2:
        return stage.write(facts.CancelRequested(stage.run.id, "enough"))
    step, item = rng.choice(scheduled)
    stage.write(facts.TriggerSuspected(stage.run.id, step, stage.unit(step, item).attempt, item))
