"""`farandole dev` on the embedded log as a user lives it: two terminals, saves, mistakes, Ctrl-C and kill -9."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.cli.init.laying import template_names
from farandole.testing.cluster.process import ManagedProcess
from farandole.testing.cluster.waiting import wait_until

PATIENCE = timedelta(seconds=90)
"""For anything that takes two seconds on a quiet machine."""

CLI = [sys.executable, "-m", "farandole.cli"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}
STARTS = {
    "minimal": ("greetings", '{"name": "Ada"}'),
    "orders": ("orders", "@order.json"),
    "flights-small": ("flights", '{"month": 1}'),
}


def farandole(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in the second terminal."""
    return subprocess.run(
        [*CLI, *words], cwd=project, env=ENVIRONMENT, capture_output=True, text=True, timeout=90, check=False
    )


def processes(root: int) -> set[int]:
    """A process and all that came from it."""
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return set()
    return {root, *(each for child in children for each in processes(int(child)))}


def is_alive(pid: int) -> bool:
    """Whether a process works yet; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Dev(ManagedProcess):
    """The first terminal."""

    def hears(self, text: str, times: int = 1) -> None:
        """Wait until it has said something so many times."""
        wait_until(lambda: self.log.read_text().count(text) >= times, PATIENCE, f"{text!r} × {times}", self.said)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A fresh project of the smallest template."""
    folder = tmp_path / "shop"
    made = farandole(tmp_path, "init", str(folder))
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def dev(project: Path) -> Iterator[Dev]:
    """`dev` on it, not started yet."""
    made = Dev("dev", [*CLI, "dev"], project, {"NO_COLOR": "1"})
    yield made
    made.end()


@pytest.mark.timeout(300)
def test_two_terminals_meet_and_a_save_a_mistake_a_second_dev_and_ctrl_c_do_what_one_expects(
    project: Path, dev: Dev
) -> None:
    dev.start().hears("ready after")
    first = farandole(project, "run", "start", "greetings", "--params", '{"name": "Ada"}', "--wait")
    assert json.loads(first.stdout)["text"] == "Hello ada.", first.stderr

    second_dev = farandole(project, "dev")
    assert second_dev.returncode == 2
    assert f"process {dev.pid} is one" in second_dev.stderr
    assert "Traceback" not in second_dev.stderr

    source = project / "agents" / "greetings" / "greetings.py"
    good = source.read_text()
    source.write_text(good + "\ndef broken(:\n")
    dev.hears("it cannot be loaded; the agents go on as they were")
    still = farandole(project, "run", "start", "greetings", "--params", '{"name": "Bob"}', "--wait")
    assert json.loads(still.stdout)["text"] == "Hello bob.", still.stderr

    source.write_text(good.replace(".capitalize()", ".upper()"))
    dev.hears("ready after", 2)
    changed = farandole(project, "run", "start", "greetings", "--params", '{"name": "Eve"}', "--wait")
    assert json.loads(changed.stdout)["text"] == "HELLO EVE.", changed.stderr

    ours = processes(dev.pid)
    assert len(ours) > 1
    os.kill(dev.pid, signal.SIGINT)
    assert dev.wait() == 0
    assert "ending: what has begun is finished first" in dev.said()
    assert "Traceback" not in dev.log.read_text()
    assert not [pid for pid in ours if is_alive(pid)]


@pytest.mark.timeout(300)
def test_save_while_an_earlier_one_loads_for_ever_starts_the_new_agents_and_ctrl_c_does_not_wait(
    project: Path, dev: Dev
) -> None:
    """The agents that ran had been ended, nothing followed them whatever was saved, and Ctrl-C took 25 s."""
    dev.start().hears("ready after")
    source = project / "agents" / "greetings" / "greetings.py"
    good = source.read_text()
    stuck = f"import time\nprint('stuck', flush=True)\ntime.sleep(100000)\n{good}"
    source.write_text(stuck)
    dev.hears("stuck")

    source.write_text(good.replace(".capitalize()", ".upper()"))
    dev.hears("ready after", 2)
    changed = farandole(project, "run", "start", "greetings", "--params", '{"name": "Eve"}', "--wait")
    assert json.loads(changed.stdout)["text"] == "HELLO EVE.", changed.stderr
    assert len(processes(dev.pid)) == 2, "what was overtaken is gone, and cannot apply"

    source.write_text(stuck)
    dev.hears("stuck", 2)
    ours, before = processes(dev.pid), time.monotonic()
    os.kill(dev.pid, signal.SIGINT)
    assert dev.wait() == 0
    assert time.monotonic() - before < 15
    assert not [pid for pid in ours if is_alive(pid)]


