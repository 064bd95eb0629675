"""Two versions at once, under load: processes of another revision are replaced one by one, in both directions.

`make mixed REV=...` runs it (the revision before this one unless told): it needs the repository's history, which
`make test` does without. The other revision is built as a wheel and installed into an environment of its own, as users
have it.
"""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
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
def older_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the other revision, as it was committed."""
    folder = tmp_path_factory.mktemp("older") / "tree"
    folder.mkdir()
    packed = subprocess.run(
        ["git", "-C", str(REPOSITORY), "archive", REVISION], check=True, capture_output=True, timeout=60
    )
    subprocess.run(["tar", "x", "-C", str(folder)], input=packed.stdout, check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def older_python(older_tree: Path, installed: Callable[[Path, Path], Path]) -> Path:
    """An interpreter that has the other revision's wheel, and not this tree."""
    return installed(older_tree, older_tree.parent)


@pytest.fixture
def older(cluster: "Cluster", older_tree: Path, older_python: Path) -> Iterator["Cluster"]:
    """The same namespace, with processes of the other revision."""
    made = type(cluster)(cluster.log, cluster.namespace, cluster.folder)
    made.entry = older_tree / "tests" / "acceptance" / "entry" / "process.py"
    made.python = str(older_python)
    made.environment = {name: value for name, value in cluster.environment.items() if not name.startswith("PYTHONPATH")}
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


def test_processes_of_the_other_revision_run_its_wheel(older: "Cluster", older_tree: Path, tmp_path: Path) -> None:
    told = subprocess.run(
        [older.python, "-c", "import json, farandole.runtime.loop as it; print(json.dumps(it.__file__))"],
        env=older.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = Path(json.loads(told.stdout))

    assert loaded.is_relative_to(older_tree.parent / "env")
    assert loaded.read_bytes() == (older_tree / "framework/farandole/runtime/loop.py").read_bytes()


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_two_versions_at_once_end_every_run_once(
    cluster: "Cluster", older: "Cluster", orders_unit: Path, direction: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, then = (older, cluster) if direction == "upgrade" else (cluster, older)
    first.apply(orders_unit, PARTITIONS)
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
