"""Which edges fire, and who fires them: chains, conditions, skips, ordering, joins (DESIGN sections 2 and 5)."""

from datetime import timedelta

import pytest

from farandole.definition.policy import Join, JoinKind
from farandole.events import facts
from farandole.kernel.state import Status
from farandole.testing.sketch import Node, define, framed, node, value
from farandole.testing.stage import Stage

CHAIN = define(node("a"), node("b", "a"), node("c", "b"), output="c")
DIAMOND = define(node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"), output="d")


def test_chain_is_fired_by_its_agents_from_end_to_end() -> None:
    stage = Stage(CHAIN)

    for step in ("a", "b", "c"):
        assert stage.steps_waiting == {step}
        stage.succeed(step, n=len(step))

    assert stage.outcome == "succeeded"
    assert [task.step for task in stage.kept.triggers] == ["a"], "the coordinator fired the root alone"
    assert [task.step for task in stage.kept.fired_by_agents] == ["b", "c"]


def test_chain_edge_left_out_by_its_agent_is_fired_by_the_coordinator_with_the_same_input() -> None:
    stage = Stage(CHAIN)

    stage.succeed("a", n=7, leave_out={"b"})

    assert stage.waiting == {("b", -1, 1)}
    assert stage.given("b") == value(7)
    assert [task.step for task in stage.kept.triggers] == ["a", "b"]


def test_chain_started_by_one_command_hands_params_down_through_agents() -> None:
    stage = Stage(define(node("a"), node("b", "a"), node("c", "b", "params.n")), n=5)

    stage.succeed("a")
    stage.succeed("b", n=2)

    assert stage.given("c") == {"p0": value(2), "p1": 5}
    assert [task.step for task in stage.kept.fired_by_agents] == ["b", "c"]


def test_chain_whose_params_are_read_below_hands_them_through_a_coordinator_fired_edge() -> None:
    stage = Stage(define(node("a"), node("b", "a"), node("c", "b", "params.n")), n=5)

    stage.succeed("a", leave_out={"b"})
    stage.succeed("b")

    assert stage.given("c") == {"p0": value(), "p1": 5}


def test_join_waits_for_both_branches_in_either_order() -> None:
    for order in (("b", "c"), ("c", "b")):
        stage = Stage(DIAMOND)
        stage.succeed("a")

        stage.succeed(order[0], n=1)
        assert stage.steps_waiting == {order[1]}
        stage.succeed(order[1], n=2)

        assert stage.steps_waiting == {"d"}
        assert len([task for task in stage.kept.triggers if task.step == "d"]) == 1


def test_join_input_holds_the_output_of_each_parent() -> None:
    stage = Stage(DIAMOND)

    stage.succeed("a")
    stage.succeed("c", n=3)
    stage.succeed("b", n=2)

    assert stage.given("d") == {"p0": value(2), "p1": value(3)}


def test_fan_out_is_fired_in_one_transaction_by_the_agent() -> None:
    stage = Stage(DIAMOND)

    fact = stage.succeed("a")

    assert fact.fired == ("b", "c")
    assert [stage.status(step) for step in "bc"] == [Status.SCHEDULED] * 2


def test_root_steps_are_all_fired_at_the_start() -> None:
    stage = Stage(define(node("a"), node("b"), node("c", "a", "b")))

    assert stage.waiting == {("a", -1, 1), ("b", -1, 1)}


# --- when, skips, optional inputs --------------------------------------------------------------


@pytest.mark.parametrize(("n", "status"), [(5, Status.SCHEDULED), (3, Status.SKIPPED)])
def test_when_lets_a_step_run_or_skips_it(n: int, status: Status) -> None:
    stage = Stage(define(node("a"), node("b", "a", when="a.n > 4")))

    stage.succeed("a", n=n)

    assert stage.status("b") is status


def test_when_on_params_skips_a_root_and_ends_the_run() -> None:
    stage = Stage(define(node("a", when="params.n > 4"), output="a"), n=1)

    assert (stage.outcome, stage.output()) == ("succeeded", None)
    assert stage.events(facts.StepSkipped) == [facts.StepSkipped("r-1", "a", "condition")]


def test_skip_follows_required_data_to_the_end() -> None:
    stage = Stage(define(node("a"), node("b", "a", when="a.n > 4"), node("c", "b"), node("d", "c")))

    stage.succeed("a", n=1)

    assert [(it.step, it.reason) for it in stage.events(facts.StepSkipped)] == [
        ("b", "condition"),
        ("c", "input"),
        ("d", "input"),
    ]
    assert stage.outcome == "succeeded"


def test_skip_does_not_follow_ordering() -> None:
    stage = Stage(define(node("a"), node("b", "a", when="a.n > 4"), node("c", after=["b"])))

    stage.succeed("a", n=1)

    assert stage.steps_waiting == {"c"}


def test_skipped_step_gives_none_to_an_optional_input() -> None:
    stage = Stage(define(node("a"), node("b", "a", when="a.n > 4"), node("c", "a", "b?")))

    stage.succeed("a", n=1)

    assert stage.given("c") == {"p0": value(1), "p1": None}


def test_optional_input_waits_for_its_step_and_takes_its_output() -> None:
    stage = Stage(define(node("a"), node("b", "a", when="a.n > 4"), node("c", "a", "b?")))

    stage.succeed("a", n=5)
    assert stage.steps_waiting == {"b"}
    stage.succeed("b", n=6)

    assert stage.given("c") == {"p0": value(5), "p1": value(6)}


def test_field_of_a_skipped_step_is_none_where_it_is_optional() -> None:
    stage = Stage(define(node("a", when="params.n > 4"), node("b", "a.n?")), n=1)

    assert stage.given("b") == {"p0": None}


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("guard", ["a == null", "params.n <= 4"])
def test_optional_input_that_guards_itself_takes_the_branch_that_ran(n: int, guard: str) -> None:
    """A guard was not asked: whichever branch had run, the input was None, and nobody was told."""
    branches = node("a", when="params.n > 4"), node("b", when="params.n <= 4")
    stage = Stage(define(*branches, node("j", f"{guard} ? b.n : a.n?", join="any")), n=n)

    stage.succeed("a" if n > 4 else "b", n=n)

    assert stage.given("j") == {"p0": n}


@pytest.mark.parametrize("text", ["a.n + b.n", "a", "[a.n, b.n][0]", '{"x": a}', "[a]", "params.n > 4 ? b.n : a.n"])
def test_optional_input_whose_expression_gives_nothing_that_fits_is_none(text: str) -> None:
    branches = node("a", when="params.n > 4"), node("b")
    stage = Stage(define(*branches, node("j", f"{text}?", "b.n", join="all_done")), n=1)

    stage.succeed("b", n=2)

    assert stage.given("j") == {"p0": None, "p1": 2}


def test_after_waits_for_an_end_without_handing_data_over() -> None:
    stage = Stage(define(node("a"), node("b"), node("c", "a", after=["b"])))

    stage.succeed("a", n=1)
    assert stage.steps_waiting == {"b"}
    stage.succeed("b")

    assert stage.given("c") == value(1)


def test_after_alone_is_fired_by_the_agent_of_its_only_parent() -> None:
    stage = Stage(define(node("a"), node("b", "params.n", after=["a"])), n=3)

    stage.succeed("a")

    assert stage.given("b") == {"p0": 3}
    assert [task.step for task in stage.kept.fired_by_agents] == ["b"]


# --- joins --------------------------------------------------------------------------------------


THREE = (node("a"), node("b", when="params.n > 4"), node("c"))


def test_all_succeeded_join_skips_when_a_required_parent_was_skipped() -> None:
    stage = Stage(define(*THREE, node("j", "a", "b", "c")), n=1)

    stage.succeed("a")

    assert stage.status("j") is Status.SKIPPED


def test_all_done_join_goes_with_what_there_is() -> None:
    stage = Stage(define(*THREE, node("j", "a?", "b?", "c?", join="all_done")), n=1)

    stage.succeed("a", n=1)
    assert stage.status("j") is Status.PENDING
    stage.succeed("c", n=3)

    assert stage.given("j") == {"p0": value(1), "p1": None, "p2": value(3)}


@pytest.mark.parametrize(("n", "status"), [(1, Status.SCHEDULED), (9, Status.SKIPPED)])
def test_all_done_step_whose_condition_asks_for_null_runs_where_its_parent_was_skipped(n: int, status: Status) -> None:
    # The obvious fallback passed every check, and was skipped exactly where it was needed.
    stage = Stage(
        define(
            node("a", when="params.n > 4"),
            node("fallback", when="a == null", join="all_done"),
            node("j", "a?", "fallback?", join="all_done"),
        ),
        n=n,
    )
    if n > 4:
        stage.succeed("a", n=n)

    assert stage.status("fallback") is status
    if n < 4:
        stage.succeed("fallback", n=7)
    assert stage.given("j") == {"p0": None if n < 4 else value(9), "p1": value(7) if n < 4 else None}


def test_all_done_step_whose_condition_asks_for_null_runs_after_a_dead_letter_that_was_skipped() -> None:
    nodes = node("a", on_dead_letter="skip", retry=1), node("fallback", when="a == null || a.n > 4", join="all_done")
    stage = Stage(define(*nodes))

    stage.fail("a", retryable=False)

    assert stage.status("fallback") is Status.SCHEDULED


@pytest.mark.parametrize(
    "fallback",
    [
        node("fallback", when="a == null && b.n > 0", join="all_done"),
        node("fallback", "b", when="b == null", join="all_done"),
        node("fallback", when="b == null"),
        node("fallback", over="[b.n, 2]", when="b == null", join="all_done"),
    ],
)
def test_condition_that_asks_for_null_needs_what_else_it_reads_and_what_the_step_is_given(fallback: Node) -> None:
    """Also of definitions that were published when nobody refused them."""
    stage = Stage(define(node("a", when="params.n > 4"), node("b", when="params.n > 4"), fallback), n=1)

    assert stage.events(facts.StepSkipped)[-1] == facts.StepSkipped("r-1", "fallback", "input")


def test_any_join_goes_with_the_first_success_and_fires_once() -> None:
    stage = Stage(define(node("a"), node("b"), node("j", "a?", "b?", join="any")))

    stage.succeed("b", n=2)
    assert stage.given("j") == {"p0": None, "p1": value(2)}
    stage.succeed("a")
    stage.succeed("j")

    assert len(stage.events(facts.StepScheduled)) == 3
    assert stage.outcome == "succeeded"


def test_any_join_losers_run_on_and_the_run_waits_for_them() -> None:
    stage = Stage(define(node("a"), node("b"), node("j", "a?", "b?", join="any")))

    stage.succeed("a")
    stage.succeed("j")

    assert stage.outcome == ""
    stage.succeed("b")
    assert stage.outcome == "succeeded"


def test_any_join_without_a_success_is_skipped() -> None:
    nodes = node("a", when="params.n > 4"), node("b", when="params.n > 4"), node("j", "a?", "b?", join="any")

    stage = Stage(define(*nodes), n=1)

    assert stage.events(facts.StepSkipped)[-1] == facts.StepSkipped("r-1", "j", "join")


def test_n_of_join_counts_successes_only() -> None:
    two = Join(JoinKind.N_OF, 2)
    stage = Stage(define(*THREE, node("j", "a?", "b?", "c?", join=two)), n=1)

    stage.succeed("a")
    assert stage.status("j") is Status.PENDING
    stage.succeed("c")

    assert stage.status("j") is Status.SCHEDULED


def test_n_of_join_that_cannot_be_met_is_skipped_when_all_have_ended() -> None:
    three = Join(JoinKind.N_OF, 3)
    stage = Stage(define(*THREE, node("j", "a?", "b?", "c?", join=three)), n=1)

    stage.succeed("a")
    stage.succeed("c")

    assert stage.status("j") is Status.SKIPPED
    assert stage.outcome == "succeeded"


def test_any_join_waits_for_its_ordering_parents_too() -> None:
    stage = Stage(define(node("a"), node("b"), node("x"), node("j", "a?", "b?", join="any", after=["x"])))

    stage.succeed("a")
    assert stage.status("j") is Status.PENDING
    stage.succeed("x")

    assert stage.status("j") is Status.SCHEDULED


def test_any_join_with_a_required_input_that_lost_is_skipped() -> None:
    stage = Stage(define(node("a"), node("b"), node("j", "a", "b?", join="any")))

    stage.succeed("b")

    assert stage.events(facts.StepSkipped) == [facts.StepSkipped("r-1", "j", "input")]


# --- what the agent may fire -----------------------------------------------------------------------


def test_edge_below_a_step_with_deadline_is_not_the_agents() -> None:
    stage = Stage(define(node("a", deadline=timedelta(minutes=1)), node("b", "a")))

    fact = stage.succeed("a")

    assert fact.fired == ()
    assert stage.steps_waiting == {"b"}


def test_edge_fired_by_an_agent_is_never_fired_again_by_the_coordinator() -> None:
    stage = Stage(CHAIN)

    fact = stage.succeed("a")

    assert fact.fired == ("b",)
    assert stage.events(facts.StepScheduled) == [facts.StepScheduled("r-1", "a", 1)]
    assert stage.unit("b").waiting == (1,)


def test_output_that_only_an_agent_needed_is_not_kept_in_state() -> None:
    stage = Stage(CHAIN)

    stage.succeed("a", n=1)
    stage.succeed("b", n=2, leave_out={"c"})

    assert stage.unit("a").output is None
    assert stage.unit("b").output == framed(2)
