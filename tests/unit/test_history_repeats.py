"""What a person let be read again stands twice and is no violation; everything beside it that is one is still told."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec import structs

from farandole.events import facts
from farandole.events.acts import Repositioned
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import HandMade
from farandole.testing.ledger import Execution
from farandole.testing.sketch import define, node

ROW = define(node("a"), node("b", "a"), output="b")
FORK = define(node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"), output="d")

Story = Callable[[HandMade], None]


def told(made: HandMade | History) -> str:
    """Everything that the checker says."""
    history = made.history() if isinstance(made, HandMade) else made
    return "\n".join(str(each) for each in check_history(history))


def ended() -> HandMade:
    """A run of two steps that has ended, before anybody did anything."""
    made = HandMade(ROW)
    made.started("a")
    made.succeeded("a", fired=["b"])
    made.succeeded("b")
    made.settled()
    return made


def inbox(made: HandMade, step: str) -> list[Entry]:
    """The triggers of a step."""
    return made.entries[made.topics.inbox(made.definition.steps[step].agent)]


def answered_again(made: HandMade) -> HandMade:
    """All triggers of `a` are read again: its agent answers and fires once more, and that is answered too."""
    made.read_again("a")
    made.succeeded("a", fired=["b"])
    made.consumed = inbox(made, "b")[-1]
    made.succeeded("b")
    made.consumed = None
    return made


def test_what_was_read_again_on_purpose_is_valid_and_without_the_act_it_is_not() -> None:
    made = answered_again(ended())

    assert told(made) == ""
    without = told(dataclasses.replace(made.history(), repositions=()))
    assert "I4 run r-1: attempt 1 of b was triggered 2 times" in without
    assert "I5 run r-1: attempt 1 of a reported 2 times" in without
    assert "I5 run r-1: attempt 1 of b reported 2 times" in without
    assert "I10 run r-1: an inbox record has 2 outcomes" in without


def once_more(made: HandMade) -> None:
    """A third answer after one act."""
    made.succeeded("a")


def own_trigger_twice(made: HandMade) -> None:
    """The trigger that the repeat fired is answered twice; nobody let it be read again."""
    made.consumed = inbox(made, "b")[-1]
    made.succeeded("b")


def first_trigger_twice(made: HandMade) -> None:
    """So is the one that was there before: the act names another inbox."""
    made.consumed = inbox(made, "b")[0]
    made.succeeded("b")


def fired_twice(made: HandMade) -> None:
    """Somebody fired `b` a third time, with two answers of `a`."""
    origin = inbox(made, "b")[-1]
    made.entries[origin.topic].append(dataclasses.replace(origin, offset=origin.offset + 1))


@pytest.mark.parametrize(
    ("goes_wrong", "found"),
    [
        (once_more, "attempt 1 of a reported 3 times"),
        (once_more, "an inbox record has 3 outcomes"),
        (own_trigger_twice, "attempt 1 of b reported 3 times"),
        (own_trigger_twice, "an inbox record has 2 outcomes"),
        (first_trigger_twice, "attempt 1 of b reported 3 times"),
        (fired_twice, "attempt 1 of b was triggered 3 times"),
    ],
)
def test_what_the_act_does_not_name_is_told_beside_it(goes_wrong: Story, found: str) -> None:
    made = answered_again(ended())
    goes_wrong(made)

    assert found in told(made)


def elsewhere(act: Repositioned) -> Repositioned:
    """Of the other partition only."""
    ranges = [r for r in act.partitions if r.end == 0]
    return dataclasses.replace(act, partitions=tuple(dataclasses.replace(r, end=9) for r in ranges))


def before_it(act: Repositioned) -> Repositioned:
    """Of nothing: the records begin where the range ends."""
    return dataclasses.replace(act, partitions=tuple(dataclasses.replace(r, end=0) for r in act.partitions))


def behind_it(act: Repositioned) -> Repositioned:
    """Of what comes after the record."""
    return dataclasses.replace(act, partitions=tuple(dataclasses.replace(r, begin=1, end=9) for r in act.partitions))


def of_another(act: Repositioned) -> Repositioned:
    """Of another agent's inbox."""
    return dataclasses.replace(act, agent="b")