@pytest.mark.timeout(300)
def test_agents_of_dev_work_under_the_settings_file_that_it_was_given(project: Path) -> None:
    """They read the project's own file: they applied to another log, where nobody served what was started."""
    (project / "other").mkdir()
    (project / "other" / "other.toml").write_text('namespace = "shop"\npartitions = 3\n')
    dev = Dev("dev", [*CLI, "dev", "--config", "other/other.toml"], project, {"NO_COLOR": "1"})
    try:
        dev.start().hears("ready after")
        words = ("run", "start", "greetings", "--params", '{"name": "Ada"}', "--wait", "--config", "other/other.toml")

        ran = farandole(project, *words)

        assert ran.returncode == 0, ran.stderr + dev.said()
        assert json.loads(ran.stdout)["text"] == "Hello ada."
        assert not (project / ".farandole" / "log.db").exists()
        with closing(sqlite3.connect(project / "other" / ".farandole" / "log.db")) as db:
            topics = dict(db.execute("SELECT name, partitions FROM topics"))
        assert topics["shop.commands"] == 3
    finally:
        dev.end()


@pytest.mark.timeout(300)
def test_dev_says_what_it_sets_on_topics_that_stand(project: Path, dev: Dev) -> None:
    """It set retention without a word; `apply` shows its plan and asks first."""
    dev.start().hears("ready after")
    os.kill(dev.pid, signal.SIGINT)
    assert dev.wait() == 0
    (project / "topics").mkdir()
    (project / "topics" / "settled.yaml").write_text('topic: <ns>.settled\nconfig: {retention.ms: "31536000000"}\n')

    dev.start().hears("ready after")

    dev.hears(f"sets retention.ms of {project.name}.settled to 31536000000 (was 7776000000)")


@pytest.mark.timeout(300)
def test_mistake_in_a_handler_is_shown_with_its_traceback(project: Path, dev: Dev) -> None:
    """There was none anywhere: neither here, nor in a log of the agents, nor in a dead letter."""
    source = project / "agents" / "greetings" / "greetings.py"
    source.write_text(source.read_text().replace('Greeting(name, f"hello {name}")', "Greeting(name, name + 1)"))
    dev.start().hears("ready after")

    farandole(project, "run", "start", "greetings", "--params", '{"name": "Ada"}', "--timeout", "20s")

    dev.hears("return Greeting(name, name + 1)")
    assert re.search(
        r"compose#1  failed here:\nTraceback \(most recent call last\):\n  File .*greetings.py", dev.said()
    )


def make_deadly(project: Path) -> None:
    """The handler of the first step ends its process."""
    source = project / "agents" / "greetings" / "greetings.py"
    source.write_text(
        source.read_text().replace(
            "    return Greeting(name, f", "    __import__('os')._exit(3)\n    return Greeting(name, f"
        )
    )


@pytest.mark.timeout(300)
def test_dev_that_shows_errors_alone_starts_and_knows_which_handler_ended_a_process(project: Path) -> None:
    """What the agents' process says of itself was lost with its log: `dev` waited for ever, and no run began."""
    make_deadly(project)
    dev = Dev("dev", [*CLI, "dev", "--log-level", "error"], project, {"NO_COLOR": "1"})
    try:
        dev.start().hears("ready after")

        farandole(project, "run", "start", "greetings", "--params", '{"name": "Ada"}', "--id", "r-1")

        dev.hears("under way were compose#1 of r-1")
        assert "its process ended with 3" in dev.said()
    finally:
        dev.end()


