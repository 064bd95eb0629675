"""Runs that wait for a person: suspected triggers, and errors of ours or of a definition (DESIGN 6.8 and 8)."""

from datetime import timedelta

import pytest

from farandole.events import facts
from farandole.kernel.decision import Decision
from farandole.kernel.snapshot import status_text
from farandole.kernel.state import Phase, Status, instant, ms
from farandole.kernel.timers import Timer, marker, timers
from farandole.kernel.values import Values
from farandole.testing.answers import failure
from farandole.testing.sketch import define, framed, node
from farandole.testing.stage import Stage

HOUR = timedelta(hours=1)
PLAIN = define(node("a"), node("b"), hold_max=HOUR)
SUSPECTED = facts.TriggerSuspected("r-1", "a", 1)
RELEASE = facts.ReleaseRequested("r-1")


def stand_still(stage: Stage, offset: int = 5, lasts: timedelta | None = HOUR) -> None:
    """An error of ours holds the run for so long, or without an end, as a coordinator would have it."""
    it = Decision(stage.run, stage.moment, Values())
    until = stage.now + lasts if lasts is not None else None
    it.emit(facts.RunHeld("r-1", "kernel_error", "CEL: no", until=until, offset=offset))
    stage.keep(it, "error")


# --- the watchdog ---------------------------------------------------------------------------------


def test_suspected_trigger_holds_the_run_and_triggers_nothing() -> None:
    stage = Stage(PLAIN)

    stage.tell(SUSPECTED)

    assert (stage.status("a"), stage.run.is_held) == (Status.SUSPECTED, True)
    assert stage.events(facts.RunHeld)[0].reason == "trigger_suspected"
    assert len(stage.kept.triggers) == 2


def test_suspicion_read_after_the_result_has_no_effect() -> None:
    stage = Stage(PLAIN)
    stage.report(stage.take("a"), framed())
    stage.write(SUSPECTED)

    stage.fold()

    assert not stage.run.is_held


def test_suspicion_of_another_attempt_has_no_effect() -> None:
    stage = Stage(PLAIN)

    stage.tell(facts.TriggerSuspected("r-1", "a", 2))

    assert stage.status("a") is Status.SCHEDULED


def test_result_of_a_suspected_step_counts_and_releases_the_run() -> None:
    stage = Stage(PLAIN)
    stage.tell(SUSPECTED)

    stage.succeed("a")

    assert stage.status("a") is Status.SUCCEEDED
    assert not stage.run.is_held


def test_failure_of_a_suspected_step_is_retried() -> None:
    stage = Stage(PLAIN)
    stage.tell(SUSPECTED)

    stage.fail("a")

    assert (stage.status("a"), stage.run.is_held) == (Status.RETRY, False)
    assert stage.events(facts.RunReleased) == [facts.RunReleased("r-1", "reported")], "it said that it had succeeded"


def test_release_of_a_suspicion_lets_the_step_wait_again() -> None:
    stage = Stage(PLAIN)
    stage.tell(SUSPECTED)

    stage.tell(RELEASE)
    assert (stage.status("a"), stage.run.is_held) == (Status.SCHEDULED, False)
    stage.pass_time(HOUR * 2)

    assert stage.events(facts.DeadlinePassed) == []


def test_suspected_step_that_nobody_looks_at_ends_the_run() -> None:
    stage = Stage(PLAIN)
    stage.tell(SUSPECTED)

    stage.pass_time(HOUR)

    assert stage.run.head.outcome == "failed"


