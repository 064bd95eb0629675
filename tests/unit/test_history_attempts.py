"""Bad histories of attempts: doubled reports, late successes that count, retries against the policy (I5, I7, I15)."""

from datetime import timedelta

from farandole.definition.policy import Retry
from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.testing.history import check_history
from farandole.testing.history.builder import HandMade
from farandole.testing.sketch import define, node

SECOND = timedelta(seconds=1)
ONE = define(node("a", retry=Retry(2, base="1s", cap="3s", total="10s")))
LATE = define(node("a", deadline=SECOND, on_dead_letter="skip"), node("b", "a?"))


def told(made: HandMade, invariant: str) -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    found = check_history(made.history(quiescent=False))
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def failed_once() -> HandMade:
    """The first attempt of `a` has failed."""
    made = HandMade(ONE)
    made.started("a")
    made.failed("a")
    return made


def retry_of(made: HandMade, wait: timedelta = SECOND, attempt: int = 2, since: timedelta = timedelta()) -> Entry:
    """A retry that is scheduled, and nothing else."""
    due = made.now + wait
    return made.follows(facts.RetryScheduled(made.run, "a", attempt, due, made.now - since))


def test_an_attempt_that_reports_twice_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.succeeded("a")
    made.failed("a")

    assert "attempt 1 of a reported 2 times" in told(made, "I5")


def test_a_report_without_a_trigger_before_it_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.succeeded("a", 2)

    assert "attempt 2 of a reported, but nothing before it says that it was fired" in told(made, "I3")


def test_what_a_success_fires_after_the_end_may_be_answered() -> None:
    """Simulated seed 512: patience had passed, so the run ended; then a success was folded, whose agent did not know
    yet that the run was stopping and had fired the next step. The checker took that step's answer for a stranger's.
    """
    made = HandMade(define(node("a"), node("b", "a")))
    made.started("a")
    made.cancel_asked()
    made.stopping()
    made.wait(timedelta(minutes=10))
    made.marked(facts.DeadlinePassed(made.run, "stop"))
    made.settled("cancelled")
    made.succeeded("a", fired=["b"])
    made.cancelled("b")

    assert check_history(made.history(quiescent=False)) == []


def test_nothing_follows_from_a_success_after_the_verdict() -> None:
    made = HandMade(LATE)
    made.started()
    made.scheduled("a", deadline=SECOND)
    made.wait(SECOND)
    made.marked(facts.DeadlinePassed(made.run, "step", "a", 1))
    made.given_up("a", 1, "step_deadline")
    made.follows(facts.StepSkipped(made.run, "a", "dead_letter"))
    made.succeeded("a")
    made.scheduled("b")

    assert "StepScheduled follows from a result that came after the verdict" in told(made, "I5")


def test_the_end_of_a_run_may_follow_from_a_late_success() -> None:
    made = HandMade(define(node("a", deadline=SECOND, on_dead_letter="skip")))
    made.started()
    made.scheduled("a", deadline=SECOND)
    made.wait(SECOND)
    made.marked(facts.DeadlinePassed(made.run, "step", "a", 1))
    made.given_up("a", 1, "step_deadline")
    made.follows(facts.StepSkipped(made.run, "a", "dead_letter"))
    made.succeeded("a")
    made.settled("partial")

    assert check_history(made.history()) == []


def test_a_gap_in_the_attempts_is_told() -> None:
    made = failed_once()
    made.retry("a", 3, SECOND)

    assert "attempt 3 of a was scheduled after attempt 1" in told(made, "I7")


def test_an_attempt_again_follows_from_a_retry_or_a_replay() -> None:
    made = failed_once()
    made.scheduled("a", 2)

    assert "attempt 2 of a follows neither from a retry that came due nor from a replay" in told(made, "I7")


def test_a_retry_comes_due_only_while_the_step_waits_for_it() -> None:
    made = failed_once()
    made.marked(facts.RetryDue(made.run, "a", 2))
    made.scheduled("a", 2, replay=True)

    found = told(made, "I7")

    assert "attempt 2 of a came due, but the step was failed" in found
    assert "attempt 2 of a is a retry, but its budget counts anew" in found


def test_a_replay_is_of_the_last_attempt_of_a_dead_letter() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    letter = made.entries[made.topics.dead("a")][0]
    made.replay_asked("a", 7, letter)
    made.scheduled("a", 2)

    found = told(made, "I7")

    assert "attempt 7 was replayed while attempt 1 was dead" in found
    assert "attempt 2 of a is a replay, but its budget does not count anew" in found


