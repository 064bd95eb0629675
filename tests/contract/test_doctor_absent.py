"""The doctor where something waits for a process that is not there, on the embedded log."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.doctor.absent import absent
from farandole.cli.main import app
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.client.serving import Lag, lags
from farandole.errors import TransportError
from farandole.events.topics import Topics
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, TopicPartition
from farandole.transport.sqlite import SqliteSettings
from farandole.transport.sqlite.errors import LogBusy
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.lock import is_locked

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
    assert "1 offset (of records and markers) in farandole.commands wait" in found["no_coordinator"]["fact"]
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


def test_inbox_of_a_unit_whose_positions_went_back_is_not_told_to_be_served() -> None:
    """One finding said to stop every process of the unit, and the next one to start it."""
    then, topics = datetime(2026, 1, 1, tzinfo=UTC), Topics()
    found = [Lag(unit, topics.inbox(agent), 3, 0, 1, then) for unit, agent in (("shop", "charge"), ("mail", "send"))]

    (only,) = absent(found, topics, {"shop"})

    assert "no process of unit mail runs" in only.fact


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
    assert f"4 offsets (of records and markers) in {inbox} wait" in only.fact


# --- a log on which no command works -------------------------------------------------------------


def log_of(project: Path) -> Path:
    """Where the log of a project is."""
    path = project / ".farandole" / "log.db"
    path.parent.mkdir(exist_ok=True)
    return path


def test_database_of_another_program_in_the_place_of_the_log_is_an_error_and_stays_as_it_is(project: Path) -> None:
    """It found nothing, with exit code 0, while every other command was refused."""
    with closing(sqlite3.connect(log_of(project))) as db:
        db.execute("CREATE TABLE theirs (x)")
        db.commit()
    before = log_of(project).read_bytes()

    code, found = doctor()

    assert (code, list(found)) == (1, ["log_foreign"])
    assert log_of(project).read_bytes() == before


def test_empty_file_in_the_place_of_the_log_is_told_as_one_to_which_nothing_was_applied(project: Path) -> None:
    """It found nothing; and it made a log of the file, by looking."""
    log_of(project).touch()

    code, found = doctor()

    assert (code, list(found)) == (0, ["not_applied"])
    assert found["not_applied"]["severity"] == "note"
    assert log_of(project).stat().st_size == 0


def test_namespace_that_was_never_applied_is_an_error_where_another_one_was() -> None:
    """`--namespace typo` found nothing, of a deployment on which no command works."""
    assert CliRunner().invoke(app, ["apply", "numbers", "--yes"]).exit_code == 0

    ran = CliRunner().invoke(app, ["doctor", "--json", "--namespace", "farandle"])
    (found,) = json.loads(ran.stdout)["findings"]

    assert (ran.exit_code, found["code"], found["severity"]) == (1, "not_applied", "error")
    assert "namespace farandle was never applied, but farandole was" in found["fact"]


def test_log_of_which_nothing_can_be_told_is_never_called_sound(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the log answered with an error was nothing to tell."""
    assert CliRunner().invoke(app, ["apply", "numbers", "--yes"]).exit_code == 0

    def broken(*given: object) -> list[Lag]:
        raise TransportError("log.db: expected rows as farandole writes them, but one gave ValueError")

    monkeypatch.setattr("farandole.cli.doctor.absent.lags", broken)
    code, found = doctor()

    assert (code, list(found)) == (1, ["log_unseen"])


@pytest.fixture
def held_log(project: Path) -> Iterator[Path]:
    """A log whose write lock another program holds, and processes that wait for it for a moment only."""
    assert CliRunner().invoke(app, ["apply", "numbers", "--yes"]).exit_code == 0
    assert CliRunner().invoke(app, ["run", "start", "twice", "--params", '{"n": 1}']).exit_code == 0
    (project / "farandole.toml").write_text('[embedded]\npatience = "200ms"\n')
    with closing(sqlite3.connect(log_of(project), isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield log_of(project)


def test_write_lock_that_nobody_gets_is_an_error_and_who_counts_as_gone_is_not_blamed(held_log: Path) -> None:
    """All stood still, and nothing was found: readers do not notice. Who cannot write does not seem to run either."""
    code, found = doctor()

    assert (code, list(found)) == (1, ["log_locked"])
    assert "for more than 200ms" in found["log_locked"]["fact"]
    assert f"{held_log.name}-shm" in found["log_locked"]["fix"]


@pytest.mark.parametrize("words", [("lag",), ("run", "list")], ids=" ".join)
def test_who_seems_not_to_run_while_the_log_is_locked_is_told_with_that_reason(
    held_log: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """`run list` said that no coordinator runs, of one that was alive and could not say so."""
    monkeypatch.setattr("farandole.cli.unserved.LOCK_WAIT", timedelta(milliseconds=100))

    ran = CliRunner().invoke(app, words)

    assert ran.exit_code == 0
    assert f"{held_log}: another process holds the write lock" in ran.stderr
    assert "no coordinator runs" not in ran.output


def test_log_that_others_write_without_a_pause_is_busy_and_not_locked(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three busy writers, and `lag` said that nobody could write and that whoever runs counts as gone."""
    assert CliRunner().invoke(app, ["apply", "numbers", "--yes"]).exit_code == 0

    def had_by_another(file: File) -> None:
        with closing(sqlite3.connect(log_of(project))) as db, db:
            db.execute("CREATE TABLE others (a)")
        raise LogBusy("another one has it, one after the other")

    monkeypatch.setattr(File, "begin", had_by_another)

    assert not is_locked(SqliteSettings(log_of(project)))
