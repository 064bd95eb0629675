"""Rare states are counted where they are, and nowhere else."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from farandole.events import facts
from farandole.testing.simulation.coverage import states_in
from farandole.transport.port import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)


def seen(*told: facts.Event | tuple[facts.Event, str, datetime]) -> Counter[str]:
    """The states of a log; an event may come with its writer and its instant."""
    log = []
    for offset, each in enumerate(told):
        event, source, at = each if isinstance(each, tuple) else (each, "c-0", NOW)
        headers = [("ce_source", source.encode())]
        log.append((Record("events", 0, offset, b"r", b"", headers, round(at.timestamp() * 1000)), event))
    return +states_in(log)


def success(attempt: int = 1) -> facts.StepSucceeded:
    return facts.StepSucceeded("r", "a", attempt, b"x")


STOPPING = facts.RunStopping("r", "cancelled", "", SOON)
SETTLED = facts.RunSettled("r", "cancelled", NOW, SOON)


def test_a_plain_run_has_none() -> None:
    assert seen(facts.StepScheduled("r", "a", 1), success(), SETTLED) == Counter()


def test_a_success_of_a_stopping_run_is_late() -> None:
    assert seen(STOPPING, success()) == Counter(late_success=1)


def test_a_success_after_the_end_is_late_after_settling_alone() -> None:
    assert seen(STOPPING, SETTLED, success()) == Counter(late_success_after_settling=1)


def test_a_fact_after_its_run_was_forgotten_is_an_orphan() -> None:
    late = success(), "agent", SOON + timedelta(seconds=1)

    assert seen(SETTLED, late)["orphan_fact"] == 1
    assert seen(SETTLED, success())["orphan_fact"] == 0


def test_a_success_of_a_step_that_was_done_without_comes_after_its_verdict() -> None:
    skipped = facts.StepSkipped("r", "a", "dead_letter")

    assert seen(skipped, success()) == Counter(success_after_verdict=1)
    assert seen(facts.StepSkipped("r", "a", "input"), success()) == Counter()


def test_two_completions_of_a_step_are_one_duplicate() -> None:
    assert seen(success(2), success(1)) == Counter(duplicate_completion_folded=1)


def test_a_retry_that_another_coordinator_finds_due_is_a_timer_at_fail_over() -> None:
    scheduled = facts.RetryScheduled("r", "a", 2, SOON, NOW)
    due = facts.RetryDue("r", "a", 2)

    assert seen((scheduled, "c-0", NOW), (due, "c-1", SOON)) == Counter(timer_at_fail_over=1)
    assert seen((scheduled, "c-0", NOW), (due, "c-0", SOON)) == Counter()


def test_holds_and_what_ends_them_are_counted() -> None:
    replayed = facts.StepScheduled("r", "a", 2, fresh_budget=True)
    error = facts.RunHeld("r", "kernel_error", "boom")
    suspected = facts.TriggerSuspected("r", "a", 1)
    timeout = facts.StepFailed("r", "a", 1, "timeout", "", "", True, b"")

    assert seen(replayed, error, suspected, timeout) == Counter(
        hold_and_replay=1, kernel_error=1, suspected_trigger=1, timed_out_attempt=1
    )
