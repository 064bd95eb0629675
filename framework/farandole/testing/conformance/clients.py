"""The smaller clients: admin, plain producer, asyncio edge; and the wake-up of a member."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import TypeVar, cast

from farandole.errors import TransportError
from farandole.testing.conformance.case import cases, expect_error
from farandole.testing.conformance.kit import BEGINNING, LATEST, Kit
from farandole.transport.port import (
    Edge,
    End,
    Isolation,
    NewRecord,
    Position,
    ReadEnds,
    ReadPositions,
    Record,
    TopicPartition,
    TopicSpec,
)

T = TypeVar("T")


# --- admin ------------------------------------------------------------------------------------


def creating_a_topic_twice_makes_it_once(kit: Kit) -> None:
    name = kit.name("made")
    spec = TopicSpec(name, 3, config={"retention.ms": "60000", "cleanup.policy": "compact"})

    first = kit.admin.create([spec])
    kit.until(lambda: name in kit.admin.topics([name]), "the topic to exist")
    again = kit.admin.create([TopicSpec(name, 5), TopicSpec(kit.name("other"), 1)])

    assert list(first) == [name]
    assert list(again) == [kit.name("other")]
    found = kit.admin.topics([name])[name]
    assert (found.partitions, dict(found.config)) == (3, dict(spec.config))


def topics_are_told_by_name_or_all_and_missing_ones_are_absent(kit: Kit) -> None:
    name = kit.topic(partitions=2)

    named = kit.admin.topics([name, kit.name("nowhere")])

    assert set(named) == {name}
    assert named[name].name == name
    assert name in kit.admin.topics()
    assert kit.admin.topics([]) == {}


def configuring_a_topic_changes_only_what_is_named(kit: Kit) -> None:
    name = kit.topic(config={"retention.ms": "60000", "max.message.bytes": "2000000"})

    kit.admin.configure(name, {"retention.ms": "70000"})

    wanted = {"retention.ms": "70000", "max.message.bytes": "2000000"}
    kit.until(lambda: dict(kit.admin.topics([name])[name].config) == wanted, "the new configuration")
    expect_error(TransportError, lambda: kit.admin.configure(kit.name("nowhere"), {"retention.ms": "70000"}))


# --- plain producer ---------------------------------------------------------------------------


def a_plain_producer_has_written_what_it_has_flushed(kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    producer = kit.producer()

    for number in range(100):
        producer.send(NewRecord(at.topic, None, b"%d" % number, (), 0))
    kit.until(lambda: producer.flush(5.0) == 0, "all to be acknowledged")

    assert kit.admin.ends([at], Isolation.COMMITTED) == {at: 100}
    kit.sees(at, [b"%d" % number for number in range(100)])


def a_plain_record_that_is_refused_is_told(kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    producer = kit.producer()

    def is_refused() -> bool:
        try:
            return producer.flush(1.0) < 0
        except TransportError:
            return True

    expect_error(TransportError, lambda: _send_and_flush(kit, NewRecord(at.topic, None, b"x" * 9_000_000, (), 0)))
    producer.send(NewRecord(kit.name("nowhere"), b"key", b"lost"))
    kit.until(is_refused, "the refusal")

    producer.send(NewRecord(at.topic, None, b"fine", (), 0))
    kit.until(lambda: producer.flush(1.0) == 0, "a later record to be acknowledged")
    kit.sees(at, [b"fine"])


def _send_and_flush(kit: Kit, record: NewRecord) -> None:
    producer = kit.producer()
    producer.send(record)
    kit.until(lambda: producer.flush(1.0) == 0, "the record to be acknowledged")


def a_plain_producer_serves_many_threads(kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    producer = kit.producer()

    def work() -> None:
        for _ in range(200):
            producer.send(NewRecord(at.topic, None, b"x", (), 0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kit.until(lambda: producer.flush(5.0) == 0, "all to be acknowledged")
    assert kit.admin.ends([at], Isolation.COMMITTED) == {at: 800}


# --- requests and waking ------------------------------------------------------------------------


def requests_overlap_and_replies_carry_their_tickets(kit: Kit) -> None:
    (at,) = kit.topic_of([[b"x"]])
    member = kit.joined([at.topic])
    member.commits([], {at: Position(1)})

    ends = member.member.call(ReadEnds([at], Isolation.COMMITTED))
    positions = member.member.call(ReadPositions([at]))

    assert ends != positions
    assert dict(member.reply_to(positions).positions) == {at: Position(1)}
    assert dict(member.reply_to(ends).ends) == {at: 1}


def a_wake_up_ends_a_wait_for_replies(kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    member = kit.joined([at.topic])
    waker = threading.Timer(0.2, member.member.wake)

    waker.start()
    began = time.monotonic()
    replies = member.member.replies(20.0)

    waker.join()
    assert list(replies) == []
    assert time.monotonic() - began < 10.0


def a_wake_up_before_the_wait_is_not_lost(kit: Kit) -> None:
    (at,) = kit.topic_of([[]])
    member = kit.joined([at.topic])

    member.member.wake()
    began = time.monotonic()
    replies = member.member.replies(20.0)

    assert list(replies) == []
    assert time.monotonic() - began < 10.0


# --- edge -----------------------------------------------------------------------------------------


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
    creating_a_topic_twice_makes_it_once,
    topics_are_told_by_name_or_all_and_missing_ones_are_absent,
    configuring_a_topic_changes_only_what_is_named,
    a_plain_producer_has_written_what_it_has_flushed,
    a_plain_record_that_is_refused_is_told,
    a_plain_producer_serves_many_threads,
    requests_overlap_and_replies_carry_their_tickets,
    a_wake_up_ends_a_wait_for_replies,
    a_wake_up_before_the_wait_is_not_lost,
    an_edge_sends_and_says_where,
    an_edge_places_keys_as_everybody_does,
    an_edge_refuses_an_unknown_topic_and_goes_on,
    an_edge_tells_ends,
    a_tail_brings_what_was_and_what_comes,
    a_tail_from_the_end_brings_only_what_comes,
    a_tail_brings_only_what_is_committed,
    a_sleeping_tail_hears_what_another_thread_writes,
)
