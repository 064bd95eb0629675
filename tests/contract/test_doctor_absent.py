"""The doctor where something waits for a process that is not there, on the embedded log."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.doctor.absent import absent
from farandole.cli.main import app
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.client.serving import Lag, lags
from farandole.events.topics import Topics
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, TopicPartition

UNIT = """
from farandole import agent, pipeline

@agent
def double(n: int) -> int:
    return 2 * n

@pipeline(owner="tests@example.org")
def twice(n: int) -> int:
    return double(n)
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one unit, in which nothing was started."""
    (tmp_path / "farandole.toml").write_text("")
    (tmp_path / "numbers").mkdir()
    (tmp_path / "numbers" / "numbers_of_doctor.py").write_text(UNIT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def doctor() -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the findings by their code."""
    ran = CliRunner().invoke(app, ["doctor", "--json"])
    return ran.exit_code, {each["code"]: each for each in json.loads(ran.stdout)["findings"]}


def test_command_that_waits_without_a_coordinator_is_an_error_with_the_command(project: Path) -> None:
    """A run did not begin, for nothing ran at all, and the doctor had nothing to say."""
    code, found = doctor()
    assert (code, "no_log" in found) == (0, True)
    assert not (project / ".farandole" / "log.db").exists()

    assert CliRunner().invoke(app, ["apply", "numbers", "--yes"]).exit_code == 0
    assert "no_coordinator" not in doctor()[1]
    assert CliRunner().invoke(app, ["run", "start", "twice", "--params", '{"n": 1}']).exit_code == 0
    code, found = doctor()

    assert code == 1
    assert "1 records in farandole.commands wait" in found["no_coordinator"]["fact"]
    assert "farandole coordinator run" in found["no_coordinator"]["fix"]


def test_inbox_that_waits_without_a_process_is_an_error_and_markers_alone_are_none() -> None:
    then, topics = datetime(2026, 1, 1, tzinfo=UTC), Topics()
    found = [
        Lag("coordinator", topics.commands, 0, 0, 1),
        Lag("shop", topics.inbox("charge"), 3, 0, 1, then),
        Lag("shop", topics.inbox("marked"), 1, 0, 1, None),
        Lag("desk", topics.inbox("review"), 9, 2, 1, then),
    ]

    (only,) = absent(found, topics)

    assert only.code == "unserved_inbox"
    assert "no process of unit shop runs" in only.fact


def test_inbox_of_a_unit_that_was_away_for_longer_than_its_records_are_kept_is_an_error_too() -> None:
    """Its position lay before the beginning, where nothing is read: what waited had no age, and counted as markers."""
    transport, topics = MemoryTransport(), Topics("shop")
    inbox = topics.inbox("charge")
    apply(transport, plan(transport, topics, Deployment("orders", ("charge",)), partitions=1))
    producer = transport.producer("agent")
    for n in range(9):
        producer.send(NewRecord(inbox, b"k", b"%d" % n))
    assert producer.flush(10) == 0
    with transport.hub as broker:
        broker.truncate_before(TopicPartition(inbox, 0), 5)

    (only,) = absent(lags(transport, topics, ["charge"]), topics)

    assert only.code == "unserved_inbox"
    assert f"4 records in {inbox} wait" in only.fact
