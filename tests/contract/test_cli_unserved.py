"""A run that nobody serves: which command says so, of agents that their unit runs without and of coordinators."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from farandole import agent, pipeline
from farandole.cli.connect import settings_of, with_client
from farandole.cli.coordinators import coordinator_loop
from farandole.cli.doctor.absent import absent
from farandole.cli.starting import result_of_run
from farandole.cli.unserved import Patience
from farandole.cli.watching import watch_run
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.client.serving import lags
from farandole.coordinator import CoordinatorSettings
from farandole.errors import WaitTimedOut
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.outgoing import Origin, event_record
from farandole.testing.cluster import wait_until
from farandole.testing.inprocess import PARTITIONS, InProcess
from farandole.testing.threads import Threads
from farandole.transport.memory import MemoryTransport
from farandole.transport.outgoing import new_record

Typed = Callable[..., Result]

NOBODY = "no process serves agent greet; unit tests runs without it"


@agent
def double(n: int) -> int:
    """One step."""
    return 2 * n


@agent
def greet(n: int) -> int:
    """One step, of which the processes know nothing."""
    return n


@pipeline(owner="tests@example.org")
def twice(n: int) -> int:
    """Gives a result at once."""
    return double(n)


@pipeline(owner="tests@example.org")
def greeting(n: int) -> int:
    """Waits for its agent."""
    return greet(n)


@pytest.fixture
def cluster(tmp_path: Path) -> InProcess:
    """A deployment whose processes have not been started."""
    return InProcess(MemoryTransport(), [twice], namespace="farandole", folder=tmp_path)


@pytest.fixture
def outgrown(cluster: InProcess) -> Iterator[InProcess]:
    """One whose unit got a new agent while its process, without that agent, goes on; a run waits for it."""
    with cluster:
        unit = Deployment("tests", ("double", "greet"), (), (twice.definition, greeting.definition))
        apply(cluster.transport, plan(cluster.transport, cluster.topics, unit))
        yield cluster


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it."""
    wait_until(condition, timedelta(seconds=20), what)


def waits_of(farandole: Typed, run: str) -> list[str]:
    """Kinds of what a run waits for; nothing before it has begun."""
    shown = farandole("run", "show", run, "--json")
    return [each["kind"] for each in json.loads(shown.stdout)["waits"]] if shown.exit_code == 0 else []


def test_agent_that_the_processes_of_its_unit_do_not_have_is_told_as_served_by_nobody(
    outgrown: InProcess, farandole: Typed
) -> None:
    """The story: an agent was renamed under `dev`. A held run's step, once replayed, waited for ever, and everybody
    said that all was well, for a process of the unit lived: `its agent answers`, `1` process, `nothing found`."""
    until(lambda: "1" in farandole("agent", "list").output.splitlines()[1], "the unit's process never joined")
    farandole("run", "start", "greeting", "--params", '{"n": 1}', "--id", "r-1", code=0)
    until(lambda: waits_of(farandole, "r-1") == ["agent"], "the run never waited for its agent")

    shown = farandole("run", "show", "r-1", code=0).stdout
    listed = {row["topic"]: (row["processes"], row["without"]) for row in json.loads(lag_of(farandole))}
    (found,) = absent(lags(outgrown.transport, outgrown.topics), outgrown.topics)

    assert f"{NOBODY}: start it anew from code that has the agent" in shown
    assert "its agent answers" not in shown
    assert (listed["farandole.inbox.double"], listed["farandole.inbox.greet"]) == ((1, 0), (0, 1))
    assert NOBODY in farandole("agent", "list", code=0).stdout
    assert "no process serves it; unit tests runs without it" in farandole("lag", code=0).stdout
    assert (found.code, NOBODY in found.fact) == ("unserved_inbox", True)


def lag_of(farandole: Typed) -> str:
    """What `lag` tells programs."""
    return farandole("lag", "--json", code=0).stdout


