"""Old runs explained from the archive: lineage and the checker see what retention has taken from the topics."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from farandole import Client, agent, pipeline
from farandole.artifacts.archive import Archive
from farandole.cli.history import lineage_tree
from farandole.cli.tracing import Traced, trace
from farandole.client.archived import ArchivedLog
from farandole.client.archiving import Archiver
from farandole.errors import RunNotFound
from farandole.lineage.render import render
from farandole.testing.history import check_history, collect
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Isolation, TopicPartition, Transport

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