def test_a_retry_earlier_than_the_policy_says_is_told() -> None:
    made = failed_once()
    retry_of(made, SECOND / 2)

    assert "a retry of a is due after 0:00:00.500000, but the policy says 0:00:01" in told(made, "I7")


def test_a_retry_earlier_than_the_handler_asked_for_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.reported(facts.StepFailed(made.run, "a", 1, "exception", "busy", "fp", True, b"", retry_after_ms=5000))
    retry_of(made)

    assert "a retry of a is due after 0:00:01, but the policy says 0:00:05" in told(made, "I7")


def test_the_back_off_doubles_up_to_the_cap_and_counts_anew_after_a_replay() -> None:
    made = HandMade(define(node("a", retry=Retry(4, base="1s", cap="3s"))))
    made.started("a")
    for attempt, wait in ((1, SECOND), (2, 2 * SECOND), (3, 3 * SECOND)):
        made.failed("a", attempt)
        made.retry("a", attempt + 1, wait)
    made.failed("a", 4)
    letter = made.given_up("a", 4, "attempts_exhausted")
    made.held("a")
    made.replay_asked("a", 4, letter)
    made.scheduled("a", 5, replay=True)
    made.follows(facts.RunReleased(made.run, "replayed"))
    made.failed("a", 5)
    since = made.now
    made.retry("a", 6, SECOND)
    made.failed("a", 6)
    due = made.follows(facts.RetryScheduled(made.run, "a", 7, made.now + SECOND, since))

    found = told(made, "I7")

    assert found.count("I7 run") == 1
    assert f"but the policy says 0:00:02 [farandole.events/1/{due.offset - 1}, {due.place}]" in found


def test_a_retry_of_a_final_failure_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.failed("a", retryable=False)
    retry_of(made)

    assert "a retry of a follows a failure that is not to be tried again" in told(made, "I7")


def test_a_retry_of_another_attempt_is_told() -> None:
    made = failed_once()
    retry_of(made, attempt=3)

    assert "a retry of a is attempt 3 after attempt 1" in told(made, "I7")


def test_a_retry_beyond_the_attempts_is_told() -> None:
    made = failed_once()
    made.retry("a", 2, SECOND)
    made.failed("a", 2)
    retry_of(made, 2 * SECOND, 3)

    assert "a retry of a was scheduled, though 2 attempts were made" in told(made, "I7")


def test_a_retry_beyond_the_budget_is_told() -> None:
    made = failed_once()
    retry_of(made, since=20 * SECOND)

    assert "a retry of a is beyond the budget of 0:00:10" in told(made, "I7")


def test_a_retry_of_what_has_not_failed_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.last = made.entries[made.topics.events][0]
    retry_of(made)

    assert "a retry of a was scheduled, but it was scheduled and the run running" in told(made, "I7")


def test_a_failure_that_leads_to_nothing_is_told() -> None:
    made = failed_once()

    assert "the failure of a led to nothing" in told(made, "I7")


def test_giving_up_with_attempts_left_is_told() -> None:
    made = failed_once()
    made.given_up("a", 1, "attempts_exhausted")

    assert "a was dead-lettered (attempts_exhausted) after 1 of 2 attempts" in told(made, "I7")


def test_giving_up_on_what_is_under_way_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.given_up("a", 2, "attempts_exhausted")

    found = told(made, "I7")

    assert "a was dead-lettered (attempts_exhausted), but it was scheduled" in found
    assert "for attempt 2, but attempt 1 is the last" in found


def test_giving_up_for_another_reason_than_the_failures_is_told() -> None:
    made = failed_once()
    made.given_up("a", 1, "exception")

    assert "a was dead-lettered (exception), but its failure says exception" in told(made, "I7")


def test_nothing_is_given_up_in_a_stopping_run() -> None:
    made = failed_once()
    made.cancel_asked()
    made.stopping()
    made.given_up("a", 1, "attempts_exhausted")

    assert "a was dead-lettered (attempts_exhausted) while the run was stopping" in told(made, "I7")


def test_a_dead_letter_is_written_by_whom_the_failure_says() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception")

    assert "a was dead-lettered (exception) by the coordinator, but its failure says otherwise" in told(made, "I15")


def test_an_agent_dead_letters_exactly_what_is_final() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.reported(facts.StepFailed(made.run, "a", 1, "exception", "x", "fp", False, b"", dead_lettered=False))

    assert "a failure (exception) was not dead-lettered" in told(made, "I15")


def test_an_agent_does_not_dead_letter_what_may_be_tried_again() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.reported(facts.StepFailed(made.run, "a", 1, "exception", "x", "fp", True, b"", dead_lettered=True))

    assert "a failure (exception) was dead-lettered, though it may be tried again" in told(made, "I15")
