"""Bad histories of whole runs: lost, ended twice or wrongly, lingering, of two definitions (I1, I2, I17, I20)."""

import dataclasses
from datetime import timedelta

from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.catalogue import encode
from farandole.events.tables import RunHead
from farandole.ids import partition_of
from farandole.lineage.entries import from_record
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import DAY, START, HandMade
from farandole.testing.sketch import define, node

ONE = define(node("a"))
TWO = define(node("a"), node("b", "a"))


def made_of(definition: Definition = ONE) -> HandMade:
    """A run of which the first step is under way."""
    made = HandMade(definition)
    made.started("a")
    return made


def told(history: History, invariant: str) -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    found = check_history(history)
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def test_a_run_that_was_acknowledged_but_is_not_on_the_log_is_lost() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()

    history = dataclasses.replace(made.history(), acknowledged=frozenset({made.run, "r-9"}))

    assert told(history, "I1") == "I1 run r-9: its start was acknowledged, but nothing on `events` answers it"


def test_a_start_that_was_consumed_but_not_answered_is_lost() -> None:
    made = HandMade(ONE)
    made.asked_by_hand('{"run_id": "r-1", "pipeline": "sketch"}')

    assert "its start was consumed, but not answered [farandole.commands/1/0]" in told(made.history(), "I1")


def test_an_unreadable_command_must_be_answered_too() -> None:
    made = HandMade(ONE)
    made.asked_by_hand("what?")
    made.run = "elsewhere"

    assert "its start was consumed, but not answered" in told(made.history(), "I1")


def test_the_refusal_of_an_id_that_is_too_long_answers_it_under_what_is_left_of_the_id() -> None:
    """An id of 200 characters was refused, as it should be, and the checker took its start for one that was lost."""
    made = HandMade(ONE)
    made.run = "x" * 200
    asked = made.asked_by_hand(f'{{"run_id": "{made.run}", "pipeline": "sketch"}}')
    lost = made.history()
    made.run = "x" * 128
    made.follows(facts.RunRefused(made.run, "sketch", "run_id", "expected 1 to 128 characters"), asked)
    refused = made.entries[made.topics.events][-1]
    home = dataclasses.replace(refused, partition=partition_of(made.run, made.partitions))

    history = dataclasses.replace(made.history(), events=(home,))

    assert "its start was consumed, but not answered" in told(lost, "I1")
    assert "not told" in told(history, "I1")


def test_a_start_that_was_not_consumed_yet_is_not_lost() -> None:
    made = HandMade(ONE)
    made.asked_by_hand('{"run_id": "r-1", "pipeline": "sketch"}')

    assert check_history(dataclasses.replace(made.history(quiescent=False), committed=())) == []


def test_a_run_that_starts_twice_is_two_runs_of_one_id() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()
    made.started("a")

    assert "it was started twice, though its first start was not forgotten" in told(made.history(), "I2")


def test_a_run_may_start_again_once_it_is_forgotten() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()
    made.wait(2 * DAY)
    made.started("a")

    assert "started twice" not in told(made.history(quiescent=False), "I2")


def test_a_run_that_ends_twice_has_two_outcomes() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()
    made.settled("failed")

    assert "it ended 2 times" in told(made.history(), "I2")


def test_nothing_is_decided_after_the_end() -> None:
    made = made_of(TWO)
    made.succeeded("a", fired=["b"])
    made.succeeded("b")
    made.settled()
    made.follows(facts.RunReleased(made.run, "replayed"))

    assert "RunReleased was decided after the run had ended" in told(made.history(), "I2")


def test_a_run_that_does_not_end_is_told_with_what_is_open() -> None:
    made = made_of(TWO)
    made.succeeded("a", fired=["b"])

    assert "it has not ended (open: b)" in told(made.history(), "I2")


def test_a_held_run_that_does_not_end_is_told_as_held() -> None:
    made = made_of()
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")

    assert "it has not ended (held, open: a)" in told(made.history(), "I2")


def test_a_run_that_goes_on_need_not_have_ended() -> None:
    made = made_of()
    made.head("running")

    assert check_history(made.history(quiescent=False)) == []


def test_a_run_does_not_succeed_with_open_steps() -> None:
    made = made_of(TWO)
    made.succeeded("a")
    made.settled()

    assert "it ended succeeded while step b was pending" in told(made.history(), "I2")


def test_a_run_is_partial_only_if_a_dead_letter_was_skipped() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled("partial")

    assert "it must end succeeded, but it ended partial" in told(made.history(), "I2")


