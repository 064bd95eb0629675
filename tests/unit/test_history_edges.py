"""Bad histories of edges: steps that go too early, twice, against their condition or in a stopping run (I6, I14)."""

import dataclasses
from datetime import timedelta

from farandole.events import facts
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import HandMade
from farandole.testing.sketch import define, framed, framed_params, node

JOIN = define(node("a"), node("b"), node("c", "a", "b"))
SECOND = timedelta(seconds=1)


def told(made: HandMade | History, invariant: str) -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    history = made.history(quiescent=False) if isinstance(made, HandMade) else made
    found = check_history(history)
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def test_a_join_that_goes_before_its_parents_have_ended_is_told() -> None:
    made = HandMade(JOIN)
    made.started("a", "b")
    made.succeeded("a")
    made.scheduled("c")

    assert "StepScheduled of c (go), but its parents say: wait" in told(made, "I6")


def test_a_join_that_goes_twice_is_told() -> None:
    made = HandMade(JOIN)
    made.started("a", "b")
    made.succeeded("a")
    b = made.succeeded("b")
    made.scheduled("c", cause=b)
    made.scheduled("c", cause=b)

    assert "StepScheduled of c, though it was scheduled already" in told(made, "I4")


def test_a_join_that_never_goes_is_told() -> None:
    made = HandMade(JOIN)
    made.started("a", "b")
    made.succeeded("a")
    made.succeeded("b")

    assert "c is still pending, but its parents say: go" in told(made, "I6")


def test_a_join_that_waits_for_a_fact_which_nobody_has_folded_yet_is_fine() -> None:
    made = HandMade(JOIN)
    made.started("a", "b")
    made.succeeded("a")
    made.succeeded("b")
    history = dataclasses.replace(made.history(quiescent=False), committed=())

    assert check_history(history) == []


def test_a_step_is_skipped_for_a_missing_input_only_if_it_is_missing() -> None:
    made = HandMade(JOIN)
    made.started("a", "b")
    made.succeeded("a")
    made.succeeded("b")
    made.follows(facts.StepSkipped(made.run, "c", "input"))

    assert "StepSkipped of c (input), but its parents say: go" in told(made, "I6")


def test_a_step_whose_required_parent_was_skipped_does_not_go() -> None:
    made = HandMade(define(node("a"), node("b", when="params.n > 1"), node("c", "a", "b")))
    start = made.started("a", params=framed_params(0))
    made.follows(facts.StepSkipped(made.run, "b", "condition"), start)
    made.succeeded("a")
    made.scheduled("c")

    assert "StepScheduled of c (go), but its parents say: input" in told(made, "I6")


def test_n_of_goes_with_as_many_successes_as_it_needs_and_not_before() -> None:
    made = HandMade(define(node("a"), node("b"), node("c", "a?", "b?", join="any")))
    made.started("a", "b")
    made.last = made.entries[made.topics.events][0]
    made.scheduled("c")

    assert "StepScheduled of c (go), but its parents say: wait" in told(made, "I6")


def test_any_is_skipped_only_when_no_parent_can_succeed() -> None:
    made = HandMade(define(node("a"), node("b"), node("c", "a?", "b?", join="any")))
    made.started("a", "b")
    made.succeeded("a")
    made.follows(facts.StepSkipped(made.run, "c", "join"))

    assert "StepSkipped of c (join), but its parents say: go" in told(made, "I6")


def test_all_done_waits_for_every_parent() -> None:
    made = HandMade(define(node("a"), node("b"), node("c", "a?", "b?", join="all_done")))
    made.started("a", "b")
    made.succeeded("a")
    made.scheduled("c")

    assert "StepScheduled of c (go), but its parents say: wait" in told(made, "I6")


def test_a_step_waits_for_what_it_is_after() -> None:
    made = HandMade(define(node("a"), node("b"), node("c", "b", after=["a"])))
    made.started("a", "b")
    made.succeeded("b")
    made.scheduled("c")

    assert "StepScheduled of c (go), but its parents say: wait" in told(made, "I6")


def test_a_step_that_was_not_given_up_is_not_skipped_as_a_dead_letter() -> None:
    made = HandMade(define(node("a", on_dead_letter="skip")))
    made.started("a")
    made.failed("a")
    made.follows(facts.StepSkipped(made.run, "a", "dead_letter"))

    assert "StepSkipped of a for a dead letter, but it was failed" in told(made, "I6")


