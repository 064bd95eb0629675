"""When a client may take the last success of a run for its end (DESIGN section 8)."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from farandole.client.final import FinalWatch
from farandole.events import facts
from farandole.events.outgoing import Origin, event_record
from farandole.events.topics import Topics
from farandole.ids import generated_run_id
from farandole.transport.port import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STARTED = facts.RunStarted("r", "p", "abc", b"", "", NOW, fired=("a",))
LAST = facts.StepSucceeded("r", "b", 1, b"output", final=True)
HARMLESS: list[facts.Event] = [
    facts.StepSucceeded("r", "a", 2, b"", ("b",)),
    facts.StepScheduled("r", "a", 2),
    facts.StepFailed("r", "a", 1, "exception", "", "", True, b""),
    facts.RetryScheduled("r", "a", 2, NOW, NOW),
    facts.RetryDue("r", "a", 2),
]
VERDICTS: list[facts.Event] = [
    facts.CancelRequested("r", "enough"),
    facts.DeadlinePassed("r", "run"),
    facts.DeadlinePassed("r", "hold", "a", 1),
    facts.RunStopping("r", "cancelled", "", NOW),
    facts.RunHeld("r", "kernel_error", offset=1),
    facts.StepDeadLettered("r", "a", 1, "attempts_exhausted", "coordinator"),
    facts.StepSkipped("r", "a", "dead_letter"),
    facts.ReplayRequested("r", "a", 1, "x"),
]


def told(*events: facts.Event) -> list[bytes]:
    """The outputs of the final facts that stand."""
    watch = FinalWatch()
    found = [watch.take(record(event)) for event in events]
    return [fact.output for fact in found if fact is not None]


def record(event: facts.Event) -> Record:
    out = event_record(Topics(), event, event_id="id", cause="", origin=Origin("tests", NOW))
    written = round(NOW.timestamp() * 1000)
    return Record(out.topic, 0, 0, out.key.encode(), out.value, out.headers, written)


def test_final_fact_stands_after_a_life_in_which_nobody_interfered() -> None:
    assert told(STARTED, *HARMLESS, LAST) == [b"output"]


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda it: type(it).__name__)
def test_final_fact_does_not_stand_behind_what_could_have_ended_the_run(verdict: facts.Event) -> None:
    assert told(STARTED, verdict, LAST) == []
    assert told(STARTED, LAST, verdict) == [b"output"]


def test_final_fact_does_not_stand_where_the_beginning_was_not_seen() -> None:
    assert told(LAST) == []


def test_success_that_is_not_final_ends_nothing() -> None:
    assert told(STARTED, facts.StepSucceeded("r", "a", 1, b"output")) == []


@pytest.mark.parametrize("written", [-(10**17), 2**62, -62135596800000, 253402300799000])
def test_final_fact_does_not_stand_where_the_run_began_at_no_instant_of_any_calendar(written: int) -> None:
    run = generated_run_id(NOW, 1)
    begun = record(dataclasses.replace(STARTED, run=run))
    watch = FinalWatch()

    watch.take(structs.replace(begun, timestamp_ms=written))

    assert watch.take(record(dataclasses.replace(LAST, run=run))) is None


@pytest.mark.parametrize(("late", "outputs"), [(timedelta(seconds=50), [b"output"]), (timedelta(hours=30), [])])
def test_final_fact_does_not_stand_where_the_run_began_so_late_that_it_may_be_refused(
    late: timedelta, outputs: list[bytes]
) -> None:
    run = generated_run_id(NOW - late, 1)
    begun, last = dataclasses.replace(STARTED, run=run), dataclasses.replace(LAST, run=run)

    assert told(begun, last) == outputs
