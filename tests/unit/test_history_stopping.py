"""Bad histories of stopping: for no reason, though somebody asked, without a word to the agents (I14)."""

import dataclasses
from datetime import timedelta

import pytest

from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.commands import CancelRun, ReleaseRun, StartRun
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import DAY, HandMade
from farandole.testing.sketch import define, node

ONE = define(node("a"))
FAILING = define(node("a", on_dead_letter="fail"), node("b"))


def told(made: HandMade | History) -> str:
    """What the checker says of I14; everything that it says, if it says nothing of it."""
    history = made.history(quiescent=False) if isinstance(made, HandMade) else made
    found = check_history(history)
    return "\n".join(str(each) for each in found if each.invariant == "I14") or f"not told, but {found}"


def started(definition: Definition = ONE) -> HandMade:
    """A run of which the first step is under way."""
    made = HandMade(definition)
    made.started("a")
    made.head("running")
    return made


def later(made: HandMade, by: timedelta) -> History:
    """The log while it goes on, read so much later."""
    return dataclasses.replace(made.history(quiescent=False), now=made.now + by)


# --- reasons --------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["cancelled", "failed", "timed_out", "succeeded", "partial"])
def test_a_run_that_stops_for_nothing_is_told(outcome: str) -> None:
    made = started()
    made.stopping(outcome)

    assert f"it stops, to end {outcome}, but nothing asks for that" in told(made)


def test_a_cancelled_run_was_not_stopped_by_its_deadline() -> None:
    made = started(define(node("a"), deadline=timedelta(seconds=1)))
    made.wait(timedelta(seconds=1))
    made.marked(facts.DeadlinePassed(made.run, "run"))
    made.stopping("cancelled")

    assert "it stops, to end cancelled, but nothing asks for that" in told(made)


def test_a_dead_letter_fails_the_run_where_its_step_says_so_and_not_where_it_holds() -> None:
    good, bad = HandMade(FAILING), HandMade(define(node("a"), node("b")))
    for made in (good, bad):
        made.started("a", "b")
        made.failed("a", retryable=False)
        made.given_up("a", 1, "exception", by="agent")
        made.stopping("failed")
        made.cancelled("b")
        made.settled("failed")

    assert check_history(good.history()) == []
    assert "it stops, to end failed, but nothing asks for that" in told(bad)


def test_the_end_of_a_hold_fails_what_is_held_and_nothing_that_goes_on() -> None:
    made = started()
    made.failed("a", retryable=False)
    letter = made.entries[made.topics.dead("a")][0]
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    made.replay_asked("a", 1, letter)
    made.scheduled("a", 2, replay=True)
    made.wait(DAY)
    made.marked(facts.DeadlinePassed(made.run, "hold", "a", 1))
    made.stopping("failed")

    assert "it stops, to end failed, but nothing asks for that" in told(made)


def test_the_end_of_an_earlier_hold_does_not_end_the_next_one() -> None:
    """Its step was suspected, and failed as the hold ended; the marker ended the new hold, which had just begun."""
    good, bad = started(), started()
    for made in (good, bad):
        made.marked(facts.TriggerSuspected(made.run, "a", 1))
        made.held("a", "trigger_suspected")
        made.wait(DAY)
        made.failed("a", retryable=False)
        made.given_up("a", 1, "exception", by="agent")
        made.held("a")
        made.marked(facts.DeadlinePassed(made.run, "hold", "a", 1))
    bad.stopping("failed")

    assert check_history(good.history(quiescent=False)) == []
    assert "it stops, to end failed, but nothing asks for that" in told(bad)


def test_a_run_waits_for_an_attempt_that_has_not_reported_with_all_its_steps_ended() -> None:
    made = HandMade(define(node("a", deadline=timedelta(seconds=1), on_dead_letter="skip"), node("b", "a?")))
    made.started("a")
    made.wait(timedelta(seconds=1))
    made.marked(facts.DeadlinePassed(made.run, "step", "a", 1))
    made.given_up("a", 1, "step_deadline")
    made.follows(facts.StepSkipped(made.run, "a", "dead_letter"))
    made.scheduled("b")
    early, whole = dataclasses.replace(made.history(quiescent=False)), made
    made.succeeded("b")
    made.stopping("partial")
    made.succeeded("a")
    made.settled("partial")

    assert check_history(early) == []
    assert check_history(whole.history()) == []


def test_a_run_that_an_error_holds_says_that_it_stops_before_it_is_ended() -> None:
    """Its agents would take triggers of it all the same. Eight planted bugs, none of them told: nobody asked why."""
    made = started()
    a = made.failed("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    made.cancel_asked()
    made.settled("cancelled")

    assert "an error held it, and it ended cancelled without stopping" in told(made)


# --- requests -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [CancelRun("r-1", "now"), ReleaseRun("r-1")])
def test_a_request_that_was_consumed_while_the_run_lived_became_a_marker(command: CancelRun | ReleaseRun) -> None:
    made = started()
    made.asked(command)

    assert f"a {type(command).__name__} was consumed while it ran, but no marker says so" in told(made)


def test_a_request_that_was_consumed_long_before_the_end_became_a_marker() -> None:
    made = started()
    made.asked(CancelRun(made.run, "now"))
    made.wait(2 * DAY)
    made.succeeded("a")
    made.settled()

    assert "a CancelRun was consumed while it ran, but no marker says so" in told(made)


def test_a_request_that_may_have_come_too_late_or_too_early_needs_no_marker() -> None:
    late, early, waiting = started(), HandMade(ONE), started()
    late.asked(CancelRun(late.run, "now"))
    late.succeeded("a")
    late.settled()
    early.asked(CancelRun(early.run, "now"))
    early.started("a")
    early.head("running")
    waiting.asked(CancelRun(waiting.run, "now"))
    unread = dataclasses.replace(waiting.history(quiescent=False), committed=())

    assert check_history(late.history()) == []
    assert check_history(early.history(quiescent=False)) == []
    assert check_history(unread) == []


def test_a_request_whose_answer_failed_was_refused() -> None:
    made = started()
    asked = made.asked(CancelRun(made.run, "now"))
    made.follows(facts.RunRefused(made.run, "", "error", "boom"), asked)

    assert check_history(made.history(quiescent=False)) == []


# --- what agents are told -------------------------------------------------------------------


def test_what_agents_were_told_goes_when_the_run_is_forgotten() -> None:
    """`control` is a table: a week after its end the record of a run is deleted, and a day later the deletion too. The
    checker took every run that had been stopped longer ago for one whose agents nobody had told."""
    made = started()
    made.cancel_asked()
    made.stopping()
    made.cancelled("a")
    made.settled("cancelled")

    soon, long_after = (dataclasses.replace(later(made, by), control=()) for by in (DAY / 2, 9 * DAY))

    assert "it is stopping, but `control` does not say so" in told(soon)
    assert check_history(long_after) == []


def test_a_stopping_run_that_has_not_ended_is_not_forgotten() -> None:
    made = started()
    made.cancel_asked()
    made.stopping()

    assert "it is stopping, but `control` does not say so" in told(
        dataclasses.replace(later(made, 9 * DAY), control=())
    )


def test_a_start_that_was_sent_again_is_no_request() -> None:
    made = started()
    made.asked(StartRun(made.definition.name, b"", made.run))

    assert check_history(made.history(quiescent=False)) == []
