"""Two versions at once, under load: processes of another revision are replaced one by one, in both directions.

`make mixed REV=...` runs it (the revision before this one unless told): it needs the repository's history and
a worktree of its own, which `make test` does without.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole.testing.history import check_history

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster, Process

REPOSITORY = Path(__file__).parents[2]
REVISION = os.environ.get("FARANDOLE_MIXED", "")
BATCH = 100
PARTITIONS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not REVISION, reason="`make mixed` says which revision stands for the version before"),
]


def order(number: int) -> dict[str, object]:
    """One order in three is large enough to be reviewed."""
    price = 2_000 if number % 3 == 0 else 100
    line = {"sku": f"s{number % 7}", "quantity": 1, "price": price}
    return {"order": {"id": f"o-{number}", "customer": f"c{number % 50}", "lines": [line], "total": 0}}


@pytest.fixture(scope="module")
def older_tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tree of the other revision."""
    folder = tmp_path_factory.mktemp("older") / "tree"
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--detach", str(folder), REVISION], check=True, capture_output=True, timeout=60)
    yield folder
    subprocess.run([*git, "remove", "--force", str(folder)], check=True, capture_output=True, timeout=60)


@pytest.fixture
def older(cluster: "Cluster", older_tree: Path) -> Iterator["Cluster"]:
    """The same namespace, with processes of the other revision."""
    made = type(cluster)(cluster.log, cluster.namespace, cluster.folder)
    made.entry = older_tree / "tests" / "acceptance" / "entry" / "process.py"
    made.environment = {**cluster.environment, "PYTHONPATH": str(older_tree / "framework")}
    yield made
    made.end()


class Roll:
    """A deployment whose processes are replaced one after the other while runs go on."""

    def __init__(self, first: "Cluster", then: "Cluster", unit: Path) -> None:
        self._then, self._unit = then, unit
        self._sent = 0
        self._first = first
        self._slots: dict[str, Process] = {}
        self._start(first, "c1")
        for slot in ("a1", "a2"):
            self._start(first, slot)

    @property
    def sent(self) -> int:
        """Runs started so far."""
        return self._sent

    def load(self) -> None:
        """Start a batch of runs."""
        numbers = range(self._sent, self._sent + BATCH)
        self._first.start("orders", {f"o-{number}": order(number) for number in numbers})
        self._sent += BATCH

    def replace(self, slot: str) -> None:
        """End a process in order, and start one of the other version in its slot."""
        old = self._slots[slot]
        old.end()
        self._start(self._then, slot)

    def _start(self, where: "Cluster", slot: str) -> None:
        made = where.coordinator(slot) if slot.startswith("c") else where.agents(slot, self._unit)
        self._slots[slot] = made


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_two_versions_at_once_end_every_run_once(
    cluster: "Cluster", older: "Cluster", orders_unit: Path, direction: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, then = (older, cluster) if direction == "upgrade" else (cluster, older)
    cluster.apply(orders_unit, PARTITIONS)
    roll = Roll(first, then, orders_unit)

    for slot in ("a1", "c1", "a2"):
        roll.load()
        cluster.outcomes(roll.sent - BATCH // 2, 60)  # the next is replaced while half of the batch is under way
        roll.replace(slot)
    roll.load()
    outcomes = cluster.outcomes(roll.sent, 120)
    cluster.await_quiet(60)

    history = cluster.history()
    writers = Counter(each.envelope.source.rpartition("/")[2] for each in history.events if each.envelope)
    with capsys.disabled():
        print(f"\nmixed: {direction} with {REVISION}: {roll.sent} runs, events by slot {dict(writers)}")
    assert Counter(map(tuple, outcomes.values())) == {("succeeded",): roll.sent}
    assert check_history(history) == []
