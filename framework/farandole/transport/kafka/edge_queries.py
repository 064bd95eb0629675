"""Questions of an event loop: `Queries` blocks, so each is asked in a thread, of which an edge has a few of its own.

Not in those of the loop: they are the application's, and while a cluster does not answer each question holds one.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from farandole.errors import NotReady, TransportError
from farandole.transport.kafka.queries import GRACE, Queries
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.sharing import begun, shared
from farandole.transport.port import Isolation, TopicPartition

T = TypeVar("T")

THREADS = 8
"""Questions that are asked at once. One takes some milliseconds, so that a thousand take about a second; while the
cluster is away so many wait for it, and the others wait as long for a thread."""


class EdgeQueries:
    """Used inside one running event loop. None takes longer than the clients' own time-out, however many there are."""

    def __init__(self, settings: KafkaSettings, client_id: str) -> None:
        self._client_id = client_id
        self._queries = Queries(settings, client_id)
        self._seconds = settings.patience + 2 * GRACE  # the client gives up before, and says why
        self._threads = ThreadPoolExecutor(THREADS, f"{client_id}.asking")
        self._counting: dict[str, asyncio.Task[int]] = {}
        self._under_way: set[asyncio.Future[Any]] = set()
        self._is_closed = False

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """End offsets; never those that somebody else has asked for, which may be older than the call."""
        return await self._asked(lambda: self._queries.ends(partitions, isolation), "ends")

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has; those who ask at once share the question."""
        under_way = self._counting.get(topic)
        if under_way is None:
            asked = self._asked(partial(self._queries.partitions, topic), f"topic {topic}")
            under_way = self._counting[topic] = begun(asked, f"{self._client_id}.counting")
            under_way.add_done_callback(lambda _: self._counting.pop(topic))
        return await shared(under_way, self._closed)

    def close(self) -> None:
        """Wait for no answer; a thread ends when the client gives up what it asks."""
        self._is_closed = True
        for each in (*self._counting.values(), *self._under_way):
            each.cancel()
        self._threads.shutdown(wait=False)

    async def _asked(self, ask: Callable[[], T], about: str) -> T:
        if self._is_closed:
            raise self._closed()
        answer = asyncio.get_running_loop().run_in_executor(self._threads, ask)
        self._under_way.add(answer)
        try:
            async with asyncio.timeout(self._seconds):
                await asyncio.wait((answer,))
        except TimeoutError as error:
            raise NotReady(f"{about}: no answer in {self._seconds:.0f} s") from error
        finally:
            self._under_way.discard(answer)
            answer.cancel()  # whoever asked has gone, or it has been answered
        if answer.cancelled():
            raise self._closed()
        return answer.result()

    def _closed(self) -> TransportError:
        return TransportError(f"{self._client_id}: expected an open edge, but it was closed. Nothing was asked")
