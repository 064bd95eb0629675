"""What definitions allow: direct starts, final facts, and the epochs that keep fencing tokens rising."""

from datetime import UTC, datetime, timedelta

import pytest

from farandole.client.direct import start_trigger
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.definition.policy import OnDeadLetter
from farandole.events import facts
from farandole.ids import sha256
from farandole.kernel.decide import decide
from farandole.kernel.decision import Moment
from farandole.kernel.evolve import evolve, start
from farandole.kernel.outbox import EPOCH_BITS, PARAMS_MAX, trigger_of
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.state import Run, Status
from farandole.kernel.values import Values
from farandole.testing.sketch import Node, define, framed, framed_params, node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ROW = define(node("a"), node("b", "a"), node("c", "b"), output="c")
OUTPUT = framed(1)


def begun(definition: Definition = ROW) -> facts.RunStarted:
    """The beginning of a run that was started directly."""
    params = framed_params(1)
    return facts.RunStarted("r", "p", definition.hash, params, sha256(params), NOW, fired=("a",))


def success(step: str, *fired: str) -> facts.StepSucceeded:
    return facts.StepSucceeded("r", step, 1, OUTPUT, fired, fused=fired)


# --- where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "definition",
    [
        define(node("a"), node("b"), node("c", "a", "b")),
        define(node("a", "params.n", when="params.n > 1"), node("b", "a")),
        define(node("a", over="params.items")),
        define(Node("a", ("params.n",), deadline=SECOND), node("b", "a")),
        define(node("a"), node("b", "a"), deadline=SECOND),
    ],
    ids=["two roots", "condition", "map", "deadline of the root", "deadline of the run"],
)
def test_run_is_not_started_directly_where_a_coordinator_has_a_say(definition: Definition) -> None:
    assert graph_of(definition).direct_root is None
    assert start_trigger(definition, framed_params(1), "r", NOW) is None


def test_trigger_of_a_direct_start_is_the_coordinators_with_the_params_beside_it() -> None:
    params = framed_params(1)
    run = start(graph_of(ROW), facts.RunStarted("r", "p", ROW.hash, params, "", NOW))
    theirs = trigger_of(run, facts.StepScheduled("r", "a", 1), Values())

    ours = start_trigger(ROW, params, "r", NOW)

    assert ours is not None
    assert (ours.input, ours.params, ours.step, ours.attempt) == (theirs.input, theirs.params, "a", 1)
    assert ours.start == params


def test_params_that_are_too_large_to_travel_are_for_the_coordinator() -> None:
    assert start_trigger(ROW, b"x" * (PARAMS_MAX + 1), "r", NOW) is None


@pytest.mark.parametrize(
    ("definition", "last"),
    [
        (ROW, "c"),
        (define(node("a"), output="a"), "a"),
        (define(node("a"), node("b", "a"), output="a"), None),
        (define(node("a"), node("b", "a")), None),
        (define(node("a"), node("b", "a"), node("c", "a"), output="b"), None),
        (define(node("a"), Node("b", ("a",), on_dead_letter=OnDeadLetter.SKIP), output="b"), None),
        (define(node("a"), Node("b", ("a",), deadline=SECOND), output="b"), None),
        (define(node("a"), node("b", "a", over="params.items"), output="b"), None),
    ],
    ids=["row", "one step", "output of another", "no output", "two ends", "skip", "deadline", "map"],
)
def test_success_is_final_only_where_nothing_else_can_be_under_way(definition: Definition, last: str | None) -> None:
    assert graph_of(definition).last == last


# --- the fold ---------------------------------------------------------------------------------------


def test_root_of_a_direct_start_is_scheduled_from_the_beginning_and_never_triggered_again() -> None:
    run = start(graph_of(ROW), begun())

    follows = decide(run, begun(), Moment(NOW), Values())

    assert (run.step("a").status, run.step("a").waiting, run.head.waiting) == (Status.SCHEDULED, (1,), 1)
    assert follows == []


def test_fused_facts_fold_as_those_of_hops_through_inboxes() -> None:
    """Redelivery and interleaving: whatever has been folded before changes nothing."""
    told = [success("a", "b"), success("b", "c"), success("c")]
    plain = [facts.StepSucceeded("r", it.step, 1, OUTPUT, it.fired) for it in told]

    runs = [_folded(told), _folded(plain), _folded([*told, *told]), _folded([told[0], told[2], told[1]])]

    assert len({(run.head, run.chunks) for run in runs}) == 1
    assert [unit.status for _, _, unit in runs[0].units()] == [Status.SUCCEEDED] * 3


def _folded(events: list[facts.StepSucceeded]) -> Run:
    run = start(graph_of(ROW), begun())
    for event in events:
        run = evolve(run, event)
    return run


def test_run_that_was_started_directly_is_rebuilt_from_the_log_and_a_second_start_changes_nothing() -> None:
    log = [Logged(0, begun()), Logged(1, success("a", "b")), Logged(2, begun()), Logged(3, success("b", "c"))]

    rebuilt = rebuild(log, lambda _: graph_of(ROW))

    assert rebuilt == {"r": _folded([success("a", "b"), success("b", "c")])}


# --- tokens -----------------------------------------------------------------------------------------


def epoch(run: Run, step: str, attempt: int) -> int:
    """What a coordinator's trigger adds to the epoch of its partition, in units of attempts."""
    whole, rest = divmod(trigger_of(run, facts.StepScheduled("r", step, attempt), Values()).epoch, 1 << EPOCH_BITS)
    assert rest == 0
    return whole


def test_epoch_of_a_coordinators_trigger_rises_with_every_attempt_from_which_the_step_may_have_run() -> None:
    """`b` may have run with the record of `a`: triggered by itself later, or `a` once more, its token is higher."""
    run = start(graph_of(ROW), begun())
    again = evolve(run, facts.StepScheduled("r", "a", 2))
    left_out = evolve(again, facts.StepSucceeded("r", "a", 2, OUTPUT))

    assert epoch(run, "a", 1) == 0
    assert epoch(run, "a", 2) == 1
    assert epoch(left_out, "b", 1) == 2
    assert epoch(left_out, "b", 2) == 3


def test_token_of_a_coordinators_trigger_is_above_one_that_a_lost_position_gave() -> None:
    """`b` ran with the record of `a`, on a partition whose epochs went on from the seconds since 1970: 1.8e9."""
    repositioned = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
    run = evolve(start(graph_of(ROW), begun()), facts.StepSucceeded("r", "a", 1, OUTPUT))

    told = trigger_of(run, facts.StepScheduled("r", "b", 1), Values()).epoch

    assert told > repositioned + 1_000_000
    assert 1_000_000 * (1 << EPOCH_BITS) < 1 << 63, "sinks keep tokens in 64 bits"
