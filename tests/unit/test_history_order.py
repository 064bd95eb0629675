"""Bad histories of folding, and the story of a run: what counts when (I9)."""

import dataclasses
from collections.abc import Mapping
from datetime import timedelta

import pytest
from msgspec import structs

from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import DAY, HandMade
from farandole.testing.history.story import folded_at, story
from farandole.testing.sketch import define, framed, node

TWO = define(node("a"), node("b"), node("c", "a", "b"))


def told(made: HandMade | History, invariant: str = "I9") -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    history = made.history(quiescent=False) if isinstance(made, HandMade) else made
    found = check_history(history)
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def with_header(made: HandMade, at: int, **changes: str) -> History:
    """The history with the envelope of one event edited."""
    events = made.entries[made.topics.events]
    envelope = events[at].envelope
    assert envelope is not None
    events[at] = dataclasses.replace(events[at], envelope=structs.replace(envelope, **changes))
    return made.history(quiescent=False)


def kinds(told: tuple[Entry, ...]) -> list[str]:
    """What a story consists of, with the step where there is one."""
    return [type(each.fact).__name__ + (f" {each.unit[0]}" if each.unit[0] else "") for each in told]


def started() -> HandMade:
    """A run with two roots."""
    made = HandMade(TWO)
    made.started("a", "b")
    return made


def test_an_event_that_cannot_be_read_is_told() -> None:
    made = started()
    events = made.entries[made.topics.events]
    events[-1] = dataclasses.replace(events[-1], content=None, reason="unknown_schema")

    assert "an event cannot be read: unknown_schema" in told(made)


def test_a_consequence_without_ce_folded_is_told() -> None:
    made = started()

    assert "RunStarted lacks ce_folded" in told(with_header(made, 0, folded=""))


def test_a_fact_with_ce_folded_is_told() -> None:
    made = started()
    made.succeeded("a")

    assert "StepSucceeded carries ce_folded" in told(with_header(made, -1, folded="1/3"))


def test_a_consequence_that_folded_past_itself_or_elsewhere_is_told() -> None:
    made = started()

    assert "RunStarted says that it folded up to (1, 99)" in told(with_header(made, 0, folded="1/99"))
    assert "RunStarted says that it folded up to (0, 0)" in told(with_header(made, 0, folded="0/0"))
    assert "RunStarted says that it folded up to None" in told(with_header(made, 0, folded="here"))


def test_a_marker_that_is_folded_when_it_is_written_is_told() -> None:
    made = started()
    marker = made.cancel_asked()
    made.follows(facts.RunStopping(made.run, "cancelled", "", made.now + DAY), folded=marker.offset)

    assert f"RunStopping was folded up to {marker.offset}, before its cause was read" in told(made)


def test_an_owner_that_folds_what_was_folded_already_is_told() -> None:
    made = started()
    made.succeeded("a")
    b = made.succeeded("b")
    made.scheduled("c", cause=b)
    made.follows(facts.RunReleased(made.run, "released"), made.entries[made.topics.events][3], folded=3)

    assert "a consequence was folded up to 3 after another up to 5: two owners wrote" in told(made)


def test_the_same_consequence_twice_is_told() -> None:
    made = started()
    events = made.entries[made.topics.events]
    events.append(dataclasses.replace(events[-1], offset=events[-1].offset + 1))

    assert "StepScheduled was written 2 times" in told(made)


def test_a_start_that_was_sent_twice_is_refused_twice_without_harm() -> None:
    made = HandMade(TWO)
    refused = made.refused()
    made.entries[refused.topic].append(dataclasses.replace(refused, offset=refused.offset + 1))

    assert check_history(made.history()) == []


def test_a_command_that_becomes_two_markers_is_told() -> None:
    made = started()
    marker = made.cancel_asked()
    made.entries[marker.topic].append(dataclasses.replace(marker, offset=marker.offset + 1))

    assert "one command became 2 markers" in told(made)


