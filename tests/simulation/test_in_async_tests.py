"""What users test with works in a test that is async itself, and takes a handler's own cancel as agents do."""

import asyncio

import pytest

from farandole import agent, pipeline
from farandole.definition.pipelines import Pipeline
from farandole.events.facts import StepFailed
from farandole.testing.harness import Harness
from farandole.testing.simulated import Seen, Simulation, effect


@agent(timeout="5s")
async def wait_a_moment(number: int) -> int:
    """An async handler."""
    await asyncio.sleep(0.01)
    effect("waited", number=number)
    return number


@agent
def wait_on_a_loop_of_its_own(number: int) -> int:
    """A plain handler, which may run a loop: in production no other one runs in its thread."""
    return asyncio.run(asyncio.sleep(0.0, number))


@agent(timeout="5s")
async def cancel_itself(number: int) -> int:
    """As a library that cancels the task it runs in does."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(1)
    return number


@pipeline(owner="tests@example.org")
def awaits(number: int) -> int:
    """One async step."""
    return wait_a_moment(number)


@pipeline(owner="tests@example.org")
def runs_a_loop(number: int) -> int:
    """One plain step."""
    return wait_on_a_loop_of_its_own(number)


@pipeline(owner="tests@example.org")
def cancels(number: int) -> int:
    """One step that ends itself."""
    return cancel_itself(number)


BOTH = pytest.mark.parametrize("pipeline", [awaits, runs_a_loop], ids=lambda each: each.name)


@BOTH
def test_pipeline_is_simulated_in_an_async_test_as_in_a_plain_one(pipeline: Pipeline[..., int]) -> None:
    """A traceback of `asyncio`: a thread that runs a loop can run no second one."""
    simulation = Simulation(pipeline, lambda draw: {"number": draw.randrange(1000)})
    plain = simulation.check(3)

    async def an_async_test() -> str:
        return str(simulation.check(3))

    assert asyncio.run(an_async_test()) == str(plain)


def test_failure_of_a_simulation_reaches_an_async_test() -> None:
    simulation = Simulation(awaits)

    @simulation.invariant
    def nobody_ever_waits(seen: Seen) -> None:
        assert not seen.of("waited")

    async def an_async_test() -> None:
        simulation.verify(3)

    with pytest.raises(AssertionError, match="nobody_ever_waits"):
        asyncio.run(an_async_test())


@BOTH
def test_pipeline_runs_in_the_harness_of_an_async_test(pipeline: Pipeline[..., int]) -> None:
    """A plain handler that runs a loop of its own failed there, and nowhere else."""

    async def an_async_test() -> int:
        with Harness(pipeline) as harness:
            return harness.run(7).result

    assert asyncio.run(an_async_test()) == 7


def test_handler_that_cancels_its_own_task_is_a_failed_attempt_in_the_harness() -> None:
    """A CancelledError ended the test, where agents count a failure."""
    with Harness(cancels) as harness:
        run = harness.run(1)

    assert run.status == "held"
    errors = [event.error for event in run.events if isinstance(event, StepFailed)]
    assert errors == ["CancelledError: the handler cancelled itself"] * 3


def test_handler_that_cancels_its_own_task_is_a_failed_attempt_of_a_simulation() -> None:
    report = Simulation(cancels).check(2)

    assert report.failure is None
    assert set(report.outcomes) == {"cancelled"}