def test_a_discarded_step_is_skipped_whatever_its_policy_and_only_the_one_that_was_meant() -> None:
    made, other = HandMade(define(node("a"))), HandMade(define(node("a")))
    for each, attempt in ((made, 1), (other, 2)):
        each.started("a")
        each.failed("a", retryable=False)
        letter = each.entries[each.topics.dead("a")][0]
        each.given_up("a", 1, "exception", by="agent")
        each.held("a")
        asked = each.discard_asked("a", attempt, letter)
        each.follows(facts.StepSkipped(each.run, "a", "dead_letter"), asked)

    assert told(made, "I6") == "not told, but []"
    assert "StepSkipped of a for a dead letter" in told(other, "I6")


def test_a_map_is_expanded_when_its_parents_allow_it() -> None:
    made = HandMade(define(node("a"), node("m", over="a.items")))
    start = made.started("a")
    made.follows(facts.StepExpanded(made.run, "m", 1), start)

    assert "StepExpanded of m (go), but its parents say: wait" in told(made, "I6")


def test_an_item_beyond_the_expansion_is_told() -> None:
    made = HandMade(define(node("m", over="params.items")))
    start = made.started(params=framed_params(items=[1]))
    made.follows(facts.StepExpanded(made.run, "m", 1), start)
    made.scheduled("m", 1, 0, cause=start)
    made.scheduled("m", 1, 1, cause=start)

    assert "StepScheduled of m[1] (go), but its parents say: wait" in told(made, "I6")


def test_an_item_of_an_item_wise_map_follows_its_own_item() -> None:
    made = HandMade(define(node("m", over="params.items"), node("w", over="m")))
    start = made.started(params=framed_params(items=[1]))
    made.follows(facts.StepExpanded(made.run, "m", 1), start)
    made.scheduled("m", 1, 0, cause=start)
    made.follows(facts.StepExpanded(made.run, "w", 1), start)
    made.scheduled("w", 1, 0, cause=start)

    assert "StepScheduled of w[0] (go), but its parents say: wait" in told(made, "I6")


def test_an_item_that_is_forgotten_is_told() -> None:
    made = HandMade(define(node("m", over="params.items")))
    start = made.started(params=framed_params(items=[1, 2]))
    made.follows(facts.StepExpanded(made.run, "m", 2), start)
    made.scheduled("m", 1, 0, cause=start)
    made.succeeded("m", 1, 0)

    assert "m[1] is still pending, but may go" in told(made, "I6")


def test_a_map_is_completed_when_all_its_items_have_ended_with_their_true_number() -> None:
    made = HandMade(define(node("m", over="params.items")))
    start = made.started(params=framed_params(items=[1]))
    made.follows(facts.StepCompleted(made.run, "m", 0), start)
    made.follows(facts.StepExpanded(made.run, "m", 1), start)
    made.follows(facts.StepCompleted(made.run, "m", 1), start)
    early = told(made, "I6")
    other = HandMade(made.definition)
    start = other.started(params=framed_params(items=[1]))
    other.follows(facts.StepExpanded(other.run, "m", 1), start)
    other.scheduled("m", 1, 0, cause=start)
    other.succeeded("m", 1, 0)
    other.follows(facts.StepCompleted(other.run, "m", 0))

    assert "m was completed, but it was pending" in early
    assert "m was completed while items of it were under way" in early
    assert "m was completed with 0 results, but 1 items succeeded" in told(other, "I6")


def mapped(items: int = 2) -> HandMade:
    """A map of which all items are under way."""
    made = HandMade(define(node("m", over="params.items")))
    start = made.started(params=framed_params(items=list(range(items))))
    made.follows(facts.StepExpanded(made.run, "m", items), start)
    for item in range(items):
        made.scheduled("m", 1, item, cause=start)
    return made


def test_a_step_that_failed_and_may_be_tried_again_has_not_ended() -> None:
    """What follows a failure is a retry or a dead letter; the checker let the next step go meanwhile."""
    made = HandMade(define(node("a"), node("b", "a?")))
    made.started("a")
    failed = made.failed("a")
    made.scheduled("b", cause=failed)

    assert "StepScheduled of b (go), but its parents say: wait" in told(made, "I6")


