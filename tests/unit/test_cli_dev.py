"""What `farandole dev` decides by itself: its folders, what counts as a change, who may run it, which process lives."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import pytest

from farandole.cli.dev.narrator import Narrator, Told, told_of
from farandole.cli.dev.project import alone, changed, find_units, newcomers, stamp
from farandole.cli.dev.screen import Screen
from farandole.cli.dev.session import _to_show
from farandole.cli.dev.stages import APPLIED
from farandole.cli.dev.unit import Child, Said, UnitCrew, _fields
from farandole.errors import ConfigError, FatalTransportError
from farandole.events import facts
from farandole.events.catalogue import encode
from farandole.transport.port import Record, Transport

PATIENCE_S = 25.0


class FakeChild:
    """A process that does what it is told."""

    def __init__(self) -> None:
        self.began_at = 0.0
        self.is_applied = False
        self.under_way: dict[object, str] = {}
        self.is_ended = False
        self.is_killed = False
        self.went = False
        self.code: int | None = None

    def go(self) -> None:
        self.went = True

    def end(self) -> None:
        self.is_ended = True

    def kill(self) -> None:
        self.is_ended = self.is_killed = True

    def wait(self, timeout: float) -> None:
        assert self.is_ended


@pytest.fixture
def project(tmp_path: Path) -> Path:
    unit = tmp_path / "agents" / "greetings"
    unit.mkdir(parents=True)
    (unit / "greetings.py").write_text("x = 1\n")
    return tmp_path


def crew(project: Path) -> tuple[UnitCrew, list[Any]]:
    """A unit whose processes are fakes, and those in the order of their start."""
    started: list[Any] = []

    def spawn(name: str, path: Path) -> Child:
        started.append(FakeChild())
        fake: Child = started[-1]
        return fake

    return UnitCrew(project / "agents" / "greetings", spawn, PATIENCE_S), started


def test_units_are_the_folders_with_code_in_agents(project: Path) -> None:
    (project / "agents" / "empty").mkdir()

    assert find_units(None, project) == [project / "agents" / "greetings"]


def test_folder_that_comes_while_dev_runs_is_found_unless_one_was_named(project: Path) -> None:
    """It was not looked at again: one had to end `dev` and start it once more."""
    find, named = newcomers(None, project), newcomers(project / "agents" / "greetings", project)
    (project / "agents" / "orders").mkdir()
    (project / "agents" / "orders" / "orders.py").write_text("")

    assert find() == [project / "agents" / "greetings", project / "agents" / "orders"]
    assert named() == []


def test_agents_folder_with_code_itself_is_the_unit(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "steps.py").write_text("")

    assert find_units(None, tmp_path) == [tmp_path / "agents"]


@pytest.mark.parametrize(("path", "fault"), [(None, "farandole init NAME"), ("nowhere", "does not exist")])
def test_project_without_agents_is_refused_with_a_way_out(path: str | None, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=fault):
        find_units(tmp_path / path if path else None, tmp_path)


def test_only_files_that_can_change_a_unit_count_as_changes(project: Path) -> None:
    unit = project / "agents" / "greetings"
    before = stamp([unit])
    (unit / "__pycache__").mkdir()
    (unit / "__pycache__" / "greetings.py").write_text("")
    (unit / "notes.txt").write_text("")
    assert changed(before, stamp([unit])) == []

    (unit / "greetings.py").write_text("x = 22\n")
    (unit / "more.yaml").write_text("")

    assert [path.name for path in changed(before, stamp([unit]))] == ["greetings.py", "more.yaml"]


def test_second_dev_in_a_folder_is_refused_with_the_process_that_has_it(tmp_path: Path) -> None:
    with alone(tmp_path / ".farandole"):
        with pytest.raises(ConfigError, match=f"process {os.getpid()} is one"), alone(tmp_path / ".farandole"):
            pass

    with alone(tmp_path / ".farandole"):
        assert (tmp_path / ".farandole" / "dev.lock").exists()


def test_lock_of_a_dev_that_was_killed_is_free(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from farandole.cli.dev.project import alone\n"
        "with alone(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    with holder.stdout, holder.stdin:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError), alone(tmp_path):
            pass

        holder.kill()
        holder.wait()

    with alone(tmp_path):
        assert (tmp_path / "dev.lock").read_text().strip() == str(os.getpid())


def test_unit_runs_once_it_is_applied(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    assert not started[0].went

    unit.applied(started[0], now=0.0)

    assert started[0].went
    assert unit.is_running


def test_successor_goes_only_when_it_is_applied_and_its_predecessor_has_ended(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=0.0)
    assert not started[0].is_ended

    unit.applied(started[1], now=0.0)
    assert started[0].is_ended
    assert not started[1].went
    unit.ended(started[0], now=0.0)

    assert started[1].went


def test_process_that_a_newer_save_overtakes_is_killed_before_it_can_apply(project: Path) -> None:
    """It was asked to end by a pipe that it reads only once it has applied: the older pipeline was published last."""
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=1.0)

    unit.begin(now=2.0)
    unit.applied(started[1], now=3.0)  # said before it was killed
    assert started[1].is_killed
    assert not started[0].is_ended

    unit.applied(started[2], now=4.0)
    unit.ended(started[1], now=4.0)
    assert not started[2].went, "the one that runs has not ended"
    unit.ended(started[0], now=5.0)

    assert started[2].went
    assert not started[0].is_killed


def test_process_that_does_not_drain_in_time_is_killed_and_its_successor_goes(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=1.0)
    unit.applied(started[1], now=2.0)

    unit.step(now=2.0 + PATIENCE_S - 0.1)
    assert not started[0].is_killed
    unit.step(now=2.0 + PATIENCE_S)
    assert started[0].is_killed
    unit.ended(started[0], now=2.0 + PATIENCE_S)

    assert started[1].went


def test_end_of_a_session_does_not_wait_for_what_is_loading(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=1.0)

    unit.end()

    assert started[1].is_killed
    assert not started[0].is_killed


def test_process_has_ended_although_what_it_left_running_holds_its_output() -> None:
    """Its end was the end of the pipe: the next agents did not start until what a handler had begun was over."""
    left = "import subprocess, os; left = subprocess.Popen(['sleep', '600']); print(left.pid, flush=True); os._exit(3)"
    said: SimpleQueue[Said] = SimpleQueue()

    child = Child("greetings", [sys.executable, "-c", left], {}, said.put)
    told = said.get(timeout=30)
    child.end()
    try:
        assert said.get(timeout=30).line is None
        assert child.code == 3
        child.wait(timeout=30)
    finally:
        os.kill(int(str(told.line)), signal.SIGKILL)


def heard(code: str) -> list[Said]:
    """What the parent takes of a process that runs this, to its end."""
    said: SimpleQueue[Said] = SimpleQueue()
    child = Child("greetings", [sys.executable, "-c", code], {}, said.put)
    lines = [said.get(timeout=30)]
    while lines[-1].line is not None:
        lines.append(said.get(timeout=30))
    child.end()
    return lines[:-1]


def test_process_is_heard_whatever_its_author_does_to_logs_and_output() -> None:
    """`applied` was a log line: with `--log-level warning`, or a `dictConfig` in a module, `dev` hung for ever."""
    code = (
        "import io, logging.config, sys\n"
        "from farandole.cli.dev.stages import APPLIED, say\n"
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'CRITICAL'}})\n"
        "logging.disable()\n"
        "print('loading', end='', flush=True)\n"
        "sys.stdout = io.StringIO()\n"
        "say(APPLIED, {'n': 1})\n"
    )

    lines = heard(code)

    assert [each.stage for each in lines] == [None, APPLIED]
    assert lines[0].line == "loading"


def test_log_line_of_a_handler_is_never_taken_for_what_its_process_says_of_itself() -> None:
    """`extra={"stage": "ready"}` of a handler was: its line was not shown, and `dev` said `ready after`."""
    code = (
        "import logging\n"
        "from farandole.cli.logs import setup_logging\n"
        "setup_logging('info', 'json')\n"
        "logging.getLogger('farandole.agents.bake').info('risen', extra={'stage': 'ready'})\n"
    )

    (said,) = heard(code)

    assert said.stage is None
    assert isinstance(said.line, Mapping)
    assert (said.line["message"], said.line["stage"]) == ("risen", "ready")


@pytest.mark.parametrize(
    "printed",
    [
        '{"message": "hi"}', '{"event": "hi", "level": "info", "timestamp": "2026-01-01T00:00:00Z"}', '{"message": ',
        '{"time": 1.5, "level": "info", "logger": "shop", "message": "hi"}', '{"a":' * 100_000,
        '{"time": "9999-12-31T23:59:59-14:00", "level": "info", "logger": "shop", "message": "hi"}',
        '{"farandole.dev": "of its own"}', '{"farandole.dev": ["ready"]}',
    ],
    ids=["message alone", "structlog", "cut", "seconds", "deep", "end of time", "our field", "our field, a list"],
)  # fmt: skip
def test_json_that_a_handler_prints_is_shown_as_it_is(printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One such line was taken for a log line of ours, whose time it has not: a traceback, and `dev` had ended."""
    fields = _fields(printed)
    Screen().log("greetings", fields)

    assert fields == printed
    assert printed in capsys.readouterr().out


