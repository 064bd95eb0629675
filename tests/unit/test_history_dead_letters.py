"""Bad histories of giving up: for no reason, against the policy, held or released by nobody (I7)."""

from datetime import timedelta

import pytest

from farandole.definition.model import Definition
from farandole.definition.policy import Retry
from farandole.events import facts
from farandole.testing.history import check_history
from farandole.testing.history.builder import DAY, HandMade
from farandole.testing.sketch import define, node

SECOND = timedelta(seconds=1)
PATIENT = Retry(3, base="4s", cap="4s")
PLAIN = define(node("a", retry=3))


def told(made: HandMade, invariant: str = "I7") -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    found = check_history(made.history(quiescent=False))
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def given_up(definition: Definition, reason: str) -> HandMade:
    """The first attempt of `a` has failed, may be tried again, and is given up on."""
    made = HandMade(definition)
    made.started("a")
    made.failed("a")
    made.given_up("a", 1, reason)
    made.held("a")
    return made


# --- reasons --------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["retry_budget", "run_deadline", "step_deadline", "whatever"])
def test_what_has_attempts_and_time_left_is_not_given_up_on(reason: str) -> None:
    made = given_up(PLAIN, reason)

    assert f"a was dead-lettered ({reason}), but another attempt was in time" in told(made)


@pytest.mark.parametrize(
    ("reason", "short", "long"),
    [
        (
            "retry_budget",
            define(node("a", retry=Retry(3, base="4s", cap="4s", total="4s"))),
            define(node("a", retry=Retry(3, base="4s", cap="4s", total="6s"))),
        ),
        (
            "run_deadline",
            define(node("a", retry=PATIENT), deadline=4 * SECOND),
            define(node("a", retry=PATIENT), deadline=6 * SECOND),
        ),
        (
            "step_deadline",
            define(node("a", retry=PATIENT, deadline=4 * SECOND)),
            define(node("a", retry=PATIENT, deadline=6 * SECOND)),
        ),
    ],
)
def test_what_has_no_time_left_is_given_up_on(reason: str, short: Definition, long: Definition) -> None:
    """With the most that jitter adds, the next attempt is 5 s away."""
    good, bad = given_up(short, reason), given_up(long, reason)

    assert check_history(good.history(quiescent=False)) == []
    assert "but another attempt was in time" in told(bad)


def test_a_step_deadline_gives_up_on_a_step_only_when_it_has_passed() -> None:
    made = HandMade(define(node("a", deadline=SECOND), node("z")))
    made.started("a", "z")
    made.wait(SECOND)
    made.succeeded("z")
    made.given_up("a", 1, "step_deadline")
    made.held("a")

    assert "a was dead-lettered (step_deadline), but no deadline of it has passed" in told(made)


def test_the_time_of_a_step_counts_from_its_first_failure() -> None:
    """A retry that begins the count anew has a budget without end: the kernel might, and nobody looked."""
    made = HandMade(define(node("a", retry=Retry(5, base="2s", cap="3s", total="5s"))))
    made.started("a")
    for attempt in (1, 2):
        made.failed("a", attempt)
        due = made.now + 2 * attempt * SECOND
        made.follows(facts.RetryScheduled(made.run, "a", attempt + 1, due, made.now))
        made.wait(2 * attempt * SECOND)
        made.marked(facts.RetryDue(made.run, "a", attempt + 1))
        made.scheduled("a", attempt + 1)

    assert told(made).count("but its first failure was at") == 1


# --- what follows ---------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_what_is_not_to_be_held_is_not_held(policy: str) -> None:
    made = given_up(define(node("a", retry=1, on_dead_letter=policy)), "attempts_exhausted")

    found = told(made)

    assert f"the dead letter of a did not {policy} it" in found
    assert "it was held for a (dead_letter), which was dead" in found


def test_what_is_to_be_held_does_not_stop_the_run() -> None:
    made = HandMade(PLAIN)
    made.started("a")
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.stopping("failed")

    assert "the dead letter of a did not hold it" in told(made)


def test_each_policy_leads_on_in_its_own_way() -> None:
    for policy, outcome in (("fail", "failed"), ("skip", "partial")):
        made = HandMade(define(node("a", on_dead_letter=policy)))
        made.started("a")
        made.failed("a", retryable=False)
        made.given_up("a", 1, "exception", by="agent")
        if policy == "fail":
            made.stopping("failed")
        else:
            made.follows(facts.StepSkipped(made.run, "a", "dead_letter"))
        made.settled(outcome)

        assert check_history(made.history()) == []


# --- holds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["dead_letter", "trigger_suspected", "whatever"])
def test_a_step_that_is_under_way_holds_nobody(reason: str) -> None:
    made = HandMade(define(node("a"), node("z")))
    made.started("a", "z")
    made.succeeded("z")
    made.held("a", reason)

    assert f"it was held for a ({reason}), which was scheduled" in told(made)


@pytest.mark.parametrize("reason", ["kernel_error", "released", "replayed", "discarded"])
def test_a_release_that_nobody_asked_for_is_told(reason: str) -> None:
    made = HandMade(define(node("a"), node("b", "a")))
    made.started("a")
    a = made.succeeded("a")
    made.follows(facts.RunHeld(made.run, "kernel_error", "broken", until=made.now + DAY, offset=a.offset), a)
    made.follows(facts.RunReleased(made.run, reason), a)

    assert f"it was released ({reason}), but nobody asked for that" in told(made)


def test_a_suspected_step_is_released_when_somebody_asks() -> None:
    made = HandMade(PLAIN)
    made.started("a")
    made.marked(facts.TriggerSuspected(made.run, "a", 1))
    made.held("a", "trigger_suspected")
    made.release_asked()
    made.follows(facts.RunReleased(made.run, "released"))
    made.succeeded("a")
    made.settled()

    assert check_history(made.history()) == []
