"""The history checker as a whole: valid histories are valid, and every rule is a named predicate."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest

from farandole.events import facts
from farandole.testing.history import Violation, check_history
from farandole.testing.history.builder import DAY, HandMade
from farandole.testing.history.check import OF_LOGS, OF_RUNS
from farandole.testing.sketch import define, framed, framed_params, node

SECOND = timedelta(seconds=1)


def chain() -> HandMade:
    """Three steps, fired by agents."""
    made = HandMade(define(node("a"), node("b", "a"), node("c", "b")))
    made.started("a")
    made.succeeded("a", fired=["b"])
    made.succeeded("b", fired=["c"])
    made.succeeded("c")
    made.settled()
    return made


def diamond() -> HandMade:
    """A join that the coordinator fires, and a step that is skipped for its condition."""
    made = HandMade(define(node("a"), node("b", "a"), node("c", "a", when="a.n > 3"), node("d", "b", "c?")))
    made.started("a")
    made.succeeded("a", fired=["b"], output=framed(1))
    made.follows(facts.StepSkipped(made.run, "c", "condition"))
    made.succeeded("b")
    made.scheduled("d")
    made.succeeded("d")
    made.settled()
    return made


def maps() -> HandMade:
    """A map over params, an item-wise map over it, a retry, a dead letter that is replayed, and a join."""
    made = HandMade(define(node("m", over="params.items"), node("w", over="m"), node("j", "w")))
    start = made.started(params=framed_params(items=[1, 2]))
    made.follows(facts.StepExpanded(made.run, "m", 2), start)
    made.scheduled("m", 1, 0, cause=start)
    made.scheduled("m", 1, 1, cause=start)
    made.follows(facts.StepExpanded(made.run, "w", 2), start)
    made.succeeded("m", 1, 0)
    made.scheduled("w", 1, 0)
    made.failed("m", 1, 1)
    made.retry("m", 2, SECOND, 1)
    made.failed("m", 2, 1, kind="contract", retryable=False)
    made.given_up("m", 2, "contract", 1, by="agent")
    made.held("m", item=1)
    letter = made.entries[made.topics.dead("m")][0]
    made.succeeded("w", 1, 0)
    made.replay_asked("m", 2, letter, 1)
    made.scheduled("m", 3, 1, replay=True)
    made.follows(facts.RunReleased(made.run, "replayed"))
    made.succeeded("m", 3, 1)
    made.scheduled("w", 1, 1)
    made.follows(facts.StepCompleted(made.run, "m", 2))
    made.succeeded("w", 1, 1)
    made.follows(facts.StepCompleted(made.run, "w", 2))
    made.scheduled("j")
    made.succeeded("j")
    made.settled()
    return made


def cancelled() -> HandMade:
    """A run that is cancelled while one step runs and another waits in its inbox."""
    made = HandMade(define(node("a"), node("b"), node("c", "a")))
    made.started("a", "b")
    made.cancel_asked("enough")
    made.stopping()
    made.succeeded("a")
    made.cancelled("b")
    made.settled("cancelled")
    return made


def overtaken() -> HandMade:
    """A step deadline that skips a step, whose success comes late; a fact that slipped in before a consequence."""
    late = node("a", deadline=SECOND, on_dead_letter="skip")
    made = HandMade(define(late, node("b"), node("c", "b", after=["a"])))
    start = made.started()
    made.scheduled("a", cause=start, deadline=SECOND)
    made.scheduled("b", cause=start)
    made.wait(2 * SECOND)
    marker = made.marked(facts.DeadlinePassed(made.run, "step", "a", 1))
    b = made.succeeded("b")
    made.last = marker
    made.follows(facts.StepDeadLettered(made.run, "a", 1, "step_deadline", "coordinator"), folded=b.offset)
    made.dead_letter(made.entries[made.topics.events][-1], "step_deadline")
    made.follows(facts.StepSkipped(made.run, "a", "dead_letter"), folded=b.offset)
    made.last = b
    made.scheduled("c")
    made.succeeded("a")
    made.succeeded("c")
    made.settled("partial")
    return made


def mended() -> HandMade:
    """A run that an error of ours holds: what it missed is folded when it is released."""
    made = HandMade(define(node("a"), node("b"), node("c", "a", "b")))
    made.started("a", "b")
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    b = made.succeeded("b")
    released = made.release_asked()
    made.follows(facts.RunReleased(made.run, "kernel_error"), released)
    made.scheduled("c", cause=b)
    made.succeeded("c")
    made.settled()
    return made


def impatient() -> HandMade:
    """A run whose deadline passes and whose last attempt never reports."""
    made = HandMade(define(node("a"), deadline=SECOND))
    made.started("a", deadline=SECOND)
    made.wait(SECOND)
    made.marked(facts.DeadlinePassed(made.run, "run"))
    made.stopping("timed_out")
    made.wait(timedelta(minutes=10))
    made.marked(facts.DeadlinePassed(made.run, "stop"))
    made.settled("timed_out")
    return made


def several() -> HandMade:
    """Two runs, a refused one, one that kcat asked for, and an inbox record of a stranger."""
    made = chain()
    made.quarantined("a", made.stranger("a"))
    made.run = "r-2"
    made.refused()
    made.run = "r-3"
    made.asked_by_hand('{"run_id": "r-3", "pipeline": "sketch"}')
    start = facts.RunStarted("r-3", "sketch", made.definition.hash, b"", "hash", made.now)
    made.scheduled("a", cause=made.follows(start))
    made.succeeded("a", fired=["b"])
    made.succeeded("b", fired=["c"])
    made.failed("c", kind="exception", retryable=False)
    made.given_up("c", 1, "exception", by="agent")
    made.held("c")
    made.wait(DAY)
    made.marked(facts.DeadlinePassed("r-3", "hold", "c", 1))
    made.stopping("failed")
    made.settled("failed")
    return made


def joined() -> HandMade:
    """`any` goes with the first success; the loser's result is still a result."""
    made = HandMade(define(node("a"), node("b"), node("c", "a?", "b?", join="any")))
    made.started("a", "b")
    made.succeeded("b")
    made.scheduled("c")
    made.succeeded("c")
    made.succeeded("a")
    made.settled()
    return made


