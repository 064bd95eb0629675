"""Timers are hints: which there are, and whether one that is due still means anything."""

from datetime import timedelta

from farandole.events import facts
from farandole.kernel.state import ms
from farandole.kernel.timers import Timer, marker, timers
from farandole.testing.sketch import define, node
from farandole.testing.stage import Stage

MINUTE = timedelta(minutes=1)


def kinds(stage: Stage) -> list[tuple[str, str]]:
    """Kind and step of everything the run waits for."""
    return sorted((timer.kind, timer.step) for timer in timers(stage.run))


def test_timers_of_a_run_are_its_deadlines_retries_and_holds() -> None:
    stage = Stage(define(node("a"), node("b", retry=1), node("c", deadline=MINUTE), deadline=MINUTE * 9))

    stage.fail("a")
    stage.fail("b")

    assert kinds(stage) == [("hold", "b"), ("retry", "a"), ("run", ""), ("step", "c")]


def test_timers_of_a_stopping_run_are_led_by_the_end_of_its_patience() -> None:
    stage = Stage(define(node("a"), deadline=MINUTE))

    stage.tell(facts.CancelRequested("r-1"))

    assert kinds(stage) == [("stop", "")]


def test_timers_of_a_stopping_run_are_not_its_steps_for_their_markers_would_change_nothing() -> None:
    """They stayed in the state, and every owner of the home wrote the same markers once more."""
    stage = Stage(define(node("a", deadline=MINUTE), node("b"), node("c", retry=1), deadline=9 * MINUTE))
    stage.fail("b")
    stage.fail("c")
    before = list(timers(stage.run))
    assert {timer.kind for timer in before} == {"run", "step", "retry", "hold"}

    stage.tell(facts.CancelRequested("r-1"))

    assert kinds(stage) == [("stop", "")]
    assert [marker(stage.run, timer) for timer in before if timer.step] == [None, None, None]


def test_timers_of_a_settled_run_are_its_forgetting_alone() -> None:
    stage = Stage(define(node("a", deadline=MINUTE), deadline=MINUTE))

    stage.succeed("a")

    assert list(timers(stage.run)) == [Timer(stage.run.head.expires, "r-1", "forget")]
    assert marker(stage.run, Timer(stage.run.head.expires, "r-1", "forget")) is None


def test_marker_names_the_attempt_that_the_timer_was_of() -> None:
    stage = Stage(define(node("m", over="params.items", retry=2, deadline=MINUTE)), items=[1, 2])
    stage.fail("m", 1)

    found = {marker(stage.run, timer) for timer in timers(stage.run)}

    assert found == {
        facts.RetryDue("r-1", "m", 2, 1),
        facts.DeadlinePassed("r-1", "step", "m", 1, 1),
        facts.DeadlinePassed("r-1", "step", "m", 1, 0),
    }


def test_marker_of_a_timer_that_the_run_has_gone_past_is_none() -> None:
    stage = Stage(define(node("a", deadline=MINUTE), deadline=MINUTE * 9))
    stage.fail("a")
    before = list(timers(stage.run))

    stage.tell(facts.RetryDue("r-1", "a", 2))

    assert [timer.kind for timer in before if marker(stage.run, timer) is not None] == ["run"]
    assert Timer(ms(stage.now + MINUTE), "r-1", "step", "a", -1, 2) in timers(stage.run)


def test_marker_of_a_timer_of_an_earlier_run_with_the_same_id_is_none() -> None:
    """The steps of the other pipeline were looked up in this one, which ended the process."""
    stage = Stage(define(node("a"), node("m", over="params.items")), items=[1])

    for step, item in (("gone", -1), ("m", 7), ("a", 0)):
        assert marker(stage.run, Timer(1, "r-1", "step", step, item, 1)) is None
