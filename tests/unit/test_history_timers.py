"""Bad histories of timers: early, out of nothing, over a success, lost (I8)."""

import dataclasses
from datetime import timedelta

from farandole.definition.model import STOP_MAX
from farandole.events import facts
from farandole.events.commands import StartRun
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import DAY, HandMade
from farandole.testing.sketch import define, node

SECOND = timedelta(seconds=1)
ONE = define(node("a", deadline=SECOND), deadline=SECOND)


def told(made: HandMade | History, invariant: str = "I8") -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    history = made.history(quiescent=False) if isinstance(made, HandMade) else made
    found = check_history(history)
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def waiting(wait: timedelta = SECOND) -> HandMade:
    """The first attempt of `a` has failed, and its retry is set."""
    made = HandMade(ONE)
    made.started("a")
    made.failed("a")
    made.follows(facts.RetryScheduled(made.run, "a", 2, made.now + wait, made.now))
    return made


def test_a_retry_that_comes_due_early_is_told() -> None:
    made = waiting(10 * SECOND)
    made.wait(SECOND)
    made.marked(facts.RetryDue(made.run, "a", 2))

    assert "the retry (attempt 2) of a came due 0:00:08.990000 early" in told(made)


def test_a_retry_that_nobody_set_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.marked(facts.RetryDue(made.run, "a", 2))

    assert "the retry (attempt 2) of a came due, but nothing set it" in told(made)


def test_a_timer_that_was_written_twice_has_one_effect() -> None:
    made = waiting()
    made.wait(SECOND)
    due = made.marked(facts.RetryDue(made.run, "a", 2))
    made.marked(facts.RetryDue(made.run, "a", 2))
    made.scheduled("a", 2, cause=due)
    made.succeeded("a", 2)
    made.settled()

    assert check_history(made.history()) == []


def test_a_retry_that_came_due_and_was_not_triggered_is_told() -> None:
    made = waiting()
    made.wait(SECOND)
    made.marked(facts.RetryDue(made.run, "a", 2))

    assert "attempt 2 of a came due, but was not triggered" in told(made)


def test_a_retry_that_never_comes_due_is_told() -> None:
    made = waiting()
    long_after = dataclasses.replace(made.history(quiescent=False), now=made.now + DAY)

    assert "attempt 2 of a was due at 2026-01-01 00:00:01.050000+00:00, and nothing came of it" in told(long_after)


def later(made: HandMade, by: timedelta) -> History:
    """The log while it goes on, so much later; nothing has come."""
    return dataclasses.replace(made.history(quiescent=False), now=made.now + by)


def test_every_instant_that_a_run_waits_for_is_looked_at() -> None:
    """The checker looked at retries alone: a coordinator that forgot its deadlines was none that forgot timers."""
    ran = HandMade(define(node("a"), deadline=SECOND))
    ran.started("a")
    step = HandMade(define(node("a", deadline=SECOND)))
    step.started("a")
    held = HandMade(define(node("a")))
    held.started("a")
    held.failed("a", retryable=False)
    held.given_up("a", 1, "exception", by="agent")
    held.held("a")
    stopping = HandMade(define(node("a")))
    stopping.started("a")
    stopping.cancel_asked()
    stopping.stopping()
    broken = HandMade(define(node("a")))
    broken.started("a")
    a = broken.succeeded("a")
    broken.follows(facts.RunHeld(broken.run, "kernel_error", "broken", until=broken.now + DAY, offset=a.offset), a)
    for made, told_of in (
        (ran, "its deadline was due at 2026-01-01 00:00:01"),
        (step, "the deadline of a was due at 2026-01-01 00:00:01"),
        (held, "the end of the hold for a was due at 2026-01-02 00:00:00"),
        (stopping, "the end of its patience was due at 2026-01-01 00:10:00"),
        (broken, "the end of the hold was due at 2026-01-02 00:00:00"),
    ):
        made.head("running")

        assert told_of in told(later(made, 2 * DAY))
        assert check_history(later(made, timedelta())) == []


def test_what_waits_for_nothing_or_has_ended_may_wait() -> None:
    idle, ended = HandMade(define(node("a"))), HandMade(ONE)
    for made in (idle, ended):
        made.started("a")
    ended.succeeded("a")
    ended.settled()
    idle.head("running")

    assert check_history(later(idle, 9 * DAY)) == []
    assert check_history(later(ended, 9 * DAY)) == []


