"""All positions of a unit go back, and a person gives those that the log itself tells: nothing is done twice."""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from farandole import Client, Context, Retry, agent, pipeline
from farandole.client.repositioning import carry_out, plan_reposition
from farandole.testing.cluster import wait_until
from farandole.testing.history import check_history, collect, lag
from farandole.testing.inprocess import InProcess
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Position, TopicPartition, Transport
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

AGENTS = ("first", "second", "third")
WITHIN = timedelta(seconds=60)

CALLS: Counter[str] = Counter()
"""How often each attempt was handled."""


@agent
def first(ctx: Context, number: int) -> int:
    """The first step."""
    CALLS[f"{ctx.idempotency_key}.{ctx.attempt}"] += 1
    return number


@agent(retry=Retry(attempts=3, base="10ms"))
def second(ctx: Context, number: int) -> int:
    """Every run needs a second attempt."""
    CALLS[f"{ctx.idempotency_key}.{ctx.attempt}"] += 1
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return number


@agent(timeout="5s")
def third(ctx: Context, number: int) -> int:
    """Runs at once with the one above where it may."""
    CALLS[f"{ctx.idempotency_key}.{ctx.attempt}"] += 1
    return number


@pipeline(owner="tests@example.org")
def chained(number: int) -> int:
    """Three steps."""
    return third(second(first(number)))


def run(transport: Transport, namespace: str, folder: Path, numbers: range) -> InProcess:
    """A deployment on which these runs end, and that stands still then."""

    async def start() -> None:
        async with Client(transport, namespace) as client:
            runs = [await client.start(chained, n, run_id=f"r-{n}") for n in numbers]
            for each in runs:
                await each.result(timeout="60s")

    with InProcess(transport, [chained], namespace=namespace, folder=folder) as it:
        asyncio.run(start())
        wait_until(lambda: lag(it.transport, namespace) == 0, WITHIN, "a lag of 0")
    return it


def let_go_back(it: InProcess, folder: Path, kafka: str = "") -> None:
    """The broker gives out the positions that `apply` gave, as if its log of them ended there."""
    transport, group = it.transport, it.topics.group("tests")
    places = list(transport.admin().positions(group))
    if isinstance(transport, MemoryTransport):
        with transport.hub as broker:
            for at in places:
                broker.restore_position(group, at, Position(0))
    elif isinstance(transport, SqliteTransport):
        with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as db:
            db.execute("UPDATE positions SET next = 0, metadata = '' WHERE grp = ?", (group,))
    else:
        request = ConsumerGroupTopicPartitions(group, [KafkaPartition(at.topic, at.partition, 0) for at in places])
        client = AdminClient({"bootstrap.servers": kafka})  # it must live until it has answered
        (future,) = client.alter_consumer_group_offsets([request]).values()
        future.result(30)
    assert {position.offset for position in transport.admin().positions(group, places).values()} == {0}


def mended(it: InProcess) -> dict[TopicPartition, int]:
    """What is given anew, with the last offset that was answered."""
    back: dict[TopicPartition, int] = {}
    for name in AGENTS:
        planned = plan_reposition(it.transport, it.topics, name)
        carry_out(it.transport, planned)
        back |= planned.back
        assert planned.back.keys() == planned.fresh.keys()
        assert not plan_reposition(it.transport, it.topics, name).fresh
    return back


def check_that_nothing_is_done_twice(transport: Transport, namespace: str, folder: Path, kafka: str = "") -> None:
    """The whole story."""
    CALLS.clear()
    it = run(transport, namespace, folder, range(10))
    untouched = [name for name in AGENTS if plan_reposition(transport, it.topics, name).fresh]
    let_go_back(it, folder, kafka)
    back = mended(it)

    run(transport, namespace, folder, range(10, 15))

    history = collect(transport, namespace, quiescent=True)
    assert untouched == []
    assert {at.topic for at in back} >= {it.topics.inbox("first"), it.topics.inbox("second")}
    assert check_history(history) == []
    assert history.repositions == ()
    assert set(CALLS.values()) == {1}
    assert len(CALLS) == 15 * 4


@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_nothing_is_done_twice_after_positions_that_went_back_are_mended(log: str, tmp_path: Path) -> None:
    transport = MemoryTransport() if log == "memory" else SqliteTransport(SqliteSettings(tmp_path / "log.db"))

    check_that_nothing_is_done_twice(transport, "farandole", tmp_path)

    assert CALLS


def test_nothing_is_done_twice_after_positions_on_kafka_went_back(kafka: str, unique: str, tmp_path: Path) -> None:
    check_that_nothing_is_done_twice(KafkaTransport(KafkaSettings(kafka)), unique, tmp_path, kafka)

    assert CALLS