def test_a_stopping_run_ends_as_it_was_to_end() -> None:
    made = made_of()
    made.cancel_asked()
    made.stopping("cancelled")
    made.cancelled("a")
    made.settled("failed")

    assert "it was stopping to end cancelled, but ended failed" in told(made.history(), "I2")


def test_a_run_that_stops_with_a_success_has_no_open_step() -> None:
    made = made_of(TWO)
    made.succeeded("a")
    made.stopping("succeeded")
    made.settled("succeeded")

    assert "it ended succeeded while step b was pending" in told(made.history(), "I2")


def test_a_run_held_by_an_error_of_ours_can_not_succeed() -> None:
    made = made_of()
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=START + DAY, offset=a.offset), a)
    made.settled("succeeded")

    assert "an error held it, but it ended succeeded" in told(made.history(), "I2")


def test_a_run_waits_for_every_attempt_that_was_triggered() -> None:
    made = made_of()
    made.cancel_asked()
    made.stopping()
    made.settled("cancelled")

    assert "it ended while attempt 1 of a had not reported" in told(made.history(), "I2")


def test_the_record_on_settled_says_the_same_as_the_events() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()
    other = HandMade(ONE)
    other.started("a")
    other.settled("failed")

    history = dataclasses.replace(made.history(), settled=tuple(other.entries[other.topics.settled]))

    assert "`settled` tells another end than `events`" in told(history, "I17")


def test_an_end_has_one_record_on_settled() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()
    whole = made.history()

    none = dataclasses.replace(whole, settled=())
    two = dataclasses.replace(whole, settled=(*whole.settled, *whole.settled))

    assert "it ended, but `settled` does not hold it" in told(none, "I17")
    assert "2 records on `settled` for 1 ends" in told(two, "I17")


def test_an_ended_run_leaves_no_state_but_a_stub() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()
    chunk = from_record(made.topics.runs, 0, 9, b"r-1#c/1", b"private", (), 0)
    gone = from_record(made.topics.runs, 0, 10, b"r-1#c/1", None, (), 0)
    whole = made.history()

    assert "it has ended, but `runs` still holds r-1#c/1" in told(
        dataclasses.replace(whole, runs=(*whole.runs, chunk)), "I17"
    )
    assert check_history(dataclasses.replace(whole, runs=(*whole.runs, chunk, gone))) == []


def test_a_live_run_has_its_state() -> None:
    made = made_of()
    made.run = "r-2"
    made.head("running")

    assert "run r-1: it has not ended, but `runs` does not hold it" in told(made.history(quiescent=False), "I9")


def test_state_does_not_end_a_run_that_its_events_leave_open() -> None:
    made = made_of()
    made.head("settled", "succeeded")

    assert "`runs` says that it has ended, but `events` does not" in told(made.history(quiescent=False), "I9")


def test_a_run_keeps_the_definition_that_it_was_started_with() -> None:
    made = made_of()
    made.definition = TWO
    made.succeeded("a")
    made.settled()
    definitions = {str(each.hash): each for each in (ONE, TWO)}

    history = dataclasses.replace(made.history(), definitions=definitions)

    assert "it was started with definition" in told(history, "I20")


def test_state_keeps_the_definition_too() -> None:
    made = made_of()
    head = RunHead(made.run, "sketch", "other", "running", START, START, "", "", b"")
    row = from_record(made.topics.runs, 0, 0, made.run.encode(), encode(head), (), 0)

    history = dataclasses.replace(made.history(quiescent=False), runs=(row,))

    assert "`runs` holds it under another definition" in told(history, "I20")


def test_a_definition_that_is_not_on_definitions_is_told() -> None:
    made = made_of()

    history = dataclasses.replace(made.history(quiescent=False), definitions={})

    assert "`definitions` does not hold the definition" in told(history, "I20")


def test_a_step_that_the_definition_does_not_have_is_told() -> None:
    made = made_of()
    made.reported(facts.StepCancelled(made.run, "a", 1, "x"))
    made.definition = TWO
    made.scheduled("b")

    history = dataclasses.replace(made.history(quiescent=False), definitions={str(ONE.hash): ONE})

    assert "a record names step 'b', which its definition does not have" in told(history, "I20")


def test_records_of_a_moment_ago_may_lack_their_counterparts_while_the_log_goes_on() -> None:
    made = made_of()
    made.succeeded("a")
    made.settled()
    torn = dataclasses.replace(made.history(quiescent=False), settled=())

    fresh = dataclasses.replace(torn, now=made.now)
    old = dataclasses.replace(torn, now=made.now + timedelta(minutes=1))

    assert check_history(fresh) == []
    assert "`settled` does not hold it" in told(old, "I17")