def test_what_a_definition_gives_a_time_has_it() -> None:
    made = HandMade(define(node("a"), node("b"), deadline=SECOND))
    asked = made.asked(StartRun(made.definition.name, b"", made.run))
    started = facts.RunStarted(made.run, made.definition.name, made.definition.hash, b"", "hash", made.now)
    made.last = made.follows(started, asked)
    made.scheduled("a", deadline=SECOND)
    made.follows(facts.RunHeld(made.run, "dead_letter", "", "a", until=made.now + 2 * DAY))
    made.follows(facts.RunStopping(made.run, "cancelled", "", made.now))

    found = told(made)

    assert "RunStarted has until None, but its definition gives it 0:00:01" in found
    assert "StepScheduled of a has until 2026-01-01 00:00:01.020000+00:00, but its definition gives it None" in found
    assert "RunHeld of a has until 2026-01-03" in found
    assert "RunStopping has until 2026-01-01" in found


def test_a_run_that_an_error_holds_is_stopped_with_the_usual_time_by_who_cannot_read_its_definition() -> None:
    # The story: a coordinator of an older version took over a run that another error held, and was asked to cancel it.
    # It cannot know what the definition gives a stop; the checker had only thought of those held for want of that.
    made = HandMade(define(node("a"), stop_max=SECOND))
    made.started("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "RuntimeError: ours", until=made.now + DAY, offset=1))
    usual = made.follows(facts.RunStopping(made.run, "cancelled", "", made.now + STOP_MAX))
    other = made.follows(facts.RunStopping(made.run, "cancelled", "", made.now + DAY))

    found = told(made)

    assert f"RunStopping has until {other.fact.until}" in found  # type: ignore[union-attr]
    assert f"RunStopping has until {usual.fact.until}" not in found  # type: ignore[union-attr]


def test_the_deadline_of_a_step_runs_from_its_first_attempt_and_anew_from_a_replay() -> None:
    made = HandMade(define(node("a", deadline=DAY / 2)))
    made.started("a")
    made.failed("a")
    made.retry("a", 2)
    made.failed("a", 2, retryable=False)
    letter = made.entries[made.topics.dead("a")][0]
    made.given_up("a", 2, "exception", by="agent")
    made.held("a")
    made.replay_asked("a", 2, letter)
    made.follows(facts.StepScheduled(made.run, "a", 3, fresh_budget=True))

    found = told(made)

    assert "StepScheduled of a has until None, but its definition gives it 12:00:00" in found
    assert found.count("I8") == 1


def test_every_kind_of_deadline_must_have_been_set_and_is_not_early() -> None:
    made = HandMade(define(node("a"), node("b", deadline=SECOND)))
    start = made.started("a", deadline=DAY)
    made.scheduled("b", cause=start, deadline=DAY)
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    for scope, step in (("run", ""), ("step", "a"), ("step", "b"), ("hold", "a"), ("hold", "b"), ("stop", "")):
        made.marked(facts.DeadlinePassed(made.run, scope, step, 1))

    found = told(made)

    assert "the run deadline came due 23:59:59.9" in found
    assert "the step deadline of a came due, but nothing set it" in found
    assert "the step deadline of b came due 23:59:59.9" in found
    assert "the hold deadline of a came due 23:59:59.9" in found
    assert "the hold deadline of b came due, but nothing set it" in found
    assert "the stop deadline came due, but nothing set it" in found


def test_hold_without_the_definition_has_no_end() -> None:
    made = HandMade(define(node("a")))
    made.started("a")
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", f"{facts.DEFINITION_GONE}: ...", offset=a.offset), a)
    made.head("running")

    assert check_history(later(made, 9 * DAY)) == []


def test_the_end_of_patience_with_an_error_of_ours_is_a_deadline_too() -> None:
    made = HandMade(define(node("a")))
    made.started("a")
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    made.marked(facts.DeadlinePassed(made.run, "hold"))

    assert "the hold deadline came due 23:59:59.9" in told(made)


def test_a_stale_marker_of_a_deadline_that_was_set_anew_is_not_early() -> None:
    made = HandMade(define(node("a", deadline=SECOND)))
    made.started()
    made.scheduled("a", deadline=SECOND)
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    made.wait(SECOND)
    made.replay_asked("a", 1, made.entries[made.topics.dead("a")][0])
    made.scheduled("a", 2, replay=True)
    made.follows(facts.RunReleased(made.run, "replayed"))
    made.marked(facts.DeadlinePassed(made.run, "step", "a", 1))

    assert check_history(made.history(quiescent=False)) == []


def test_a_deadline_that_fires_over_a_success_is_told() -> None:
    made = HandMade(ONE)
    made.started()
    made.scheduled("a", deadline=SECOND)
    made.wait(SECOND)
    made.succeeded("a")
    made.marked(facts.DeadlinePassed(made.run, "step", "a", 1))
    made.given_up("a", 1, "step_deadline")

    assert "the deadline of a fired over its success" in told(made)
