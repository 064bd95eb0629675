"""What programs read is JSON and nothing else, and bytes that are no text are bad input, not a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.client import SyncClient
from farandole.errors import RunNotFound, RunRefused
from farandole.testing.cluster.process import ManagedProcess
from farandole.testing.cluster.waiting import wait_until

PATIENCE = timedelta(seconds=90)
CLI = [sys.executable, "-m", "farandole.cli"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}

UNIT = """
import os
import sys

from farandole import agent, pipeline

print("loading", flush=True)
os.system("echo a process while loading")

@agent
def halved(text: str) -> float:
    print("handling", flush=True)
    if text == "├ poison":
        raise ValueError("├ × ─")
    return float("nan") if text == "nan" else 0.5

@pipeline(owner="tests@example.org")
def halves(text: str) -> float:
    return halved(text)
"""

SIMULATION = """
import halves_unit
from farandole.testing.simulated import Simulation

print("loading a simulation", flush=True)
simulation = Simulation(halves_unit.halves)
"""

Said = subprocess.CompletedProcess[bytes]


def farandole(folder: Path, *words: str | bytes, given: bytes = b"", **environment: str) -> Said:
    """A command in a folder; a word may be bytes that are no text."""
    return subprocess.run(
        [*CLI, *words], cwd=folder, env=ENVIRONMENT | environment, input=given,
        capture_output=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose code prints, applied, with processes that serve it."""
    folder = tmp_path_factory.mktemp("prints")
    (folder / "farandole.toml").write_text("")
    (folder / "agents" / "halves").mkdir(parents=True)
    (folder / "agents" / "halves" / "halves_unit.py").write_text(UNIT)
    dev = ManagedProcess("dev", [*CLI, "dev"], folder, {"NO_COLOR": "1"})
    try:
        dev.start()
        wait_until(lambda: "ready after" in dev.log.read_text(), PATIENCE, "ready", dev.said)
        held = farandole(folder, "run", "start", "halves", "--params", '{"text": "├ poison"}', "--id", "held", "--wait")
        assert held.returncode == 11, held.stderr.decode()
        yield folder
    finally:
        dev.end()


@pytest.mark.parametrize(
    "words",
    [
        ("check", "agents/halves"),
        ("plan", "agents/halves"),
        ("apply", "agents/halves", "--yes"),
        ("schema", "check", "agents/halves"),
        ("simulate", "agents/halves", "--seeds", "1"),
    ],
    ids=" ".join,
)
def test_json_of_a_command_that_runs_user_code_is_all_that_stands_on_standard_output(
    words: tuple[str, ...], project: Path
) -> None:
    """What a unit printed while it was loaded came before the document, and no program could read it."""
    said = farandole(project, *words, "--json")

    assert json.loads(said.stdout), said.stderr.decode()
    assert b"loading" in said.stderr
    assert b"a process while loading" in said.stderr
    assert words[0] != "simulate" or b"handling" in said.stderr


def test_result_that_json_cannot_hold_is_printed_as_text(project: Path) -> None:
    said = farandole(project, "run", "start", "halves", "--params", '{"text": "nan"}', "--wait", "--json")

    assert said.returncode == 0, said.stderr.decode()
    assert json.loads(said.stdout)["result"] == "NaN"


@pytest.mark.parametrize(
    ("words", "given", "code"),
    [
        (("run", "start", "halves", "--params", b'{"text": "\xff"}'), b"", 2),
        (("run", "start", "halves", "--params", "-"), b'{"text": "\xff"}', 2),
        (("run", "start", "halves", "--id", b"\xff"), b"", 1),
        (("run", "start", b"\xff"), b"", 2),
        (("run", "rerun", "held", "--params", b"\xff"), b"", 2),
        (("run", "show", b"\xff"), b"", 1),
        (("run", "events", b"\xff"), b"", 1),
        (("run", "cancel", "held", "--reason", b"\xff"), b"", 1),
        (("lineage", b"\xff"), b"", 1),
        (("lineage", b"\xff/0/0"), b"", 1),
        (("dead", "show", b"\xff/0/0"), b"", 1),
        (("topics", "consume", b"\xff"), b"", 2),
        (("topics", "consume", "events", "--run", b"\xff"), b"", 2),
        (("topics", "produce", "commands", "--value", b"\xff"), b"", 2),
        (("topics", "produce", "commands", "--value", "{}", "--key", b"\xff"), b"", 2),
        (("topics", "produce", "commands", "--value", "{}", "--header", b"a=\xff"), b"", 2),
        (("topics", "produce", b"\xff", "--value", "{}"), b"", 2),
        (("run", "list", "--bootstrap", b"\xff:1"), b"", 2),
    ],
)  # fmt: skip
def test_bytes_that_are_no_text_are_refused_in_a_message(
    words: tuple[str | bytes, ...], given: bytes, code: int, project: Path
) -> None:
    said = farandole(project, *words, given=given)

    assert b"Traceback" not in said.stderr, said.stderr.decode(errors="replace")
    assert b"error: " in said.stderr.lower(), said.stderr
    assert said.returncode == code, said.stderr.decode(errors="replace")


def test_client_refuses_text_that_utf_8_cannot_hold_with_its_own_errors(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    with SyncClient() as client:
        with pytest.raises(RunRefused, match="lone surrogate"):
            client.start("halves", params='{"text": "\ud800"}')
        with pytest.raises(RunNotFound, match="no run has it"):
            client.run("\ud800").status()
        with pytest.raises(RunNotFound, match="no run has it"):
            client.release("\ud800")


@pytest.mark.parametrize("words", [("dead", "list"), ("lineage", "held"), ("run", "show", "held")], ids=" ".join)
def test_terminal_that_lacks_a_character_gets_another_one(words: tuple[str, ...], project: Path) -> None:
    said = farandole(project, *words, PYTHONIOENCODING="latin-1")
    as_json = farandole(project, *words, "--json", PYTHONIOENCODING="latin-1")

    assert (said.returncode, as_json.returncode) == (0, 0), said.stderr + as_json.stderr
    assert b"Traceback" not in said.stderr + as_json.stderr
    assert json.loads(as_json.stdout)
