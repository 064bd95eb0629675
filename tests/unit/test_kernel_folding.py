"""R10: facts are folded by state, not by remembered ids."""

import dataclasses
from typing import cast

import pytest

from farandole.errors import InvariantViolation
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.kernel.decide import decide
from farandole.kernel.evolve import evolve
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.state import Run, Status
from farandole.kernel.values import Values
from farandole.testing.answers import failure, success
from farandole.testing.sketch import define, framed, node, value
from farandole.testing.stage import Stage

CHAIN = define(node("a"), node("b", "a"), node("c", "b"), node("d", "c", "a"), output="d")


def succeeded(step: str, attempt: int = 1, *fired: str, n: int = 0, item: int = NO_ITEM) -> facts.StepSucceeded:
    """A success as an agent reports it."""
    return facts.StepSucceeded("r-1", step, attempt, framed(n), fired, item)


def unchanged(stage: Stage, fact: facts.Fact) -> bool:
    """Whether a fact leaves the run as it is and leads to nothing."""
    before, log = stage.run, len(stage.log)
    stage.tell(fact)
    return stage.run == before and len(stage.log) == log + 1


def test_child_fact_before_its_parents_is_folded_as_scheduled_plus_fact() -> None:
    stage = Stage(CHAIN)

    stage.tell(succeeded("b", 1, "c", n=2))
    assert [stage.status(step) for step in "abc"] == [Status.SCHEDULED, Status.SUCCEEDED, Status.SCHEDULED]
    stage.tell(succeeded("a", 1, "b", n=1))

    assert stage.status("b") is Status.SUCCEEDED
    assert stage.unit("b").waiting == ()
    assert stage.events(facts.StepScheduled) == [facts.StepScheduled("r-1", "a", 1)]


def test_run_ends_the_same_when_children_report_before_parents() -> None:
    stage = Stage(CHAIN)
    a, (task_b,) = success(stage.graph, stage.take("a"), framed(1))
    b, (task_c,) = success(stage.graph, task_b, framed(2))
    c, _ = success(stage.graph, task_c, framed(3))

    stage.tell(c, b, a)
    assert stage.given("d") == {"p0": value(3), "p1": value(1)}
    stage.succeed("d", n=4)

    assert (stage.outcome, stage.output()) == ("succeeded", value(4))


def test_child_failure_before_its_parents_success_is_retried_from_its_input() -> None:
    stage = Stage(CHAIN)
    a, (task_b,) = success(stage.graph, stage.take("a"), framed(1))

    stage.tell(failure(task_b))
    assert stage.status("b") is Status.RETRY
    stage.tell(a)
    stage.tell(facts.RetryDue("r-1", "b", 2))

    assert stage.waiting == {("b", -1, 2)}
    assert stage.tasks[0].input == framed(1)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_success_counts_while_the_step_waits_for_a_retry_of_it(attempt: int) -> None:
    stage = Stage(define(node("a")))
    for _ in range(2):
        stage.fail("a")
        stage.tell(facts.RetryDue("r-1", "a", stage.unit("a").attempt + 1))
    stage.tell(failure(stage.take("a")))
    stage.replay("a")

    stage.tell(succeeded("a", attempt))

    assert stage.status("a") is Status.SUCCEEDED
    assert stage.unit("a").waiting == (4,)


def test_second_success_of_another_attempt_is_not_accepted() -> None:
    stage = Stage(define(node("a"), node("b", "a", "params.n"), node("c")))
    stage.tell(facts.TriggerSuspected("r-1", "a", 1))
    stage.replay("a")

    stage.tell(succeeded("a", 2, n=2))
    stage.tell(succeeded("a", 1, n=1))

    assert stage.given("b") == {"p0": value(2), "p1": 0}
    assert stage.unit("a").waiting == ()
    assert len([task for task in stage.kept.triggers if task.step == "b"]) == 1


def test_failure_of_an_earlier_attempt_is_only_counted_as_reported() -> None:
    stage = Stage(define(node("a")))
    stage.tell(facts.TriggerSuspected("r-1", "a", 1))
    stage.replay("a")
    assert stage.unit("a").waiting == (1, 2)

    stage.fail("a", attempt=1)

    assert (stage.status("a"), stage.unit("a").waiting) == (Status.SCHEDULED, (2,))
    assert stage.events(facts.RetryScheduled) == []


