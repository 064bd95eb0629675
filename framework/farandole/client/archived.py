"""A log together with its archive: what retention has deleted is read from the files, the rest from the topics.

Wraps any transport for who only reads (`verify`, `lineage`). A partition begins where its files begin, as far back as
they follow one another without a hole up to what the topic still holds. Everything else is the log's own.

Files take long to read, and retention goes on meanwhile: they are read as far as they go, and the log from that very
offset on. What is in neither then is an error of the log, and never a hole that nobody sees.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import chain, islice

from farandole.artifacts.archive import Archive, Span, read_file
from farandole.client.scan import BEGINNING, closing
from farandole.transport.port import (
    Admin,
    Edge,
    End,
    Isolation,
    Member,
    MemberSettings,
    NewRecord,
    Polled,
    Position,
    Producer,
    Reader,
    Record,
    TopicPartition,
    TopicSpec,
    Transport,
)

POLL_RECORDS = 1_000
"""Archived records of one poll."""


class Files:
    """What an archive holds before the beginnings of a log."""

    def __init__(self, archive: Archive, transport: Transport) -> None:
        self._archive = archive
        self._transport = transport

    def first(self, at: TopicPartition, begin: int) -> int:
        """The first offset that files hold without a hole up to `begin`; `begin` itself if there are none."""
        for span in reversed(self._archive.spans(at.topic, at.partition)):
            if span.first < begin <= span.end:
                begin = span.first
        return begin

    def split(self, positions: Mapping[TopicPartition, int]) -> tuple[Iterator[Record], Mapping[TopicPartition, int]]:
        """What files hold from these positions on, and, once that was read, where to go on in the log; blocking."""
        wanted = [at for at, position in positions.items() if position == BEGINNING or position >= 0]
        begins = self._beginnings([at for at in wanted if self._archive.spans(at.topic, at.partition)])
        starts = {at: max(positions[at], self.first(at, begin)) for at, begin in begins.items()}
        early = {at: first for at, first in starts.items() if first < begins[at]}
        rest = dict(positions)
        rest.update((at, begin) for at, begin in begins.items() if positions[at] == BEGINNING)
        return chain.from_iterable(self._records(at, first, rest) for at, first in early.items()), rest

    def _records(self, at: TopicPartition, first: int, rest: dict[TopicPartition, int]) -> Iterator[Record]:
        """All from `first` on, also of files that are written meanwhile; `rest` learns where they end."""
        rest[at] = first
        # Listed again once they were read, and not for each: a folder of many takes long to list.
        while (spans := self._spans_from(at, rest[at])) and spans[0].first <= rest[at]:
            for span in spans:
                if span.first <= rest[at] < span.end:
                    yield from _records_of(span, rest[at])
                    rest[at] = span.end

    def _spans_from(self, at: TopicPartition, offset: int) -> list[Span]:
        return [span for span in self._archive.spans(at.topic, at.partition) if span.end > offset]

    def _beginnings(self, wanted: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        if not wanted:
            return {}
        admin = self._transport.admin()
        try:
            return admin.beginnings(wanted)
        finally:
            admin.close()


def _records_of(span: Span, begin: int) -> Iterator[Record]:
    for it in read_file(span.path):
        if it.offset >= begin:
            yield Record(it.topic, it.partition, it.offset, it.key, it.value, it.headers, it.timestamp_ms)


class ArchivedLog:
    """Implements `Transport` for readers; members and producers are the log's."""

    def __init__(self, inner: Transport, archive: Archive) -> None:
        self._inner = inner
        self._files = Files(archive, inner)

    def member(self, settings: MemberSettings) -> Member:
        """The log's."""
        return self._inner.member(settings)

    def producer(self, client_id: str) -> Producer:
        """The log's."""
        return self._inner.producer(client_id)

    def reader(self, client_id: str) -> Reader:
        """Reads files first."""
        return _Reader(self._inner.reader(client_id), self._files)

    def admin(self) -> Admin:
        """Knows that partitions begin earlier."""
        return _Admin(self._inner.admin(), self._files)

    def edge(self, client_id: str) -> Edge:
        """Its tails read files first."""
        return _Edge(self._inner.edge(client_id), self._files)


class _Reader:
    def __init__(self, inner: Reader, files: Files) -> None:
        self._inner = inner
        self._files = files
        self._before: Iterator[Record] = iter(())
        self._rest: Mapping[TopicPartition, int] = {}
        self._ahead: list[Record] = []
        """The next records of the files; once there are none, the log was assigned."""

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        self._before, self._rest = self._files.split(positions)
        self._ahead = self._next()

    def poll(self, timeout: float) -> Sequence[Polled]:
        if not self._ahead:
            return self._inner.poll(timeout)
        found, self._ahead = self._ahead, self._next()
        return found

    def _next(self) -> list[Record]:
        found = list(islice(self._before, POLL_RECORDS))
        if not found:
            self._inner.assign(self._rest)
        return found

    def position(self, at: TopicPartition) -> int | None:
        return None if self._ahead else self._inner.position(at)

    def close(self) -> None:
        self._inner.close()


class _Edge:
    def __init__(self, inner: Edge, files: Files) -> None:
        self._inner = inner
        self._files = files

    async def send(self, record: NewRecord) -> tuple[int, int]:
        return await self._inner.send(record)

    async def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        before, rest = await asyncio.to_thread(self._files.split, positions)
        while found := await asyncio.to_thread(lambda: list(islice(before, POLL_RECORDS))):
            for record in found:
                yield record
        async with closing(self._inner.tail(rest)) as tail:
            async for each in tail:
                yield each

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        return await self._inner.ends(partitions, isolation)

    async def partitions(self, topic: str) -> int:
        return await self._inner.partitions(topic)

    async def close(self) -> None:
        await self._inner.close()


class _Admin:
    def __init__(self, inner: Admin, files: Files) -> None:
        self._inner = inner
        self._files = files

    def beginnings(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {at: self._files.first(at, begin) for at, begin in self._inner.beginnings(partitions).items()}

    def topics(self, names: Sequence[str] | None = None) -> Mapping[str, TopicSpec]:
        return self._inner.topics(names)

    def create(self, topics: Sequence[TopicSpec]) -> Sequence[str]:
        return self._inner.create(topics)

    def configure(self, topic: str, config: Mapping[str, str]) -> None:
        self._inner.configure(topic, config)

    def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        return self._inner.ends(partitions, isolation)

    def positions(
        self, group: str, partitions: Sequence[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, Position]:
        return self._inner.positions(group, partitions)

    def members(self, group: str) -> frozenset[str]:
        return self._inner.members(group)

    def topics_read(self, group: str) -> frozenset[str] | None:
        return self._inner.topics_read(group)

    def start_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        self._inner.start_positions(group, positions)

    def close(self) -> None:
        self._inner.close()