def long_before(act: Repositioned) -> Repositioned:
    """Before the record was written: another one had its place then, in a topic that was made anew since."""
    return dataclasses.replace(act, at=act.at - timedelta(minutes=1))


@pytest.mark.parametrize("other", [elsewhere, before_it, behind_it, of_another, long_before])
def test_act_about_other_records_excuses_nothing(other: Callable[[Repositioned], Repositioned]) -> None:
    made = answered_again(ended())
    made.repositions = [other(act) for act in made.repositions]

    assert "attempt 1 of a reported 2 times" in told(made)


def test_a_second_act_lets_it_be_answered_a_third_time() -> None:
    made = answered_again(ended())
    made.read_again("a")
    made.succeeded("a")

    assert told(made) == ""


def test_record_that_was_read_first_after_the_act_has_one_outcome() -> None:
    made = HandMade(ROW)
    made.started("a")
    made.read_again("a")
    made.succeeded("a", fired=["b"])
    made.succeeded("b")
    made.settled()

    assert told(made) == ""


def test_repeat_in_another_slot_has_triggers_of_its_own() -> None:
    made = answered_again(ended())
    for topic, since in ((made.topics.events, 5), (made.topics.inbox("b"), 1)):
        log = made.entries[topic]
        for n, each in enumerate(log[since:], since):
            assert each.envelope is not None
            log[n] = dataclasses.replace(each, envelope=structs.replace(each.envelope, source="farandole/unit/other"))

    assert told(made) == ""


def test_repeat_that_has_an_effect_is_told() -> None:
    """The run ends a second time, with what was answered again."""
    made = answered_again(ended())
    made.follows(facts.RunSettled("r-1", "succeeded", made.now, made.now))

    found = told(made)

    assert "it ended 2 times" in found
    assert "RunSettled was written 2 times" in found


def live(made: HandMade) -> None:
    """Two of three steps after the fork have gone."""
    made.started("a")
    made.succeeded("a", fired=["b", "c"])
    made.succeeded("b")
    made.succeeded("c")
    made.scheduled("d")
    made.succeeded("d")
    made.settled()


def test_repeats_of_both_sides_of_a_join_are_valid_as_long_as_it_goes_once() -> None:
    made = HandMade(FORK)
    live(made)
    made.read_again("b")
    made.read_again("c")
    repeated = made.succeeded("b")
    made.succeeded("c")
    assert told(made) == ""

    made.scheduled("d", cause=repeated)

    found = told(made)
    assert "attempt 1 of d was triggered 2 times" in found
    assert "StepScheduled of d, though it was succeeded already" in found


def test_attempts_that_failed_are_answered_again_with_their_retries() -> None:
    made = HandMade(ROW)
    made.started("a")
    made.failed("a")
    made.retry("a", 2)
    made.succeeded("a", 2, fired=["b"])
    made.succeeded("b")
    made.settled()
    made.read_again("a")
    made.failed("a")
    made.succeeded("a", 2, fired=["b"])
    made.consumed = inbox(made, "b")[-1]
    made.succeeded("b")

    assert told(made) == ""


def test_attempt_that_failed_and_succeeds_when_it_is_read_again_counts_while_its_retry_waits() -> None:
    made = HandMade(ROW)
    made.started("a")
    made.failed("a")
    made.follows(facts.RetryScheduled("r-1", "a", 2, made.now + timedelta(seconds=2), made.now))
    made.read_again("a")
    made.succeeded("a", 1, fired=["b"])
    made.succeeded("b")
    made.settled()

    assert told(made) == ""


def test_retry_that_was_under_way_when_a_repeat_succeeded_fires_once_more_and_only_then() -> None:
    made = HandMade(ROW)
    made.started("a")
    made.failed("a")
    made.retry("a", 2)
    made.read_again("a", 0, 1)
    made.succeeded("a", 1, fired=["b"])
    made.succeeded("a", 2, fired=["b"])
    for each in inbox(made, "b"):
        made.consumed = each
        made.succeeded("b")
    made.consumed = None
    made.settled()

    assert told(made) == ""
    assert "fired b, which was scheduled already" in told(dataclasses.replace(made.history(), repositions=()))