def test_a_map_is_not_completed_over_an_item_that_failed_or_was_only_answered() -> None:
    failed, answered = mapped(), mapped()
    for made in (failed, answered):
        made.succeeded("m", 1, 0)
    failed.failed("m", 1, 1, retryable=False)
    answered.cancelled("m", 1, 1)
    for made in (failed, answered):
        made.follows(facts.StepCompleted(made.run, "m", 1))

        assert "m was completed while items of it were under way" in told(made, "I6")


def test_what_was_answered_while_its_run_went_on_has_not_ended_and_may_still_succeed() -> None:
    made = HandMade(define(node("a"), node("b", "a?")))
    made.started("a")
    made.cancelled("a")
    made.scheduled("b")

    assert "StepScheduled of b (go), but its parents say: wait" in told(made, "I6")


def test_an_item_that_follows_one_which_failed_waits_for_its_verdict() -> None:
    made = HandMade(define(node("m", over="params.items"), node("w", over="m")))
    start = made.started(params=framed_params(items=[1]))
    made.follows(facts.StepExpanded(made.run, "m", 1), start)
    made.scheduled("m", 1, 0, cause=start)
    made.follows(facts.StepExpanded(made.run, "w", 1), start)
    made.failed("m", 1, 0)
    made.follows(facts.StepSkipped(made.run, "w", "input", 0))

    assert "StepSkipped of w[0] (input), but its parents say: wait" in told(made, "I6")


def test_a_stopping_run_schedules_expands_and_skips_nothing() -> None:
    made = HandMade(define(node("a"), node("b", "a"), node("m", over="a.items"), node("x", "a")))
    made.started("a")
    made.cancel_asked()
    made.stopping()
    made.succeeded("a")
    made.scheduled("b")
    made.follows(facts.StepExpanded(made.run, "m", 0))
    made.follows(facts.StepSkipped(made.run, "x", "condition"))

    found = told(made, "I14")

    assert "StepScheduled of b while the run was stopping" in found
    assert "StepExpanded of m while the run was stopping" in found
    assert "StepSkipped of x while the run was stopping" in found


def test_a_stopping_run_tries_nothing_again() -> None:
    made = HandMade(define(node("a")))
    made.started("a")
    made.failed("a")
    made.follows(facts.RetryScheduled(made.run, "a", 2, made.now + 2 * SECOND, made.now))
    made.cancel_asked()
    made.stopping()
    made.wait(2 * SECOND)
    made.marked(facts.RetryDue(made.run, "a", 2))
    made.scheduled("a", 2)

    assert "StepScheduled of a while the run was stopping" in told(made, "I14")


def test_a_cancellation_that_stops_nothing_is_told() -> None:
    made = HandMade(JOIN)
    made.started("a", "b")
    made.cancel_asked()
    made.succeeded("a")

    assert "CancelRequested was folded while it ran, but did not stop it" in told(made, "I14")


def test_a_run_deadline_that_stops_nothing_is_told() -> None:
    made = HandMade(JOIN)
    made.started("a", "b", deadline=SECOND)
    made.wait(SECOND)
    made.marked(facts.DeadlinePassed(made.run, "run"))

    assert "DeadlinePassed was folded while it ran, but did not stop it" in told(made, "I14")


def test_agents_are_told_of_a_stopping_run() -> None:
    made = HandMade(JOIN)
    made.started("a", "b")
    made.cancel_asked()
    made.stopping(tell=False)
    spans = {**made.history().spans, (made.topics.control, 0): made.history().spans[made.topics.events, 0]}

    history = dataclasses.replace(made.history(quiescent=False), spans=spans)

    assert "it is stopping, but `control` does not say so" in told(history, "I14")


# --- conditions -----------------------------------------------------------------------------


def test_a_step_that_ran_against_its_condition_is_told() -> None:
    made = HandMade(define(node("a"), node("b", "a", "params.n", when="a.n > 3")))
    made.started("a", params=framed_params(0))
    made.succeeded("a", output=framed(1))
    made.scheduled("b")

    assert "b ran, but its condition 'a.n > 3' gives False" in told(made, "I6")


def test_a_step_that_an_agent_fired_against_its_condition_is_told() -> None:
    made = HandMade(define(node("a"), node("b", "a", when="a.n > 3")))
    made.started("a")
    made.succeeded("a", fired=["b"], output=framed(1))

    assert "b ran, but its condition 'a.n > 3' gives False" in told(made, "I6")


