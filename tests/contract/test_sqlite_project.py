"""A project and its embedded log: who finds it, several namespaces on it, what the command line says of a bad one."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole import SyncClient, agent, pipeline
from farandole.cli.coordinators import coordinator_process
from farandole.cli.main import app
from farandole.cli.settings import load_settings
from farandole.errors import ConfigError
from farandole.testing.inprocess import InProcess
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, project_log
from farandole.transport.sqlite.schema import VERSION


@agent
async def shout(text: str) -> str:
    """Louder."""
    return text.upper()


@pipeline(owner="tests@example.org")
def loud(text: str) -> str:
    """One step."""
    return shout(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a project."""
    (tmp_path / "farandole.toml").touch()
    return tmp_path


def farandole(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}
    return subprocess.run(
        [sys.executable, "-m", "farandole.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_client_that_is_told_nothing_meets_the_project_of_its_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    transport = SqliteTransport(SqliteSettings(project_log(project)))

    with InProcess(transport, [loud], namespace="farandole", folder=project), SyncClient() as client:
        result = client.start(loud, "hello").result("20s")

    assert result == "HELLO"
    assert (project / ".farandole" / "log.db").exists()
    assert not (project / "below" / ".farandole").exists()


def test_two_namespaces_on_one_log_do_not_see_each_other(project: Path) -> None:
    transport = SqliteTransport(SqliteSettings(project_log(project)))

    with (
        InProcess(transport, [loud], namespace="one", folder=project),
        InProcess(transport, [loud], namespace="two", folder=project),
        SyncClient(transport, "one") as one,
        SyncClient(transport, "two") as two,
    ):
        runs = [client.start(loud, text, run_id="same") for client, text in ((one, "first"), (two, "second"))]
        results = [run.result("20s") for run in runs]

    assert results == ["FIRST", "SECOND"]


def test_a_process_of_a_namespace_that_was_never_applied_is_refused_and_changes_nothing(project: Path) -> None:
    transport = SqliteTransport(SqliteSettings(project_log(project)))
    with InProcess(transport, [loud], namespace="one", folder=project):
        pass
    with closing(transport.admin()) as admin:
        before = dict(admin.topics())

    with pytest.raises(ConfigError, match=r"other\.commands.*\n(.*\n)*.*farandole apply"):
        coordinator_process(transport, load_settings(namespace="other"), None)

    with closing(transport.admin()) as admin:
        assert dict(admin.topics()) == before
        assert admin.members("other.coordinator") == frozenset()


def test_the_command_line_says_what_is_wrong_with_a_log_and_prints_no_traceback(project: Path) -> None:
    log = project_log(project)
    log.parent.mkdir(exist_ok=True)
    SqliteTransport(SqliteSettings(log)).admin().close()  # whoever only looks makes none (0095)
    with closing(sqlite3.connect(log)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer = farandole(project, "run", "list")
    for each in log.parent.glob("log.db*"):
        if each.is_file():
            each.unlink()
    log.write_bytes(b"no database " * 1_000)
    damaged = farandole(project, "run", "list")

    for ran, text in ((newer, "newer farandole"), (damaged, "start anew")):
        assert ran.returncode != 0
        assert ran.stderr.startswith("error: ")
        assert text in ran.stderr
        assert "Traceback" not in ran.stderr


LOOKS = [
    ("lag",), ("topics", "list"), ("topics", "describe", "events"), ("agent", "list"), ("archive", "run"), ("verify",),
    ("agent", "move", "shout", "--to", "other", "--yes"), ("agent", "reposition", "shout", "--yes"), ("run", "list"),
    ("coordinator", "reposition", "--dry-run"), ("state", "rebuild", "--check"),
]  # fmt: skip


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_who_only_looks_leaves_no_log_where_there_is_no_project(
    project: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Some of these made an empty log, which the next command, and the next person, took for a project's."""
    monkeypatch.chdir(project)

    ran = CliRunner().invoke(app, words)

    assert ran.exit_code == 2
    assert "expected the log of a project" in ran.output
    assert not (project / ".farandole").exists()


def test_plan_where_there_is_no_log_yet_is_that_of_an_empty_one_and_makes_none(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    unit = project / "agents"
    unit.mkdir()
    (unit / "hello.py").write_text("from farandole import agent\n\n\n@agent\ndef hi(n: int) -> int:\n    return n\n")

    before = CliRunner().invoke(app, ["plan", "agents"])
    made = (project / ".farandole").exists()
    applied = CliRunner().invoke(app, ["apply", "agents", "--yes"])

    assert (before.exit_code, applied.exit_code, made) == (0, 0, False)
    assert "farandole.inbox.hi" in before.output
    assert before.output.strip() == applied.output.removesuffix("applied\n").strip()


def test_verify_of_a_namespace_that_was_never_applied_ends_as_other_commands_do(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended with 3, as if the log could not be reached."""
    monkeypatch.chdir(project)
    SqliteTransport(SqliteSettings(project_log(project))).admin().close()

    ran = CliRunner().invoke(app, ["verify"])

    assert ran.exit_code == 2
    assert "farandole apply" in ran.output