@pytest.mark.timeout(300)
def test_process_that_a_handler_ends_names_its_attempt_and_cancelling_the_run_ends_the_dying(
    project: Path, dev: Dev
) -> None:
    """It said `its process ended with 3; starting it again` every two seconds, and nothing of who had done it."""
    make_deadly(project)
    dev.start().hears("ready after")

    farandole(project, "run", "start", "greetings", "--params", '{"name": "Ada"}', "--id", "r-1")

    dev.hears("its process ended with 3; starting it again in 1 s")
    dev.hears("under way were compose#1 of r-1")
    dev.hears("its process ended with 3; starting it again in 2 s")
    assert farandole(project, "run", "cancel", "r-1").returncode == 0
    assert farandole(project, "run", "result", "r-1", "--wait", "--timeout", "60s").returncode == 13


@pytest.mark.timeout(300)
def test_kill_9_of_dev_leaves_no_orphan_and_the_next_one_goes_on(project: Path, dev: Dev) -> None:
    dev.start().hears("ready after")
    held = farandole(project, "run", "start", "greetings", "--params", '{"name": " "}', "--id", "r-1", "--wait")
    assert held.returncode == 11, held.stderr
    ours = processes(dev.pid)
    assert len(ours) > 1

    dev.kill9()
    wait_until(lambda: not [pid for pid in ours if is_alive(pid)], PATIENCE, "no process of it left", dev.said)
    asleep = farandole(
        project, "run", "start", "greetings", "--params", '{"name": "Eve"}', "--id", "r-2", "--wait", "--timeout", "20s"
    )
    assert asleep.returncode == 1, "the wait has ended, the run goes on"
    assert "still waiting: no coordinator runs" in asleep.stderr
    assert "no process serves compose, polish, send" in asleep.stderr
    dev.restart().hears("ready after", 2)
    (place,) = set(re.findall(r"shop\.dead\.compose/\d+/\d+", farandole(project, "dead", "list", "--json").stdout))
    replayed = farandole(project, "dead", "replay", place, "--input", '{"name": "Ada"}', "--yes")

    assert replayed.returncode == 0, replayed.stderr
    results = [farandole(project, "run", "result", run, "--wait").stdout for run in ("r-1", "r-2")]
    assert [json.loads(each)["text"] for each in results] == ["Hello ada.", "Hello eve."]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("template", [name for name in template_names() if name != "minimal"])
def test_project_of_a_template_runs_under_dev_at_once(template: str, tmp_path: Path) -> None:
    project = tmp_path / "shop"
    assert farandole(tmp_path, "init", str(project), "-t", template).returncode == 0
    pipeline, params = STARTS[template]
    dev = Dev("dev", [*CLI, "dev"], project, {"NO_COLOR": "1"})
    try:
        dev.start().hears("ready after")

        ran = farandole(project, "run", "start", pipeline, "--params", params, "--wait")

        assert ran.returncode == 0, ran.stderr + dev.said()
        assert json.loads(ran.stdout)
        dev.hears("RunSettled  succeeded")
    finally:
        dev.end()


@pytest.mark.parametrize(
    "words", [("run", "list"), ("run", "start", "greetings"), ("dead", "list"), ("lineage", "r-1")]
)
def test_command_where_nothing_was_started_says_what_makes_a_project_and_leaves_nothing(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    told = farandole(tmp_path, *words)

    assert told.returncode == 2
    assert "nothing was started here yet" in told.stderr
    assert "farandole dev" in told.stderr
    assert not list(tmp_path.iterdir())


def test_dev_on_a_log_of_a_newer_version_says_so_in_one_message_and_leaves_it_alone(project: Path) -> None:
    assert farandole(project, "apply", "agents/greetings", "--yes").returncode == 0
    log = project / ".farandole" / "log.db"
    with closing(sqlite3.connect(log)) as db:
        db.execute("PRAGMA user_version = 999")

    told = farandole(project, "dev")

    assert told.returncode != 0
    assert told.stdout == ""
    assert told.stderr.startswith("error: ")
    assert told.stderr.count("has version 999") == 1
    assert "Traceback" not in told.stderr
    with closing(sqlite3.connect(log)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (999,)


def test_dev_without_its_broker_says_so_and_ends(project: Path) -> None:
    told = farandole(project, "dev", "--bootstrap", "127.0.0.1:1")

    assert told.returncode == 3, told.stderr
    assert told.stderr.count("error: ") == 1
    assert "Is the log running" in told.stderr
    assert "Traceback" not in told.stderr
