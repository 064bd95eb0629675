"""How a run ends: its outcome, its output, what is written of it, and how long its id is remembered."""

from datetime import timedelta

import pytest

from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.tables import SettledStep
from farandole.kernel.decision import DEDUPE_WINDOW, STOPPED_WINDOW
from farandole.kernel.state import instant
from farandole.testing.sketch import define, node, value
from farandole.testing.stage import Stage


def test_output_of_a_step_is_the_runs_output() -> None:
    stage = Stage(define(node("a"), node("b", "a"), output="b"))

    stage.succeed("a")
    stage.succeed("b", n=4)

    assert stage.output() == value(4)


def test_output_of_an_agent_fired_step_is_kept_for_the_end() -> None:
    stage = Stage(define(node("a"), node("b", "a"), output="a"))

    stage.succeed("a", n=3)
    stage.succeed("b", n=4)

    assert stage.output() == value(3)


def test_output_may_be_an_expression_over_several_steps() -> None:
    stage = Stage(define(node("a"), node("b"), output="a.n + b.n + params.n"), n=1)

    stage.succeed("a", n=10)
    stage.succeed("b", n=100)

    assert stage.output() == 111


def test_output_of_a_mapped_step_is_the_list_in_order() -> None:
    stage = Stage(define(node("m", over="params.items"), output="m"), items=[1, 2])

    stage.succeed("m", 1, n=20)
    stage.succeed("m", 0, n=10)

    assert stage.output() == [value(10), value(20)]


def test_output_of_a_skipped_step_is_none() -> None:
    for output in ("b", "b.n"):
        stage = Stage(define(node("a"), node("b", "a", when="a.n > 4"), output=output))

        stage.succeed("a", n=1)

        assert (stage.outcome, stage.output()) == ("succeeded", None)


@pytest.mark.parametrize("n", [1, 9])
def test_output_that_guards_itself_is_that_of_the_branch_that_ran(n: int) -> None:
    """A guard was not asked: whichever branch had run, the run had no output."""
    branches = node("a", when="params.n > 4"), node("b", when="params.n <= 4")
    stage = Stage(define(*branches, output="a == null ? b.n : a.n"), n=n)

    stage.succeed("a" if n > 4 else "b", n=n)

    assert (stage.outcome, stage.output()) == ("succeeded", n)


@pytest.mark.parametrize("output", ["a.n + b.n", "[a.n, b.n][1]", "a == null ? null : a.n"])
def test_output_that_makes_nothing_of_a_skipped_step_is_none(output: str) -> None:
    stage = Stage(define(node("a", when="params.n > 4"), node("b"), output=output), n=1)

    stage.succeed("b", n=2)

    assert (stage.outcome, stage.output()) == ("succeeded", None)


def test_output_of_a_pipeline_without_one_is_none() -> None:
    stage = Stage(define(node("a")))

    stage.succeed("a")

    assert (stage.outcome, stage.final().output) == ("succeeded", None)


def test_output_that_cannot_be_evaluated_is_an_error_of_the_definition() -> None:
    stage = Stage(define(node("a"), output="a.n / params.n"), n=0)

    with pytest.raises(RecordError, match="expression"):
        stage.succeed("a", n=1)


def test_final_record_says_how_each_step_ended() -> None:
    stage = Stage(
        define(
            node("a"),
            node("b", "a", when="a.n > 4"),
            node("m", over="params.items", on_dead_letter="skip", retry=1),
        ),
        items=[1, 2],
    )

    stage.fail("a")
    stage.pass_time(timedelta(seconds=1))
    stage.succeed("a", n=1)
    stage.succeed("m", 0)
    stage.fail("m", 1)

    assert stage.final().steps == (
        SettledStep("a", "succeeded", 2, 0, 0),
        SettledStep("b", "skipped", 0, 0, 0),
        SettledStep("m", "succeeded", 2, 2, 1),
    )


def test_run_ends_once_and_leaves_a_stub_alone() -> None:
    stage = Stage(define(node("a"), node("b")))

    stage.succeed("a")
    stage.succeed("b")

    assert len(stage.events(facts.RunSettled)) == 1
    assert set(stage.table) == {"r-1"}
    assert (stage.run.chunks, stage.run.params) == ((), b"")


def test_stub_of_a_finished_run_is_kept_for_the_dedupe_window() -> None:
    stage = Stage(define(node("a")))

    stage.succeed("a")

    assert instant(stage.run.head.expires) - instant(stage.run.head.settled_at) == DEDUPE_WINDOW


def test_stub_of_a_stopped_run_outlives_what_inboxes_keep() -> None:
    stage = Stage(define(node("a")))

    stage.tell(facts.CancelRequested("r-1"))
    stage.answer("a")

    assert instant(stage.run.head.expires) - instant(stage.run.head.settled_at) == STOPPED_WINDOW


def test_run_without_anything_to_do_ends_at_its_start() -> None:
    stage = Stage(define(node("a", when="params.n > 4"), node("b", "a")), n=1)

    assert stage.outcome == "succeeded"
    assert set(stage.table) == {"r-1"}


@pytest.mark.parametrize("skipped", [True, False])
def test_run_is_partial_only_where_a_dead_letter_was_skipped(skipped: bool) -> None:
    stage = Stage(define(node("a", on_dead_letter="skip", retry=1), node("b", when="params.n > 4")), n=1)

    if skipped:
        stage.fail("a")
    else:
        stage.succeed("a")

    assert stage.outcome == ("partial" if skipped else "succeeded")