# --- the story ------------------------------------------------------------------------------


def test_folded_at_reads_partition_and_position_and_nothing_else() -> None:
    made = started()
    first = made.entries[made.topics.events][0]
    command = made.entries[made.topics.commands][0]

    assert folded_at(first) == (1, 0)
    assert folded_at(command) is None
    assert folded_at(dataclasses.replace(first, envelope=None)) is None


def test_a_consequence_counts_before_a_fact_that_slipped_in() -> None:
    made = started()
    a = made.succeeded("a")
    b = made.succeeded("b")
    made.follows(facts.RunReleased(made.run, "late"), a, folded=b.offset)

    order = kinds(story(made.entries[made.topics.events]))

    assert order[-3:] == ["StepSucceeded a", "RunReleased", "StepSucceeded b"]


def test_what_a_held_run_missed_counts_at_its_release_each_fact_before_what_follows_from_it() -> None:
    made = started()
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    b = made.succeeded("b")
    made.release_asked()
    made.follows(facts.RunReleased(made.run, "kernel_error"))
    made.follows(facts.RunHeld(made.run, "dead_letter", "", "a"), a)
    made.scheduled("c", cause=b)

    order = kinds(story(made.entries[made.topics.events]))

    assert order[3:] == [
        "RunHeld",
        "ReleaseRequested",
        "RunReleased",
        "StepSucceeded a",
        "RunHeld a",
        "StepSucceeded b",
        "StepScheduled c",
    ]


def test_a_run_that_is_held_anew_at_its_release_goes_on_missing_the_rest() -> None:
    made = started()
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    b = made.succeeded("b")
    made.release_asked()
    made.follows(facts.RunReleased(made.run, "kernel_error"))
    made.follows(facts.RunHeld(made.run, "kernel_error", "again", until=made.now + DAY, offset=b.offset), b)
    held = kinds(story(made.entries[made.topics.events]))
    made.release_asked()
    made.follows(facts.RunReleased(made.run, "kernel_error"))

    assert held[3:] == ["RunHeld", "ReleaseRequested", "RunReleased", "StepSucceeded a", "RunHeld"]
    assert kinds(story(made.entries[made.topics.events]))[-2:] == ["RunReleased", "StepSucceeded b"]


def test_a_deadline_of_a_step_that_passed_while_the_run_was_held_counts_at_its_release() -> None:
    """Seed 5030850: it was told before the success in front of it, which then came to a step that was over."""
    made = started()
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    passed = made.marked(facts.DeadlinePassed(made.run, "step", "b", 1))
    made.release_asked()
    made.follows(facts.RunReleased(made.run, "kernel_error"))
    made.follows(facts.StepDeadLettered(made.run, "b", 1, "step_deadline", "coordinator"), passed)

    order = kinds(story(made.entries[made.topics.events]))

    assert order[-4:] == ["RunReleased", "StepSucceeded a", "DeadlinePassed b", "StepDeadLettered b"]


def test_a_run_held_at_its_start_missed_nothing_before_it() -> None:
    made = HandMade(TWO)
    start = made.started()
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY), start)
    released = made.release_asked()
    made.follows(facts.RunReleased(made.run, "kernel_error"))
    made.scheduled("a", cause=released)
    made.scheduled("b", cause=released)
    made.succeeded("a")
    made.succeeded("b")
    made.scheduled("c")
    made.succeeded("c")
    made.settled()

    assert check_history(made.history()) == []


def test_a_held_run_that_is_cancelled_ends_at_once() -> None:
    made = started()
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    made.cancel_asked()
    made.stopping()
    made.settled("cancelled")
    made.cancelled("b")

    assert check_history(made.history()) == []


