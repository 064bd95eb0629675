"""Direct start and direct end, in memory and on Kafka: one record begins a run, its last success is its result."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from farandole import Client, Retry, RunRefused, SyncClient, TransportError, pipeline
from farandole import agent as declare
from farandole.clock import ManualClock, SystemClock
from farandole.events import facts
from farandole.events.outgoing import TRIGGER
from farandole.lineage.entries import Entry
from farandole.testing.history import check_history, collect
from farandole.testing.inprocess import InProcess
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, Transport

FAILED_ONCE: set[int] = set()


@dataclass(frozen=True)
class Number:
    """What travels."""

    n: int


@declare(timeout="5s", retry=Retry(attempts=3, base="10ms"))
async def twice(number: Number) -> Number:
    """Fails the first time for negative numbers."""
    if number.n < 0 and number.n not in FAILED_ONCE:
        FAILED_ONCE.add(number.n)
        raise ValueError(f"{number.n} is negative")
    return Number(2 * number.n)


@declare(timeout="5s")
async def more(number: Number) -> Number:
    """One more."""
    return Number(number.n + 1)


@pipeline(owner="tests@example.org")
def sums(number: Number) -> Number:
    """Twice and one more."""
    return more(twice(number))


@pipeline(owner="tests@example.org", deadline="1h")
def bounded(number: Number) -> Number:
    """The same, with a deadline that only a coordinator can hold it to."""
    return more(twice(number))


@pytest.fixture(scope="module", params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def transport(request: pytest.FixtureRequest) -> Transport:
    """The log."""
    if request.param == "memory":
        return MemoryTransport()
    return KafkaTransport(KafkaSettings(request.getfixturevalue("kafka")))


@pytest.fixture(scope="module")
def cluster(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A deployment of both pipelines."""
    namespace = f"t{uuid.uuid4().hex[:8]}"
    with InProcess(transport, [sums, bounded], namespace=namespace, folder=tmp_path_factory.mktemp("direct")) as it:
        yield it


def lived(cluster: InProcess, it: Any, number: int, **given: Any) -> tuple[Number, list[facts.Event], str]:
    """The result, the events up to the end, and the id of a run of a client that starts directly."""

    async def live() -> tuple[Number, list[facts.Event], str]:
        async with Client(cluster.transport, cluster.namespace, artifacts=cluster.artifacts, direct=True) as client:
            run = await client.start(it, Number(number), **given)
            result = await run.result("60s")
            assert (await run.ended("60s")).outcome == "succeeded"
            async with aclosing(run.watch()) as events:
                return result, [event async for event in events], run.id

    return asyncio.run(live())


def commands(cluster: InProcess, run: str) -> list[Entry]:
    """What was asked of a coordinator."""
    return [each for each in collect(cluster.transport, cluster.namespace).commands if each.run == run]


def test_run_begins_with_its_first_trigger_and_its_agent_says_so(cluster: InProcess) -> None:
    result, events, run = lived(cluster, sums, 20)

    assert result == Number(41)
    started, first, *_, last = events
    assert isinstance(started, facts.RunStarted)
    assert (started.fired, started.pipeline) == (("twice",), "sums")
    assert isinstance(first, facts.StepSucceeded)
    assert isinstance(last, facts.RunSettled)
    assert not any(isinstance(event, facts.StepScheduled) for event in events), "nobody triggers the root again"
    assert commands(cluster, run) == []


def test_blocking_client_starts_directly_too(cluster: InProcess) -> None:
    with SyncClient(cluster.transport, cluster.namespace, artifacts=cluster.artifacts, direct=True) as client:
        run = client.start(sums, Number(20))
        result = run.result("60s")
        events = list(run.watch())

    assert result == Number(41)
    assert isinstance(events[0], facts.RunStarted)
    assert events[0].fired == ("twice",)
    assert commands(cluster, run.id) == []


def test_run_whose_first_step_fails_has_begun_all_the_same(cluster: InProcess) -> None:
    result, events, _ = lived(cluster, sums, -uuid.uuid4().int % 1_000_000 - 1_000_001)

    assert result.n < 0
    assert [type(event).__name__ for event in events[:3]] == ["RunStarted", "StepFailed", "RetryScheduled"]


@pytest.mark.parametrize(("it", "given"), [(bounded, {}), (sums, {"run_id": "chosen"})], ids=["deadline", "chosen id"])
def test_run_that_a_coordinator_must_admit_is_asked_for(cluster: InProcess, it: Any, given: dict[str, str]) -> None:
    result, events, run = lived(cluster, it, 1, **given)

    assert result == Number(3)
    assert isinstance(events[0], facts.RunStarted)
    assert events[0].fired == ()
    assert len(commands(cluster, run)) == 1


def test_start_that_was_taken_too_late_is_refused_and_its_client_is_told(cluster: InProcess) -> None:
    """It has no command that a refusal could name: who waited for such a run waited for ever."""

    async def live() -> str:
        clock = ManualClock(SystemClock().now() - timedelta(hours=30))  # it has waited so long in the inbox
        async with Client(cluster.transport, cluster.namespace, clock=clock, direct=True) as client:
            run = await client.start(sums, Number(1))
            with pytest.raises(RunRefused, match="expired_id"):
                await run.result("60s")
            return run.id

    run = asyncio.run(live())

    assert commands(cluster, run) == []
    assert check_history(collect(cluster.transport, cluster.namespace)) == []


def test_history_of_direct_runs_is_valid(cluster: InProcess) -> None:
    lived(cluster, sums, 5)

    assert check_history(collect(cluster.transport, cluster.namespace)) == []


def test_start_of_which_nobody_knows_is_told_and_never_repeated(
    cluster: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[NewRecord] = []

    async def doubtful(record: NewRecord) -> tuple[int, int]:
        sent.append(record)
        raise TransportError("in doubt, the record may have been written")

    async def begin() -> None:
        async with Client(cluster.transport, cluster.namespace, direct=True) as client:
            monkeypatch.setattr(client.session.edge, "send", doubtful)
            await client.start(sums, Number(1))

    with pytest.raises(TransportError, match=r"was not repeated: the run may have begun"):
        asyncio.run(begin())

    assert [dict(record.headers)["ce_type"].decode() for record in sent] == [TRIGGER]
