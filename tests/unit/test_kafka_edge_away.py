"""The asyncio edge while its cluster does not answer, or says no: many who send at once, and one who closes."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka import errors as aio

from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.edge import KafkaEdge
from farandole.transport.port import NewRecord

MANY = 15
RECORD = NewRecord("t", None, b"v")
FOR_EVER = timedelta(hours=1)
ENDS_WITHIN_S = 10
"""Far beyond what it takes; before, it was as many time-outs as there were senders."""


class Producer:
    """As aiokafka's; it connects once it is let, or fails as `failures` say, and its records are `refused` or taken."""

    made: ClassVar[list["Producer"]] = []
    failures: ClassVar[list[Exception]] = []
    refused: ClassVar[list[Exception]] = []
    let: ClassVar[asyncio.Event]

    def __init__(self, **_: object) -> None:
        self.made.append(self)
        self.is_ended = False

    async def start(self) -> None:
        """Connected when it is let."""
        if self.failures:
            raise self.failures.pop(0)
        await self.let.wait()

    async def stop(self) -> None:
        """Takes nothing more."""
        self.is_ended = True

    async def send(self, *_: object, partition: int, **__: object) -> "asyncio.Future[Any]":
        """The answer to come."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.refused:
            answer.set_exception(self.refused.pop(0))
        else:
            answer.set_result(SimpleNamespace(partition=partition, offset=0))
        return answer


@pytest.fixture(autouse=True)
def producers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Producer]]:
    """Those that were made, in order."""
    monkeypatch.setattr("farandole.transport.kafka.edge.AIOKafkaProducer", Producer)
    monkeypatch.setattr(KafkaEdge, "partitions", one_partition)
    Producer.let = asyncio.Event()
    yield Producer.made
    for each in (Producer.made, Producer.failures, Producer.refused):
        each.clear()


async def one_partition(_: KafkaEdge, topic: str) -> int:
    """Of every topic."""
    return 1


def edge_that_waits(patience: timedelta = FOR_EVER) -> KafkaEdge:
    """Gives up a call after `patience`."""
    return KafkaEdge(KafkaSettings("nowhere:1", call_timeout=patience), "edge")


async def connecting(edge: KafkaEdge) -> list["asyncio.Task[tuple[int, int]]"]:
    """Many who send, once they all wait for a connection."""
    sending = [asyncio.create_task(edge.send(RECORD)) for _ in range(MANY)]
    for _ in range(5):
        await asyncio.sleep(0)
    return sending


def test_many_who_send_while_the_cluster_is_away_wait_for_one_connection_and_share_its_failure(
    producers: list[Producer],
) -> None:
    """The story: each waited for its turn to connect, and then connected: the last of thirty was told after thirty
    time-outs, where `call_timeout` promises one."""

    async def told() -> list[object]:
        edge = edge_that_waits(timedelta(seconds=0.2))
        return await asyncio.gather(*(edge.send(RECORD) for _ in range(MANY)), return_exceptions=True)

    errors = asyncio.run(told())

    assert {type(each) for each in errors} == {NotReady}
    assert all("Nothing was sent" in str(each) for each in errors)
    assert len(set(map(id, errors))) == MANY, "one error that all raise would keep the frames of each"
    assert len(producers) == 1
    assert producers[0].is_ended


def test_who_sends_after_a_failure_connects_anew(producers: list[Producer]) -> None:
    Producer.failures = [aio.KafkaConnectionError("no broker")]
    Producer.let.set()

    async def sent() -> tuple[int, int]:
        edge = edge_that_waits()
        with pytest.raises(NotReady, match=r"no broker.*Nothing was sent"):
            await edge.send(RECORD)
        return await edge.send(RECORD)

    assert asyncio.run(sent()) == (0, 0)
    assert len(producers) == 2


def test_who_is_cancelled_while_it_connects_leaves_the_others_their_connection(producers: list[Producer]) -> None:
    async def sent() -> list[object]:
        first, *others = await connecting(edge_that_waits())
        first.cancel()
        await asyncio.wait([first])
        Producer.let.set()
        return await asyncio.gather(*others)

    assert asyncio.run(sent()) == [(0, 0)] * (MANY - 1)
    assert len(producers) == 1


def test_closing_does_not_wait_for_a_cluster_that_is_away_and_tells_who_sends(producers: list[Producer]) -> None:
    """The story: `close` queued behind all who were to connect, each for a time-out: an application that was to end
    was killed instead."""

    async def told() -> list[object]:
        edge = edge_that_waits()
        sending = await connecting(edge)
        async with asyncio.timeout(ENDS_WITHIN_S):
            await edge.close()
            return await asyncio.gather(*sending, return_exceptions=True)

    errors = asyncio.run(told())

    assert {type(each) for each in errors} == {TransportError}
    assert all("was closed. Nothing was sent" in str(each) for each in errors)
    assert [each.is_ended for each in producers] == [True]


def test_who_may_write_nowhere_is_told_that_a_right_is_missing() -> None:
    """The story: a client without the right to write was told of a cluster that cannot be reached: the broker refuses
    its producer a number, by an error that aiokafka raises where it connects."""
    Producer.failures = [aio.ClusterAuthorizationFailedError()]

    with pytest.raises(
        AccessDenied, match=r"nowhere:1: .*CLUSTER_AUTHORIZATION_FAILED.*farandole acls.*Nothing was sent"
    ):
        asyncio.run(edge_that_waits().send(RECORD))


def test_who_may_not_write_this_topic_is_told_that_a_right_is_missing() -> None:
    Producer.refused = [aio.TopicAuthorizationFailedError("t")]
    Producer.let.set()

    with pytest.raises(AccessDenied, match=r"t: the record was refused: .*TOPIC_AUTHORIZATION_FAILED.*farandole acls"):
        asyncio.run(edge_that_waits().send(RECORD))


@pytest.mark.parametrize(
    ("error", "is_certain"),
    [(aio.ClusterAuthorizationFailedError(), True), (aio.SaslAuthenticationFailed("late"), False)],
    ids=["refused", "in doubt"],
)
def test_missing_right_is_told_as_such_only_where_the_record_was_certainly_not_written(
    error: Exception, is_certain: bool
) -> None:
    """`AccessDenied` promises that, and a client says of it that nothing was started; it was told of a doubt too."""
    Producer.refused = [error]
    Producer.let.set()

    with pytest.raises(TransportError) as told:
        asyncio.run(edge_that_waits().send(RECORD))

    assert told.type is (AccessDenied if is_certain else TransportError)
    assert ("in doubt" in str(told.value)) is not is_certain
