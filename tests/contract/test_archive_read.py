"""Old runs explained from the archive: lineage and the checker see what retention has taken from the topics."""

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from farandole import Client, agent, pipeline
from farandole.artifacts.archive import Archive, Archived, Span
from farandole.cli.history import lineage_tree
from farandole.cli.tracing import Traced, trace
from farandole.client.archived import ArchivedLog, Files
from farandole.client.archiving import Archiver
from farandole.client.scan import BEGINNING, scan
from farandole.errors import RunNotFound, TransportError
from farandole.lineage.render import render
from farandole.testing.history import check_history, collect
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import (
    Isolation,
    NewRecord,
    Record,
    TopicPartition,
    TopicSpec,
    Transport,
    Trouble,
)

RUNS = ("r-0", "r-1", "r-2", "r-3", "r-4", "r-5")


@agent
def double(number: int) -> int:
    """First."""
    return 2 * number


@agent
def tell(number: int) -> str:
    """Last."""
    return f"it is {number}"


@pipeline(owner="tests@example.org")
def told(number: int) -> str:
    """Two steps."""
    return tell(double(number))


@dataclass
class Old:
    """A log of which retention has taken all that ended runs have left, and its archive; what was there before."""

    log: MemoryTransport
    archive: Archive
    artifacts: Path
    trees: dict[str, str]
    events: int

    @property
    def whole(self) -> Transport:
        """Both together."""
        return ArchivedLog(self.log, self.archive)

    def take(self, *kinds: str) -> None:
        """Let retention take everything of these topics."""
        admin = self.log.admin()
        for name, spec in admin.topics().items():
            if name.startswith(kinds):
                for number in range(spec.partitions):
                    at = TopicPartition(name, number)
                    with self.log.hub as broker:
                        broker.truncate_before(at, broker.end(at, Isolation.UNCOMMITTED))
        admin.close()


def tree(transport: Transport, run: str) -> str:
    """The lineage of a run, as it is printed."""

    async def look() -> str:
        async with Client(transport, "ns") as client:
            return render(await lineage_tree(client, run, []))

    return asyncio.run(look())


@pytest.fixture
def old(tmp_path: Path) -> Old:
    """Six runs, ended and archived as `archive run` does."""
    log, archive = MemoryTransport(), Archive(tmp_path / "archive")

    async def live(cluster: InProcess) -> None:
        async with Client(log, "ns", artifacts=cluster.artifacts) as client:
            for n, run in enumerate(RUNS):
                assert await (await client.start(told, n, run_id=run)).result("30s") == f"it is {2 * n}"

    with InProcess(log, [told], namespace="ns", folder=tmp_path) as cluster:
        asyncio.run(live(cluster))
    trees = {run: tree(log, run) for run in RUNS}
    events = len(collect(log, "ns").events)
    archiver = Archiver(log, archive, "tests.archive")
    later = datetime.now(UTC) + timedelta(days=30)
    assert not archiver.run(["ns.events", "ns.settled", "ns.commands"], timedelta(days=1), later).lost
    archiver.close()
    return Old(log, archive, tmp_path / "artifacts", trees, events)


def found(violations: Sequence[object]) -> list[str]:
    return [str(each) for each in violations]


def test_history_with_its_archive_is_the_whole_one_and_can_have_happened(old: Old) -> None:
    old.take("ns.events", "ns.settled", "ns.commands", "ns.inbox.")

    alone, whole = collect(old.log, "ns"), collect(old.whole, "ns")

    assert alone.events == ()
    assert len(whole.events) == old.events
    assert {entry.run for entry in whole.events} == set(RUNS)
    assert found(list(check_history(whole))) == []


def test_archive_of_events_and_settled_alone_which_is_the_usual_one_is_no_violation(old: Old, tmp_path: Path) -> None:
    old.take("ns.events", "ns.settled", "ns.commands", "ns.inbox.")
    shutil.rmtree(tmp_path / "archive" / "ns.commands")

    whole = collect(old.whole, "ns")

    assert len(whole.events) == old.events
    assert found(list(check_history(whole))) == []
    assert "run r-3  told  succeeded" in tree(old.whole, "r-3")


