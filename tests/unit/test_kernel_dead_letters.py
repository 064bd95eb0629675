"""Dead letters: what they mean for the run, and how a replay lets it go on (DESIGN sections 6.4 and 6.5)."""

from datetime import timedelta

from farandole.definition.policy import Retry
from farandole.events import facts
from farandole.kernel.state import Status
from farandole.testing.sketch import define, framed, node, value
from farandole.testing.stage import Stage

HOUR = timedelta(hours=1)


def dead(on_dead_letter: str = "hold", *, hold_max: timedelta = HOUR) -> Stage:
    """A run whose first of two parallel steps was dead-lettered; a third joins both."""
    definition = define(
        node("a", on_dead_letter=on_dead_letter, retry=1),
        node("b"),
        node("j", "a?", "b"),
        output="j",
        hold_max=hold_max,
    )
    stage = Stage(definition, n=5)
    stage.fail("a", error="no such carrier")
    return stage


def test_hold_keeps_the_run_and_lets_other_steps_run_on() -> None:
    stage = dead()

    stage.succeed("b")

    assert (stage.run.is_held, stage.outcome) == (True, "")
    held = stage.events(facts.RunHeld)[0]
    assert (held.reason, held.detail, held.step) == ("dead_letter", "attempts_exhausted", "a")


def test_hold_ends_the_run_as_failed_after_hold_max() -> None:
    stage = dead(hold_max=HOUR)
    stage.succeed("b")

    stage.pass_time(HOUR - timedelta(seconds=1))
    assert stage.outcome == ""
    stage.pass_time(timedelta(seconds=2))

    assert (stage.outcome, stage.final().reason) == ("failed", "a: nobody replayed it within hold_max")


def test_fail_stops_the_run_and_waits_for_what_runs() -> None:
    stage = dead("fail")

    assert stage.run.head.outcome == "failed"
    assert stage.outcome == ""
    stage.succeed("b")

    assert (stage.outcome, stage.final().reason) == ("failed", "a: attempts_exhausted")


def test_skip_goes_on_without_the_step_and_the_run_ends_partial() -> None:
    stage = dead("skip")

    stage.succeed("b", n=2)
    assert stage.given("j") == {"p0": None, "p1": value(2)}
    stage.succeed("j", n=9)

    assert (stage.outcome, stage.output()) == ("partial", value(9))


def test_skip_of_a_required_input_skips_what_needs_it() -> None:
    stage = Stage(define(node("a", on_dead_letter="skip", retry=1), node("b", "a"), output="b"))

    stage.fail("a")

    assert [(it.step, it.reason) for it in stage.events(facts.StepSkipped)] == [("a", "dead_letter"), ("b", "input")]
    assert (stage.outcome, stage.output()) == ("partial", None)


# --- replay -----------------------------------------------------------------------------------


def test_replay_gives_one_more_attempt_and_the_waiting_join_goes_on() -> None:
    stage = dead()
    stage.succeed("b", n=2)

    stage.replay("a")
    assert stage.waiting == {("a", -1, 2)}
    assert not stage.run.is_held
    stage.succeed("a", n=1)
    stage.succeed("j")

    assert stage.outcome == "succeeded"
    assert stage.events(facts.RunReleased) == [facts.RunReleased("r-1", "replayed")]


def test_replay_uses_the_input_that_failed() -> None:
    stage = dead()
    given = stage.kept.triggers[0].input

    stage.replay("a")

    assert stage.take("a").input == given


def test_replay_uses_the_repaired_input_where_one_is_given() -> None:
    stage = dead()

    stage.replay("a", repaired=framed(77))

    assert stage.take("a").input == framed(77)


def test_replay_is_done_once_for_one_dead_letter() -> None:
    stage = dead()
    marker = facts.ReplayRequested("r-1", "a", 1, "dead/0/0")

    stage.tell(marker, marker, facts.ReplayRequested("r-1", "a", 1, "dead/0/0", framed(1)))

    assert [task.attempt for task in stage.kept.triggers if task.step == "a"] == [1, 2]


def test_replay_of_another_attempt_than_the_dead_one_has_no_effect() -> None:
    stage = dead()

    stage.tell(facts.ReplayRequested("r-1", "a", 2, "dead/0/0"))

    assert stage.status("a") is Status.DEAD


