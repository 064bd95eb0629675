"""Homes read back from `runs`, in slices, whatever else stands there."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from farandole.clock import ManualClock
from farandole.coordinator.claimed import Claimed, Stage
from farandole.coordinator.definitions import DefinitionGone
from farandole.coordinator.home import TRACE_HEADER, Home
from farandole.coordinator.repair import Damaged, Repair
from farandole.coordinator.restore import Restore
from farandole.definition.graph import Graph
from farandole.kernel.snapshot import RIDES_MAX
from farandole.kernel.state import Run
from farandole.testing.sketch import define, node
from farandole.testing.stage import Stage as Kernel
from farandole.transport.memory import MemoryTransport
from farandole.transport.memory.requests import initialise
from farandole.transport.port import Isolation, NewRecord, TopicPartition, TopicSpec

TOPIC = "farandole.runs"
MAPPED = define(node("a"), node("m", "a", over="a.items"))
OTHER = define(node("a"), name="other")


class Table:
    """`runs` in memory, and a restore of it."""

    def __init__(self) -> None:
        self.transport = MemoryTransport(ManualClock())
        self.transport.admin().create([TopicSpec(TOPIC, 2, config={"cleanup.policy": "compact"})])
        self.graphs = {str(each.hash): Kernel(each).graph for each in (MAPPED, OTHER)}
        self.gone = set[str]()
        repair = Repair(lambda: self.transport.reader("mending"), "farandole.events", self.graph)
        self.restore = Restore(self.transport.reader("restoring"), TOPIC, self.graph, repair)

    def graph(self, digest: str) -> Graph:
        """The graph of a definition that is not gone."""
        if digest in self.gone:
            raise DefinitionGone(digest)
        return self.graphs[digest]

    def write(self, home: int, key: str, value: bytes | None, trace: str = "") -> None:
        """A state record, or a tombstone."""
        producer = self.transport.producer("writing")
        headers = ((TRACE_HEADER, trace.encode()),) if trace else ()
        producer.send(NewRecord(TOPIC, key.encode(), value, headers, home))
        assert producer.flush(1) == 0

    def alone(self, home: int, run_id: str) -> Run:
        """A live run of the other definition."""
        kernel = Kernel(OTHER, run_id=run_id)
        for key, value in kernel.table.items():
            self.write(home, key, value)
        return kernel.run

    def hold(self, home: int, run_id: str, items: int = 0, pad: str = "", trace: str = "") -> Run:
        """A live run with so many items, whose payloads are as large as `pad`."""
        kernel = Kernel(MAPPED, run_id=run_id, pad=pad)
        kernel.succeed("a", items=range(items), pad=pad)
        for key, value in kernel.table.items():
            self.write(home, key, value, trace if key == run_id else "")
        return kernel.run

    def begin(self, *homes: int) -> list[Claimed]:
        """Read these homes up to their present ends."""
        places = {home: TopicPartition(TOPIC, home) for home in homes}
        ends = self.transport.admin().ends(list(places.values()), Isolation.UNCOMMITTED)
        claimed = [Claimed(Home(home), Stage.RESTORE, end=ends[at]) for home, at in places.items()]
        self.restore.begin(claimed)
        return claimed

    def steps(self, most: int) -> list[Claimed]:
        """Restore to the end; a step per slice."""
        done: list[Claimed] = []
        for _ in range(1_000):
            done += self.restore.step(most)
            if not self.restore.reading:
                return done
        raise AssertionError(f"expected an end, but {sorted(self.restore.reading)} are still being read")


@pytest.fixture
def table() -> Iterator[Table]:
    """An empty one."""
    made = Table()
    yield made
    made.restore.reader.close()


def test_runs_with_many_records_and_with_one_are_the_same_again(table: Table) -> None:
    small, wide = table.hold(0, "r-1"), table.hold(0, "r-2", items=100)
    heavy = table.hold(0, "r-3", items=3, pad="x" * RIDES_MAX)
    elsewhere = table.hold(1, "r-4")
    first, second = table.begin(0, 1)

    table.steps(2_000)

    assert first.home.runs == {"r-1": small, "r-2": wide, "r-3": heavy}
    assert second.home.runs == {"r-4": elsewhere}


def test_traces_are_those_of_the_latest_head_records(table: Table) -> None:
    table.hold(0, "r-1", trace="00-1")
    table.hold(0, "r-1", items=100, trace="00-2")
    table.hold(0, "r-2", trace="00-3")
    table.hold(0, "r-2")  # written by a coordinator that knows nothing of traces
    table.hold(0, "r-3", trace="00-4")
    table.write(0, "r-3", None)
    table.hold(1, "r-4", trace="00-5")
    first, second = table.begin(0, 1)

    table.steps(2_000)

    assert (first.home.traces, second.home.traces) == ({"r-1": "00-2"}, {"r-4": "00-5"})
    assert table.restore.traces == {}


def test_run_whose_records_are_gone_is_gone(table: Table) -> None:
    kept = table.hold(0, "r-1")
    table.hold(0, "r-2", items=100)
    for key in ("r-2", "r-2#c/1"):
        table.write(0, key, None)
    table.write(0, "r-3#o/1", b"left behind by a compaction that has taken the head")
    (claimed,) = table.begin(0)

    table.steps(2_000)

    assert claimed.home.runs == {"r-1": kept}


def test_restore_in_slices_says_when_the_next_one_need_not_wait(table: Table) -> None:
    for n in range(1_500):
        table.write(0, f"r-{n}#c/1", b"")
    table.begin(0)

    waiting: list[bool] = []
    while table.restore.reading:
        table.restore.step(100)
        waiting.append(table.restore.has_more)

    assert table.restore.read >= 1_500
    assert any(waiting[:-1])
    assert not table.restore.step(100)
    assert not table.restore.has_more


def test_home_that_ends_with_a_marker_is_complete_behind_it(table: Table) -> None:
    """Its last record stands before its end: who waits for a record there waits for ever."""
    run = table.hold(0, "r-1")
    with table.transport.hub as broker:
        writer = initialise(broker, "coordinator", timedelta(seconds=10))
        broker.append_in(writer, NewRecord(TOPIC, b"r-2", b"never committed", (), 0))
        broker.end_transaction(writer, commit=False)
        broker.settle()
    (claimed,) = table.begin(0)

    table.steps(2_000)

    assert claimed.home.runs == {run.id: run}
    assert claimed.end == 3  # what `hold` wrote, the aborted record, its marker


def test_run_whose_definition_is_gone_is_left_out_and_told_and_the_others_are_restored(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    # The story: `definitions` was made anew from newer code. One live run of an older definition ended every
    # coordinator that took its home over, one after the other, and all runs of the home stood still.
    kept, orphan = table.hold(0, "r-1"), table.alone(0, "r-2")
    table.gone.add(OTHER.hash)
    (claimed,) = table.begin(0)

    table.steps(2_000)

    assert claimed.home.runs == {"r-1": kept}
    assert claimed.home.left_out == {orphan.id: OTHER.hash}
    assert f"expected definition {OTHER.hash}, to which 1 runs are pinned (r-2)" in caplog.text


def test_damaged_run_whose_definition_is_gone_is_left_out_and_another_is_mended(table: Table) -> None:
    table.gone.add(OTHER.hash)
    claimed = Claimed(Home(0), Stage.RESTORE)
    logged = [each for kernel in (Kernel(MAPPED, run_id="r-1"), Kernel(OTHER, run_id="r-2")) for each in kernel.log]
    it = Damaged(claimed, [], frozenset({"r-1", "r-2"}), {}, logged)

    table.restore.repair._complete(it)

    assert list(claimed.home.runs) == ["r-1"]
    assert claimed.home.left_out == {"r-2": OTHER.hash}
