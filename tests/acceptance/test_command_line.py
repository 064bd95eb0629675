"""The command line on a real Kafka: apply, processes, runs, dead letters, lineage, as an operator types them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

UNIT = """
from pathlib import Path
from farandole import Retry, agent, pipeline

@agent(retry=Retry(attempts=1))
def double(number: int) -> int:
    if number == 13 and not Path("lucky").exists():
        raise ValueError("13 is unlucky here")
    return 2 * number

@agent
def tell(number: int) -> str:
    return f"it is {number}"

@pipeline(owner="tests@example.org")
def twice(number: int) -> str:
    return tell(double(number))

@pipeline(owner="tests@example.org")
def strict(number: int) -> int:
    return double.options(on_dead_letter="fail")(number)
"""

pytestmark = pytest.mark.kafka


class Terminal:
    """A folder with a unit and settings, in which commands are typed."""

    def __init__(self, folder: Path, bootstrap: str, namespace: str) -> None:
        self.folder = folder
        self.children: list[subprocess.Popen[bytes]] = []
        (folder / "numbers").mkdir()
        (folder / "numbers" / f"unit_{namespace}.py").write_text(UNIT)
        settings = f'bootstrap = "{bootstrap}"\nnamespace = "{namespace}"\npartitions = 3\n'
        (folder / "farandole.toml").write_text(settings)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}

    def type(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "farandole.cli", *arguments],
            cwd=self.folder,
            env=self._environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process."""
        with (self.folder / f"{'-'.join(arguments[:1])}.log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "farandole.cli", *arguments],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.children.append(child)
        return child

    def told(self, *arguments: str) -> object:
        """What a command prints as JSON."""
        ran = self.type(*arguments, "--json")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        value: object = json.loads(ran.stdout)
        return value

    def end(self) -> list[int]:
        """Ask all processes to end; their exit codes."""
        for child in self.children:
            child.send_signal(signal.SIGTERM)
        return [child.wait(30) for child in self.children]


@pytest.fixture
def terminal(kafka: str, unique: str, tmp_path: Path) -> Iterator[Terminal]:
    """A terminal whose processes are gone in the end."""
    it = Terminal(tmp_path, kafka, unique)
    yield it
    for child in it.children:
        if child.poll() is None:
            child.kill()
            child.wait()


def test_deployment_from_apply_to_drain(terminal: Terminal, unique: str) -> None:
    refused = terminal.type("agent", "run", "numbers")
    applied = terminal.type("apply", "numbers", "--yes")
    again = terminal.told("plan", "numbers")
    terminal.spawn("coordinator", "run", "--slot", "0")
    terminal.spawn("agent", "run", "numbers", "--slot", "0")
    done = terminal.type("run", "start", "twice", "--params", '{"number": 4}', "--id", "r-4", "--wait")
    failed = terminal.type("run", "start", "strict", "--params", "-", "--wait", text='{"number": 13}')
    held = terminal.type("run", "start", "twice", "--params", '{"number": 13}', "--id", "r-13", "--wait")

    assert (refused.returncode, "missing" in refused.stderr) == (2, True)
    assert applied.returncode == 0, applied.stderr
    assert isinstance(again, dict)
    assert again["empty"] is True
    assert (done.returncode, json.loads(done.stdout)) == (0, "it is 8"), done.stderr
    assert (failed.returncode, "unlucky" in failed.stderr or "double" in failed.stderr) == (10, True), failed.stderr
    assert held.returncode == 11, held.stderr

    check_repair(terminal)

    lineage = terminal.type("lineage", "r-13")
    assert "double  succeeded" in lineage.stdout
    listed = terminal.told("run", "list", "--pipeline", "twice")
    assert isinstance(listed, list)
    assert {row["run"]: row["status"] for row in listed} == {"r-4": "succeeded", "r-13": "succeeded"}
    verified = terminal.type("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert terminal.end() == [0, 0]


def check_repair(terminal: Terminal) -> None:
    """The held run is seen, its dead letter found, the world repaired, the letter replayed."""
    shown = terminal.type("run", "show", "r-13")
    assert "13 is unlucky here" in shown.stdout
    groups = terminal.told("dead", "list")
    assert isinstance(groups, list)
    letter = next(each for group in groups for each in group["letters"] if each["run"] == "r-13")
    looked = terminal.told("dead", "show", letter["place"])
    assert isinstance(looked, dict)
    assert looked["payload"] == {"number": 13}
    (terminal.folder / "lucky").touch()
    assert terminal.type("dead", "replay", letter["place"]).returncode == 0
    watched = terminal.type("run", "watch", "r-13")
    assert "RunSettled" in watched.stdout.splitlines()[-1]
    refused = terminal.type("dead", "replay", letter["place"])
    assert (refused.returncode, "closed" in refused.stderr) == (1, True)


def test_cancel_of_a_run_nobody_knows_is_an_error(terminal: Terminal) -> None:
    assert terminal.type("apply", "numbers", "--yes").returncode == 0

    began = time.monotonic()
    ran = terminal.type("run", "cancel", "nobody")

    assert ran.returncode == 1
    assert "nothing is known of it" in ran.stderr
    assert time.monotonic() - began < 30


def test_daily_operation_of_a_deployment(terminal: Terminal, unique: str) -> None:
    """Every verb that reads or moves something on the log, on a real one."""
    terminal.type("apply", "numbers", "--yes")
    asked = terminal.type("run", "start", "twice", "--params", '{"number": 13}', "--id", "r-13")
    alone = terminal.type("run", "show", "r-13")
    coordinator = terminal.spawn("coordinator", "run", "--slot", "0")
    unserved = until_shown(terminal, "r-13", "no process serves agent double: start one")
    behind = terminal.told("lag", "--agent", "double")
    agents = terminal.spawn("agent", "run", "numbers", "--slot", "0")
    held = terminal.type("run", "result", "r-13", "--wait", "--timeout", "50s")

    assert (asked.returncode, alone.returncode, "no coordinator has taken" in alone.stderr) == (0, 1, True)
    assert "$ farandole agent run PATH" in unserved
    assert isinstance(behind, list)
    assert (behind[0]["behind"], behind[0]["processes"]) == (2, 0)  # the trigger and the marker of its transaction
    assert held.returncode == 11, held.stderr

    check_discard(terminal)
    check_topics(terminal)

    check_state(terminal)
    refused = terminal.type("agent", "move", "double", "--to", "bank", "--yes")
    assert (refused.returncode, "expected no process of it to run" in refused.stderr) == (2, True)
    agents.send_signal(signal.SIGTERM)
    assert agents.wait(30) == 0
    moved = terminal.type("agent", "move", "double", "--to", "bank", "--yes")
    assert moved.returncode == 0, moved.stderr
    back = terminal.type("agent", "move", "double", "--to", "numbers", "--yes")
    assert back.returncode == 0, back.stderr
    terminal.spawn("agent", "run", "numbers", "--slot", "1")
    again = terminal.type("run", "rerun", "r-13", "--params", '{"number": 6}', "--wait", "--timeout", "50s")
    assert (again.returncode, json.loads(again.stdout)) == (0, "it is 12"), again.stderr
    coordinator.send_signal(signal.SIGTERM)
    assert coordinator.wait(30) == 0


def until_shown(terminal: Terminal, run: str, what: str) -> str:
    """What `run show` says, as soon as it says that."""
    deadline = time.monotonic() + 60
    while what not in (shown := terminal.type("run", "show", run).stdout):
        assert time.monotonic() < deadline, shown
    return shown


def check_discard(terminal: Terminal) -> None:
    """The dead letter is found by an expression over its payload, and given up on."""
    where = 'payload.number == 13 && error.contains("unlucky")'
    exported = terminal.type("dead", "export", "--where", where)
    assert json.loads(exported.stdout)["payload"] == {"number": 13}
    discarded = terminal.type("dead", "discard", "--where", where, "--yes")
    assert discarded.returncode == 0, discarded.stderr
    watched = terminal.type("run", "watch", "r-13")
    assert "partial" in watched.stdout.splitlines()[-1]
    place = json.loads(exported.stdout)["place"]
    traced = terminal.type("lineage", place)
    assert "StartRun" in traced.stdout
    assert "DiscardDeadLetter" in traced.stdout


def check_topics(terminal: Terminal) -> None:
    """Topics are listed and read; a reader that has seen enough ends it without a word."""
    listed = terminal.told("topics", "list")
    assert isinstance(listed, list)
    assert len(listed) == 12
    events = terminal.type("topics", "consume", "events", "--run", "r-13", "--json")
    kinds = [json.loads(line)["type"] for line in events.stdout.splitlines()]
    assert (kinds[0], kinds[-1]) == ("farandole.RunStarted", "farandole.RunSettled")
    described = terminal.told("topics", "describe", "inbox.double")
    assert isinstance(described, dict)
    assert described["drift"] == []
    schemas = terminal.told("schema", "list")
    assert isinstance(schemas, list)
    assert "twice/double/input" in [use for each in schemas for use in each["uses"]]
    checked = terminal.type("schema", "check", "numbers")
    assert (checked.returncode, "0 not full compatible" in checked.stdout) == (0, True)


def check_state(terminal: Terminal) -> None:
    """The events make what `runs` holds, once all are folded."""
    deadline = time.monotonic() + 60
    while (found := json.loads(terminal.type("state", "rebuild", "--check", "--json").stdout))["moving"]:
        assert time.monotonic() < deadline, found
    assert (found["differences"], found["equal"]) == ([], 1)


def test_log_that_is_not_there_is_told_with_where_it_is_looked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "farandole.cli", "topics", "list", "--bootstrap", "127.0.0.1:1"]

    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 3
    assert "cannot be reached" in ran.stderr
    assert "FARANDOLE_BOOTSTRAP" in ran.stderr
    assert "Traceback" not in ran.stderr
