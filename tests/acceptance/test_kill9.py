"""Runs by the hundred while processes are killed with -9 at random: every run ends once, as if nothing had been."""

import os
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole.testing.history import check_history
from farandole.testing.ledger import read

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster

KAFKA_RUNS = 1_000
EMBEDDED_RUNS = 500
KILLS = 10
PARTITIONS = 12


def order(number: int) -> dict[str, object]:
    """One order in three is large enough to be reviewed."""
    price = 2_000 if number % 3 == 0 else 100
    line = {"sku": f"s{number % 7}", "quantity": 1, "price": price}
    return {"order": {"id": f"o-{number}", "customer": f"c{number % 50}", "lines": [line], "total": 0}}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_runs_on_kafka_under_kill_minus_nine_each_end_once_with_their_outcome(
    cluster: "Cluster", orders_unit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hits = survive(cluster, orders_unit, KAFKA_RUNS, capsys)

    assert hits > 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_runs_on_the_embedded_log_under_kill_minus_nine_each_end_once_with_their_outcome(
    embedded_cluster: "Cluster", orders_unit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hits = survive(embedded_cluster, orders_unit, EMBEDDED_RUNS, capsys, waits_for_victim=True)

    assert hits > 0


def survive(
    cluster: "Cluster",
    orders_unit: Path,
    runs: int,
    capsys: pytest.CaptureFixture[str],
    *,
    waits_for_victim: bool = False,
) -> int:
    """Start runs while killing, see every one of them through, check the history; how many kills hit a transaction.

    `waits_for_victim`: its runs start when it is at work again, where they would be over before it is.
    """
    seed = int(os.environ.get("FARANDOLE_TEST_SEED", time.time_ns() % 1_000_000))
    dice, ledger, begun = random.Random(seed), cluster.folder / "ledger", time.monotonic()
    cluster.apply(orders_unit, PARTITIONS)
    print(f"{time.monotonic() - begun:.1f} s: {cluster.namespace} applied, seed {seed}")
    victims = [
        cluster.agents("a1", orders_unit, ledger),
        cluster.agents("a2", orders_unit, ledger),
        cluster.coordinator(),
    ]
    # Each at least three times, in an order of chance.
    chosen = [*victims * (KILLS // len(victims)), *dice.choices(victims, k=KILLS % len(victims))]
    dice.shuffle(chosen)
    killed: Counter[str] = Counter()
    hits = 0

    for batch in range(KILLS):
        victim = chosen[batch]
        if waits_for_victim:
            cluster.await_members(victim.unit, [victim])
        numbers = range(batch * runs // KILLS, (batch + 1) * runs // KILLS)
        cluster.start("orders", {f"o-{n}": order(n) for n in numbers})
        hits += cluster.log.kill_at_work(victim, dice)
        killed[victim.name] += 1
        print(f"{time.monotonic() - begun:.1f} s: killed {victim.name}, {hits} open so far")
        victim.start()
    outcomes = cluster.outcomes(runs, 90)
    cluster.check()
    cluster.await_quiet(60)
    cluster.end()

    history, executions = cluster.history(), read(ledger)
    again = len(executions) - len({(e.run, e.step, e.item, e.attempt) for e in executions})
    with capsys.disabled():
        print(
            f"\nkill -9: seed={seed} runs={runs} kills={KILLS} ({', '.join(f'{n}: {c}' for n, c in killed.items())}) "
            f"open_transactions_hit={hits} handlers_run_again={again} of {len(executions)} "
            f"seconds={time.monotonic() - begun:.0f}"
        )
    assert Counter(map(tuple, outcomes.values())) == {("succeeded",): runs}
    acknowledged = frozenset(f"o-{n}" for n in range(runs))
    violations = check_history(replace(history, executions=executions, acknowledged=acknowledged))
    assert not violations, "\n".join(str(each) for each in violations[:20])
    assert len(history.settled) == runs
    return hits
