"""What is asked of a run that has not begun, or that nothing holds: `run cancel`, `release`, `rerun`, `result`."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from farandole import Retry, agent, pipeline
from farandole.client.query import RunDetail, run_detail
from farandole.client.session import Session
from farandole.client.waiting import Wait
from farandole.testing.cluster import wait_until
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport

Typed = Callable[..., Result]

GO_ON = threading.Event()

WAIT = timedelta(seconds=20)


@dataclass(frozen=True)
class Number:
    """What travels."""

    n: int


@agent(retry=Retry(attempts=1))
def double(number: Number) -> Number:
    """Fails for what is above a hundred, and waits for nothing."""
    if number.n > 100:
        raise ValueError("too large")
    if number.n < 0:
        GO_ON.wait(30)
    return Number(2 * number.n)


@pipeline(owner="tests@example.org")
def twice(number: Number) -> Number:
    """May be held, and may take a while."""
    return double(number)


@pytest.fixture
def cluster(tmp_path: Path) -> InProcess:
    """A deployment that is applied, and whose processes have not been started."""
    GO_ON.clear()
    return InProcess(MemoryTransport(), [twice], namespace="farandole", folder=tmp_path)


def start(farandole: Typed, run: str, n: int, *more: str, code: int = 0) -> None:
    """Ask for a run."""
    params = json.dumps({"number": {"n": n}})
    farandole("run", "start", "twice", "--id", run, "--params", params, *more, code=code)


def test_run_that_has_not_begun_is_cancelled_as_soon_as_it_begins(farandole: Typed, cluster: InProcess) -> None:
    """That nothing is known of it was said of a run that `run show` knew, and that began when a coordinator came."""
    start(farandole, "r-1", 4)

    farandole("run", "cancel", "r-1", "--reason", "never mind", code=0)
    with cluster:
        ended = farandole("run", "result", "r-1", "--wait", code=13)

    assert "never mind" in ended.stderr


@pytest.mark.parametrize("verb", ["release", "rerun", "result"])
def test_what_cannot_be_asked_of_a_run_that_has_not_begun_is_answered_as_run_show_does(
    farandole: Typed, cluster: InProcess, verb: str
) -> None:
    start(farandole, "r-2", 4)

    shown = farandole("run", "show", "r-2", code=1).stderr
    asked = farandole("run", verb, "r-2", code=1).stderr

    assert "it was asked for at" in shown
    assert asked == shown


@pytest.mark.parametrize("verb", ["cancel", "release", "rerun", "result"])
def test_nothing_is_asked_of_a_run_that_was_refused(farandole: Typed, cluster: InProcess, verb: str) -> None:
    with cluster:
        command = {"run_id": "r-3", "pipeline": "nothing-like-it", "params": {}}
        farandole("topics", "produce", "commands", "--value", json.dumps(command), code=0)
        wait_until(lambda: "refused" in farandole("run", "show", "r-3").stderr, WAIT, "it was refused")

        asked = farandole("run", verb, "r-3", code=1)

    assert "refused (unknown_pipeline" in asked.stderr


def test_release_of_a_run_that_a_dead_letter_holds_is_refused_with_what_releases_it(
    farandole: Typed, cluster: InProcess
) -> None:
    """It said "asked that it go on", and nothing came of it: a release answers errors and suspected triggers alone."""
    with cluster:
        start(farandole, "r-4", 1000, "--wait", code=11)
        place = json.loads(farandole("dead", "list", "--json", code=0).stdout)[0]["letters"][0]["place"]

        refused = farandole("run", "release", "r-4", code=1)

    assert "but it is held: dead letter at double" in refused.stderr
    for verb in ("replay", "edit", "discard"):
        assert f"\n  farandole dead {verb} {place}" in refused.stderr
    assert refused.stdout == ""


def test_release_of_a_run_that_nothing_holds_is_refused(farandole: Typed, cluster: InProcess) -> None:
    with cluster:
        start(farandole, "r-5", -1)
        wait_until(lambda: farandole("run", "show", "r-5").exit_code == 0, WAIT, "it began")
        try:
            refused = farandole("run", "release", "r-5", "--json", code=1)
        finally:
            GO_ON.set()

    assert "but it is running. Nothing was asked" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("kind", ["suspected", "kernel_error"])
def test_release_of_a_run_that_it_answers_is_asked(
    farandole: Typed, cluster: InProcess, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def held(session: Session, run_id: str) -> RunDetail:
        detail = await run_detail(session, run_id)
        return RunDetail(detail.status, detail.steps, (Wait(kind, "of a person"),))

    monkeypatch.setattr("farandole.cli.showing.run_detail", held)
    with cluster:
        start(farandole, "r-6", -1)
        wait_until(lambda: farandole("run", "result", "r-6").stderr.count("it is running") == 1, WAIT, "it began")
        try:
            asked = farandole("run", "release", "r-6", "--json", code=0)
        finally:
            GO_ON.set()

    assert json.loads(asked.stdout) == {"run": "r-6", "asked": "release"}
    commands = farandole("topics", "consume", "commands", "--json", code=0).stdout
    assert "ReleaseRun" in commands


def test_id_of_a_start_that_cannot_be_told_is_said_aside(
    farandole: Typed, cluster: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full disk behind the output the run was started, and nobody knew under which id."""

    def full(*told: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("farandole.cli.starting.print_json", full)
    said = farandole("run", "start", "twice", "--params", '{"number": {"n": 4}}', "--json")

    begun = said.stderr.removeprefix("started: ").strip()
    assert begun in farandole("topics", "consume", "commands", "--json", code=0).stdout


def test_id_of_a_start_is_said_aside_where_standard_output_was_closed_from_the_beginning(
    farandole: Typed, cluster: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farandole.cli.starting.is_closed", lambda stream: True)
    said = farandole("run", "start", "twice", "--params", '{"number": {"n": 4}}', code=0)

    assert said.stderr == f"started: {said.stdout}"
