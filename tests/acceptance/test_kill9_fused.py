"""Fused hops and direct starts while processes are killed with -9: every run ends once, with its result."""

import asyncio
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole import Client
from farandole.events import facts
from farandole.testing.history import check_history
from farandole.testing.ledger import read

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster

RUNS = 300
BATCHES = 6
"""One process is killed in each, in the midst of its runs."""


async def live(cluster: "Cluster", numbers: range) -> dict[str, int]:
    """Results by run of so many that are started at once, each by one record."""
    async with Client(cluster.transport, cluster.namespace, direct=True, name="direct") as client:
        runs = [await client.start("row", params={"number": number}) for number in numbers]
        results = await asyncio.gather(*(run.result("90s") for run in runs))
    return {run.id: int(str(result)) for run, result in zip(runs, results, strict=True)}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fused_runs_under_kill_minus_nine_each_end_once_with_their_result(
    cluster: "Cluster", units: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("FARANDOLE_TEST_SEED", time.time_ns() % 1_000_000))
    dice, ledger, begun = random.Random(seed), tmp_path / "ledger", time.monotonic()
    cluster.apply(units / "row", 6)
    agents = [cluster.agents(slot, units / "row", ledger) for slot in ("a1", "a2")]
    victims = [*agents, cluster.coordinator()]
    cluster.await_members("row", agents)

    async def batch(n: int) -> dict[str, int]:
        living = asyncio.create_task(live(cluster, range(n * RUNS // BATCHES, (n + 1) * RUNS // BATCHES)))
        victim = victims[n % len(victims)]
        await asyncio.sleep(dice.uniform(0.2, 1.5))  # an instant of chance, not a wait for anything
        await asyncio.to_thread(victim.kill)
        await asyncio.to_thread(victim.start)
        return await living

    told = {run: result for n in range(BATCHES) for run, result in asyncio.run(batch(n)).items()}
    cluster.check()
    cluster.await_quiet(60)
    cluster.end()

    history, executions = cluster.history(), read(ledger)
    fused = sum(1 for e in history.events if isinstance(e.fact, facts.StepSucceeded) and e.fact.fused)
    direct = sum(1 for e in history.events if isinstance(e.fact, facts.RunStarted) and e.fact.fired)
    again = len(executions) - len({(e.run, e.step, e.item, e.attempt) for e in executions})
    with capsys.disabled():
        print(
            f"\nfused under kill -9: seed={seed} runs={RUNS} fused_hops={fused} of {2 * RUNS} direct={direct} "
            f"handlers_run_again={again} seconds={time.monotonic() - begun:.0f}"
        )
    assert sorted(told.values()) == [number + 3 for number in range(RUNS)]
    violations = check_history(replace(history, executions=executions, acknowledged=frozenset(told)))
    assert not violations, "\n".join(str(each) for each in violations[:20])
    assert len(history.settled) == RUNS
    assert fused > 0
    assert direct == RUNS
