"""A transport whose records stand on the topics in a registry's frame, while everybody inside sees ours.

Wraps any transport (decision 0011): values are reframed where they leave and enter. A value whose
schema nobody published stays as it is, for who reads it to judge. While the registry is away
nothing is decided about what needs it: records wait here, and a transaction is answered as aborted.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import cast

from farandole.errors import TransportError
from farandole.transport.framing import Framing, Waiting, inbound, outbound, outbound_all
from farandole.transport.port import (
    Admin,
    Commit,
    Edge,
    End,
    GroupSnapshot,
    Isolation,
    Member,
    MemberSettings,
    NewRecord,
    Polled,
    Producer,
    Reader,
    Rebalance,
    Record,
    Reply,
    Request,
    TopicPartition,
    Transport,
    Verdict,
)

HELD_MAX = 10_000
"""Records of a reader that wait for the registry before nothing more is taken from the log. A member takes nothing more
from the partitions that wait; it is polled all the same, or it would lose them after `max.poll.interval.ms`."""

HEAD_BYTES = 5
"""Of a registry's frame: what says which schema it is."""


class FramedTransport:
    """Implements `Transport` over another one."""

    def __init__(self, inner: Transport, framing: Framing) -> None:
        self.inner = inner
        self.framing = framing

    def member(self, settings: MemberSettings) -> Member:
        """A new member."""
        return FramedMember(self.inner.member(settings), self.framing)

    def reader(self, client_id: str) -> Reader:
        """A new reader."""
        return FramedReader(self.inner.reader(client_id), self.framing)

    def producer(self, client_id: str) -> Producer:
        """A new plain producer."""
        return FramedProducer(self.inner.producer(client_id), self.framing)

    def admin(self) -> Admin:
        """A new admin client: it sees no values."""
        return self.inner.admin()

    def edge(self, client_id: str) -> Edge:
        """A new asyncio edge."""
        return FramedEdge(self.inner.edge(client_id), self.framing)


class FramedReader:
    """Implements `Reader`."""

    def __init__(self, inner: Reader, framing: Framing) -> None:
        self._inner = inner
        self._waiting = Waiting(framing)
        self._told: dict[TopicPartition, int] = {}

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these; what came before is dropped."""
        self._waiting.clear()
        self._told.clear()
        self._inner.assign(positions)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """As the inner one's."""
        patience = 0.0 if self._waiting.is_ready else timeout
        if len(self._waiting) < HELD_MAX:
            self._waiting.take(self._inner.poll(patience))
        else:
            time.sleep(patience)
        out = self._waiting.tell()
        for each in out:
            if isinstance(each, Record):
                self._told[each.at] = each.offset + 1
            elif isinstance(each, End):
                self._told[each.at] = each.position
        return out

    def position(self, at: TopicPartition) -> int | None:
        """Next offset to be told: not beyond what waits here."""
        return self._told.get(at) if self._waiting.has(at) else self._inner.position(at)

    def close(self) -> None:
        """Free everything."""
        self._inner.close()


class FramedProducer:
    """Implements `Producer`."""

    def __init__(self, inner: Producer, framing: Framing) -> None:
        self._inner = inner
        self._framing = framing

    def send(self, record: NewRecord) -> None:
        """Queue a record."""
        self._inner.send(outbound(record, self._framing))

    def flush(self, timeout: float) -> int:
        """As the inner one's."""
        return self._inner.flush(timeout)

    def close(self) -> None:
        """As the inner one's."""
        self._inner.close()


