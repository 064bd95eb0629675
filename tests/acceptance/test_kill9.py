"""A thousand runs while processes are killed with -9 at random: every run ends once, as if nothing had been."""

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
    from tests.acceptance.conftest import Cluster, Process

RUNS = 1_000
KILLS = 10
PARTITIONS = 12
AIM_S = 20.0
"""Longest wait for the chosen process to be at work again, seconds; a take-over needs 6 to 8."""


def order(number: int) -> dict[str, object]:
    """One order in three is large enough to be reviewed."""
    price = 2_000 if number % 3 == 0 else 100
    line = {"sku": f"s{number % 7}", "quantity": 1, "price": price}
    return {"order": {"id": f"o-{number}", "customer": f"c{number % 50}", "lines": [line], "total": 0}}


def kill_at_work(victim: "Process", dice: random.Random) -> bool:
    """Kill a process at a random instant after it was seen in a transaction; whether one was open as it died.

    A transaction that its dead predecessor left open is first seen to be aborted: it is not the process's own.
    """
    deadline = time.monotonic() + AIM_S
    for is_open in (False, True):
        while (victim.transaction() == "Ongoing") is not is_open and time.monotonic() < deadline:
            pass  # a transaction is over in some milliseconds: looking is all the waiting there is
    time.sleep(dice.choice([0.0, 0.0, dice.uniform(0, 0.02)]))
    victim.kill()
    return victim.transaction() == "Ongoing"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_runs_under_kill_minus_nine_each_end_once_with_their_outcome(
    cluster: "Cluster", orders_unit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("FARANDOLE_TEST_SEED", time.time_ns() % 1_000_000))
    dice, ledger, begun = random.Random(seed), tmp_path / "ledger", time.monotonic()
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
        numbers = range(batch * RUNS // KILLS, (batch + 1) * RUNS // KILLS)
        cluster.start("orders", {f"o-{n}": order(n) for n in numbers})
        victim = chosen[batch]
        hits += kill_at_work(victim, dice)
        killed[victim.name] += 1
        print(f"{time.monotonic() - begun:.1f} s: killed {victim.name}, {hits} open so far")
        victim.start()
    outcomes = cluster.outcomes(RUNS, 90)
    cluster.check()
    cluster.await_quiet(60)
    cluster.end()

    history, executions = cluster.history(), read(ledger)
    again = len(executions) - len({(e.run, e.step, e.item, e.attempt) for e in executions})
    with capsys.disabled():
        print(
            f"\nkill -9: seed={seed} runs={RUNS} kills={KILLS} ({', '.join(f'{n}: {c}' for n, c in killed.items())}) "
            f"open_transactions_hit={hits} handlers_run_again={again} of {len(executions)} "
            f"seconds={time.monotonic() - begun:.0f}"
        )
    assert Counter(map(tuple, outcomes.values())) == {("succeeded",): RUNS}
    acknowledged = frozenset(f"o-{n}" for n in range(RUNS))
    violations = check_history(replace(history, executions=executions, acknowledged=acknowledged))
    assert not violations, "\n".join(str(each) for each in violations[:20])
    assert len(history.settled) == RUNS
    assert hits > 0
