"""Retries: how many, how soon, for how long, and what makes the coordinator refuse one (DESIGN section 6.4)."""

from datetime import timedelta

import pytest

from farandole.definition.policy import Retry
from farandole.events import facts
from farandole.events.envelope import parse_envelope
from farandole.kernel.state import Status
from farandole.testing.sketch import define, framed, node
from farandole.testing.stage import Stage

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def waits(stage: Stage) -> list[timedelta]:
    """How long each retry was put off, counted from its failure."""
    return [it.due - it.failing_since for it in stage.events(facts.RetryScheduled)]


def test_retry_comes_when_it_is_due_and_not_before() -> None:
    stage = Stage(define(node("a")))

    stage.fail("a")
    assert (stage.status("a"), stage.waiting) == (Status.RETRY, set())
    stage.pass_time(SECOND * 0.99)
    assert stage.waiting == set()
    stage.pass_time(SECOND * 0.02)

    assert stage.waiting == {("a", -1, 2)}


def test_retry_is_given_the_input_that_failed_and_the_run_goes_on_from_it() -> None:
    stage = Stage(define(node("a"), node("b", "a"), node("c", "b"), output="c"))
    stage.succeed("a", n=4)

    stage.fail("b")
    stage.pass_time(SECOND)

    assert stage.tasks[0].input == framed(4)
    stage.succeed("b")
    stage.succeed("c", n=1)
    assert stage.outcome == "succeeded"


def test_retry_waits_double_up_to_the_cap() -> None:
    stage = Stage(define(node("a", retry=Retry(6, base="1s", cap="5s"))))

    due = []
    for _ in range(5):
        stage.fail("a")
        due.append(stage.events(facts.RetryScheduled)[-1].due - stage.now)
        stage.pass_time(due[-1] + SECOND)

    assert [round(wait.total_seconds()) for wait in due] == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(("luck", "wait"), [(0.0, 1.0), (0.5, 1.125), (0.999, 1.24975)])
def test_retry_jitter_is_the_shells_draw_and_is_recorded(luck: float, wait: float) -> None:
    stage = Stage(define(node("a")), luck=luck)

    stage.fail("a")

    assert waits(stage)[0] == pytest.approx(timedelta(seconds=wait), abs=timedelta(milliseconds=1))


def test_retry_after_of_the_handler_is_respected_where_it_is_longer() -> None:
    for asked, expected in ((30_000, 30), (200, 1)):
        stage = Stage(define(node("a")))

        stage.fail("a", retry_after_ms=asked)

        assert round(waits(stage)[0].total_seconds()) == expected


def test_retry_attempts_are_counted_and_the_last_failure_is_dead_lettered_by_the_coordinator() -> None:
    stage = Stage(define(node("a", retry=3)))

    for attempt in (1, 2, 3):
        stage.fail("a", attempt=attempt, error=f"boom {attempt}")
        stage.pass_time(HOUR)

    assert stage.events(facts.StepDeadLettered) == [
        facts.StepDeadLettered("r-1", "a", 3, "attempts_exhausted", "coordinator")
    ]
    dead = stage.kept.dead[0]
    assert dict(dead.headers)["farandole_error"] == b"boom 3"
    assert (dead.topic, parse_envelope(dead.headers).attempt) == ("farandole.dead.a", 3)


def test_retry_that_the_policy_excludes_is_a_dead_letter_at_the_first_failure() -> None:
    stage = Stage(define(node("a", retry=1)))

    stage.fail("a")

    assert stage.events(facts.RetryScheduled) == []
    assert stage.status("a") is Status.DEAD


def test_failure_that_cannot_be_retried_was_dead_lettered_by_the_agent() -> None:
    stage = Stage(define(node("a", retry=3)))

    stage.fail("a", retryable=False)

    assert stage.events(facts.StepDeadLettered) == [facts.StepDeadLettered("r-1", "a", 1, "exception", "agent")]
    assert stage.kept.dead == [], "the agent has written it"


