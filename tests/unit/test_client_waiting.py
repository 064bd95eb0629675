"""What a run waits for, told from its state: nobody should have to guess why a run stands still."""

from datetime import UTC, datetime, timedelta

import pytest

from farandole.client.waiting import Wait, waits
from farandole.definition.policy import duration
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.kernel.state import instant
from farandole.testing.sketch import define, node
from farandole.testing.stage import Stage

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def told(stage: Stage) -> list[Wait]:
    """What the stage's run waits for; step `a` changed at `SINCE`."""
    return waits(stage.run, {("a", NO_ITEM): SINCE})


def test_scheduled_step_waits_for_its_agent_since_it_was_triggered() -> None:
    stage = Stage(define(node("a"), node("b", "a.n")))

    first, second = told(stage)

    assert (first.kind, first.step, first.since) == ("agent", "a", SINCE)
    assert "attempt 1 is with agent a" in first.text
    assert (second.kind, second.text) == ("parents", "waits for a")


def test_failed_step_waits_for_its_next_attempt_until_it_is_due() -> None:
    stage = Stage(define(node("a", retry=3)))
    stage.fail("a", error="the bank is closed")

    (wait,) = told(stage)

    assert wait.kind == "retry"
    assert "attempt 2" in wait.text
    assert "the bank is closed" in wait.text
    assert wait.until is not None


def test_dead_letter_comes_first_with_its_error_and_the_end_of_the_hold() -> None:
    stage = Stage(define(node("a"), node("b", retry=1)))
    stage.fail("b", retryable=False, error="no such account")

    first, second = told(stage)

    assert (first.kind, first.step) == ("dead_letter", "b")
    assert "no such account" in first.text
    assert first.until is not None
    assert second.kind == "agent"


def test_dead_letter_of_a_deadline_says_so_and_nothing_of_the_attempts_before() -> None:
    limit = timedelta(seconds=5)
    stage = Stage(define(node("a", deadline=limit), node("b", deadline=limit)))
    stage.fail("b", retryable=False, error="bad postcode")
    stage.replay("b")

    stage.pass_time(2 * limit)

    assert [wait.text for wait in told(stage)] == ["dead letter: its deadline passed before the attempt reported"] * 2


@pytest.mark.parametrize(("deadline", "then"), [("1h", "timed_out"), ("2d", "failed"), ("", "failed")])
def test_held_run_ends_at_its_deadline_if_that_comes_before_the_end_of_the_hold(deadline: str, then: str) -> None:
    """`run show` promised 24 h, and a run with a deadline of an hour ended `timed_out` long before."""
    stage = Stage(define(node("a", retry=1), deadline=duration(deadline) if deadline else None))
    stage.fail("a", retryable=False)

    (wait,) = told(stage)

    assert (wait.until, wait.then) == (instant(min(filter(None, (stage.run.head.due, stage.run.step("a").due)))), then)


@pytest.mark.parametrize("bad", ["dead", "retry"])
def test_run_that_is_stopping_waits_for_reports_alone(bad: str) -> None:
    """After `run cancel` it promised that a dead letter be waited for, and a retry, for 24 h, and named replays."""
    stage = Stage(define(node("bad", retry=3), node("slow"), node("late", "slow")))
    stage.fail("bad", retryable=bad == "retry")
    stage.tell(facts.CancelRequested(stage.run.id, "enough"))

    (wait,) = told(stage)

    assert (wait.kind, wait.step) == ("agent", "slow")
    assert (wait.until, wait.then) == (instant(stage.run.head.due), "cancelled")


def test_attempt_that_a_stopping_run_was_held_for_is_waited_for_and_not_to_be_replayed() -> None:
    stage = Stage(define(node("a", deadline=timedelta(seconds=5))))
    stage.pass_time(timedelta(seconds=10))
    stage.tell(facts.CancelRequested(stage.run.id, ""))

    (wait,) = told(stage)

    assert (wait.kind, wait.text, wait.then) == ("reports", "attempt 1 has not reported yet", "cancelled")


def test_items_wait_one_by_one() -> None:
    stage = Stage(define(node("a", over="params.items")), items=[1, 2, 3])
    stage.succeed("a", 1)

    items = [wait.item for wait in told(stage) if wait.kind == "agent"]

    assert items == [0, 2]


def test_ended_run_waits_for_nothing() -> None:
    stage = Stage(define(node("a")))
    stage.succeed("a")

    assert stage.outcome == "succeeded"
    assert told(stage) == []
