"""What ends a wait: the run's own end, or a refusal of our own command; nothing else."""

import asyncio
from datetime import UTC, datetime

import pytest

from farandole.client.following import Ending, Following, Start
from farandole.client.query import goes_on
from farandole.events import facts
from farandole.events.catalogue import encode
from farandole.events.commands import StartRun
from farandole.events.outgoing import Origin, event_record
from farandole.events.topics import Topics
from farandole.ids import sha256
from farandole.transport.port import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARAMS = b"params"


def record(event: facts.Event, cause: str = "") -> Record:
    """The event as the tail delivers it."""
    origin = Origin("tests", NOW, definition="abc")
    out = event_record(Topics(), event, event_id="id", cause=cause, origin=origin)
    assert out.value == encode(event)
    return Record(out.topic, 0, 0, out.key.encode(), out.value, out.headers)


def a_start(*, is_new: bool = False) -> Start:
    """The command `mine`: pipeline `p`, with params `PARAMS`; under an id that was chosen or, new, generated."""
    return Start(StartRun("p", PARAMS, "r"), "mine", is_new)


NEW = a_start(is_new=True)


def ending_after(*records: Record, start: Start | None = NEW) -> Ending | None:
    """How the run ended, as far as these records tell whoever sent `start`."""

    async def take() -> Ending | None:
        following = Following(start)
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
    assert ending_after(refused, start=None) is None


HELD = facts.RunHeld("r", "dead_letter", "it broke", "s")


@pytest.mark.parametrize(
    ("start", "before", "is_told"),
    [
        (NEW, 0, True),
        (None, 0, True),
        (NEW, 1, False),
        (NEW, None, False),
        (a_start(), 0, False),
    ],
    ids=["ours", "of somebody else", "known already", "never mind", "perhaps of another with our id"],
)
def test_hold_ends_a_wait_that_did_not_know_of_it(start: Start | None, before: int | None, is_told: bool) -> None:
    async def wait() -> bool:
        following = Following(start)
        waiting = asyncio.create_task(following.wait(before))
        await asyncio.sleep(0)
        following.take(record(HELD))
        done, _ = await asyncio.wait((waiting,), timeout=0.05)
        waiting.cancel()
        return bool(done) and waiting.result() is None

    assert asyncio.run(wait()) is is_told


def test_second_end_changes_nothing() -> None:
    later = facts.RunSettled("r", "succeeded", NOW, NOW)

    ending = ending_after(record(SETTLED), record(later))

    assert ending is not None
    assert ending.outcome == "failed"


def test_run_is_known_from_its_first_event_and_begun_only_from_its_beginning() -> None:
    async def know(event: facts.Event) -> tuple[bool, bool]:
        following = Following(NEW)
        following.take(record(event))
        return await following.is_known(0.0), following.has_begun

    started = facts.RunStarted("r", "p", "abc", b"", "", NOW)

    assert asyncio.run(know(started)) == (True, True)
    assert asyncio.run(know(facts.StepCompleted("r", "a", 1))) == (True, False)


def a_beginning(params_hash: str, cause: str = "theirs") -> Record:
    return record(facts.RunStarted("r", "p", "abc", b"", params_hash, NOW), cause)


def test_end_of_a_run_with_other_params_is_not_that_of_our_start_and_its_refusal_is() -> None:
    """A retry with changed arguments got the result of the run that it was to be refused for, and no error.

    A coordinator folds events before it answers commands: a run that was about to end does so before our refusal.
    """
    begun_by_others = a_beginning("of other params")
    refusal = record(facts.RunRefused("r", "p", "conflict", "other params"), cause="mine")

    assert ending_after(begun_by_others, record(SETTLED), start=a_start()) is None
    assert ending_after(record(SETTLED), start=a_start()) is None  # it began before we followed
    refused = ending_after(begun_by_others, record(SETTLED), refusal, start=a_start())
    assert refused == Ending("refused", "conflict: other params")


def test_end_of_a_run_that_began_as_we_asked_for_it_is_ours() -> None:
    of_the_same_start = a_beginning(sha256(PARAMS))
    of_our_command = a_beginning("framed by another version", cause="mine")

    for begun in (of_the_same_start, of_our_command):
        ending = ending_after(begun, record(SETTLED), start=a_start())
        assert ending is not None
        assert ending.outcome == "failed"


def test_final_success_of_a_run_with_other_params_is_no_result_of_ours() -> None:
    async def early(beginning: Record) -> Ending | None:
        following = Following(a_start())
        following.take(beginning)
        following.take(record(facts.StepSucceeded("r", "a", 1, b"output", final=True)))
        following.judge(is_ours=False)
        async with asyncio.timeout(20):
            waiting = asyncio.create_task(following.wait_for_result())
            await asyncio.sleep(0)  # it waits, or has what it waits for
            following.end(Ending("refused"))
            return await waiting

    assert asyncio.run(early(a_beginning("of other params"))) == Ending("refused")
    assert asyncio.run(early(a_beginning(sha256(PARAMS)))) == Ending("succeeded", "", b"output", "abc")


def test_end_of_which_nobody_knows_whose_it_is_stands_or_falls_with_what_the_tables_say() -> None:
    async def judged(is_ours: bool) -> tuple[Ending | None, Ending | None]:
        following = Following(a_start())
        following.take(record(SETTLED))
        async with asyncio.timeout(20):
            doubtful = await following.wait()
        following.judge(is_ours)
        return doubtful, following.ending

    assert asyncio.run(judged(is_ours=False)) == (None, None)
    doubtful, ending = asyncio.run(judged(is_ours=True))
    assert doubtful is None
    assert ending == Ending("failed", "because", b"output", "abc")


def test_early_success_that_we_cannot_read_leaves_the_end_to_be_told_by_the_coordinator() -> None:
    """While agents are upgraded first, their successes may be of a newer version than the end of the run."""
    success = record(facts.StepSucceeded("r", "a", 1, b"output", final=True))
    value = success.value or b""
    newer = Record(success.topic, 0, 0, success.key, value[:2] + bytes(8) + value[10:], success.headers)

    ending = ending_after(a_beginning(sha256(PARAMS)), newer, record(SETTLED))

    assert ending is not None
    assert ending.outcome == "failed"


@pytest.mark.parametrize(
    ("later", "goes"),
    [
        ([], True),
        ([record(facts.RunRefused("r", "p", "conflict", "other params"), cause="theirs")], True),
        ([record(facts.RunRefused("r", "p", "expired_id", "taken too late"), cause="id")], False),
        ([record(SETTLED)], False),
    ],
)
def test_run_goes_on_from_its_beginning_to_its_end_or_to_the_refusal_of_that_beginning(
    later: list[Record], goes: bool
) -> None:
    assert goes_on([a_beginning("hash"), *later]) is goes
    assert not goes_on(later)
