"""A broker forgets what it had been told of positions: nothing is done twice, and a command of ours mends it.

A real one did so after two kills within a minute (docs/decisions/0112); here its log of positions is put back.
"""

import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farandole.testing.broker import Broker
from farandole.testing.broker.maven import maven_tier
from farandole.testing.broker.settings import QUICK_RESTART, BrokerSettings
from farandole.testing.history import check_history
from farandole.testing.ledger import read

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster

pytestmark = pytest.mark.kafka

BEFORE, BETWEEN, AFTER = range(40), range(40, 120), range(120, 140)
AGENTS = ("validate", "review", "reserve", "charge", "ship", "notify")


class Offsets:
    """The broker's log of positions, on its disk."""

    def __init__(self, broker: Broker, folder: Path, kept: Path) -> None:
        self._broker, self._data, self._kept = broker, folder / "data", kept

    def keep(self) -> None:
        """Put a copy aside, of a broker that was killed for it."""
        self._broker.kill()
        for each in self._data.glob("__consumer_offsets-*"):
            shutil.copytree(each, self._kept / each.name)
        self._broker.restart()

    def put_back(self) -> None:
        """Kill the broker, and let it know no more than it did then."""
        self._broker.kill()
        for each in self._kept.iterdir():
            shutil.rmtree(self._data / each.name)
            shutil.copytree(each, self._data / each.name)
        self._broker.restart()


@pytest.fixture
def offsets(own_settings: BrokerSettings, tmp_path: Path) -> Iterator[tuple[Broker, Offsets]]:
    """A broker that this test alone may kill, and its log of positions."""
    folder = tmp_path / "broker"
    with maven_tier(replace(own_settings, properties=QUICK_RESTART, folder=folder)) as broker:
        yield broker, Offsets(broker, folder, tmp_path / "kept")


def order(number: int) -> dict[str, Any]:
    """One in four is large enough to be reviewed."""
    line = {"sku": f"s{number % 7}", "quantity": 1, "price": 2_000 if number % 4 == 0 else 100}
    return {"order": {"id": f"o-{number}", "customer": "c", "lines": [line], "total": 0}}


def run(cluster: "Cluster", numbers: range) -> None:
    """Start these, and wait until all until then have ended and nobody has anything left to read."""
    cluster.start("orders", {f"o-{n}": order(n) for n in numbers})
    assert len(cluster.outcomes(numbers.stop, 60)) == numbers.stop
    cluster.await_quiet()


def command(cluster: "Cluster", *words: str) -> subprocess.CompletedProcess[str]:
    """A command of ours."""
    return subprocess.run(
        [cluster.python, "-m", "farandole.cli", *words],
        env=cluster.environment,
        cwd=cluster.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_positions_that_went_back_double_nothing_and_are_mended_from_the_log(
    offsets: tuple[Broker, Offsets],
    cluster_of: Callable[[str, str, Path], "Cluster"],
    orders_unit: Path,
    unique: str,
    tmp_path: Path,
) -> None:
    broker, positions = offsets
    cluster, ledger = cluster_of(broker.bootstrap, unique, tmp_path), tmp_path / "ledger"
    try:
        cluster.apply(orders_unit, 3)
        coordinator = cluster.coordinator()
        agents = [cluster.agents(slot, orders_unit, ledger) for slot in ("a1", "a2")]
        run(cluster, BEFORE)
        positions.keep()
        run(cluster, BETWEEN)
        positions.put_back()
        cluster.until(lambda: "its positions went back" in coordinator.log.read_text(), "the homes to be mended", 60)
        for agent in agents:
            cluster.until(lambda agent=agent: "went back" in agent.log.read_text(), "it to be seen", 60)  # type: ignore[misc]
        cluster.start("orders", {f"o-{n}": order(n) for n in AFTER})
        time.sleep(3)  # as long as they would have needed to do it all again
        done = len(read(ledger))

        for agent in agents:
            agent.end()
        told = [command(cluster, "agent", "reposition", each, "--yes") for each in AGENTS]
        for agent in agents:
            agent.start()
        outcomes = cluster.outcomes(AFTER.stop, 60)
        cluster.check()
        cluster.await_quiet()
    finally:
        cluster.end()

    for each in told:
        assert each.returncode == 0, each.stdout + each.stderr
    executions = read(ledger)
    assert done == sum(e.run not in {f"o-{n}" for n in AFTER} for e in executions)
    assert Counter(map(tuple, outcomes.values())) == {("succeeded",): AFTER.stop}
    assert len(executions) == len({(e.run, e.step, e.item, e.attempt) for e in executions}), "no handler ran twice"
    acknowledged = frozenset(f"o-{n}" for n in range(AFTER.stop))
    violations = check_history(replace(cluster.history(), executions=executions, acknowledged=acknowledged))
    assert not violations, "\n".join(str(each) for each in violations[:20])
