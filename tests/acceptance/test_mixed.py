"""Two versions at once, under load: processes of another revision are replaced one by one, in both directions.

`make mixed REV=...` runs it (the revision before this one unless told): it needs the repository's history, which
`make test` does without. The other revision is built as a wheel and installed into an environment of its own, as users
have it.
"""

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole.events.facts import RunSettled
from farandole.lineage.entries import Entry
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
        self._first = first
        self._slots: dict[str, Process] = {}
        self.sent: list[str] = []
        """Runs started so far."""

        self.replaced: dict[str, tuple[datetime, frozenset[str]]] = {}
        """When the first process of a slot was asked to end, and what had been started by then."""

        for slot in ("c1", "a1", "a2"):
            self._start(first, slot)

    def load(self) -> None:
        """Start a batch of runs; returns when all are acknowledged."""
        numbers = range(len(self.sent), len(self.sent) + BATCH)
        batch = {f"o-{number}": order(number) for number in numbers}
        self._first.start("orders", batch)
        self.sent += batch

    def replace(self, slot: str) -> None:
        """End a process in order, and start one of the other version in its slot; returns when that has joined."""
        old = self._slots[slot]
        self.replaced[slot] = datetime.now(UTC), frozenset(self.sent)
        old.end()
        self._first.processes.remove(old)
        self._start(self._then, slot)

    def _start(self, where: "Cluster", slot: str) -> None:
        made = where.coordinator(slot) if slot.startswith("c") else where.agents(slot, self._unit)
        self._slots[slot] = made
        where.await_members(made.unit, [made])


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
        half = len(roll.sent) - BATCH // 2
        assert len(cluster.outcomes(half, 60)) >= half
        roll.load()  # whatever has ended meanwhile: all of these are under way when it is replaced
        roll.replace(slot)
    roll.load()
    outcomes = cluster.outcomes(len(roll.sent), 120)
    cluster.await_quiet(60)

    for each in (cluster, older):
        each.check()
    history = cluster.history()
    writers = Counter(slot_of(each) for each in history.events)
    with capsys.disabled():
        print(f"\nmixed: {direction} with {REVISION}: {len(roll.sent)} runs, events by slot {dict(writers)}")
    assert Counter(map(tuple, outcomes.values())) == {("succeeded",): len(roll.sent)}
    assert check_history(history) == []
    ends = {each.run: each.time for each in history.events if isinstance(each.fact, RunSettled)}
    for slot, (since, started) in roll.replaced.items():
        assert [run for run in started if ends[run] > since], f"nothing was under way when {slot} was replaced"
        assert [it for it in history.events if slot_of(it) == slot and it.time > since], f"the new {slot} did nothing"


def slot_of(event: Entry) -> str:
    """Which process wrote it, of whichever version."""
    return re.split("[./]", event.envelope.source)[-1] if event.envelope else ""
