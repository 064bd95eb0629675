"""Deadlines, cancelling, and how a run stops and ends (DESIGN sections 6.3, 6.6 and 6.7)."""

from datetime import timedelta

import pytest

from farandole.events import facts
from farandole.events.catalogue import decode
from farandole.events.tables import RunControl
from farandole.kernel.snapshot import status_text
from farandole.kernel.state import Status
from farandole.testing.sketch import define, framed, node, value
from farandole.testing.stage import Stage

MINUTE = timedelta(minutes=1)
PAIR = define(node("a"), node("b"), node("c", "a"), stop_max=timedelta(minutes=10))
CANCEL = facts.CancelRequested("r-1", "wrong order")


def test_cancel_waits_for_every_attempt_that_was_triggered() -> None:
    stage = Stage(PAIR)

    stage.tell(CANCEL)
    stage.answer("a")
    assert stage.outcome == ""
    stage.answer("b")

    assert (stage.outcome, stage.final().reason) == ("cancelled", "wrong order")
    assert [stage.status(step) for step in "ab"] == [Status.CANCELLED] * 2


def test_cancel_tells_agents_through_control() -> None:
    stage = Stage(PAIR)

    stage.tell(CANCEL)

    record = stage.kept.control[0]
    assert (record.key, decode(record.value or b"")) == ("run:r-1", RunControl("r-1", "stopping", "wrong order"))


def test_success_while_stopping_counts_and_fires_nothing() -> None:
    stage = Stage(PAIR)
    stage.tell(CANCEL)

    stage.succeed("a", leave_out={"c"})

    assert stage.status("a") is Status.SUCCEEDED
    assert stage.waiting == {("b", -1, 1)}


def test_trigger_that_an_agent_fired_while_stopping_is_waited_for() -> None:
    stage = Stage(PAIR)
    stage.tell(CANCEL)

    stage.succeed("a")
    stage.answer("b")
    assert (stage.outcome, stage.waiting) == ("", {("c", -1, 1)})
    stage.answer("c")

    assert stage.outcome == "cancelled"


def test_failure_while_stopping_is_not_retried() -> None:
    stage = Stage(PAIR)
    stage.tell(CANCEL)

    stage.fail("a")
    stage.fail("b", retryable=False)

    assert stage.events(facts.RetryScheduled) == []
    assert stage.outcome == "cancelled"


def test_stopping_ends_at_stop_max_though_an_attempt_never_reports() -> None:
    stage = Stage(PAIR)
    stage.tell(CANCEL)

    stage.pass_time(timedelta(minutes=9))
    assert stage.outcome == ""
    stage.pass_time(MINUTE * 2)

    assert stage.outcome == "cancelled"
    assert stage.events(facts.DeadlinePassed) == [facts.DeadlinePassed("r-1", "stop")]


def test_cancel_of_a_run_whose_only_work_waits_for_a_retry_ends_it_at_once() -> None:
    stage = Stage(define(node("a")))
    stage.fail("a")

    stage.tell(CANCEL)

    assert stage.outcome == "cancelled"


def test_cancel_of_a_held_run_ends_it() -> None:
    stage = Stage(define(node("a", retry=1)))
    stage.fail("a")

    stage.tell(CANCEL)

    assert stage.outcome == "cancelled"


def test_cancel_twice_keeps_the_first_reason_and_outcome() -> None:
    stage = Stage(PAIR)

    stage.tell(CANCEL, facts.CancelRequested("r-1", "again"), facts.DeadlinePassed("r-1", "run"))

    assert (stage.run.head.outcome, stage.run.head.reason) == ("cancelled", "wrong order")
    assert len(stage.events(facts.RunStopping)) == 1


def test_cancel_read_after_the_last_success_comes_too_late() -> None:
    stage = Stage(define(node("a"), output="a"))
    stage.report(stage.take("a"), framed(1))
    stage.write(CANCEL)

    stage.fold()

    assert (stage.outcome, stage.output()) == ("succeeded", value(1))


def test_cancel_read_before_the_last_success_stands() -> None:
    stage = Stage(define(node("a"), output="a"))
    stage.write(CANCEL)
    stage.report(stage.take("a"), framed(1))

    stage.fold()

    assert (stage.outcome, stage.output()) == ("cancelled", None)


def test_cancelled_child_reported_before_its_parent_is_not_waited_for_again() -> None:
    stage = Stage(PAIR)
    stage.tell(CANCEL)
    fact, fired = stage.report(stage.take("a"), framed()), stage.take("c")

    stage.log.pop()
    stage.tell(facts.StepCancelled("r-1", "c", 1, "stopping"), fact)
    stage.answer("b")

    assert fired.step == "c"
    assert stage.outcome == "cancelled"


# --- deadlines ----------------------------------------------------------------------------------


def test_run_deadline_ends_the_run_as_timed_out() -> None:
    stage = Stage(define(node("a"), deadline=MINUTE))

    stage.pass_time(MINUTE)
    assert stage.run.head.outcome == "timed_out"
    stage.answer("a")

    assert stage.outcome == "timed_out"


def test_run_deadline_does_not_fire_over_a_success_that_was_not_yet_read() -> None:
    stage = Stage(define(node("a"), deadline=MINUTE))
    stage.report(stage.take("a"), framed())
    stage.now += MINUTE

    stage.write(*stage.due_markers())
    stage.fold()

    assert stage.outcome == "succeeded"
    assert stage.events(facts.DeadlinePassed) == [facts.DeadlinePassed("r-1", "run")]


