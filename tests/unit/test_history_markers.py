"""Bad histories of markers: folded where they fitted, and without effect (I8, I9)."""

import dataclasses
from datetime import timedelta

from farandole.events import facts
from farandole.testing.history import check_history
from farandole.testing.history.builder import DAY, HandMade
from farandole.testing.sketch import define, framed_params, node

SECOND = timedelta(seconds=1)
ONE = define(node("a"))


def told(made: HandMade) -> str:
    """What the checker says of markers; everything that it says, if it says nothing of them."""
    found = check_history(made.history(quiescent=False))
    return (
        "\n".join(str(each) for each in found if "was folded where it fitted" in each.message) or f"not told: {found}"
    )


def held(given: bytes = b"") -> HandMade:
    """`a` is dead-lettered, and the run waits for a person."""
    made = HandMade(ONE)
    made.started("a")
    made.failed("a", retryable=False, given=given)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    made.head("running")
    return made


def asked(made: HandMade, kind: str, attempt: int = 1, given: bytes = b"") -> None:
    """Somebody asks about the dead letter."""
    letter = made.entries[made.topics.dead("a")][0]
    if kind == "discard":
        made.discard_asked("a", attempt, letter)
    else:
        made.replay_asked("a", attempt, letter, given=given)


def test_a_discard_that_leads_to_nothing_is_told() -> None:
    made = held()
    asked(made, "discard")

    assert "I9 run r-1: DiscardRequested of a was folded where it fitted, but no StepSkipped followed" in told(made)


def test_a_replay_that_leads_to_nothing_is_told_where_there_is_an_input() -> None:
    """The input of a failure is kept, and a repaired one comes with the replay; else nobody may have one."""
    repaired, failed, neither = held(), held(b"what it was given"), held()
    asked(repaired, "replay", given=b"repaired")
    asked(failed, "replay")
    asked(neither, "replay")

    for made in (repaired, failed):
        assert "ReplayRequested of a was folded where it fitted, but no StepScheduled followed" in told(made)
    assert check_history(neither.history(quiescent=False)) == []


def test_a_replay_of_an_item_has_its_input_always() -> None:
    made = HandMade(define(node("m", over="params.items")))
    start = made.started(params=framed_params(items=[1]))
    made.follows(facts.StepExpanded(made.run, "m", 1), start)
    made.scheduled("m", 1, 0, cause=start)
    made.failed("m", 1, 0, retryable=False)
    made.given_up("m", 1, "exception", 0, by="agent")
    made.held("m", item=0)
    made.replay_asked("m", 1, made.entries[made.topics.dead("m")][0], 0)

    assert "ReplayRequested of m[0] was folded where it fitted, but no StepScheduled followed" in told(made)


def test_what_names_another_attempt_has_no_effect() -> None:
    discard, replay = held(), held()
    asked(discard, "discard", attempt=7)
    asked(replay, "replay", attempt=7, given=b"repaired")

    assert check_history(discard.history(quiescent=False)) == []
    assert check_history(replay.history(quiescent=False)) == []


def test_deadlines_that_lead_to_nothing_are_told() -> None:
    step = HandMade(define(node("a", deadline=SECOND)))
    step.started("a")
    step.wait(SECOND)
    step.marked(facts.DeadlinePassed(step.run, "step", "a", 1))
    hold = held()
    hold.wait(DAY)
    hold.marked(facts.DeadlinePassed(hold.run, "hold", "a", 1))
    stop = HandMade(ONE)
    stop.started("a")
    stop.cancel_asked()
    stop.stopping()
    stop.wait(timedelta(minutes=10))
    stop.marked(facts.DeadlinePassed(stop.run, "stop"))

    assert "I8 run r-1: DeadlinePassed (step) of a was folded where it fitted, but no StepDeadLettered" in told(step)
    assert "DeadlinePassed (hold) of a was folded where it fitted, but no RunStopping followed" in told(hold)
    assert "DeadlinePassed (stop) was folded where it fitted, but no RunSettled followed" in told(stop)


def test_a_deadline_that_the_result_has_overtaken_leads_to_nothing() -> None:
    made = HandMade(define(node("a", deadline=SECOND)))
    made.started("a")
    made.wait(SECOND)
    made.succeeded("a")
    late = made.last
    made.marked(facts.DeadlinePassed(made.run, "step", "a", 1))
    made.last = late
    made.settled()

    assert check_history(made.history()) == []


def test_a_suspicion_and_a_release_that_lead_to_nothing_are_told() -> None:
    suspicion = HandMade(ONE)
    suspicion.started("a")
    suspicion.marked(facts.TriggerSuspected(suspicion.run, "a", 1))
    release = HandMade(ONE)
    release.started("a")
    release.marked(facts.TriggerSuspected(release.run, "a", 1))
    release.held("a", "trigger_suspected")
    release.release_asked()

    assert "TriggerSuspected of a was folded where it fitted, but no RunHeld followed" in told(suspicion)
    assert "ReleaseRequested was folded where it fitted, but no RunReleased followed" in told(release)


def test_a_marker_that_nobody_has_folded_yet_may_lead_to_nothing() -> None:
    made = held()
    asked(made, "discard")

    unread = dataclasses.replace(made.history(quiescent=False), committed=())

    assert "was folded" in told(made)
    assert check_history(unread) == []