def test_line_of_a_handler_with_a_fingerprint_of_its_own_is_shown() -> None:
    """It was taken for that of a failed attempt, which is told as an event: nobody saw it."""
    line = {"time": "2026-01-01T00:00:00Z", "level": "info", "message": "of a picture", "fingerprint": "ab12"}

    its_own = _to_show({**line, "logger": "farandole.agents.look"})
    failure = _to_show({**line, "logger": "farandole.runtime"})
    traced = _to_show({**line, "logger": "farandole.runtime", "error": "Traceback …"})

    assert its_own == {**line, "logger": "farandole.agents.look"}
    assert failure is None
    assert isinstance(traced, Mapping)
    assert (traced["message"], traced["error"], traced["fingerprint"]) == ("failed here:", "Traceback …", "")


def test_lines_of_dev_have_the_clock_of_all_commands_and_say_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were in local time without a word, while `run watch` beside it printed UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    screen, at = Screen(), datetime(2026, 1, 1, 12, 30, 5, 7000, tzinfo=UTC)

    try:
        screen.tell(Told(at, "r-1", "RunStarted", "greetings", ""))
        screen.log("greetings", {"time": "2026-01-01T12:30:05.008Z", "message": "hello"})
        screen.log("greetings", "printed")
    finally:
        monkeypatch.undo()
        time.tzset()

    assert capsys.readouterr().out.splitlines() == [
        "12:30:05.007Z  run           r-1  RunStarted  greetings",
        "12:30:05.008Z  greetings     hello",
        "               greetings     printed",
    ]


