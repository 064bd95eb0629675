"""Bad histories of triggers and causes: written twice, by the wrong one, out of nothing, astray (I3, I4)."""

import dataclasses

from msgspec import structs

from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import HandMade
from farandole.testing.sketch import define, node

CHAIN = define(node("a"), node("b", "a"))


def chain() -> HandMade:
    """`a` has succeeded and its agent has fired `b`."""
    made = HandMade(CHAIN)
    made.started("a")
    made.succeeded("a", fired=["b"])
    return made


def told(history: History, invariant: str) -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    found = check_history(history)
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def edited(entry: Entry, **changes: str) -> Entry:
    """The entry with another envelope."""
    assert entry.envelope is not None
    return dataclasses.replace(entry, envelope=structs.replace(entry.envelope, **changes))


def with_trigger(made: HandMade, old: Entry, new: Entry | None) -> History:
    """The history with one trigger replaced, or left out."""
    whole = made.history(quiescent=False)
    kept = tuple(each for each in whole.inboxes if each.place != old.place)
    return dataclasses.replace(whole, inboxes=kept if new is None else (*kept, new))


def test_an_attempt_that_is_triggered_twice_is_told() -> None:
    made = chain()
    made.succeeded("b")
    made.settled()
    again = made.trigger_of("b")
    made.entries[again.topic].append(dataclasses.replace(again, offset=again.offset + 1))

    assert "attempt 1 of b was triggered 2 times" in told(made.history(), "I4")


def test_a_trigger_in_another_inbox_is_told() -> None:
    made = chain()
    trigger = made.trigger_of("b")

    history = with_trigger(made, trigger, dataclasses.replace(trigger, topic=made.topics.inbox("a"), offset=7))

    assert "a trigger of b is not in the inbox of b" in told(history, "I3")


def test_a_trigger_with_another_key_or_id_is_told() -> None:
    made = chain()
    trigger = made.trigger_of("b")

    astray = with_trigger(made, trigger, dataclasses.replace(trigger, key="r-2"))
    renamed = with_trigger(made, trigger, edited(trigger, id="r-1/b/trigger"))

    assert "a trigger of b has key 'r-2'" in told(astray, "I3")
    assert "a trigger of b has id 'r-1/b/trigger'" in told(renamed, "I3")


def test_a_trigger_out_of_nothing_is_told() -> None:
    made = chain()
    trigger = made.trigger_of("b")

    history = with_trigger(made, trigger, edited(trigger, cause="r-1/x/0/-/1/StepSucceeded"))

    assert "the trigger of attempt 1 of b follows from nothing on `events`" in told(history, "I3")


def test_a_trigger_of_another_attempt_than_was_scheduled_is_told() -> None:
    made = chain()
    trigger = made.trigger_of("a")
    scheduled = next(each for each in made.entries[made.topics.events] if isinstance(each.fact, facts.StepScheduled))

    history = with_trigger(made, made.trigger_of("b"), edited(made.trigger_of("b"), cause=scheduled.id))

    assert trigger.cause == scheduled.id
    assert "the trigger of attempt 1 of b names another attempt" in told(history, "I3")


def test_a_trigger_that_its_agent_does_not_own_up_to_is_told() -> None:
    made = HandMade(CHAIN)
    made.started("a")
    a = made.succeeded("a")
    made.scheduled("b", cause=a)
    trigger = made.trigger_of("b")

    history = with_trigger(made, trigger, edited(trigger, cause=a.id))

    assert "was written by an agent that does not say so" in told(history, "I3")


def test_a_trigger_that_another_process_wrote_is_told() -> None:
    made = chain()
    trigger = made.trigger_of("b")

    history = with_trigger(made, trigger, edited(trigger, source="farandole/zombie/1"))

    assert "the trigger of attempt 1 of b and the success behind it are not one transaction" in told(history, "I3")


def test_a_trigger_that_follows_from_a_failure_is_told() -> None:
    made = HandMade(CHAIN)
    made.started("a")
    failed = made.failed("a")
    made.scheduled("b", cause=failed)
    trigger = made.trigger_of("b")

    history = with_trigger(made, trigger, edited(trigger, cause=failed.id))

    assert "the trigger of attempt 1 of b follows from a StepFailed" in told(history, "I3")


def test_a_trigger_that_was_lost_is_told_whoever_should_have_written_it() -> None:
    made = chain()

    by_agent = with_trigger(made, made.trigger_of("b"), None)
    by_coordinator = with_trigger(made, made.trigger_of("a"), None)

    assert "attempt 1 of b was scheduled, but its trigger is not in farandole.inbox.b" in told(by_agent, "I4")
    assert "attempt 1 of a was scheduled, but its trigger is not in farandole.inbox.a" in told(by_coordinator, "I4")


def test_a_trigger_that_may_have_expired_is_not_missed() -> None:
    made = chain()
    trigger = made.trigger_of("b")
    history = with_trigger(made, trigger, None)
    at = trigger.topic, trigger.partition
    spans = {**history.spans, at: dataclasses.replace(history.spans[at], begin=1)}

    assert check_history(dataclasses.replace(history, spans=spans, committed=())) == []


def test_a_step_that_the_definition_does_not_have_can_not_be_fired() -> None:
    made = HandMade(CHAIN)
    made.started("a")
    made.reported(facts.StepSucceeded(made.run, "a", 1, b"", ("z",)))

    assert "a record names step 'z', which its definition does not have" in told(made.history(quiescent=False), "I20")


def test_an_agent_does_not_fire_what_is_the_coordinators() -> None:
    made = HandMade(define(node("a"), node("b"), node("c", "a", "b")))
    made.started("a", "b")
    made.succeeded("a", fired=["c"])

    assert "the agent of a fired c, which is not its to fire" in told(made.history(quiescent=False), "I3")


def test_an_edge_that_the_coordinator_fired_is_not_fired_again_by_an_agent() -> None:
    made = HandMade(CHAIN)
    start = made.started("a")
    made.scheduled("b", cause=start)
    made.succeeded("a", fired=["b"])

    assert "the agent of a fired b, which was scheduled already" in told(made.history(quiescent=False), "I4")


def test_a_fact_that_follows_from_nothing_is_told() -> None:
    made = chain()
    made.marked(facts.CancelRequested(made.run), made.trigger_of("a"))
    marker = made.entries[made.topics.events].pop()
    made.entries[made.topics.events].append(edited(marker, cause="nothing", input="farandole.commands/0/99"))

    assert "CancelRequested follows from nothing that exists" in told(made.history(quiescent=False), "I3")


def test_work_for_a_run_that_was_never_started_is_told() -> None:
    made = chain()
    made.run = "r-2"
    made.reported(facts.StepCancelled("r-2", "a", 1, "x"))

    assert "run r-2: there are records of it, but it was never started" in told(made.history(quiescent=False), "I3")


def test_an_event_that_is_not_at_its_runs_home_is_told() -> None:
    made = chain()
    events = made.entries[made.topics.events]
    events[-1] = dataclasses.replace(events[-1], partition=1 - events[-1].partition)

    assert "its home is partition 1, but records of it are elsewhere" in told(made.history(quiescent=False), "I3")
