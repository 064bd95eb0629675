"""What programs read is JSON and nothing else, whatever user code prints and returns."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

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