def test_unit_that_cannot_be_loaded_leaves_the_running_one_alone(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=0.0)

    by_itself = unit.ended(started[1], now=0.0)
    unit.step(now=100.0)

    assert by_itself
    assert unit.is_running
    assert not started[0].is_ended
    assert len(started) == 2


def test_process_that_dies_by_itself_is_started_again_after_a_while(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)

    unit.ended(started[0], now=10.0)
    unit.step(now=10.5)
    assert len(started) == 1
    unit.step(now=11.0)

    assert len(started) == 2


def test_process_that_is_started_again_begins_then_and_not_at_the_last_save(project: Path) -> None:
    """After an hour's work, agents that came back within a second were `ready after 3601.2 s`."""
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.5)

    unit.ended(started[0], now=3600.0)
    unit.step(now=3601.0)

    assert [each.began_at for each in started] == [0.0, 3601.0]


def test_process_that_dies_while_its_successor_loads_is_followed_by_that_alone(project: Path) -> None:
    """A second later everything was loaded once more, for nothing."""
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=10.0)

    by_itself = unit.ended(started[0], now=11.0)
    assert (by_itself, unit.is_running, unit.is_loading) == (True, False, True)
    unit.applied(started[1], now=12.0)
    unit.step(now=20.0)

    assert started[1].went
    assert len(started) == 2


def test_process_that_dies_before_its_predecessor_has_drained_is_started_again(project: Path) -> None:
    """It said `starting it again in 0 s`, and nothing came until the next save."""
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=10.0)
    unit.applied(started[1], now=11.0)

    by_itself = unit.ended(started[1], now=12.0)
    assert (by_itself, unit.restarts_after, unit.is_loading) == (True, 1, False)
    unit.step(now=13.0)
    unit.applied(started[2], now=14.0)
    assert not started[2].went, "the first has not drained"
    unit.ended(started[0], now=15.0)

    assert started[2].went


