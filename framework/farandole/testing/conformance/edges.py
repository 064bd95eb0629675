"""The asyncio edge: send and wait, and tails over committed records."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import TypeVar, cast

from farandole.errors import TransportError
from farandole.testing.conformance.case import cases
from farandole.testing.conformance.kit import BEGINNING, LATEST, Kit
from farandole.transport.port import Edge, End, Isolation, NewRecord, Position, Record, TopicPartition

T = TypeVar("T")


def _run(kit: Kit, what: Coroutine[object, object, T]) -> T:
    return asyncio.run(_within(kit, what))


async def _within(kit: Kit, what: Coroutine[object, object, T]) -> T:
    async with asyncio.timeout(kit.settle.total_seconds()):
        return await what


def _closing(tail: AsyncIterator[Record | End]) -> aclosing[AsyncGenerator[Record | End, None]]:
    return aclosing(cast(AsyncGenerator[Record | End, None], tail))


async def _read(edge: Edge, at: TopicPartition, position: int, count: int) -> list[bytes | None]:
    """Values of the first `count` records of a tail."""
    values: list[bytes | None] = []
    async with _closing(edge.tail({at: position})) as tail:
        async for each in tail:
            if isinstance(each, Record):
                values.append(each.value)
            if len(values) == count:
                break
    return values


def an_edge_sends_and_says_where(kit: Kit) -> None:
    """Partition and offset, once it is acknowledged."""
    topic = kit.topic(partitions=3)

    async def scene() -> list[tuple[int, int]]:
        edge = kit.transport.edge(kit.name("edge"))
        try:
            return [await edge.send(NewRecord(topic, b"key", b"%d" % n, (("h", b"v"),), 2)) for n in range(3)]
        finally:
            await edge.close()

    placed = _run(kit, scene())

    assert placed == [(2, 0), (2, 1), (2, 2)]
    kit.sees(TopicPartition(topic, 2), [b"0", b"1", b"2"])


def an_edge_places_keys_as_everybody_does(kit: Kit) -> None:
    """Commands of clients reach their run's home."""
    topic, keys = kit.topic(partitions=5), [f"run-{number}".encode() for number in range(20)]
    kit.write(NewRecord(topic, key, b"plain") for key in keys)
    reading = kit.reading(dict.fromkeys(kit.places(topic), BEGINNING))
    kit.until(lambda: len(reading.records) == len(keys), "the plain records")

    async def scene() -> dict[bytes | None, int]:
        edge = kit.transport.edge(kit.name("edge"))
        try:
            return {key: (await edge.send(NewRecord(topic, key, b"edge")))[0] for key in keys}
        finally:
            await edge.close()

    assert _run(kit, scene()) == {each.key: each.partition for each in reading.records}


def an_edge_refuses_an_unknown_topic_and_goes_on(kit: Kit) -> None:
    """The message names it."""
    (at,), nowhere = kit.topic_of([[]]), kit.name("nowhere")

    async def scene() -> tuple[int, int, str]:
        edge = kit.transport.edge(kit.name("edge"))
        refused = ""
        try:
            try:
                await edge.send(NewRecord(nowhere, b"key", b"lost"))
            except TransportError as error:
                refused = str(error)
            await edge.send(NewRecord(at.topic, b"key", b"fine"))
            return await edge.partitions(nowhere), await edge.partitions(at.topic), refused
        finally:
            await edge.close()

    missing, existing, refused = _run(kit, scene())

    assert (missing, existing) == (0, 1)
    assert nowhere in refused
    kit.sees(at, [b"fine"])


def an_edge_tells_ends(kit: Kit) -> None:
    """At both isolation levels."""
    (at,) = kit.topic_of([[b"x"]])
    kit.hang(kit.name("dead"), [NewRecord(at.topic, None, b"open", (), 0)])

    async def scene() -> list[int]:
        edge = kit.transport.edge(kit.name("edge"))
        try:
            return [(await edge.ends([at], isolation))[at] for isolation in Isolation]
        finally:
            await edge.close()

    assert _run(kit, scene()) == [1, 2]


def a_tail_brings_what_was_and_what_comes(kit: Kit) -> None:
    """With the end told in between."""
    (at,) = kit.topic_of([[b"old"]])

    async def scene() -> list[object]:
        edge = kit.transport.edge(kit.name("edge"))
        seen: list[object] = []
        try:
            async with _closing(edge.tail({at: BEGINNING})) as tail:
                async for each in tail:
                    seen.append(each.value if isinstance(each, Record) else each.position)
                    if seen[-1] == 1:
                        await edge.send(NewRecord(at.topic, None, b"new", (), 0))
                    if seen[-1] == b"new":
                        break
        finally:
            await edge.close()
        return seen

    assert _run(kit, scene()) == [b"old", 1, b"new"]


def a_tail_from_the_end_brings_only_what_comes(kit: Kit) -> None:
    """The end is told first, so that its reader knows where it stands."""
    (at,) = kit.topic_of([[b"old", b"old"]])

    async def scene() -> list[object]:
        edge = kit.transport.edge(kit.name("edge"))
        seen: list[object] = []
        try:
            async with _closing(edge.tail({at: LATEST})) as tail:
                async for each in tail:
                    seen.append(each.value if isinstance(each, Record) else each.position)
                    if seen == [2]:
                        await edge.send(NewRecord(at.topic, None, b"new", (), 0))
                    if seen[-1] == b"new":
                        break
        finally:
            await edge.close()
        return seen

    assert _run(kit, scene()) == [2, b"new"]


def a_tail_brings_only_what_is_committed(kit: Kit) -> None:
    """An aborted result is never shown to anybody."""
    (inbox,), (at,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    member = kit.joined([inbox.topic])
    refused = NewRecord(at.topic, None, b"x" * 9_000_000, (), 0)
    member.commit([NewRecord(at.topic, None, b"aborted", (), 0), refused], {inbox: Position(0)})
    for number in range(3):
        member.commits([NewRecord(at.topic, None, b"%d" % number, (), 0)], {inbox: Position(0)})

    async def scene() -> list[bytes | None]:
        edge = kit.transport.edge(kit.name("edge"))
        try:
            return await _read(edge, at, 0, 3)
        finally:
            await edge.close()

    assert _run(kit, scene()) == [b"0", b"1", b"2"]


def a_sleeping_tail_hears_what_another_thread_writes(kit: Kit) -> None:
    """The event loop is woken, it does not poll."""
    (at,) = kit.topic_of([[]])
    producer = kit.producer()

    def write() -> None:
        producer.send(NewRecord(at.topic, None, b"from a thread", (), 0))
        producer.flush(10.0)

    async def scene() -> list[bytes | None]:
        edge = kit.transport.edge(kit.name("edge"))
        try:
            reading = asyncio.create_task(_read(edge, at, 0, 1))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(write)
            return await reading
        finally:
            await edge.close()

    assert _run(kit, scene()) == [b"from a thread"]


CASES = cases(
    an_edge_sends_and_says_where,
    an_edge_places_keys_as_everybody_does,
    an_edge_refuses_an_unknown_topic_and_goes_on,
    an_edge_tells_ends,
    a_tail_brings_what_was_and_what_comes,
    a_tail_from_the_end_brings_only_what_comes,
    a_tail_brings_only_what_is_committed,
    a_sleeping_tail_hears_what_another_thread_writes,
)