def test_checker_still_sees_what_cannot_have_happened(old: Old) -> None:
    """One success is cut out of the archive's middle, as no retention does: nothing that follows from it can stand."""
    old.take("ns.events", "ns.settled", "ns.commands", "ns.inbox.")
    whole = collect(old.whole, "ns")
    (one,) = [e for e in whole.events if e.run == "r-3" and "double" in e.id and "StepSucceeded" in e.id]

    maimed = replace(whole, events=tuple(entry for entry in whole.events if entry is not one))

    assert any("r-3" in each for each in found(list(check_history(maimed))))


def test_lineage_of_an_old_run_is_read_from_the_archive(old: Old) -> None:
    old.take("ns.events", "ns.settled", "ns.commands")

    with pytest.raises(RunNotFound):
        tree(old.log, "r-3")

    assert {run: tree(old.whole, run) for run in RUNS} == old.trees


def test_run_whose_triggers_are_gone_too_is_told_by_its_facts(old: Old) -> None:
    old.take("ns.events", "ns.settled", "ns.commands", "ns.inbox.")

    told_of = tree(old.whole, "r-3")

    assert "run r-3  told  succeeded" in told_of
    assert "double  succeeded" in told_of
    assert "tell  succeeded" in told_of


def test_run_whose_beginning_expired_is_told_by_what_is_still_there(old: Old) -> None:
    """Its definition was read from `RunStarted` alone: without that no inbox was looked into, and no join known."""
    for entry in collect(old.log, "ns").events:
        if entry.run == "r-3" and entry.fact is not None and type(entry.fact).__name__ == "StepScheduled":
            with old.log.hub as broker:
                broker.truncate_before(TopicPartition(entry.topic, entry.partition), entry.offset + 1)

    told_of = tree(old.log, "r-3")

    assert "run r-3  told  succeeded" in told_of
    assert [line.split()[1:] for line in told_of.splitlines()[1:]] == [
        line.split()[1:] for line in old.trees["r-3"].splitlines()[1:]
    ]


def test_record_of_which_nothing_else_is_left_is_shown_with_what_its_definition_leads_to(old: Old) -> None:
    """Lineage of a trigger, or of a dead letter, failed as soon as the run's events and commands had expired."""
    inboxes = collect(old.log, "ns").inboxes
    place = next(each.place for each in inboxes if each.run == "r-3" and each.unit[0] == "tell")
    old.take("ns.events", "ns.settled", "ns.commands")

    async def look() -> Traced:
        async with Client(old.log, "ns") as client:
            return await trace(client, place, [])

    assert asyncio.run(look()).record.place == place


def test_record_is_found_at_its_old_place(old: Old) -> None:
    place = next(entry.place for entry in collect(old.log, "ns").events if entry.run == "r-3" and "double" in entry.id)
    old.take("ns.events", "ns.settled")

    async def look() -> str:
        async with Client(old.whole, "ns") as client:
            return (await trace(client, place, [])).record.place

    assert asyncio.run(look()) == place


def test_log_that_has_all_of_it_is_read_once(old: Old) -> None:
    assert len(collect(old.whole, "ns").events) == old.events


def test_hole_before_the_topics_beginning_ends_what_is_read(old: Old) -> None:
    """Files that do not reach the log's beginning are a part of another story: what lies between is not known."""
    old.take("ns.events", "ns.settled", "ns.commands", "ns.inbox.")
    spans = [span for span in old.archive.all_spans() if span.topic == "ns.events"]
    begun = {(span.topic, span.partition): span for span in spans}
    at = next(iter(begun))
    before = len(collect(old.whole, "ns").events)
    held = sum(1 for entry in collect(old.whole, "ns").events if (entry.topic, entry.partition) == at)
    for span in spans:
        if (span.topic, span.partition) == at:
            span.path.rename(span.path.with_name(f"{span.first:020d}-{span.end - 1:020d}.avro"))

    assert len(collect(old.whole, "ns").events) == before - held


