"""The page of a step's and a run's states: found by asking `evolve`, so that it cannot say what the code does not do.

A unit is put into every status, every fact about it is folded, and what came of it is the table.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import picture
from markdown import NOTE, code, table
from picture import Bend, Place

from farandole.definition.agents import agent
from farandole.definition.graph import Graph
from farandole.definition.pipelines import pipeline
from farandole.events import facts
from farandole.kernel.evolve import evolve, start
from farandole.kernel.state import HOLDING, OPEN, TERMINAL, Phase, Run, Status, Unit

AT = datetime(2026, 1, 1, tzinfo=UTC)

MEANINGS = {
    Status.PENDING: "nothing was triggered yet, or its agent-fired trigger has not been heard of",
    Status.SCHEDULED: "an attempt was triggered and has not reported",
    Status.RETRY: "its attempt failed and the next waits for its instant",
    Status.DEAD: "dead-lettered; holds the run until somebody replays it",
    Status.SUSPECTED: "consumed without a result, as far as the watchdog sees; holds the run",
    Status.EXPANDED: "a mapped step whose items are under way",
    Status.SUCCEEDED: "a result was accepted",
    Status.SKIPPED: "it does not run: a condition, a missing input, a join that cannot be met, a tolerated dead letter",
    Status.FAILED: "its attempt failed; what follows is on the log with it, or nothing is because the run stops",
    Status.CANCELLED: "its trigger was answered without running, because the run was stopping",
}


HELD, ENDED, UNDER_WAY = "#f7dcd3", "#d9ecd9", "#dfe4f5"
"""Colours: waits for a person; over; under way."""

STEP_PLACES = {
    "EXPANDED": Place(420, 50, UNDER_WAY),
    "SUCCEEDED": Place(1100, 50, ENDED),
    "PENDING": Place(90, 340, UNDER_WAY),
    "SCHEDULED": Place(420, 340, UNDER_WAY),
    "RETRY": Place(740, 220, UNDER_WAY),
    "FAILED": Place(740, 480, UNDER_WAY),
    "DEAD": Place(960, 340, HELD),
    "SUSPECTED": Place(480, 620, HELD),
    "CANCELLED": Place(90, 620, ENDED),
    "SKIPPED": Place(1100, 640, ENDED),
}

STEP_BENDS = {
    ("PENDING", "SUCCEEDED"): Bend(-110, 0.35),
    ("PENDING", "FAILED"): Bend(60, 0.3),
    ("PENDING", "SKIPPED"): Bend(520, 0.6),
    ("SCHEDULED", "SUCCEEDED"): Bend(-90, 0.4),
    ("SCHEDULED", "DEAD"): Bend(-22, 0.72),
    ("DEAD", "SCHEDULED"): Bend(-22, 0.28),
    ("SCHEDULED", "SUSPECTED"): Bend(-34, 0.5),
    ("SUSPECTED", "SCHEDULED"): Bend(-60, 0.3),
    ("DEAD", "SKIPPED"): Bend(0, 0.3),
    ("SCHEDULED", "CANCELLED"): Bend(0, 0.6),
    ("SCHEDULED", "FAILED"): Bend(0, 0.6),
    ("RETRY", "SCHEDULED"): Bend(0, 0.6),
    ("SUSPECTED", "DEAD"): Bend(120, 0.5),
    ("SUSPECTED", "SUCCEEDED"): Bend(560, 0.5),
    ("FAILED", "RETRY"): Bend(0, 0.25),
}

RUN_PLACES = {
    "RUNNING": Place(90, 90, UNDER_WAY),
    "STOPPING": Place(360, 90, UNDER_WAY),
    "SETTLED": Place(630, 90, ENDED),
}

RUN_BENDS = {("RUNNING", "SETTLED"): Bend(-110)}


def step_picture() -> str:
    """The states of a step."""
    return picture.draw("States of a step, and the facts between them", STEP_PLACES, sorted(set(_steps())), STEP_BENDS)


def run_picture() -> str:
    """The phases of a run."""
    return picture.draw("States of a run, and the facts between them", RUN_PLACES, sorted(set(_runs())), RUN_BENDS)


def page() -> str:
    """Picture and table of a step; then of a run."""
    steps = sorted(set(_steps()))
    parts = [
        NOTE,
        "# States of a step and of a run",
        "Found by folding every fact into every state (`kernel/evolve.py`), so this page cannot say what the code does "
        "not do. A fact that is not listed for a state leaves it as it is: it was answered before, or comes too late.",
        "## A step, or an item of a mapped step",
        "![The facts that lead from one state of a step to another; the table below has each](states-of-a-step.svg)",
        "Blue is under way, red waits for a person, green is over.",
        table(("State", "Kind", "Meaning"), [(code(s.name), _kind(s), MEANINGS[s]) for s in Status]),
        table(("From", "Fact", "To"), [(code(a), code(fact), code(b)) for a, fact, b in steps]),
        "## A run",
        "![A running run settles, or stops first and then settles](states-of-a-run.svg)",
        "A run is *held* while it is running and a step of it is `DEAD` or `SUSPECTED`, or its definition raised an "
        "error. It waits for a person then; `farandole run show` says for what.",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _kind(status: Status) -> str:
    if status in TERMINAL:
        return "ended"
    return "holds the run" if status in HOLDING else "open" if status in OPEN else "under way"


def _run() -> Run:
    @agent
    def charge(order: str) -> str:
        return order

    @pipeline(owner="docs@example.org")
    def orders(order: str) -> str:
        return charge(order)

    definition = orders.definition
    begun = facts.RunStarted("o-1", "orders", definition.hash, b"", "", AT)
    return start(Graph(definition), begun)


def _facts(attempt: int) -> list[facts.Event]:
    """Every fact about one step, of one attempt."""
    about = ("o-1", "charge", attempt)
    return [
        facts.StepSucceeded(*about, b"{}"),
        facts.StepFailed(*about, "exception", "refused", "f", True, b"{}"),
        facts.StepCancelled(*about, "cancelled"),
        facts.StepScheduled(*about),
        facts.RetryScheduled("o-1", "charge", attempt + 1, AT, AT),
        facts.StepDeadLettered(*about, "attempts_exhausted", "agent"),
        facts.StepSkipped("o-1", "charge", "condition"),
        facts.StepExpanded("o-1", "charge", 2),
        facts.StepCompleted("o-1", "charge", 2),
        facts.RunHeld("o-1", "trigger_suspected", "", "charge"),
        facts.RunReleased("o-1", "released"),
    ]


WRITTEN_FOR: dict[type, frozenset[Status]] = {
    # `decide` writes these for a unit in one of these states only; folding them elsewhere says nothing.
    facts.StepScheduled: frozenset({Status.PENDING, Status.RETRY, Status.DEAD, Status.SUSPECTED}),
    facts.RetryScheduled: frozenset({Status.FAILED}),
    facts.StepDeadLettered: frozenset({Status.FAILED, Status.SCHEDULED, Status.RETRY, Status.SUSPECTED}),
    facts.StepSkipped: frozenset({Status.PENDING, Status.DEAD}),
    facts.StepExpanded: frozenset({Status.PENDING}),
    facts.StepCompleted: frozenset({Status.EXPANDED}),
    facts.RunHeld: frozenset({Status.SCHEDULED}),
}


def _steps() -> Iterator[tuple[str, str, str]]:
    base = _run()
    for phase in (Phase.RUNNING, Phase.STOPPING):
        for status in Status:
            run = base.with_head(phase=phase).with_unit(0, Unit(status=status, attempt=1, waiting=(1,)))
            for fact in _facts(1):
                allowed = WRITTEN_FOR.get(type(fact))
                if allowed is not None and (phase is Phase.STOPPING or status not in allowed):
                    continue
                after = evolve(run, fact).unit(0).status
                if after is not status:
                    yield status.name, type(fact).__name__, after.name


def _runs() -> Iterator[tuple[str, str, str]]:
    base = _run()
    happenings: list[facts.Event] = [
        facts.RunStopping("o-1", "cancelled", "asked", AT),
        facts.RunSettled("o-1", "succeeded", AT, AT),
    ]
    for phase in (Phase.RUNNING, Phase.STOPPING):
        for fact in happenings:
            after = evolve(base.with_head(phase=phase), fact).head.phase
            if after is not phase:
                yield phase.name, type(fact).__name__, after.name