class FramedEdge:
    """Implements `Edge`. What blocks does so in a thread, and only for a head that was not met before."""

    def __init__(self, inner: Edge, framing: Framing) -> None:
        self._inner = inner
        self._framing = framing
        self._met: set[bytes] = set()

    async def send(self, record: NewRecord) -> tuple[int, int]:
        """Write and wait."""
        return await self._inner.send(await asyncio.to_thread(outbound, record, self._framing))

    async def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        """As the inner one's; it ends with a TransportError while the registry is away."""
        tail = cast("AsyncGenerator[Record | End]", self._inner.tail(positions))
        async with aclosing(tail):
            async for each in tail:
                yield await self._seen(each) if isinstance(each, Record) else each

    async def _seen(self, record: Record) -> Record:
        head = (record.value or b"")[:HEAD_BYTES]
        if head in self._met:
            return inbound(record, self._framing)
        found = await asyncio.to_thread(inbound, record, self._framing)
        if found is not record:
            self._met.add(head)
        return found

    async def ends(self, partitions: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """As the inner one's."""
        return await self._inner.ends(partitions, isolation)

    async def partitions(self, topic: str) -> int:
        """As the inner one's."""
        return await self._inner.partitions(topic)

    async def close(self) -> None:
        """As the inner one's."""
        await self._inner.close()


class _Dropping:
    """A loop's rebalance callbacks; what waits here from a partition that has gone goes with it."""

    def __init__(self, inner: Rebalance, waiting: Waiting) -> None:
        self._inner = inner
        self._waiting = waiting

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """They come paused."""
        self._waiting.drop(partitions)
        self._waiting.paused |= set(partitions)
        self._inner.assigned(partitions)

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """Nothing to add."""
        return self._inner.releasing(partitions)

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Forget them."""
        self._waiting.drop(partitions)
        self._waiting.paused -= set(partitions)
        self._inner.gone(partitions, lost=lost)


class FramedMember:
    """Implements `Member`."""

    def __init__(self, inner: Member, framing: Framing) -> None:
        self._inner = inner
        self._framing = framing
        self._waiting = Waiting(framing)
        self._commits: dict[int, Commit] = {}
        self._halted: set[TopicPartition] = set()
        self._unsent: list[Reply] = []
        self._tickets = count(-1, -1)  # the inner one's are positive

    @property
    def client_id(self) -> str:
        """As the inner one's."""
        return self._inner.client_id

    def subscribe(self, topics: Sequence[str], rebalance: Rebalance) -> None:
        """As the inner one's."""
        self._inner.subscribe(topics, _Dropping(rebalance, self._waiting))

    def poll(self, timeout: float) -> Sequence[Polled]:
        """As the inner one's; a trouble tells that the registry is away."""
        self._waiting.take(self._inner.poll(0.0 if self._waiting.is_ready else timeout))
        told = self._waiting.tell()
        self._throttle()
        return told

    def _throttle(self) -> None:
        """Take nothing more from partitions that wait for the registry; go on with those that do no more."""
        if not self._waiting.stuck and not self._halted:
            return
        ours = self._inner.assignment()
        halted = ours & self._waiting.stuck
        if more := halted - self._halted:
            self._inner.pause(sorted(more))
        if back := (self._halted - halted - self._waiting.paused) & ours:
            self._inner.resume(sorted(back))
        self._halted = set(halted)

    def snapshot(self) -> GroupSnapshot:
        """As the inner one's."""
        return self._inner.snapshot()

    def call(self, request: Request) -> int:
        """As the inner one's; a transaction whose records need a registry that is away certainly had no effect."""
        if not isinstance(request, Commit):
            return self._inner.call(request)
        try:
            records = outbound_all(request.records, self._framing)
        except TransportError as error:
            ticket = next(self._tickets)
            self._unsent.append(Reply(ticket, request, verdict=Verdict.ABORTED, error=error))
            self._inner.wake()
            return ticket
        ticket = self._inner.call(replace(request, records=records))
        self._commits[ticket] = request
        return ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        """As the inner one's, each with the request that was made."""
        unsent, self._unsent = self._unsent, []
        found = self._inner.replies(0.0 if unsent else timeout)
        return [*unsent, *(replace(each, request=self._commits.pop(each.ticket, each.request)) for each in found)]

    def wake(self) -> None:
        """As the inner one's."""
        self._inner.wake()

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """As the inner one's; what waits here waits on."""
        self._waiting.paused |= set(partitions)
        self._inner.pause(partitions)

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """As the inner one's."""
        self._waiting.paused -= set(partitions)
        self._inner.resume([at for at in partitions if at not in self._waiting.stuck])

    def seek(self, at: TopicPartition, position: int) -> None:
        """As the inner one's; nothing stale is told after it."""
        self._waiting.drop([at])
        self._inner.seek(at, position)
        self._throttle()

    def assignment(self) -> frozenset[TopicPartition]:
        """As the inner one's."""
        return self._inner.assignment()

    def close(self) -> None:
        """As the inner one's."""
        self._inner.close()