def a_log_with_archive(tmp_path: Path) -> tuple[MemoryTransport, Archive]:
    """A topic of a hundred records, all of them archived too."""
    log, archive = MemoryTransport(), Archive(tmp_path)
    log.admin().create([TopicSpec("events", 1, 1)])
    producer = log.producer("tests")
    for n in range(100):
        producer.send(NewRecord("events", b"%d" % n, b"", partition=0))
    producer.flush(20)
    archiver = Archiver(log, archive, "tests.archive")
    archiver.run(["events"], timedelta(0), datetime.now(UTC) + timedelta(days=1))
    archiver.close()
    return log, archive


@pytest.mark.parametrize("before", [40, 0])
@pytest.mark.parametrize("read", ["edge", "reader"])
def test_records_that_retention_takes_while_files_are_read_are_read_from_them_or_missed_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, read: str
) -> None:
    """They were in neither: the files had been read up to the log's old beginning, then the log from its new one.

    `verify --archive` found violations that there were none of, and lineage had holes. Where the log had held all of
    it at first, the files are not needed; then it says itself what it has lost.
    """
    monkeypatch.setattr("farandole.client.archived.POLL_RECORDS", 10)
    log, archive = a_log_with_archive(tmp_path)
    at = TopicPartition("events", 0)

    def keep_from(offset: int) -> None:
        with log.hub as broker:
            broker.truncate_before(at, offset)

    keep_from(before)
    whole = ArchivedLog(log, archive)
    found = asyncio.run(_by_edge(whole, at, keep_from)) if read == "edge" else _by_reader(whole, at, keep_from)

    assert found in (list(range(100)), "position_lost")
    assert before == 0 or found == list(range(100))


async def _by_edge(whole: Transport, at: TopicPartition, keep_from: Callable[[int], None]) -> list[int] | str:
    offsets = []
    edge = whole.edge("tests")
    try:
        async with aclosing(scan(edge, [at])) as records:
            async for record in records:
                offsets.append(record.offset)
                if len(offsets) == 10:
                    keep_from(70)
    except TransportError as error:
        return "position_lost" if "position_lost" in str(error) else str(error)
    finally:
        await edge.close()
    return offsets


def _by_reader(whole: Transport, at: TopicPartition, keep_from: Callable[[int], None]) -> list[int] | str:
    offsets: list[int] = []
    reader = whole.reader("tests")
    reader.assign({at: BEGINNING})
    deadline = time.monotonic() + 20
    while (reader.position(at) or 0) < 100 and time.monotonic() < deadline:
        for polled in reader.poll(0.1):
            if isinstance(polled, Trouble):
                return polled.kind
            if isinstance(polled, Record):
                offsets.append(polled.offset)
        keep_from(70)
    reader.close()
    return offsets


def test_records_that_two_files_hold_are_read_once(tmp_path: Path) -> None:
    """As two writers leave them on a share without locks."""
    log = MemoryTransport()
    log.admin().create([TopicSpec("events", 1, 1)])
    archive = Archive(tmp_path)
    for first, end in ((0, 60), (50, 100)):
        records = [Archived("events", 0, n, n, b"%d" % n, b"", []) for n in range(first, end)]
        archive.write("events", 0, first, end, records)

    files = Files(archive, log)
    rest = {TopicPartition("events", 0): 0}
    found = [each.offset for each in files._records(TopicPartition("events", 0), 0, rest)]

    assert (found, rest) == (list(range(100)), {TopicPartition("events", 0): 100})


def test_folder_is_listed_as_often_for_many_files_as_for_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was listed for each: of 2,000 files, as an archive from cron has after a season, that took 25 s instead of
    one tenth.
    """
    listed, spans = list[str](), Archive.spans

    def noted(archive: Archive, topic: str, partition: int) -> list[Span]:
        listed.append(topic)
        return spans(archive, topic, partition)

    monkeypatch.setattr(Archive, "spans", noted)
    counts = []
    for count in (2, 20):
        archive = Archive(tmp_path / str(count))
        for n in range(count):
            archive.write("events", 0, n, n + 1, [Archived("events", 0, n, n, b"", b"", [])])
        listed.clear()
        found = [each.offset for each in Files(archive, MemoryTransport())._records(TopicPartition("events", 0), 0, {})]
        counts.append((found == list(range(count)), len(listed)))

    assert counts == [(True, 2), (True, 2)]