def test_replay_of_a_step_that_is_not_dead_has_no_effect() -> None:
    stage = dead()

    stage.tell(facts.ReplayRequested("r-1", "b", 1, "dead/0/0", framed(1)))

    assert stage.waiting == {("b", -1, 1)}
    assert stage.unit("b").input is None


def test_replay_of_a_stopping_run_has_no_effect() -> None:
    stage = dead()
    stage.tell(facts.CancelRequested("r-1"))

    stage.replay("a")

    assert stage.waiting == {("b", -1, 1)}


def test_replay_that_fails_again_may_be_replayed_again() -> None:
    stage = dead()

    stage.replay("a")
    stage.fail("a", attempt=2)
    stage.replay("a")
    stage.succeed("a", attempt=3)

    assert [it.attempt for it in stage.events(facts.StepDeadLettered)] == [1, 2]
    assert stage.status("a") is Status.SUCCEEDED


def test_replay_of_one_of_two_dead_steps_leaves_the_run_held() -> None:
    stage = Stage(define(node("a", retry=1), node("b", retry=1)))
    stage.fail("a")
    stage.fail("b")

    stage.replay("a")
    assert stage.run.is_held
    assert stage.events(facts.RunReleased) == []
    stage.replay("b")

    assert not stage.run.is_held


def test_replay_ends_the_hold_of_before() -> None:
    stage = dead(hold_max=HOUR)
    stage.pass_time(HOUR / 2)
    stage.replay("a")

    stage.pass_time(HOUR)

    assert stage.events(facts.DeadlinePassed) == []
    assert stage.waiting == {("a", -1, 2), ("b", -1, 1)}


def test_hold_begins_anew_with_each_dead_letter() -> None:
    stage = dead(hold_max=HOUR)
    stage.pass_time(HOUR / 2)
    stage.replay("a")
    stage.fail("a")
    stage.succeed("b")

    stage.pass_time(HOUR * 0.75)
    assert stage.outcome == ""
    stage.pass_time(HOUR)

    assert stage.outcome == "failed"


def test_dead_letter_of_an_input_that_could_not_be_repeated_is_replayed_with_the_graphs() -> None:
    """An agent reports an empty input where the record is too large to be written twice; state kept it as one."""
    stage = Stage(define(node("a"), node("m", "a", over="params.items")), items=[1])
    stage.succeed("a", n=3)
    task = stage.take("m", 0)

    stage.tell(facts.StepFailed("r-1", "m", 1, "unknown", "too large", "f", False, b"", dead_lettered=True, item=0))
    stage.replay("m", 0)

    assert stage.take("m", 0).input == task.input


def test_replay_without_input_of_a_step_whose_input_only_its_agents_saw_has_no_effect() -> None:
    """It could not be triggered, which held the run by an error of ours at each release: nobody could go on."""
    stage = Stage(define(node("a"), node("b", "a")))
    stage.succeed("a", n=3)
    stage.tell(facts.TriggerSuspected("r-1", "b", 1))

    stage.replay("b")
    assert stage.status("b") is Status.SUSPECTED
    stage.replay("b", repaired=framed(3))

    assert stage.take("b", attempt=2).input == framed(3)


# --- discard ----------------------------------------------------------------------------------


def told(stage: Stage) -> tuple[bytes, bytes, bytes]:
    """Reason, error and fingerprint of the latest dead letter that the coordinator wrote."""
    headers = dict(stage.kept.dead[-1].headers)
    return headers["farandole_reason"], headers["farandole_error"], headers["farandole_fingerprint"]


def test_dead_letter_of_a_deadline_says_so() -> None:
    stage = Stage(define(node("a", deadline=timedelta(seconds=5))))

    stage.pass_time(timedelta(seconds=6))

    said = b"attempt 1 of a: its deadline passed before the attempt reported"
    assert told(stage) == (b"step_deadline", said, b"step_deadline")