VALID = [chain, diamond, maps, cancelled, overtaken, mended, impatient, several, joined]


@pytest.mark.parametrize("make", VALID)
def test_a_valid_history_has_no_violation(make: Callable[[], HandMade]) -> None:
    history = make().history(quiescent=make is not impatient)  # its attempt never reports

    found = check_history(history)

    assert found == []


def test_every_predicate_names_its_invariant_and_is_listed_once() -> None:
    predicates = [*OF_RUNS, *OF_LOGS]

    unnamed = [each.__name__ for each in predicates if not (each.__doc__ or "").startswith("I")]

    assert unnamed == []
    assert len(set(predicates)) == len(predicates)


def test_a_history_of_nothing_is_valid() -> None:
    made = HandMade(define(node("a")))

    assert check_history(made.history()) == []


def test_runs_whose_start_has_expired_are_not_judged() -> None:
    made = chain()
    whole = made.history(quiescent=False)
    start, *rest = whole.events
    at = start.topic, start.partition
    spans = {**whole.spans, at: dataclasses.replace(whole.spans[at], begin=1)}

    found = check_history(dataclasses.replace(whole, events=tuple(rest), spans=spans))

    assert found == []


def test_foreign_runs_are_not_judged() -> None:
    made = HandMade(define(node("a")))
    made.run = "forged"
    made.succeeded("a")
    history = made.history()

    assert check_history(history) != []
    assert check_history(dataclasses.replace(history, foreign=frozenset({"forged"}))) == []


def test_a_violation_reads_as_invariant_run_message_and_places() -> None:
    violation = Violation("I4", "r-1", "attempt 1 of a was triggered 2 times", ("t/0/1", "t/0/2"))

    assert str(violation) == "I4 run r-1: attempt 1 of a was triggered 2 times [t/0/1, t/0/2]"


def test_what_a_rebuild_finds_is_reported() -> None:
    made = chain()
    told = Violation("I9", made.run, "events rebuild another run than runs holds")

    found = check_history(dataclasses.replace(made.history(), rebuild=lambda history: [told]))

    assert found == [told]


def test_the_checker_does_not_know_the_code_that_it_checks() -> None:
    asked = "import sys, farandole.testing.history as h; print([m for m in sys.modules if m.startswith('farandole.')])"

    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True).stdout

    assert "farandole.testing.history.check" in told
    for package in ("kernel", "coordinator", "runtime"):
        assert f"farandole.{package}" not in told