def test_duplicate_of_any_agent_fact_changes_nothing() -> None:
    stage = Stage(CHAIN)

    fact = stage.fail("a")
    assert unchanged(stage, fact)
    stage.tell(facts.RetryDue("r-1", "a", 2))
    assert unchanged(stage, fact)
    won = stage.succeed("a")

    assert unchanged(stage, won)
    assert unchanged(stage, fact)


def test_duplicate_of_a_cancellation_changes_nothing() -> None:
    stage = Stage(define(node("a"), node("b")))
    stage.tell(facts.CancelRequested("r-1"))
    stage.answer("a")

    assert unchanged(stage, facts.StepCancelled("r-1", "a", 1, "again"))
    assert unchanged(stage, facts.CancelRequested("r-1"))


def test_fact_about_a_step_the_run_does_not_have_is_a_violation() -> None:
    stage = Stage(define(node("a"), node("m", over="params.items")), items=[1])

    for fact in (succeeded("x"), succeeded("m", item=1), succeeded("a", item=0)):
        with pytest.raises(InvariantViolation, match="names a step or item it does not have"):
            evolve(stage.run, fact)


def test_fact_about_a_settled_run_is_answered_by_the_stub() -> None:
    """The stub has no units, so a late report was a violation, and held a run that had ended."""
    stage = Stage(define(node("a"), node("m", over="params.items")), items=[1])
    stage.tell(facts.CancelRequested("r-1"))
    late = stage.take("m", 0)
    stage.pass_time(stage.definition.stop_max)
    assert stage.outcome == "cancelled"

    for fact in (
        success(stage.graph, late, framed())[0],
        failure(late),
        facts.StepCancelled("r-1", "a", 1, ""),
        facts.CancelRequested("r-1"),
        facts.ReplayRequested("r-1", "a", 1, "", framed()),
        facts.DeadlinePassed("r-1", "stop"),
        facts.ReleaseRequested("r-1"),
        facts.TriggerSuspected("r-1", "a", 1),
        facts.RetryDue("r-1", "m", 1, 0),
    ):
        assert unchanged(stage, fact)


def test_evolve_of_each_consequence_is_what_decide_saw() -> None:
    stage = Stage(CHAIN)
    fact = succeeded("a", n=1)

    consequences = decide(stage.run, fact, stage.moment, Values())
    run: Run = evolve(stage.run, fact)
    for event in consequences:
        run = evolve(run, event)
    stage.tell(fact)

    assert run == stage.run


def test_consequence_read_again_leads_to_nothing() -> None:
    stage = Stage(CHAIN)
    stage.succeed("a", leave_out={"b"})

    for event in [it.event for it in stage.log if it.folded is not None]:
        assert decide(stage.run, event, stage.moment, Values()) == []


def test_cancellation_in_a_run_that_is_not_stopping_leaves_the_step_to_the_watchdog() -> None:
    """An agent that lagged behind `control` refused the trigger of a later run with the same id: it never ended."""
    stage = Stage(CHAIN)

    stage.answer("a")
    assert stage.status("a") is Status.SCHEDULED
    stage.tell(facts.TriggerSuspected("r-1", "a", 1))

    assert stage.run.is_held


def test_direct_start_that_was_refused_is_rebuilt_as_no_run() -> None:
    """It stands on the log, and what its agent said behind it too; the refusal says where it was read."""
    stage = Stage(CHAIN)
    started = stage.log[0].event
    assert isinstance(started, facts.RunStarted)
    begun = Logged(7, dataclasses.replace(started, fired=("a",)))
    refusal = Logged(9, facts.RunRefused("r-1", "p", "expired_id", "too old"), 8)

    assert list(rebuild([begun, Logged(8, succeeded("a"))], lambda _: stage.graph)) == ["r-1"]
    assert rebuild([begun, Logged(8, succeeded("a")), refusal], lambda _: stage.graph) == {}


class Unknown:
    """A fact of no type that this version has."""

    run = "r-1"


def test_fact_of_an_unknown_type_is_never_passed_over() -> None:
    """Whoever meets it raises, so that the run is held: state that leaves one out would be wrong for good."""
    stage = Stage(CHAIN)
    unknown = cast(facts.Fact, Unknown())

    with pytest.raises((AssertionError, KeyError)):
        evolve(stage.run, unknown)
    with pytest.raises((AssertionError, KeyError)):
        decide(stage.run, unknown, stage.moment, Values())
    with pytest.raises((AssertionError, KeyError)):
        rebuild([*stage.log, Logged(99, unknown)], lambda _: stage.graph)
