"""What an application asks a cluster that does not answer: in threads of ours, few, and for a bounded time."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from farandole.errors import NotReady, TransportError
from farandole.transport.kafka import KafkaSettings, edge_queries
from farandole.transport.kafka.edge import KafkaEdge
from farandole.transport.kafka.edge_queries import THREADS
from farandole.transport.port import Isolation, TopicPartition

MANY = 30
AT = TopicPartition("t", 0)
ENDS_WITHIN_S = 10
"""Far beyond what it takes."""


class Silent:
    """In the place of `Queries`: it answers when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.counted: list[str] = []
        self.threads: set[int] = set()

    def partitions(self, topic: str) -> int:
        """One, at last."""
        self.counted.append(topic)
        self.let.wait()
        return 1

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """Seven of each, at last."""
        self.threads.add(threading.get_ident())
        self.let.wait()
        return dict.fromkeys(partitions, 7)


class Applications(ThreadPoolExecutor):
    """The threads of the loop, which are none of ours."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Not for us."""
        raise AssertionError("a thread of the application's was taken")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    """The cluster."""
    cluster = Silent()
    monkeypatch.setattr(edge_queries, "Queries", lambda *_: cluster)
    monkeypatch.setattr(edge_queries, "GRACE", 0.0)
    yield cluster
    cluster.let.set()


def edge_of(patience: timedelta = timedelta(hours=1)) -> KafkaEdge:
    """In a loop whose own threads must not be taken."""
    asyncio.get_running_loop().set_default_executor(Applications())
    return KafkaEdge(KafkaSettings("nowhere:1", call_timeout=patience), "edge")


def test_who_asks_at_once_how_many_partitions_there_are_shares_the_question(silent: Silent) -> None:
    """The story: thirty runs of one client were thirty questions, each in a thread of the application's for as long as
    the cluster did not answer: what it did itself in threads waited behind them."""

    async def told() -> list[int]:
        edge = edge_of()
        asking = [asyncio.create_task(edge.partitions("t")) for _ in range(MANY)]
        await asyncio.sleep(0)
        asking[0].cancel()
        silent.let.set()
        return await asyncio.gather(*asking[1:])

    assert asyncio.run(told()) == [1] * (MANY - 1)
    assert silent.counted == ["t"]


def test_ends_are_asked_for_by_each_in_few_threads_and_given_up_together(silent: Silent) -> None:
    """Ends that another asked for may be older than one's own last write, so none are shared; those that wait for a
    thread are given up with those that have one, or time-outs would add up."""

    async def told() -> list[object]:
        edge = edge_of(timedelta(seconds=0.2))
        asking = (edge.ends([AT], Isolation.COMMITTED) for _ in range(MANY))
        async with asyncio.timeout(ENDS_WITHIN_S):
            return await asyncio.gather(*asking, return_exceptions=True)

    errors = asyncio.run(told())

    assert {type(each) for each in errors} == {NotReady}
    assert 0 < len(silent.threads) <= THREADS


def test_closing_waits_for_no_answer_and_tells_who_asked(silent: Silent) -> None:
    async def told() -> object:
        edge = edge_of()
        asking = asyncio.create_task(edge.partitions("t"))
        await asyncio.sleep(0)
        async with asyncio.timeout(ENDS_WITHIN_S):
            await edge.close()
            (error,) = await asyncio.gather(asking, return_exceptions=True)
        with pytest.raises(TransportError, match="was closed"):
            await edge.ends([AT], Isolation.COMMITTED)
        return error

    error = asyncio.run(told())

    assert isinstance(error, TransportError)
    assert "was closed. Nothing was asked" in str(error)


def test_who_asks_for_ends_is_told_when_the_edge_is_closed(silent: Silent) -> None:
    """Each was told at its own limit only, of no answer: a closed client did not end a look-up that had just begun."""

    async def closed() -> list[object]:
        edge = edge_of()
        asking = [asyncio.ensure_future(edge.ends([AT], Isolation.COMMITTED)) for _ in range(MANY)]
        await asyncio.sleep(0)
        await edge.close()
        return await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), ENDS_WITHIN_S)

    told = asyncio.run(closed())

    assert [type(each) for each in told] == [TransportError] * MANY
    assert all("closed" in str(each) for each in told)