def left_out(*, final: bool) -> HandMade:
    """A run of one step, begun directly and done before its coordinator could read the definition, then cancelled."""
    made = HandMade(define(node("a"), output="a"))
    begun = made.started_directly("a")
    made.reported(facts.StepSucceeded(made.run, "a", 1, framed(1), final=final))
    why = f"{facts.DEFINITION_GONE}: definition {made.definition.hash} is pinned by a run"
    made.follows(facts.RunHeld(made.run, "kernel_error", why, offset=begun.offset), begun)
    made.cancel_asked()
    return made


def test_a_final_success_is_the_end_of_a_run_that_nobody_could_read_whatever_was_asked_after_it() -> None:
    """Its client knows the result (direct end): a cancellation that a coordinator of an older version was asked for
    took it back, until the simulation met such coordinators (seeds 17 and 48)."""
    good = left_out(final=True)
    success = good.entries[good.topics.events][1]
    good.marked(facts.ReleaseRequested(good.run))
    good.follows(facts.RunReleased(good.run, "kernel_error"))
    good.last = success
    good.settled(output=framed(1))
    bad = left_out(final=True)
    bad.stopping()
    bad.settled("cancelled")

    order = kinds(story(good.entries[good.topics.events]))

    assert order[2:] == ["RunReleased", "RunStarted", "StepSucceeded a", "RunSettled", "CancelRequested"]
    assert {each.invariant for each in check_history(good.history(quiescent=False))} <= {"I3"}
    assert "a success that says it is final was not read when the run was ended" in told(bad, "I2")


def test_a_release_of_a_run_that_nobody_can_read_may_be_without_effect() -> None:
    """Seed 5000731: it is asked for again by whoever can."""
    made = left_out(final=False)
    made.release_asked()

    assert told(made, "I9").startswith("not told")

    other = started()
    a = other.succeeded("a")
    other.follows(facts.RunHeld(other.run, "kernel_error", "broken", until=other.now + DAY, offset=a.offset), a)
    asked = other.release_asked()
    passed_over = told(other, "I9")
    other.follows(facts.RunRefused(other.run, other.definition.name, "definition_gone", "why"), asked)

    assert "ReleaseRequested was folded where it fitted, but no RunReleased followed" in passed_over
    assert told(other, "I9").startswith("not told"), "who read it could not, and said so (seed 5037268)"


def test_a_run_that_nobody_can_read_may_be_cancelled_while_no_client_knows_its_result() -> None:
    """Who cancels it does not know how long its definition lets it wait for what is under way."""
    made = left_out(final=False)
    made.wait(timedelta(seconds=1))
    made.follows(facts.RunStopping(made.run, "cancelled", "asked", made.now + timedelta(minutes=3)))
    made.settled("cancelled")

    assert [str(each) for each in check_history(made.history(quiescent=False)) if each.invariant in ("I8", "I14")] == []


# --- headers and values ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"run": "r-2"}, {"step": "b"}, {"step": "nowhere"}, {"attempt": 9}, {"item": 3}], ids=str
)
def test_an_event_whose_value_is_about_something_else_than_its_headers_is_told_and_its_run_not_judged(
    changes: Mapping[str, object],
) -> None:
    """The checker followed the headers here and the value there, and ended with a KeyError for a step that is none."""
    made = started()
    made.succeeded("a")
    events = made.entries[made.topics.events]
    assert events[-1].fact is not None
    events[-1] = dataclasses.replace(events[-1], content=dataclasses.replace(events[-1].fact, **changes))  # type: ignore[arg-type]

    (found,) = check_history(made.history(quiescent=False))

    assert str(found).startswith("I9 run r-1: the headers of a StepSucceeded are about attempt 1 of a, but its value")


def test_a_consequence_whose_value_names_a_step_that_there_is_not_ends_no_checker() -> None:
    made = started()
    events = made.entries[made.topics.events]
    assert isinstance(events[1].fact, facts.StepScheduled)
    events[1] = dataclasses.replace(events[1], content=dataclasses.replace(events[1].fact, step="nowhere"))

    assert "the headers of a StepScheduled are about attempt 1 of a" in told(made)