def test_a_step_that_was_skipped_though_its_condition_holds_is_told() -> None:
    made = HandMade(define(node("a"), node("b", "a", when="params.n > 3 && run.id == 'r-1'")))
    made.started("a", params=framed_params(7))
    made.succeeded("a", output=framed(1))
    made.follows(facts.StepSkipped(made.run, "b", "condition"))

    assert "b was skipped, but its condition" in told(made, "I6")


def test_a_condition_on_items_is_judged_for_each() -> None:
    made = HandMade(define(node("m", over="params.items", when="item > 3"), node("w", over="m", when="item.n > 3")))
    start = made.started(params=framed_params(items=[1, 9]))
    made.follows(facts.StepExpanded(made.run, "m", 2), start)
    made.scheduled("m", 1, 0, cause=start)
    made.scheduled("m", 1, 1, cause=start)
    made.follows(facts.StepExpanded(made.run, "w", 2), start)
    made.succeeded("m", 1, 1, output=framed(9))
    made.follows(facts.StepSkipped(made.run, "w", "condition", 1))

    found = told(made, "I6")

    assert "m[0] ran, but its condition 'item > 3' gives False" in found
    assert "w[1] was skipped, but its condition 'item.n > 3' gives True" in found
    assert "m[1]" not in found


def test_a_condition_over_a_whole_map_is_judged_on_its_results() -> None:
    made = HandMade(define(node("m", over="params.items"), node("j", "m", when="size(m) > 1")))
    start = made.started(params=framed_params(items=[1]))
    made.follows(facts.StepExpanded(made.run, "m", 1), start)
    made.scheduled("m", 1, 0, cause=start)
    made.succeeded("m", 1, 0, output=framed(1))
    made.follows(facts.StepCompleted(made.run, "m", 1))
    made.scheduled("j")

    assert "j ran, but its condition 'size(m) > 1' gives False" in told(made, "I6")


def test_a_step_is_not_skipped_for_a_condition_that_it_does_not_have() -> None:
    plain = HandMade(define(node("a"), node("b", "a")))
    plain.started("a")
    plain.succeeded("a", output=framed(1))
    plain.follows(facts.StepSkipped(plain.run, "b", "condition"))
    items = HandMade(define(node("m", over="params.items", when="item > 3")))
    start = items.started(params=framed_params(items=[1]))
    items.follows(facts.StepSkipped(items.run, "m", "condition"), start)
    whole = HandMade(define(node("m", over="params.items", when="params.n > 3")))
    start = whole.started(params=framed_params(0, items=[1]))
    whole.follows(facts.StepSkipped(whole.run, "m", "condition"), start)
    whole.settled()

    assert "b was skipped for a condition, but it has none" in told(plain, "I6")
    assert "m was skipped for a condition, but it has none" in told(items, "I6")
    assert check_history(whole.history()) == []


def test_a_list_is_run_over_whole() -> None:
    made = HandMade(define(node("m", over="params.items"), node("w", over="m")))
    start = made.started(params=framed_params(items=[1, 2, 3]))
    made.follows(facts.StepExpanded(made.run, "m", 2), start)
    made.follows(facts.StepExpanded(made.run, "w", 1), start)

    found = told(made, "I6")

    assert "m was expanded to 2 items, but what it runs over has 3" in found
    assert "w was expanded to 1 items, but what it runs over has 2" in found


def test_an_item_beyond_its_list_ends_no_checker() -> None:
    """It looked its element up, and what was wrong with the run nobody was told."""
    made = HandMade(define(node("m", over="params.items", when="item % 2 == 0")))
    start = made.started(params=framed_params(items=[2, 4]))
    made.follows(facts.StepExpanded(made.run, "m", 3), start)
    for item in range(3):
        made.scheduled("m", 1, item, cause=start)

    assert "m was expanded to 3 items, but what it runs over has 2" in told(made, "I6")


def test_a_condition_over_what_is_not_on_the_log_is_not_judged() -> None:
    made = HandMade(define(node("a"), node("b", "a", when="a.n > 3")))
    made.started("a")
    made.succeeded("a", fired=["b"], output=b"not a value")

    assert check_history(made.history(quiescent=False)) == []