def test_dead_letter_of_a_replays_deadline_does_not_repeat_what_the_attempt_before_it_died_of() -> None:
    # The replay hung, and its letter told of the bad postcode that had just been repaired.
    stage = Stage(define(node("a", deadline=timedelta(seconds=5))))
    stage.fail("a", retryable=False, error="bad postcode")
    stage.replay("a")

    stage.pass_time(timedelta(seconds=6))

    said = b"attempt 2 of a: its deadline passed before the attempt reported"
    assert told(stage) == (b"step_deadline", said, b"step_deadline")


def test_dead_letter_of_a_deadline_before_which_no_attempt_is_left_tells_what_the_last_one_said() -> None:
    stage = Stage(define(node("a", retry=Retry(attempts=3, base=HOUR, cap=HOUR), deadline=HOUR / 2)))

    stage.fail("a", error="no such carrier")

    reason, error, _ = told(stage)
    assert (reason, error) == (b"step_deadline", b"no such carrier")


def test_discard_goes_on_without_the_step_and_the_run_ends_partial() -> None:
    stage = dead()
    stage.succeed("b", n=2)

    stage.discard("a")
    assert stage.events(facts.RunReleased) == [facts.RunReleased("r-1", "discarded")]
    assert stage.given("j") == {"p0": None, "p1": value(2)}
    stage.succeed("j", n=9)

    assert (stage.outcome, stage.output()) == ("partial", value(9))


def test_discard_of_what_a_later_step_needs_skips_that_too() -> None:
    stage = Stage(define(node("a", retry=1), node("b", "a"), output="b"))
    stage.fail("a")

    stage.discard("a")

    assert [(it.step, it.reason) for it in stage.events(facts.StepSkipped)] == [("a", "dead_letter"), ("b", "input")]
    assert (stage.outcome, stage.output()) == ("partial", None)


def test_discard_is_done_once_and_only_for_the_attempt_that_is_dead() -> None:
    stage = dead()
    other = facts.DiscardRequested("r-1", "a", 2, "dead/0/0")
    this = facts.DiscardRequested("r-1", "a", 1, "dead/0/0")

    stage.tell(other)
    assert stage.status("a") is Status.DEAD
    stage.tell(this, this)

    assert [it.step for it in stage.events(facts.StepSkipped)] == ["a"]


def test_discard_after_a_replay_has_no_effect_and_the_reverse_neither() -> None:
    stage, reverse = dead(), dead()

    stage.tell(facts.ReplayRequested("r-1", "a", 1, "dead/0/0"), facts.DiscardRequested("r-1", "a", 1, "dead/0/0"))
    reverse.tell(facts.DiscardRequested("r-1", "a", 1, "dead/0/0"), facts.ReplayRequested("r-1", "a", 1, "dead/0/0"))

    assert (stage.status("a"), stage.unit("a").attempt) == (Status.SCHEDULED, 2)
    assert (reverse.status("a"), reverse.unit("a").attempt) == (Status.SKIPPED, 1)


def test_discard_of_a_doubted_trigger_or_of_a_stopping_run_has_no_effect() -> None:
    doubted, stopping = Stage(define(node("a"), output="a")), dead()
    doubted.tell(facts.TriggerSuspected("r-1", "a", 1))
    stopping.tell(facts.CancelRequested("r-1"))

    doubted.discard("a")
    stopping.discard("a")

    assert doubted.status("a") is Status.SUSPECTED
    assert stopping.status("a") is not Status.SKIPPED


def test_success_that_comes_after_a_discard_changes_nothing() -> None:
    stage = Stage(define(node("a", deadline=HOUR, retry=1), node("b", "a?"), output="b"))
    late = stage.take("a")
    stage.pass_time(2 * HOUR)
    assert stage.status("a") is Status.DEAD

    stage.discard("a")
    stage.report(late, framed(1), [])
    stage.fold()

    assert stage.status("a") is Status.SKIPPED
    assert stage.given("b") == {"p0": None}


def test_discarded_item_is_left_out_of_the_list() -> None:
    stage = Stage(define(node("m", over="params.items", retry=1), node("j", "m"), output="j"), n=1, items=[1, 2])
    stage.succeed("m", 0, n=7)
    stage.fail("m", 1)

    stage.discard("m", 1)

    assert stage.given("j") == {"p0": [value(7)]}
