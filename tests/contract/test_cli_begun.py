"""`run result --wait` and `run watch` of a run that was asked for and that no coordinator has begun yet."""

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from farandole import agent, pipeline
from farandole.cli import begun
from farandole.cli.main import app
from farandole.client.asking import Asked, start_asked
from farandole.client.session import Session
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.outgoing import Origin, event_record
from farandole.ids import sha256
from farandole.testing.inprocess import PARTITIONS, InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.outgoing import new_record
from farandole.transport.port import NewRecord


@agent
def double(n: int) -> int:
    """One step."""
    return 2 * n


@pipeline(owner="tests@example.org")
def twice(n: int) -> int:
    """Gives a result at once."""
    return double(n)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> InProcess:
    """A deployment that is applied, and whose processes have not been started."""
    made = InProcess(MemoryTransport(), [twice], namespace="farandole", folder=tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("farandole.cli.connect.transport_of", lambda settings: made.transport)
    return made


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a command has looked for the start of the run, and waits."""
    looked = threading.Event()

    async def seen(session: Session, run_id: str) -> Asked | None:
        found = await start_asked(session, run_id)
        looked.set()
        return found

    monkeypatch.setattr(begun, "start_asked", seen)
    return looked


def beside(*words: str) -> Future[Result]:
    """A command in another terminal."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(CliRunner().invoke, app, words)
    finally:
        pool.shutdown(wait=False)


@pytest.mark.parametrize(
    "words", [("run", "result", "r-1", "--wait"), ("run", "watch", "r-1", "--plain")], ids=" ".join
)
def test_run_that_was_asked_for_is_waited_for_until_it_begins(
    cluster: InProcess, asks: threading.Event, words: tuple[str, ...]
) -> None:
    """They ended with "nothing is known of it", though `run show` knew when it had been asked for."""
    assert CliRunner().invoke(app, ["run", "start", "twice", "--params", '{"n": 4}', "--id", "r-1"]).exit_code == 0

    waiting = beside(*words)
    assert asks.wait(30)
    with cluster:
        done = waiting.result(30)

    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == "8" or "RunSettled" in done.stdout


def test_start_that_comes_from_kcat_a_moment_later_is_found(cluster: InProcess, asks: threading.Event) -> None:
    """It has no key and stands on any partition: the tutorial types `kcat …`, then `run result --wait`."""
    with cluster:
        waiting = beside("run", "result", "r-2", "--wait")
        assert asks.wait(30)
        producer = cluster.transport.producer("kcat")
        text = json.dumps({"run_id": "r-2", "pipeline": "twice", "params": {"n": 5}})
        producer.send(NewRecord(cluster.topics.commands, None, text.encode()))
        assert producer.flush(10) == 0
        done = waiting.result(30)

    assert (done.exit_code, done.stdout.strip()) == (0, "10"), done.output


@pytest.mark.parametrize(
    "words", [("run", "result", "r-6", "--wait"), ("run", "watch", "r-6", "--plain")], ids=" ".join
)
def test_run_that_its_agents_began_while_no_coordinator_runs_is_waited_for(
    cluster: InProcess, asks: threading.Event, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Of a direct start, whose events stood on the log, nothing was known: the tables are a coordinator's to write."""
    monkeypatch.setattr(begun, "MOMENT_S", 0.0)
    begin_directly(cluster, "r-6", n=4)

    waiting = beside(*words)
    assert asks.wait(30)
    with pytest.raises(TimeoutError):
        waiting.result(0.5)
    with cluster:
        done = waiting.result(30)

    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == "8" or "RunStarted" in done.stdout


def begin_directly(cluster: InProcess, run_id: str, n: int) -> None:
    """What the only agent of `twice` writes of a direct start."""
    definition, now = twice.definition, datetime.now(UTC)
    params = Schema.parse(definition.params_schema).encode({"n": n})
    output = Schema.parse(definition.output_schema or "").encode(2 * n)
    origin = Origin("tests", now, definition=definition.hash)
    producer = cluster.transport.producer("agent")
    for event in (
        facts.RunStarted(run_id, "twice", definition.hash, params, sha256(params), now, fired=("double",)),
        facts.StepSucceeded(run_id, "double", 1, output),
    ):
        made = event_record(cluster.topics, event, event_id=f"{run_id}/{type(event).__name__}", cause="", origin=origin)
        producer.send(new_record(made, PARTITIONS))
    assert producer.flush(10) == 0


def test_start_that_is_refused_meanwhile_is_told_with_its_reason(cluster: InProcess) -> None:
    with cluster:
        assert (
            CliRunner()
            .invoke(app, ["run", "start", "twice", "--params", '{"n": 4}', "--id", "r-3", "--wait"])
            .exit_code
            == 0
        )
        ask(cluster, "r-4", "thrice")
        done = CliRunner().invoke(app, ["run", "result", "r-4", "--wait"])

    assert done.exit_code == 1
    assert "refused (unknown_pipeline" in done.output


def test_start_that_was_refused_is_shown_as_refused_and_is_no_status_of_a_run(cluster: InProcess) -> None:
    """`run show` said "no coordinator has taken the command, or it refused it", while `run result` knew; and
    `run list --status refused`, which the list of statuses offered, was always empty."""
    ask(cluster, "r-10", "thrice")
    waiting = CliRunner().invoke(app, ["run", "show", "r-10"])
    with cluster:
        result = CliRunner().invoke(app, ["run", "result", "r-10", "--wait"])
        shown = CliRunner().invoke(app, ["run", "show", "r-10"])
    listed = CliRunner().invoke(app, ["run", "list", "--status", "refused"])

    assert "no coordinator has taken the command" in waiting.output
    assert (shown.exit_code, shown.output) == (1, result.output)
    assert "run r-10: it was asked for, but refused (unknown_pipeline" in shown.output
    assert listed.exit_code == 2
    assert "expected one of held, running, stopping, succeeded," in listed.output
    assert "refused, " not in listed.output.partition("but found")[0]


def ask(cluster: InProcess, run_id: str, pipeline: str) -> None:
    """A start as kcat sends it."""
    producer = cluster.transport.producer("kcat")
    text = json.dumps({"run_id": run_id, "pipeline": pipeline, "params": {"n": 5}})
    producer.send(NewRecord(cluster.topics.commands, run_id.encode(), text.encode()))
    assert producer.flush(10) == 0


def test_refusal_is_told_also_where_the_clock_of_who_asked_is_ahead(
    cluster: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken for the answer to an earlier start, it was dismissed, and the wait for the run had no end."""

    async def ahead(session: Session, run_id: str) -> Asked | None:
        found = await start_asked(session, run_id)
        return replace(found, at=found.at + timedelta(seconds=1)) if found is not None else None

    monkeypatch.setattr(begun, "start_asked", ahead)
    with cluster:
        ask(cluster, "r-7", "thrice")
        for _ in range(2):  # as it is refused, and when it was
            done = CliRunner().invoke(app, ["run", "result", "r-7", "--timeout", "20s"])
            assert "refused (unknown_pipeline" in done.output


def test_start_that_waits_is_not_told_of_what_an_earlier_one_was_refused_for(
    cluster: InProcess, asks: threading.Event, tmp_path: Path
) -> None:
    """The pipeline was applied too late; the second start, after that, failed with the answer to the first."""
    ask(cluster, "r-8", "thrice")
    with cluster:
        assert CliRunner().invoke(app, ["run", "result", "r-8", "--wait"]).exit_code == 1
    ask(cluster, "r-8", "twice")
    asks.clear()

    waiting = beside("run", "result", "r-8", "--wait")
    assert asks.wait(30)
    with InProcess(cluster.transport, [twice], namespace="farandole", folder=tmp_path):
        done = waiting.result(30)

    assert (done.exit_code, done.stdout.strip()) == (0, "10"), done.output


def test_limit_of_the_wait_counts_before_the_run_begins_too(cluster: InProcess) -> None:
    assert CliRunner().invoke(app, ["run", "start", "twice", "--params", '{"n": 4}', "--id", "r-5"]).exit_code == 0

    done = CliRunner().invoke(app, ["run", "result", "r-5", "--timeout", "300ms"])
    for_programs = CliRunner().invoke(app, ["run", "result", "r-5", "--timeout", "300ms", "--json"])

    assert done.exit_code == for_programs.exit_code == 1
    assert "expected it to begin within 300ms" in done.output
    told = json.loads(for_programs.stdout)
    assert (told["run"], told["outcome"], told["result"]) == ("r-5", None, None)


def test_limit_of_the_wait_is_told_as_it_was_given_for_a_run_that_goes_on_too(cluster: InProcess) -> None:
    """What was left of it was told: `within 0:00:00.294319`."""
    begin_directly(cluster, "r-9", n=4)

    done = CliRunner().invoke(app, ["run", "result", "r-9", "--timeout", "300ms"])

    assert done.exit_code == 1
    assert "expected it to end within 300ms, but it did not; it goes on" in done.output


@pytest.mark.parametrize("verb", ["show", "release"])
def test_run_whose_definition_is_gone_is_told_with_that_and_not_as_one_that_has_not_begun(
    cluster: InProcess, verb: str
) -> None:
    """Of a run that the tables knew it said that no coordinator had taken the command."""
    with cluster:
        started = CliRunner().invoke(app, ["run", "start", "twice", "--params", '{"n": 1}', "--id", "r-1", "--wait"])
        assert started.exit_code == 0
        producer = cluster.transport.producer("somebody")
        producer.send(NewRecord(cluster.topics.definitions, twice.definition.hash.encode(), None))
        producer.flush(10)

        told = CliRunner().invoke(app, ["run", verb, "r-1"])

    assert "has not begun" not in told.output
    assert f"definition {twice.definition.hash[:12]}" in told.output
