"""What ends a wait: the run's own end, or a refusal of our own command; nothing else."""

import asyncio
from datetime import UTC, datetime

from farandole.client.following import Ending, Following
from farandole.events import facts
from farandole.events.catalogue import encode
from farandole.events.outgoing import Origin, event_record
from farandole.events.topics import Topics
from farandole.transport.port import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def record(event: facts.Event, cause: str = "") -> Record:
    """The event as the tail delivers it."""
    origin = Origin("tests", NOW, definition="abc")
    out = event_record(Topics(), event, event_id="id", cause=cause, origin=origin)
    assert out.value == encode(event)
    return Record(out.topic, 0, 0, out.key.encode(), out.value, out.headers)


def ending_after(*records: Record, command: str = "mine") -> Ending | None:
    """How the run ended, as far as these records tell whoever sent `command`."""

    async def take() -> Ending | None:
        following = Following(command)
        for each in records:
            following.take(each)
        return following.ending

    return asyncio.run(take())


SETTLED = facts.RunSettled("r", "failed", NOW, NOW, "because", b"output")


def test_settled_run_ends_the_wait_with_outcome_reason_output_and_definition() -> None:
    ending = ending_after(record(SETTLED))

    assert ending == Ending("failed", "because", b"output", "abc")


def test_refusal_of_our_command_ends_the_wait() -> None:
    ending = ending_after(record(facts.RunRefused("r", "p", "conflict", "other params"), cause="mine"))

    assert ending == Ending("refused", "conflict: other params")


def test_refusal_of_a_command_of_somebody_else_leaves_us_waiting() -> None:
    refused = record(facts.RunRefused("r", "p", "conflict", "other params"), cause="theirs")

    assert ending_after(refused) is None
    assert ending_after(refused, command="") is None


def test_second_end_changes_nothing() -> None:
    later = facts.RunSettled("r", "succeeded", NOW, NOW)

    ending = ending_after(record(SETTLED), record(later))

    assert ending is not None
    assert ending.outcome == "failed"


def test_run_is_known_from_its_first_event_and_begun_only_from_its_beginning() -> None:
    async def know(event: facts.Event) -> tuple[bool, bool]:
        following = Following("mine")
        following.take(record(event))
        return await following.is_known(0.0), following.has_begun

    started = facts.RunStarted("r", "p", "abc", b"", "", NOW)

    assert asyncio.run(know(started)) == (True, True)
    assert asyncio.run(know(facts.StepCompleted("r", "a", 1))) == (True, False)
