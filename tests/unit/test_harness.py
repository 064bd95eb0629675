"""The harness, used as a user's own tests would: the orders sample on a virtual clock."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from farandole import DefinitionError, RunCancelled, RunHeld, RunTimedOut, TerminalStepError, agent, pipeline
from farandole.definition.loading import load_module, load_unit
from farandole.definition.types import from_plain
from farandole.testing.harness import Harness

ORDERS = Path(__file__).parents[2] / "agents" / "orders" / "agents.py"
UNIT = load_unit(ORDERS)
BIG = {"id": "o-1", "customer": "c", "lines": [{"sku": "x", "quantity": 2, "price": 700}], "total": 0}


@pytest.fixture
def harness() -> Iterator[Harness[..., Any]]:
    with Harness(UNIT.pipelines["orders"]) as made:
        yield made


def order(**changes: object) -> object:
    """An order as the sample's own type has it."""
    spec = UNIT.agents["validate"]
    return from_plain({**BIG, **changes}, spec.parameters[0].type)


def test_a_run_succeeds_with_the_typed_result(harness: Harness[..., Any]) -> None:
    run = harness.run(order=order())

    assert run.outcome == "succeeded"
    assert run.result.order == "o-1"
    assert run.result.reviewed is True


def test_a_step_that_fails_twice_is_tried_three_times(harness: Harness[..., Any]) -> None:
    run = harness.fail("charge", times=2).run(order=order())

    assert run.attempts("charge") == 3
    assert run.calls("charge") == 1
    assert run.outcome == "succeeded"
    assert harness.unused == {}


def test_a_small_order_is_not_reviewed(harness: Harness[..., Any]) -> None:
    run = harness.run(order=order(lines=[{"sku": "x", "quantity": 1, "price": 5}]))

    assert run.attempts("review") == 0
    assert run.result.reviewed is False


def test_an_attempt_that_times_out_is_tried_again_in_virtual_time(harness: Harness[..., Any]) -> None:
    run = harness.time_out("charge").run(order=order())

    assert run.attempts("charge") == 2
    assert run.outcome == "succeeded"


def test_a_handler_delivered_twice_runs_twice_and_counts_once(harness: Harness[..., Any]) -> None:
    run = harness.deliver_twice("charge").run(order=order())

    assert run.calls("charge") == 2
    assert run.attempts("charge") == 1
    assert run.outcome == "succeeded"


def test_what_fails_for_good_holds_the_run_until_it_is_replayed(harness: Harness[..., Any]) -> None:
    run = harness.fail("charge", times=3).run(order=order())
    assert run.status == "held"
    assert [letter.step for letter in run.dead_letters()] == ["charge"]

    harness.replay(run, "charge")

    assert run.outcome == "succeeded"
    assert run.attempts("charge") == 4


def test_a_held_run_that_nobody_replays_ends_at_its_deadline(harness: Harness[..., Any]) -> None:
    run = harness.fail("charge", error=TerminalStepError("no such card")).run(order=order())
    with pytest.raises(RunHeld, match="dead_letter"):
        _ = run.result

    harness.advance("11m")

    assert run.outcome == "timed_out"
    with pytest.raises(RunTimedOut, match="deadline"):
        _ = run.result


def test_a_cancelled_run_says_so(harness: Harness[..., Any]) -> None:
    run = harness.fail("charge", times=3).run(order=order())

    harness.cancel(run, "the customer called")

    assert run.outcome == "cancelled"
    with pytest.raises(RunCancelled, match="the customer called"):
        _ = run.result


def test_an_agent_is_no_pipeline() -> None:
    """It ended in a bare AttributeError."""
    charge = vars(load_module(ORDERS))["charge"]

    with pytest.raises(TypeError, match=r"expected a pipeline, .* but found <agent charge at "):
        Harness(charge)


def test_a_stub_stands_in_for_a_handler(harness: Harness[..., Any]) -> None:
    run = harness.stub("notify", lambda order, label: None).run(order=order())

    assert run.outcome == "succeeded"
    assert run.calls("notify") == 1


def test_an_unknown_agent_is_refused_with_those_there_are(harness: Harness[..., Any]) -> None:
    with pytest.raises(DefinitionError, match="charge, notify"):
        harness.fail("chargee")


def test_attempts_of_a_step_that_does_not_exist_are_refused_and_not_counted_as_none(harness: Harness[..., Any]) -> None:
    """A misspelt assertion `run.attempts("chargge") == 0` held whatever the run had done."""
    run = harness.run(order=order())

    with pytest.raises(
        DefinitionError, match=r"orders: expected one of its steps \(.*charge, notify.* but found chargge"
    ):
        run.attempts("chargge")
    with pytest.raises(DefinitionError, match=r"orders: expected one of its agents \(.*charge, notify.* found chargge"):
        run.calls("chargge")


@pytest.mark.parametrize("given", [5, None, "a price"])
def test_a_stub_that_cannot_be_called_is_refused_at_once(harness: Harness[..., Any], given: Any) -> None:
    """It was taken, and each attempt then failed with "'int' object is not callable"."""
    with pytest.raises(TypeError, match="stub of charge: expected a function in place of its handler, but found"):
        harness.stub("charge", given)


@agent(name="send-mail")
def mail(n: int) -> int:
    """An agent whose steps have another name."""
    return n


@pipeline(owner="tests@example.org")
def letters(n: int) -> int:
    """Two steps of it."""
    return mail(mail(n))


def test_attempts_of_an_agent_are_those_of_all_its_steps() -> None:
    """A step is named without the `-` of its agent: none of them was found, and so none was counted."""
    with Harness(letters) as harness:
        run = harness.run(n=1)

        assert run.attempts(mail) == 2
        assert run.calls(mail) == 2