def test_attempt_that_is_given_up_again_has_a_letter_for_each_time_and_no_more() -> None:
    made = HandMade(ROW)
    made.started("a")
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    made.read_again("a")
    repeated = made.failed("a", retryable=False)
    live_history = made.history(quiescent=False)
    assert told(live_history) == ""

    made.dead_letter(repeated, "exception")

    assert "it was dead-lettered 3 times" in told(made.history(quiescent=False))
    assert "it was dead-lettered 2 times" in told(dataclasses.replace(live_history, repositions=()))


def test_stranger_is_quarantined_once_for_each_reading() -> None:
    made = ended()
    made.quarantined("a", record := made.stranger("a"))
    made.read_again("a")
    made.succeeded("a")
    made.quarantined("a", record)
    assert told(made) == ""

    made.quarantined("a", record)

    assert "an inbox record has 3 outcomes" in told(made)


# --- what ran at once, and direct starts ----------------------------------------------------------


def together(made: HandMade) -> Entry:
    """`a` succeeds and `b` runs at once with it."""
    parent = made.reported(facts.StepSucceeded("r-1", "a", 1, b"", ("b",), fused=("b",)))
    made.reported(facts.StepSucceeded("r-1", "b", 1, b"out", final=True), parent)
    return parent


def apart(made: HandMade) -> None:
    """`a` succeeds and fires `b`, which succeeds."""
    made.succeeded("a", fired=["b"])
    made.consumed = inbox(made, "b")[-1]
    made.reported(facts.StepSucceeded("r-1", "b", 1, b"out", final=True))
    made.consumed = None


@pytest.mark.parametrize("before", [together, apart])
@pytest.mark.parametrize("after", [together, apart])
def test_repeat_may_run_at_once_what_was_triggered_and_the_other_way_round(before: Story, after: Story) -> None:
    made = HandMade(ROW)
    made.started("a")
    before(made)
    made.settled("succeeded", b"out")
    made.read_again("a")
    after(made)

    assert told(made) == ""
    assert "attempt 1 of b reported 2 times" in told(dataclasses.replace(made.history(), repositions=()))


def test_repeat_that_ran_its_successor_at_once_without_a_report_is_told() -> None:
    made = HandMade(ROW)
    made.started("a")
    together(made)
    made.settled("succeeded", b"out")
    made.read_again("a")
    made.reported(facts.StepSucceeded("r-1", "a", 1, b"", ("b",), fused=("b",)))

    assert "attempt 1 of b was run at once with a, but has no report" in told(made)


def test_repeat_that_says_it_fired_without_a_trigger_is_told() -> None:
    made = ended()
    made.read_again("a")
    made.reported(facts.StepSucceeded("r-1", "a", 1, b"", ("b",)))

    assert "attempt 1 of b was scheduled, but its trigger is not in farandole.inbox.b" in told(made)


def test_direct_start_that_is_read_again_is_told_again_and_starts_nothing() -> None:
    made = HandMade(ROW)
    begun = made.started_directly("a")
    together(made)
    made.settled("succeeded", b"out")
    made.read_again("a")
    log = made.entries[made.topics.events]
    log.append(dataclasses.replace(begun, offset=len([e for e in log if e.partition == begun.partition])))
    together(made)

    assert told(made) == ""
    assert "it was started twice" in told(dataclasses.replace(made.history(), repositions=()))


# --- what handlers wrote down ---------------------------------------------------------------------


def test_handler_that_ran_for_a_repeat_needs_no_crash_behind_it_and_another_does() -> None:
    made = answered_again(ended())
    calls = [Execution("r-1", "a", NO_ITEM, 1, (1, n), 7, n, n + 0.5) for n in (1, 2, 3)]

    enough = dataclasses.replace(made.history(), executions=tuple(calls[:2]), faults=0)
    too_many = dataclasses.replace(made.history(), executions=tuple(calls), faults=0)

    assert "ran 2 times" not in told(enough)
    assert "attempt 1 of a ran 3 times, with 0 faults" in told(too_many)