def test_who_waits_for_a_run_is_told_of_an_agent_that_its_unit_runs_without(
    outgrown: InProcess, farandole: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run start --wait` said nothing, for a process of the unit lived."""
    farandole("run", "start", "greeting", "--params", '{"n": 1}', "--id", "r-1", code=0)
    until(lambda: waits_of(farandole, "r-1") == ["agent"], "the run never waited for its agent")

    said = waited_in_vain("r-1", capsys)

    assert f"still waiting: {NOBODY}: start it anew" in said
    assert "farandole dev" not in said, "which runs already, perhaps"


def waited_in_vain(run: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `run result --wait` says meanwhile of a run that does not end."""
    settings = settings_of(None, None, None)
    patience = Patience(settings, timedelta(milliseconds=20))
    with pytest.raises(WaitTimedOut):
        with_client(settings, lambda client: result_of_run(client, run, True, "1s", False, patience))
    return capsys.readouterr().err


@pytest.fixture
def orphaned(cluster: InProcess, farandole: Typed) -> InProcess:
    """A run whose agent has answered after the only coordinator had died."""
    coordinator = coordinator_loop(cluster.transport, cluster.artifacts, CoordinatorSettings("farandole"))
    with Threads([coordinator]):
        farandole("run", "start", "twice", "--params", '{"n": 4}', "--id", "r-1", code=0)
        until(lambda: waits_of(farandole, "r-1") == ["agent"], "the run never waited for its agent")
    output = Schema.parse(twice.definition.output_schema or "").encode(8)
    told = facts.StepSucceeded("r-1", "double", 1, output)
    origin = Origin("tests", datetime.now(UTC), definition=twice.definition.hash)
    producer = cluster.transport.producer("agent")
    producer.send(new_record(event_record(cluster.topics, told, event_id="e-1", cause="", origin=origin), PARTITIONS))
    assert producer.flush(10) == 0
    return cluster


def test_run_whose_agent_has_answered_while_no_coordinator_runs_blames_the_coordinator(
    orphaned: InProcess, farandole: Typed
) -> None:
    """`run show` said that the attempt was with the agent, and that the agent answers; the doctor knew better."""
    shown = farandole("run", "show", "r-1", code=0).stdout

    assert "  no coordinator runs\n" in shown
    assert "$ farandole coordinator run" in shown
    assert "double: attempt 1 has been answered, and no coordinator has taken that up yet" in shown
    assert "attempt 1 is with agent double" not in shown
    assert waits_of(farandole, "r-1") == ["coordinator", "answered"]


def test_who_waits_for_a_run_under_way_is_told_that_no_coordinator_runs(
    orphaned: InProcess, farandole: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run result --wait` and `run watch` waited without a word, where `run start --wait` had one."""
    settings = settings_of(None, None, None)
    patience = Patience(settings, timedelta(milliseconds=20))

    by_result = waited_in_vain("r-1", capsys)
    with pytest.raises(TimeoutError):
        with_client(
            settings,
            lambda client: asyncio.wait_for(watch_run(client, "r-1", patience, as_json=False, plain=True), 1),
        )
    by_watch = capsys.readouterr().err

    assert "still waiting: no coordinator runs" in by_result
    assert "still waiting: no coordinator runs" in by_watch


def test_list_of_runs_tells_of_starts_that_wait_for_a_coordinator(cluster: InProcess, farandole: Typed) -> None:
    """It said `no runs yet`, though one had been asked for."""
    alone = farandole("run", "list", code=0)
    farandole("run", "start", "twice", "--params", '{"n": 4}', "--id", "r-1", code=0)
    asked = farandole("run", "list", code=0)
    with cluster:
        farandole("run", "result", "r-1", "--wait", code=0)
        served = farandole("run", "list", code=0)

    assert "no coordinator runs (`farandole coordinator run`): no run begins or ends" in alone.stderr
    assert "no run has begun yet" in asked.stdout
    assert "1 command in farandole.commands waits, and no coordinator runs" in asked.stderr
    assert ("r-1" in served.stdout, served.stderr) == (True, "")
