"""The asyncio edge without a broker: what becomes of one record, and of another that is sent at the same moment."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from aiokafka.errors import MessageSizeTooLargeError, ProducerClosed

from farandole.errors import TransportError
from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.edge import KafkaEdge
from farandole.transport.port import NewRecord

GOOD, LATE, TOO_LARGE, REFUSED = b"good", b"late", b"too large for any request", b"too large for its topic"


class Producer:
    """As aiokafka's; what is late is taken when the first one has been ended, or never."""

    made: ClassVar[list["Producer"]] = []

    def __init__(self, **_: object) -> None:
        self.made.append(self)
        self.written: list[bytes] = []
        self.ended = asyncio.Event()
        self.reached = asyncio.Event()

    async def start(self) -> None:
        """Connected at once."""

    async def stop(self) -> None:
        """Takes nothing more."""
        self.ended.set()

    async def send(self, topic: str, value: bytes, *_: object, partition: int, **__: object) -> "asyncio.Future[Any]":
        """The answer to come; raises what aiokafka raises before it takes a record."""
        if value == TOO_LARGE:
            raise MessageSizeTooLargeError("larger than the maximum request size")
        if value == LATE and self is self.made[0]:
            self.reached.set()
            await self.ended.wait()
        if self.ended.is_set():
            raise ProducerClosed()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if value == REFUSED:
            answer.set_exception(MessageSizeTooLargeError())
        else:
            self.written.append(value)
            answer.set_result(SimpleNamespace(partition=partition, offset=len(self.written) - 1))
        return answer


@pytest.fixture(autouse=True)
def producers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Producer]]:
    """Those that were made, in order."""
    monkeypatch.setattr("farandole.transport.kafka.edge.AIOKafkaProducer", Producer)
    monkeypatch.setattr(KafkaEdge, "partitions", one_partition)
    yield Producer.made
    Producer.made.clear()


async def one_partition(_: KafkaEdge, topic: str) -> int:
    """Of every topic."""
    return 1


def test_record_that_is_refused_takes_none_with_it_that_is_sent_at_the_same_moment(producers: list[Producer]) -> None:
    """The story: one caller's record was larger than its topic takes. Another's, which the producer had not taken yet
    when it was ended, was told to be refused, although nothing was wrong with it."""

    async def sent() -> tuple[int, int]:
        edge = KafkaEdge(KafkaSettings("nowhere:1"), "edge")
        await edge.send(NewRecord("t", None, GOOD))
        late = asyncio.create_task(edge.send(NewRecord("t", None, LATE)))
        await producers[0].reached.wait()
        with pytest.raises(TransportError, match="was refused"):
            await edge.send(NewRecord("t", None, REFUSED))
        return await late

    assert asyncio.run(sent()) == (0, 0)
    assert [each.written for each in producers] == [[GOOD], [LATE]]


def test_record_that_is_too_large_for_any_request_ends_no_producer(producers: list[Producer]) -> None:
    """It had no number yet, so that nothing after it is out of order."""

    async def sent() -> None:
        edge = KafkaEdge(KafkaSettings("nowhere:1"), "edge")
        with pytest.raises(TransportError, match=r"was refused.*maximum request size"):
            await edge.send(NewRecord("t", None, TOO_LARGE))
        await edge.send(NewRecord("t", None, GOOD))

    asyncio.run(sent())

    assert [each.written for each in producers] == [[GOOD]]


def test_record_that_comes_when_the_edge_was_closed_is_not_tried_again(producers: list[Producer]) -> None:
    async def sent() -> None:
        edge = KafkaEdge(KafkaSettings("nowhere:1"), "edge")
        await edge.send(NewRecord("t", None, GOOD))
        late = asyncio.create_task(edge.send(NewRecord("t", None, LATE)))
        await producers[0].reached.wait()
        await edge.close()
        with pytest.raises(TransportError, match="Nothing was sent"):
            await late

    asyncio.run(sent())

    assert len(producers) == 1
