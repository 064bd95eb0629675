"""Look-ups of many runs at once: what they take of the process, and that each gets its own rows, as new as its call."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

import pytest

from farandole.client.looking import READINGS_MAX, Looking
from farandole.client.scan import closing
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Edge, End, Isolation, NewRecord, Record, TopicPartition, TopicSpec

PARTITIONS = 24
PLACES = [TopicPartition("t", number) for number in range(PARTITIONS)]


class CountedEdge:
    """An edge that counts its tails."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self.open = self.most = self.all = 0
        self.began = asyncio.Event()

    async def send(self, record: NewRecord) -> tuple[int, int]:
        """Write."""
        return await self._edge.send(record)

    async def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncGenerator[Record | End, None]:
        """Read on."""
        self.open, self.all = self.open + 1, self.all + 1
        self.began.set()
        self.most = max(self.most, self.open)
        try:
            async with closing(self._edge.tail(positions)) as tail:
                async for item in tail:
                    await asyncio.sleep(0)  # others have their turn, as with a broker that is far away
                    yield item
        finally:
            self.open -= 1

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """Ends."""
        return await self._edge.ends(partitions, isolation)

    async def partitions(self, topic: str) -> int:
        """How many."""
        return await self._edge.partitions(topic)

    async def close(self) -> None:
        """Free it."""
        await self._edge.close()


def row(run: str, part: str, value: bytes) -> NewRecord:
    """A row of a run, on the partition that its number says."""
    key = f"{run}#{part}" if part else run
    return NewRecord("t", key.encode(), value, partition=int(run.removeprefix("run-")) % PARTITIONS)


def log_with(runs: int) -> MemoryTransport:
    """A topic with two rows of each run."""
    transport = MemoryTransport()
    transport.admin().create([TopicSpec("t", PARTITIONS)])
    producer = transport.producer("tests")
    for number in range(runs):
        producer.send(row(f"run-{number}", "", b"head"))
        producer.send(row(f"run-{number}", "a", b"%d" % number))
    producer.flush(10.0)
    return transport


def test_thousand_who_look_at_once_read_each_partition_once() -> None:
    """Each had a consumer of its own: 4,679 threads, every file of the process, and a gigabyte."""
    transport = log_with(1000)

    async def live() -> tuple[list[dict[bytes, bytes | None]], int, int]:
        edge = CountedEdge(transport.edge("tests"))
        looking = Looking(edge)
        asked = [looking.rows(PLACES[number % PARTITIONS], f"run-{number}") for number in range(1000)]
        found = await asyncio.wait_for(asyncio.gather(*asked), 60)
        return [{key: each.value for key, each in rows.items()} for rows in found], edge.most, edge.all

    found, most, readings = asyncio.run(live())

    assert found == [{b"run-%d" % n: b"head", b"run-%d#a" % n: b"%d" % n} for n in range(1000)]
    assert most <= READINGS_MAX
    assert readings == PARTITIONS


def test_look_sees_what_was_written_before_it_although_a_reading_was_under_way() -> None:
    transport = log_with(1)

    async def live() -> tuple[bytes | None, bytes | None]:
        edge = CountedEdge(transport.edge("tests"))
        looking = Looking(edge)
        early = asyncio.create_task(looking.rows(PLACES[0], "run-0"))
        await edge.began.wait()
        await edge.send(row("run-0", "", b"newer"))
        late = await asyncio.wait_for(looking.rows(PLACES[0], "run-0"), 10)
        return (await early)[b"run-0"].value, late[b"run-0"].value

    assert asyncio.run(live()) == (b"head", b"newer")


def test_run_of_which_there_is_nothing_has_no_rows() -> None:
    transport = log_with(1)

    async def live() -> int:
        looking = Looking(transport.edge("tests"))
        return len(await asyncio.wait_for(looking.rows(PLACES[0], "run-24"), 10))

    assert asyncio.run(live()) == 0


def test_readings_of_a_partition_that_delivers_nothing_keep_no_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight who watched runs of a partition without a leader, and no other run of the client was found any more."""
    monkeypatch.setattr("farandole.client.looking.TURN_MAX", 0.05)
    transport = log_with(1)

    async def live() -> tuple[int, int]:
        looking, stands = Looking(transport.edge("tests")), asyncio.Event()

        async def hold() -> None:
            async with looking.turn():
                await stands.wait()

        holding = [asyncio.create_task(hold()) for _ in range(READINGS_MAX)]
        found = len(await asyncio.wait_for(looking.rows(PLACES[0], "run-0"), 10))
        stands.set()
        await asyncio.gather(*holding)
        return found, looking._free._value

    assert asyncio.run(live()) == (2, READINGS_MAX)
