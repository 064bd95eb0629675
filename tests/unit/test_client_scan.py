"""Reading partitions to their end: everything committed before the call, and an end in all cases."""

import asyncio
from contextlib import aclosing

import pytest

from farandole.client.scan import places_of, scan, span, table
from farandole.errors import TransportError
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, TopicPartition, TopicSpec


def log_with(*records: tuple[int, bytes, bytes | None]) -> MemoryTransport:
    """A topic `t` of two partitions with records of partition, key, value."""
    transport = MemoryTransport()
    transport.admin().create([TopicSpec("t", 2)])
    producer = transport.producer("tests")
    for partition, key, value in records:
        producer.send(NewRecord("t", key, value, partition=partition))
    producer.flush(1.0)
    return transport


def scanned(transport: MemoryTransport) -> list[bytes | None]:
    """Values of the whole topic."""

    async def read() -> list[bytes | None]:
        edge = transport.edge("tests")
        async with aclosing(scan(edge, await places_of(edge, "t"))) as records:
            return [record.value async for record in records]

    return asyncio.run(asyncio.wait_for(read(), 10))


def test_scan_reads_every_partition_to_its_end() -> None:
    transport = log_with((0, b"a", b"1"), (1, b"b", b"2"), (0, b"c", b"3"))

    assert sorted(filter(None, scanned(transport))) == [b"1", b"2", b"3"]


def test_scan_of_an_empty_topic_ends() -> None:
    assert scanned(log_with()) == []


def test_scan_of_a_topic_that_does_not_exist_is_empty() -> None:
    async def read() -> int:
        return len(await places_of(MemoryTransport().edge("tests"), "t"))

    assert asyncio.run(read()) == 0


def test_span_reads_from_one_offset_and_before_another() -> None:
    transport = log_with(*((0, b"k", b"%d" % n) for n in range(5)))
    at = TopicPartition("t", 0)

    async def read() -> list[int]:
        async with aclosing(span(transport.edge("tests"), {at: 1}, {at: 3})) as records:
            return [record.offset async for record in records]

    assert asyncio.run(asyncio.wait_for(read(), 10)) == [1, 2]


def test_table_keeps_the_latest_of_each_key_and_drops_what_was_removed() -> None:
    transport = log_with((0, b"a", b"1"), (0, b"a", b"2"), (0, b"b", b"3"), (0, b"b", None), (1, b"c", b"4"))

    async def read() -> dict[bytes, bytes | None]:
        edge = transport.edge("tests")
        rows = await table(edge, await places_of(edge, "t"), lambda key: key != b"c")
        return {key: record.value for key, record in rows.items()}

    assert asyncio.run(asyncio.wait_for(read(), 10)) == {b"a": b"2"}


def test_what_is_closed_in_the_midst_of_reading_is_no_whole_table() -> None:
    """Whoever listed runs as the client was closed got 1,500 of 2,500, and a run that had succeeded was not found."""
    transport = log_with(*((0, b"%d" % n, b"v") for n in range(2_000)))
    at = TopicPartition("t", 0)

    async def read() -> int:
        edge = transport.edge("tests")
        seen = 0
        async with aclosing(scan(edge, [at])) as records:
            async for _ in records:
                seen += 1
                if seen == 1:
                    await edge.close()
        return seen

    with pytest.raises(TransportError, match=r"t/0: expected to read on to the end, but the client was closed"):
        asyncio.run(asyncio.wait_for(read(), 10))
