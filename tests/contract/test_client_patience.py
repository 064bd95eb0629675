"""How long who waits for a run waits: its time-out is kept, its end is found, and a closed client ends every wait."""

import asyncio
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import Producer

from farandole import Client, TransportError, WaitTimedOut, agent, pipeline
from farandole.artifacts import ArtifactStore
from farandole.client import lookup
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.events.tables import Claim
from farandole.events.topics import Topics
from farandole.testing.inprocess import InProcess
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.memory import MemoryTransport

GATE = threading.Event()
"""Closed: `wait` waits."""


@agent
def wait(n: int) -> int:
    """Waits for the test."""
    GATE.wait(30)
    return n


@agent
def inflate(n: int) -> str:
    """A result too large to travel."""
    return "x" * n


@pipeline(owner="tests@example.org")
def stand(n: int) -> int:
    """Waits until the test lets it go."""
    return wait(n)


@pipeline(owner="tests@example.org")
def large(n: int) -> str:
    """Its result is a claim."""
    return inflate(n)


class SlowStore:
    """A store that answers when the test lets it."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.gate = threading.Event()
        self.failure: Exception | None = None

    def put(self, data: bytes) -> Claim:
        """Keep it."""
        return self._store.put(data)

    def get(self, claim: Claim) -> bytes:
        """What was kept."""
        self.gate.wait(30)
        if self.failure is not None:
            raise self.failure
        return self._store.get(claim)


def test_wait_for_a_result_in_a_slow_store_keeps_its_time_out_and_leaves_the_loop_to_others(
    tmp_path: Path, unique: str
) -> None:
    """`result("1s")` came back after as long as the store took, and nothing else in the process ran until then."""
    transport = MemoryTransport()

    async def live(cluster: InProcess) -> tuple[int, str]:
        store, beats = SlowStore(cluster.artifacts), 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.01)

        async with Client(transport, unique, artifacts=store) as client:
            run = await client.start(large, 400_000)
            await run.ended("20s")
            beating = asyncio.create_task(beat())
            with pytest.raises(WaitTimedOut, match="expected its result within 500ms, but it was not read by then"):
                await run.result("500ms")
            beating.cancel()
            store.gate.set()
            return beats, await run.result("20s")

    with InProcess(transport, [large], namespace=unique, folder=tmp_path) as cluster:
        beats, result = asyncio.run(asyncio.wait_for(live(cluster), 60))

    assert beats > 1
    assert result == "x" * 400_000


def test_start_that_a_run_answered_which_is_forgotten_since_gets_its_result(tmp_path: Path, unique: str) -> None:
    """The same start a second time is the same run; but whoever asked for its result after the window waited for ever.

    The tables know nothing of it by then, and its end, which had been seen, was taken for that of another run.
    """
    transport = MemoryTransport()
    GATE.clear()

    async def live() -> tuple[int, int]:
        async with Client(transport, unique) as client, Client(transport, unique) as other:
            first = await client.start(stand, 7, run_id="order-7")
            again = await other.start(stand, 7, run_id="order-7")
            GATE.set()
            result = await first.result("20s")
            await forgotten(client, "order-7")
            return result, await again.result("20s")

    with InProcess(transport, [stand], namespace=unique, folder=tmp_path, dedupe_window=timedelta(seconds=1)):
        assert asyncio.run(asyncio.wait_for(live(), 60)) == (7, 7)


async def forgotten(client: Client, run_id: str) -> None:
    """Wait until the tables know nothing of the id."""
    for _ in range(400):
        if await lookup.head_of(client.session, run_id) is None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the id is not forgotten")


@pytest.mark.kafka
def test_close_ends_the_waits_that_look_at_tables(kafka: str, unique: str) -> None:
    """A stranger's open transaction on `runs` holds a look-up; it was held on after its client was closed."""
    transport, topics = KafkaTransport(KafkaSettings(kafka)), Topics(unique)
    deployment = Deployment("u", tuple(stand.agents), (), (stand.definition,))
    apply(transport, plan(transport, topics, deployment, partitions=1))

    async def live() -> list[object]:
        client = Client(transport, unique)
        waits = [asyncio.ensure_future((await client.run(f"order-{n}")).result()) for n in range(20)]
        done, _ = await asyncio.wait(waits, timeout=1.0)
        assert not done, "they look at a table that cannot be read to its end"
        await client.close()
        async with asyncio.timeout(10):
            return await asyncio.gather(*waits, return_exceptions=True)

    with stranger(kafka, topics.runs):
        told = asyncio.run(live())

    assert [type(each) for each in told] == [TransportError] * 20
    assert all("closed" in str(each) for each in told)


@contextmanager
def stranger(bootstrap: str, topic: str) -> Iterator[None]:
    """Somebody else's transaction is open on the topic."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"stranger-{uuid.uuid4().hex[:8]}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"x", key=b"of-a-stranger", partition=0)
    producer.flush(20)
    yield
    producer.abort_transaction(20)


def test_thousand_who_ask_for_runs_of_others_get_their_results(tmp_path: Path, unique: str) -> None:
    transport = MemoryTransport()
    GATE.set()

    async def live() -> list[int]:
        async with Client(transport, unique) as client:
            started = await asyncio.gather(*(client.start(stand, n, run_id=f"order-{n}") for n in range(50)))
            await asyncio.gather(*(run.ended("30s") for run in started))
        async with Client(transport, unique) as other:
            runs = await asyncio.gather(*(other.run(f"order-{n % 50}", stand) for n in range(1000)))
            return await asyncio.gather(*(run.result("30s") for run in runs))

    with InProcess(transport, [stand], namespace=unique, folder=tmp_path):
        assert asyncio.run(asyncio.wait_for(live(), 90)) == [n % 50 for n in range(1000)]