def test_end_of_an_earlier_hold_does_not_end_the_next_one() -> None:
    """The step was suspected and reported its failure as its hold ended: the run was held anew, and failed at once."""
    stage = Stage(PLAIN)
    stage.tell(SUSPECTED)
    stage.now += HOUR
    earlier = stage.due_markers()
    assert earlier == [facts.DeadlinePassed("r-1", "hold", "a", 1)]

    stage.write(failure(stage.take("a"), retryable=False), *earlier)
    stage.fold()
    assert (stage.status("a"), stage.run.is_held, stage.run.head.phase) == (Status.DEAD, True, Phase.RUNNING)
    stage.pass_time(HOUR - timedelta(milliseconds=2))
    assert stage.run.head.phase is Phase.RUNNING
    stage.pass_time(timedelta(milliseconds=2))

    assert (stage.run.head.phase, stage.run.head.outcome) == (Phase.STOPPING, "failed")


def test_end_of_a_hold_that_is_read_in_its_very_millisecond_ends_it() -> None:
    stage = Stage(PLAIN)
    stage.tell(SUSPECTED)
    stage.now = instant(stage.unit("a").due)

    stage.tell(*stage.due_markers())

    assert stage.run.head.outcome == "failed"


def test_end_of_a_hold_that_is_read_before_it_is_due_comes_once_more() -> None:
    """As after a take-over without what its predecessor's clock has told: the timer still stands in the state."""
    stage = Stage(PLAIN)
    stage.tell(SUSPECTED)

    stage.tell(facts.DeadlinePassed("r-1", "hold", "a", 1))

    assert stage.run.head.phase is Phase.RUNNING
    assert Timer(ms(stage.now + HOUR), "r-1", "hold", "a", -1, 1) in timers(stage.run)


def test_release_of_a_dead_letter_has_no_effect() -> None:
    stage = Stage(define(node("a", retry=1)))
    stage.fail("a")

    stage.tell(RELEASE)

    assert stage.run.is_held
    assert stage.events(facts.RunReleased) == []


def test_release_of_a_suspicion_leaves_the_dead_letter_of_another_step_as_it_was() -> None:
    stage = Stage(PLAIN)
    stage.fail("b", retryable=False)
    stage.tell(SUSPECTED)

    stage.tell(RELEASE)

    assert stage.events(facts.RunReleased) == [facts.RunReleased("r-1", "released")]
    assert (stage.status("a"), stage.status("b"), stage.run.is_held) == (Status.SCHEDULED, Status.DEAD, True)


def test_step_deadline_passes_over_a_suspected_step() -> None:
    stage = Stage(define(node("a", deadline=timedelta(minutes=1), on_dead_letter="skip")))
    stage.tell(SUSPECTED)

    stage.pass_time(timedelta(minutes=1))

    assert stage.status("a") is Status.SKIPPED
    assert stage.events(facts.RunReleased) == [facts.RunReleased("r-1", "skipped")], "it said that it had succeeded"


# --- errors of ours --------------------------------------------------------------------------------


def test_kernel_error_passes_facts_over_without_folding_them() -> None:
    stage = Stage(PLAIN)
    stand_still(stage)
    before = stage.run

    stage.succeed("a")
    stage.tell(SUSPECTED, facts.DeadlinePassed("r-1", "run"))

    assert stage.run == before
    assert status_text(stage.run) == "held"


def test_kernel_error_is_released_with_its_offset_and_deadline_taken_back() -> None:
    stage = Stage(define(node("a"), deadline=HOUR, hold_max=HOUR * 5))
    due = stage.run.head.due
    stand_still(stage, offset=5, lasts=HOUR * 5)
    assert (stage.run.head.unfolded_from, stage.run.head.due) == (5, ms(stage.now + HOUR * 5))

    stage.tell(RELEASE)

    head = stage.run.head
    assert (head.kernel_error, head.unfolded_from, head.due) == ("", -1, due)


def test_kernel_error_in_a_stopping_run_leaves_its_patience_as_it_was() -> None:
    """Its `stop_max` was replaced by the run's deadline: without one, a run with a lost attempt never ended."""
    stage = Stage(define(node("a"), stop_max=timedelta(minutes=10)))
    stage.tell(facts.CancelRequested("r-1"))
    stand_still(stage)

    stage.tell(RELEASE)
    stage.pass_time(timedelta(minutes=11))

    assert stage.outcome == "cancelled"


