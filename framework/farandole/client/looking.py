"""Rows of single runs, looked up together: each reading of a partition answers all who asked before it began.

A reading is a consumer of its own, five threads and eight files on Kafka: with one for each who waits, a thousand
waiters used up the files of their process [measured: 4,679 threads].
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from farandole.client.joint import Joint
from farandole.client.scan import table
from farandole.transport.port import Edge, Record, TopicPartition

READINGS_MAX = 8
"""Partitions that are read at once. Most of a reading is waiting for the broker, so more of them would be quicker,
and dearer in threads."""

TURN_MAX = 2.0
"""How long a reading counts among them, seconds: several times what one takes on a busy machine."""

Rows = dict[bytes, Record]
"""Latest records by key."""


class Looking:
    """Look-ups of one client; belongs to one event loop."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._asked: defaultdict[TopicPartition, set[bytes]] = defaultdict(set)
        self._readings: dict[TopicPartition, Joint[dict[bytes, Rows]]] = {}
        self._free = asyncio.Semaphore(READINGS_MAX)

    async def rows(self, at: TopicPartition, run_id: str) -> Rows:
        """The rows under a run's id and its parts' (`<id>#...`), of those that were committed before this call."""
        run = run_id.encode()
        self._asked[at].add(run)
        if at not in self._readings:
            self._readings[at] = Joint(partial(self._read, at), f"farandole-look-{at.topic}-{at.partition}")
        return (await self._readings[at].asked()).get(run, {})

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None, None]:
        """One of the `READINGS_MAX`, for whoever reads a partition; a late one no longer counts.

        Else eight readings of a partition that nobody leads would keep all others of the client waiting.
        """
        await self._free.acquire()
        counted = [True]

        def give_back() -> None:
            if counted:
                counted.pop()
                self._free.release()

        late = asyncio.get_running_loop().call_later(TURN_MAX, give_back)
        try:
            yield
        finally:
            late.cancel()
            give_back()

    async def close(self) -> None:
        """End the readings that are under way; who waits for one is told."""
        for reading in self._readings.values():
            await reading.close()

    async def _read(self, at: TopicPartition) -> dict[bytes, Rows]:
        wanted = self._asked.pop(at)  # all of them wait for this reading; who comes later waits for the next one
        async with self.turn():
            rows = await table(self._edge, [at], lambda key: _run_of(key) in wanted)
        found: defaultdict[bytes, Rows] = defaultdict(dict)
        for key, record in rows.items():
            found[_run_of(key)][key] = record
        return found


def _run_of(key: bytes) -> bytes:
    return key.partition(b"#")[0]
