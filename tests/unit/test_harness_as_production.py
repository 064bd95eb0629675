"""What a pipeline does in production it does in the harness: each test tells of a difference that there was."""

import asyncio
import gc
import signal
import tempfile
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import AsyncMock

import pytest

from farandole import Agent, DefinitionError, Pipeline, Retry, RunRefused, agent, pipeline
from farandole.testing.harness import Harness

ABOVE_INLINE = 300_000
"""Characters that do not travel in a record."""


@agent
def inflate(n: int) -> str:
    """A text as long as one likes."""
    return "x" * n


@pipeline(owner="tests@example.org")
def large(n: int) -> str:
    """Its result may be a claim."""
    return inflate(n)


@pipeline(owner="tests@example.org")
def perhaps(n: int) -> str | None:
    """Its result is skipped for small numbers."""
    return inflate.when(n > 10)(n)


@agent
def forget(n: int) -> None:
    """Gives nothing."""


@pipeline(owner="tests@example.org")
def silent(n: int) -> None:
    """It has no result."""
    forget(n)


@dataclass(frozen=True)
class Charge:
    """The input of `charge` as a record."""

    amount: int
    card: str


CHARGED: list[int] = []
"""What the real handler of `charge` took from somebody's card."""


@agent(retry=Retry(attempts=1))
def charge(amount: int, card: str) -> int:
    """Takes money."""
    CHARGED.append(amount)
    return amount


@pipeline(owner="tests@example.org")
def pay(amount: int) -> int:
    """From an amount to a receipt."""
    return charge(amount, "visa")


@agent(retry=Retry(attempts=1))
async def count(n: int) -> int:
    """Waits for nothing, on a loop."""
    await asyncio.sleep(0)
    return n


@pipeline(owner="tests@example.org")
def counted(n: int) -> int:
    """An async agent's."""
    return count(n)


TENANT = ContextVar("TENANT", default="nobody")
"""What a user's test may have set around its run."""


@agent
async def whose() -> str:
    """Says for whom it works."""
    await asyncio.sleep(0)
    return TENANT.get()


@pipeline(owner="tests@example.org")
def tenants() -> str:
    """For whom it ran."""
    return whose()


@pytest.fixture(autouse=True)
def _nobody_is_charged_yet() -> None:
    CHARGED.clear()


def test_a_result_above_the_inline_limit_is_fetched_from_the_store() -> None:
    """It was decoded as it stands on the log, a claim: `UnknownSchema`."""
    with Harness(large) as harness:
        assert len(harness.run(ABOVE_INLINE).result) == ABOVE_INLINE


def test_a_run_without_a_result_gives_none() -> None:
    """`result` raised `RunError`, where a client's `Run.result` gives None."""
    with Harness(silent) as harness:
        run = harness.run(1)

        assert run.outcome == "succeeded"
        assert run.result is None


def test_a_result_whose_step_was_skipped_is_none() -> None:
    with Harness(perhaps) as harness:
        assert harness.run(1).result is None
        assert harness.run(11).result == "x" * 11


@pytest.mark.parametrize("nobody", ["chrage", inflate])
def test_a_stub_for_an_agent_that_there_is_not_is_refused(nobody: Agent[..., object] | str) -> None:
    """It was taken and never used: the real handler ran, a real charge in a test."""
    with Harness(pay) as harness, pytest.raises(DefinitionError, match=r"pay: expected one of its agents \(charge\)"):
        harness.stub(nobody, lambda amount, card: 7).run(1)

    assert CHARGED == []


async def _async_seven(**_: object) -> int:
    await asyncio.sleep(0)
    return 7


def _seven(**_: object) -> int:
    return 7


@pytest.mark.parametrize("stub", [_seven, _async_seven, AsyncMock(return_value=7)], ids=["plain", "async", "mock"])
def test_a_stub_may_be_async_or_plain_whatever_its_agent_is(stub: Callable[..., object]) -> None:
    """Every stub was called as a plain function: of an async one the coroutine was the result, a dead letter."""
    with Harness(pay) as plain, Harness(counted) as on_a_loop:
        assert plain.stub(charge, stub).run(1).result == 7
        assert on_a_loop.stub(count, stub).run(1).result == 7


def test_an_async_agent_runs_inside_an_async_test() -> None:
    """A loop was running there already: `asyncio.run() cannot be called`. Context variables are seen as elsewhere."""

    async def a_test_of_a_user() -> tuple[int, str]:
        TENANT.set("acme")
        with Harness(counted) as counting, Harness(tenants) as asking:
            return counting.run(3).result, asking.run().result

    assert asyncio.run(a_test_of_a_user()) == (3, "acme")


@pytest.mark.parametrize(
    "repaired",
    [{"amount": 5, "card": "amex"}, '{"amount": 5, "card": "amex"}', Charge(5, "amex")],
    ids=["plain", "json", "record"],
)
def test_a_replay_takes_the_input_that_a_client_takes(repaired: object) -> None:
    """Plain values raised `DefinitionError: type dict`, and JSON text was no record; only a dataclass was taken."""
    with Harness(pay) as harness:
        run = harness.fail(charge).run(1)

        assert harness.replay(run, charge, input=repaired).result == 5


def test_a_replay_with_an_input_that_does_not_fit_is_refused_and_nothing_is_sent() -> None:
    with Harness(pay) as harness:
        run = harness.fail(charge).run(1)

        with pytest.raises(RunRefused, match=r"input of charge: .*amount.* Nothing was sent"):
            harness.replay(run, charge, input={"amount": "five", "card": "amex"})
        assert run.status == "held"


def test_a_harness_that_nobody_closes_leaves_no_folder_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Harness(pay).run(1)`, as the documentation has it, ended `pytest -W error` with a ResourceWarning."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert len(Harness(large).run(ABOVE_INLINE).result) == ABOVE_INLINE
        gc.collect()

    assert [str(each.message) for each in warned] == []
    assert list(tmp_path.iterdir()) == []


@agent
def press_ctrl_c(n: int) -> str:
    """As who has waited long enough for a test."""
    signal.raise_signal(signal.SIGINT)
    return str(n)


@agent
async def press_ctrl_c_while_it_waits(n: int) -> str:
    """The same in a coroutine."""
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(5)
    return str(n)


@pipeline(owner="tests@example.org")
def interrupted(n: int) -> str:
    """One step, a function."""
    return press_ctrl_c(n)


@pipeline(owner="tests@example.org")
def interrupted_while_it_waits(n: int) -> str:
    """One step, a coroutine."""
    return press_ctrl_c_while_it_waits(n)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("it", [interrupted, interrupted_while_it_waits], ids=lambda it: it.name)
def test_ctrl_c_in_a_handler_ends_the_test(it: Pipeline[[int], str]) -> None:
    """It was a failed attempt: the test went on to the next one, and pytest to the next test."""
    with Harness(it) as harness, pytest.raises(KeyboardInterrupt):
        harness.run(1)