def test_process_that_dies_again_and_again_is_started_ever_later_until_a_save(project: Path) -> None:
    """A handler that calls `os._exit` is given its trigger again by each start: one every 2 s, for ever."""
    unit, started = crew(project)
    now, waits = 0.0, []
    unit.begin(now)
    for _ in range(8):
        unit.applied(started[-1], now)
        unit.ended(started[-1], now)
        waits.append(unit.restarts_after)
        now += waits[-1]
        unit.step(now)

    unit.begin(now)  # a save
    unit.ended(started[-2], now)
    unit.applied(started[-1], now)
    unit.ended(started[-1], now)

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert unit.restarts_after == 1


def test_end_of_a_session_starts_nothing_again(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.end()

    by_itself = unit.ended(started[0], now=10.0)
    unit.step(now=100.0)

    assert not by_itself
    assert len(started) == 1


def test_unit_has_ended_when_the_last_of_its_processes_has(project: Path) -> None:
    unit, started = crew(project)
    unit.begin(now=0.0)
    unit.applied(started[0], now=0.0)
    unit.begin(now=1.0)
    unit.end()

    started[0].code = 0
    one_lives = unit.has_ended
    started[1].code = -9

    assert not one_lives
    assert unit.has_ended


def record(event: facts.Event) -> Record:
    return Record("ns.events", 0, 7, b"o-1", encode(event), (), 1_700_000_000_000)


def test_event_is_told_with_its_run_and_tone() -> None:
    told = told_of(record(facts.RunHeld("o-1", "dead_letter", "exception", "charge", 2)))

    assert told is not None
    assert (told.run, told.kind, told.tone) == ("o-1", "RunHeld", "wait")
    assert "farandole run show o-1" in told.text
    assert told.at == datetime.fromtimestamp(1_700_000_000, tz=UTC)


def test_error_of_a_failed_attempt_is_told_whole() -> None:
    """It was cut after 100 characters, just before what to do about it."""
    error = f"expected {'x' * 200}, but found none;\nrename it"

    told = told_of(record(facts.StepFailed("r-1", "a", 1, "exception", error, "fp", False, b"")))

    assert told is not None
    assert told.text.endswith(f"{'x' * 200}, but found none; rename it")


def test_scheduling_and_foreign_records_are_not_told() -> None:
    foreign = Record("ns.events", 0, 8, None, b"\x00rubbish", (), 0)

    assert told_of(foreign) is None
    assert told_of(record(facts.StepScheduled("o-1", "charge", 1))) is None


def test_folder_that_cannot_hold_the_lock_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / ".farandole").write_text("a file where the folder should be")

    with pytest.raises(ConfigError, match="make the folder writable"), alone(tmp_path / ".farandole"):
        pass


class _Gone:
    """A log whose file was taken away."""

    def reader(self, name: str) -> "_Gone":
        return self

    def assign(self, places: object) -> None:
        pass

    def poll(self, timeout: float) -> list[object]:
        raise FatalTransportError("log.db: expected the log to stay where it is, but it was removed")

    def close(self) -> None:
        raise FatalTransportError("log.db: it is gone")


def test_narrator_that_has_lost_the_log_says_so_in_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Exception in thread narrator:` and a traceback came before the message that says what to do."""
    uncaught: list[object] = []
    monkeypatch.setattr(threading, "excepthook", uncaught.append)

    Narrator(cast(Transport, _Gone()), "farandole.events", 1, lambda told: None).stop()

    assert not uncaught
    assert "what happens to runs is no longer shown: log.db" in caplog.text
    assert "Traceback" not in caplog.text


def test_nothing_that_an_exception_says_is_obeyed_by_the_terminal_of_dev(capsys: pytest.CaptureFixture[str]) -> None:
    """The line of the event wrote NUL and ESC out; the traceback below it coloured the terminal red."""
    said = "\x00 \x1b[31mred"
    fields = {"time": "2026-01-01T12:30:05.008Z", "message": said, "cart": said}

    Screen().log("greetings", {**fields, "error": f"Traceback:\n\tValueError: {said}"})

    out = capsys.readouterr().out
    assert not {"\x00", "\x1b"} & set(out)
    assert out.count("\\x00 \\x1b[31mred") == 3
    assert "Traceback:\n\tValueError" in out.expandtabs(8).replace("        ", "\t")
