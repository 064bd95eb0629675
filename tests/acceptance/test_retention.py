"""Retention and the archive on a real Kafka: what is kept how long, and copied before it goes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from farandole.artifacts.archive import Archive, read_file
from farandole.events.catalogue import decode
from farandole.events.tables import SettledRun
from farandole.testing.cluster import Cluster
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import TopicSpec

pytestmark = pytest.mark.kafka

UNIT = Path(__file__).parent / "units" / "talking"


@pytest.fixture
def cluster(kafka: str, unique: str, tmp_path: Path) -> Iterator[Cluster]:
    """A deployment whose ended runs are kept for an hour."""
    (tmp_path / "topics").mkdir()
    (tmp_path / "topics" / "settled.yaml").write_text('topic: "<ns>.settled"\nconfig: {retention.ms: "3600000"}\n')
    with Cluster(kafka, unique, tmp_path) as made:
        applied = made.run("apply", str(UNIT), "--yes")
        assert applied.code == 0, applied.stderr
        yield made


def archived(cluster: Cluster, topic: str) -> list[tuple[int, int, bytes | None]]:
    """Partition, offset and value of every archived record of a topic."""
    archive = Archive(cluster.folder / ".farandole" / "artifacts" / "archive")
    spans = [span for span in archive.all_spans() if span.topic == topic]
    return [(record.partition, record.offset, record.value) for span in spans for record in read_file(span.path)]


def test_ended_runs_are_kept_as_told_and_archived_once(cluster: Cluster) -> None:
    settled = f"{cluster.namespace}.settled"
    cluster.coordinator("c")
    cluster.agent("a", UNIT)
    ran = cluster.run("run", "start", "talk", "--params", '{"number": 41}', "--id", "r-1", "--wait")
    assert ran.code == 0, ran.stderr

    first = cluster.run("archive", "run", "--older-than", "1ms", "--json")
    again = cluster.run("archive", "run", "--older-than", "1ms", "--json")
    listed = cluster.run("archive", "list")

    admin = KafkaTransport(KafkaSettings(cluster.bootstrap)).admin()
    kept = admin.topics([settled])[settled].config["retention.ms"]
    admin.close()
    assert kept == "3600000"
    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert (json.loads(first.stdout)["lost"], json.loads(again.stdout)["records"]) == ([], 0)
    ((_, _, value),) = archived(cluster, settled)
    row = decode(value or b"")
    assert isinstance(row, SettledRun)
    assert (row.run, row.outcome) == ("r-1", "succeeded")
    assert len(archived(cluster, f"{cluster.namespace}.events")) >= 4
    assert settled in listed.stdout


def test_archive_holds_what_was_committed_and_goes_past_what_was_not(cluster: Cluster) -> None:
    """Aborted records and markers leave gaps: they end no file early and are looked at once."""
    topic = f"{cluster.namespace}.mine"
    admin = KafkaTransport(KafkaSettings(cluster.bootstrap)).admin()
    admin.create([TopicSpec(topic, 1)])
    admin.close()
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": topic})
    producer.init_transactions()
    for n in range(6):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % n, partition=0)
        producer.flush()
        producer.commit_transaction() if n % 2 == 0 else producer.abort_transaction()

    runs = [cluster.run("archive", "run", "--older-than", "1ms", "--topic", topic, "--json") for _ in range(2)]

    reports = [json.loads(ran.stdout) for ran in runs]
    assert [report["records"] for report in reports] == [3, 0]
    assert [value for _, _, value in archived(cluster, topic)] == [b"0", b"2", b"4"]
    (span,) = reports[0]["written"]
    assert (span["first"], span["end"]) == (0, 12)