def test_retry_beyond_the_total_budget_is_refused() -> None:
    stage = Stage(define(node("a", retry=Retry(10, base="10s", cap="10s", total="25s"))))

    for _ in range(3):
        stage.fail("a")
        stage.pass_time(timedelta(seconds=11))

    assert len(stage.events(facts.RetryScheduled)) == 2
    assert stage.events(facts.StepDeadLettered)[0].reason == "retry_budget"


def test_retry_beyond_the_runs_deadline_is_refused() -> None:
    stage = Stage(define(node("a", retry=Retry(5, base="40s")), deadline=timedelta(seconds=50)))

    stage.fail("a")
    stage.pass_time(timedelta(seconds=41))
    stage.fail("a")

    assert stage.events(facts.StepDeadLettered)[0].reason == "run_deadline"


def test_retry_beyond_the_steps_deadline_is_refused() -> None:
    stage = Stage(define(node("a", retry=Retry(5, base="40s"), deadline=timedelta(seconds=30))))

    stage.fail("a")

    assert stage.events(facts.StepDeadLettered)[0].reason == "step_deadline"


def test_retry_budget_is_fresh_after_a_replay() -> None:
    stage = Stage(define(node("a", retry=Retry(2, base="1s", total="1m"))))
    for _ in range(2):
        stage.fail("a")
        stage.pass_time(timedelta(minutes=10))

    stage.replay("a")
    stage.fail("a", attempt=3)
    stage.pass_time(timedelta(seconds=2))

    assert stage.waiting == {("a", -1, 4)}
    stage.fail("a", attempt=4)
    assert [it.attempt for it in stage.events(facts.StepDeadLettered)] == [2, 4]


def test_retry_wait_is_short_again_after_a_replay() -> None:
    stage = Stage(define(node("a", retry=Retry(3, base="1s", cap="1h"))))
    for _ in range(3):
        stage.fail("a")
        stage.pass_time(timedelta(seconds=10))

    stage.replay("a")
    stage.fail("a")

    assert stage.events(facts.RetryScheduled)[-1].due - stage.now == pytest.approx(SECOND, abs=SECOND * 0.01)


def test_retry_timer_of_an_attempt_that_was_answered_late_becomes_no_fact() -> None:
    stage = Stage(define(node("a")))
    stage.fail("a")
    stage.tell(facts.StepSucceeded("r-1", "a", 1, framed()))

    stage.pass_time(HOUR)

    assert stage.events(facts.RetryDue) == []
    assert stage.outcome == "succeeded"


def test_retry_marker_of_another_attempt_has_no_effect() -> None:
    stage = Stage(define(node("a")))
    stage.fail("a")

    stage.tell(facts.RetryDue("r-1", "a", 3))
    assert stage.waiting == set()
    stage.tell(facts.RetryDue("r-1", "a", 2), facts.RetryDue("r-1", "a", 2))

    assert [task.attempt for task in stage.kept.triggers] == [1, 2]


def test_retry_of_one_item_leaves_the_others_alone() -> None:
    stage = Stage(define(node("m", over="params.items")), items=[1, 2])

    stage.fail("m", 1)
    stage.pass_time(SECOND)

    assert stage.waiting == {("m", 0, 1), ("m", 1, 2)}
    assert stage.unit("m").done == 0


def test_retry_due_is_the_same_in_state_and_on_the_log() -> None:
    """State rounded to the millisecond and the log cut to it, so that a rebuilt run waited for another instant."""
    for luck in (0.0006, 0.123456, 0.9999):
        stage = Stage(define(node("a")), luck=luck)

        stage.fail("a")

        logged = stage.events(facts.RetryScheduled)[0].due
        assert stage.next_due() == logged


def test_retry_keeps_a_bounded_part_of_the_error_in_state() -> None:
    stage = Stage(define(node("a")))

    stage.fail("a", error="x" * 10_000)

    assert len(stage.unit("a").error) == 500