def test_run_deadline_counts_from_the_start_through_a_hold() -> None:
    stage = Stage(define(node("a", retry=1), deadline=MINUTE))
    stage.fail("a")

    stage.pass_time(MINUTE)

    assert stage.outcome == "timed_out"


def test_step_deadline_is_a_dead_letter_written_by_the_coordinator() -> None:
    stage = Stage(define(node("a", deadline=MINUTE)), n=4)
    given = stage.tasks[0].input

    stage.pass_time(MINUTE)

    assert stage.events(facts.StepDeadLettered) == [
        facts.StepDeadLettered("r-1", "a", 1, "step_deadline", "coordinator")
    ]
    assert stage.kept.dead[0].value == given


def test_step_deadline_runs_on_over_retries() -> None:
    stage = Stage(define(node("a", deadline=MINUTE)))
    stage.fail("a")
    stage.pass_time(timedelta(seconds=2))
    assert stage.waiting == {("a", -1, 2)}

    stage.pass_time(MINUTE)

    assert stage.events(facts.StepDeadLettered)[0].attempt == 2


def test_step_deadline_of_a_step_that_ended_in_time_has_no_effect() -> None:
    stage = Stage(define(node("a", deadline=MINUTE), node("b", "a")))
    stage.succeed("a")

    stage.pass_time(MINUTE * 2)
    stage.tell(facts.DeadlinePassed("r-1", "step", "a", 1))

    assert stage.status("a") is Status.SUCCEEDED


def test_step_deadline_is_fresh_after_a_replay() -> None:
    stage = Stage(define(node("a", deadline=MINUTE)))
    stage.pass_time(MINUTE * 5)

    stage.replay("a")
    stage.pass_time(MINUTE * 0.9)
    assert len(stage.events(facts.StepDeadLettered)) == 1
    stage.pass_time(MINUTE)

    assert [it.attempt for it in stage.events(facts.StepDeadLettered)] == [1, 2]


def test_step_deadline_of_one_item_leaves_the_others_alone() -> None:
    stage = Stage(
        define(node("m", over="params.items", deadline=MINUTE, on_dead_letter="skip"), node("z", "m")), items=[1, 2]
    )
    stage.succeed("m", 0, n=3)

    stage.pass_time(MINUTE)

    assert stage.given("z") == {"p0": [value(3)]}


# --- late results --------------------------------------------------------------------------------


def test_late_success_after_a_verdict_that_released_successors_is_not_accepted() -> None:
    definition = define(node("a", deadline=MINUTE, on_dead_letter="skip"), node("b", "a?"), output="b")
    stage = Stage(definition)
    stage.pass_time(MINUTE)
    assert stage.given("b") == {"p0": None}

    stage.succeed("a", n=5)

    assert stage.status("a") is Status.SKIPPED
    assert len([task for task in stage.kept.triggers if task.step == "b"]) == 1


def test_late_success_of_a_held_step_is_accepted_and_releases_the_run() -> None:
    stage = Stage(define(node("a", deadline=MINUTE), node("b", "a")))
    stage.pass_time(MINUTE)
    assert stage.run.is_held

    stage.succeed("a", n=5)

    assert (stage.run.is_held, stage.given("b")) == (False, value(5))
    assert stage.events(facts.RunReleased) == [facts.RunReleased("r-1", "succeeded")]


def test_run_whose_steps_all_ended_is_stopping_while_an_attempt_has_not_reported() -> None:
    """It waited without a bound: a run with a deadline then ended `timed_out`, one without never ended."""
    definition = define(
        node("a", deadline=MINUTE, on_dead_letter="skip"), node("b"), output="b", deadline=timedelta(hours=1)
    )
    stage = Stage(definition)
    stage.succeed("b", n=2)
    stage.pass_time(MINUTE)

    assert status_text(stage.run) == "stopping"
    assert len(stage.kept.control) == 1, "the late trigger is answered, not run"
    stage.answer("a")

    assert (stage.outcome, stage.output()) == ("partial", value(2))


@pytest.mark.parametrize("report", ["cancel", "deadline"])
def test_run_whose_steps_all_ended_keeps_its_outcome_whatever_comes_then(report: str) -> None:
    stage = Stage(define(node("a", deadline=MINUTE, on_dead_letter="skip"), deadline=MINUTE * 5))
    stage.pass_time(MINUTE)

    if report == "cancel":
        stage.tell(CANCEL)
    stage.pass_time(timedelta(minutes=12))

    assert stage.outcome == "partial"


def test_run_with_a_lost_trigger_ends_after_its_replay_though_the_lost_attempt_never_reports() -> None:
    stage = Stage(define(node("a"), output="a"))
    stage.take("a")
    stage.tell(facts.TriggerSuspected("r-1", "a", 1))
    stage.replay("a")

    stage.succeed("a", attempt=2, n=8)
    stage.pass_time(timedelta(minutes=11))

    assert (stage.outcome, stage.output()) == ("succeeded", value(8))


def test_stopping_run_is_not_listed_as_held_whatever_held_it() -> None:
    stage = Stage(define(node("a", retry=1, on_dead_letter="fail"), node("b")))

    stage.fail("a")

    assert (stage.run.is_held, status_text(stage.run)) == (False, "stopping")
