"""Starts by kcat as it comes: it places by CRC32, and yet every run lives at its home and ends once."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole.events.facts import RunSettled, RunStarted
from farandole.ids import partition_of
from farandole.testing.history import check_history

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster

PARTITIONS = 12
STARTS = 200


def start(run: str | None, number: int) -> str:
    """A start as somebody would type it."""
    line = {"sku": "s1", "quantity": 1, "price": 100 + number}
    order = {"id": f"k-{number}", "customer": f"c{number % 9}", "lines": [line], "total": 0}
    command = {"pipeline": "orders", "params": {"order": order}}
    return json.dumps(command if run is None else {"run_id": run, **command})


def produce(cluster: "Cluster", lines: Sequence[str], *options: str) -> None:
    """`kcat -P` with its defaults."""
    subprocess.run(
        ["kcat", "-P", "-b", cluster.bootstrap, "-t", cluster.topics.commands, *options],
        input="\n".join(lines) + "\n",
        text=True,
        check=True,
        timeout=30,
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is missing (apt install kcat)")
def test_starts_by_kcat_with_any_key_or_none_give_one_run_each_that_ends_once(
    cluster: "Cluster", orders_unit: Path
) -> None:
    cluster.apply(orders_unit, PARTITIONS)
    cluster.agents("a1", orders_unit)
    cluster.coordinator()

    produce(cluster, [f"k-{n}|{start(f'k-{n}', n)}" for n in range(50)], "-K", "|")
    produce(cluster, [start(f"n-{n}", n) for n in range(50)])
    produce(cluster, [start(None, n) for n in range(50)])
    produce(cluster, [f"foreign-{n % 3}|{start(f'f-{n}', n)}" for n in range(50)], "-K", "|")
    outcomes = cluster.outcomes(STARTS, 60)
    cluster.check()
    cluster.await_quiet()
    cluster.end()

    assert len(outcomes) == STARTS
    assert set(map(tuple, outcomes.values())) == {("succeeded",)}
    history = cluster.history()
    named = {run for run in outcomes if run[:2] in ("k-", "n-", "f-")}
    assert len(named) == 150
    for kind in (RunStarted, RunSettled):
        told = [(each.run, each.partition) for each in history.events if isinstance(each.fact, kind)]
        assert sorted(told) == sorted((run, partition_of(run, PARTITIONS)) for run in outcomes)
    away = [each for each in history.commands if each.partition != partition_of(each.run, PARTITIONS)]
    assert away, "kcat placed every command at home: this test has lost its point"
    violations = check_history(history)
    assert not violations, "\n".join(str(each) for each in violations[:20])