def test_kernel_error_ends_with_a_cancel_and_agents_are_told() -> None:
    """It ended without a word in `control`, so that its chain went on to run in the agents."""
    stage = Stage(PLAIN)
    stand_still(stage)

    stage.tell(facts.CancelRequested("r-1", "enough"))

    assert (stage.outcome, stage.final().reason) == ("cancelled", "enough")
    assert [record.key for record in stage.kept.control] == ["run:r-1"]
    assert stage.run.head.expires - stage.run.head.settled_at > ms(stage.now + HOUR * 24) - ms(stage.now)


def test_kernel_error_ends_as_failed_after_hold_max() -> None:
    stage = Stage(PLAIN)
    stand_still(stage)

    stage.pass_time(HOUR)

    assert (stage.outcome, stage.final().reason) == ("failed", "CEL: no")


def test_kernel_error_in_a_run_that_was_stopping_ends_as_it_is_told_to() -> None:
    stage = Stage(define(node("a", retry=1, on_dead_letter="fail"), node("b")))
    stage.fail("a")
    stand_still(stage)

    stage.tell(facts.CancelRequested("r-1", "enough"))

    assert (stage.outcome, stage.final().reason) == ("cancelled", "enough")
    assert len(stage.kept.control) == 1


def test_kernel_error_upon_a_kernel_error_keeps_the_first_unfolded_offset() -> None:
    """The second one replaced it, and a release lost what lay between."""
    stage = Stage(PLAIN)
    stand_still(stage, offset=5)
    until = stage.run.head.due
    stage.now += HOUR / 2

    stand_still(stage, offset=9)

    assert (stage.run.head.unfolded_from, stage.run.head.due) == (5, until)


def test_hold_deadline_read_after_the_release_has_no_effect() -> None:
    """It names no step: looking one up was an error, which held the run again."""
    stage = Stage(PLAIN)
    stand_still(stage)
    stage.write(RELEASE, facts.DeadlinePassed("r-1", "hold"))

    stage.fold()

    assert stage.run.head.phase is Phase.RUNNING
    assert stage.run.head.kernel_error == ""


@pytest.mark.parametrize("again", [timedelta(hours=2), None])
def test_end_of_an_earlier_kernel_error_does_not_end_the_next_one(again: timedelta | None) -> None:
    """Released and held anew while the marker was on its way; without a definition the new hold has no end at all."""
    stage = Stage(PLAIN)
    stand_still(stage)
    stage.now += HOUR
    earlier = stage.due_markers()
    assert earlier == [facts.DeadlinePassed("r-1", "hold")]

    stage.tell(RELEASE)
    stand_still(stage, lasts=again)
    stage.tell(*earlier)
    assert (stage.outcome, stage.run.head.kernel_error) == ("", "CEL: no")
    stage.pass_time(HOUR * 3)

    assert stage.outcome == ("" if again is None else "failed")


def test_timers_that_came_due_while_the_run_stood_still_are_set_again_at_its_release() -> None:
    """They had been dropped, so that a retry never came unless the coordinator was restarted."""
    stage = Stage(define(node("a"), hold_max=HOUR))
    stage.fail("a")
    stand_still(stage)
    stage.pass_time(timedelta(minutes=1))
    assert stage.waiting == set()

    stage.tell(RELEASE)
    stage.pass_time(timedelta(seconds=1))

    assert stage.waiting == {("a", -1, 2)}


def test_kernel_error_waits_for_nothing_but_the_end_of_the_hold() -> None:
    stage = Stage(define(node("a"), hold_max=HOUR, deadline=HOUR * 9))
    stage.fail("a")

    stand_still(stage)

    assert list(timers(stage.run)) == [Timer(ms(stage.now + HOUR), "r-1", "hold")]
    assert marker(stage.run, Timer(stage.unit("a").due, "r-1", "retry", "a", -1, 1)) is None
