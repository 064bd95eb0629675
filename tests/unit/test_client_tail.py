"""The shared tail goes on whatever happens, and whoever follows it is told when it cannot."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from farandole.client.tail import SWEEP_MIN, EventTail, Subscription
from farandole.errors import FarandoleError, FatalTransportError, RecordError
from farandole.events.topics import Topics
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Edge, End, NewRecord, Record, TopicPartition, TopicSpec

EVENTS = Topics().events


class FailingEdge:
    """The edge of a log in memory whose tails fail first, with these errors one after the other."""

    def __init__(self, *errors: Exception) -> None:
        transport = MemoryTransport()
        transport.admin().create([TopicSpec(EVENTS, 1, 1)])
        self._inner: Edge = transport.edge("tests")
        self._errors = list(errors)
        self.send, self.ends, self.partitions, self.close = (
            self._inner.send, self._inner.ends, self._inner.partitions, self._inner.close,
        )  # fmt: skip

    def tail(self, positions: Mapping[TopicPartition, int]) -> AsyncIterator[Record | End]:
        """Fails, or is that of the log."""
        if self._errors:
            raise self._errors.pop(0)
        return self._inner.tail(positions)


class Follower:
    """What the tail tells about a run; whoever takes a `bad` record fails."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Record | FarandoleError] = asyncio.Queue()

    async def follow(self, tail: EventTail, run_id: str = "r") -> Subscription:
        """Begin, with all that the log holds from now on."""
        return await tail.follow(run_id, 0, self._take, self.told.put_nowait)

    def _take(self, record: Record) -> None:
        if record.value == b"bad":
            raise RecordError("expected a record of ours")
        self.told.put_nowait(record)

    async def hear(self) -> Record | FarandoleError:
        """What is told next."""
        async with asyncio.timeout(20):
            return await self.told.get()


def an_event(value: bytes = b"") -> NewRecord:
    return NewRecord(EVENTS, b"r", value, [("ce_run", b"r")], 0)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farandole.client.tail.BACKOFF_MAX", 0.01)


def test_tail_goes_on_after_an_error_that_nobody_has_thought_of() -> None:
    """A certificate half written, or no thread to be had for a moment, ended it in silence; all waited for ever."""

    async def heard() -> Record | FarandoleError:
        edge, follower = (
            FailingEdge(OSError(24, "Too many open files"), RuntimeError("can't start new thread")),
            Follower(),
        )
        tail = EventTail(edge, Topics())
        subscription = await follower.follow(tail)
        await edge.send(an_event())
        told = await follower.hear()
        tail.unfollow(subscription)
        await tail.close()
        return told

    assert isinstance(asyncio.run(heard()), Record)


def test_log_that_is_lost_for_good_is_told_to_all_who_follow_and_to_who_comes_too_early_to_know() -> None:
    """Its error said that processes must be started anew, and the tail tried again for ever, of which nobody heard."""

    async def heard() -> tuple[Record | FarandoleError | None, Record | FarandoleError]:
        edge, follower, later = FailingEdge(FatalTransportError("the log was removed")), Follower(), Follower()
        tail = EventTail(edge, Topics())
        try:
            kept = await follower.follow(tail)
            first: Record | FarandoleError | None = await follower.hear()
            tail.unfollow(kept)
        except FatalTransportError as refused:  # the tail broke before it could be followed
            first = refused
        subscription = await later.follow(tail)
        await edge.send(an_event())
        second = await later.hear()
        tail.unfollow(subscription)
        await tail.close()
        return first, second

    first, of_a_log_that_is_back = asyncio.run(heard())

    assert isinstance(first, FatalTransportError)
    assert "run r" in str(first)
    assert "the log was removed" in str(first)
    assert isinstance(of_a_log_that_is_back, Record)


def test_follower_that_cannot_take_a_record_is_told_so_and_the_others_go_on() -> None:
    """An end that a newer coordinator wrote was logged and dropped, and who waited for it waited for ever."""

    async def heard() -> list[Record | FarandoleError]:
        edge, follower = FailingEdge(), Follower()
        other: asyncio.Queue[Record | FarandoleError] = asyncio.Queue()
        tail = EventTail(edge, Topics())
        subscriptions = [await follower.follow(tail), await tail.follow("r", 0, other.put_nowait, other.put_nowait)]
        await edge.send(an_event(b"bad"))
        told = [await follower.hear(), await asyncio.wait_for(other.get(), 20)]
        for each in subscriptions:
            tail.unfollow(each)
        await tail.close()
        return told

    told, taken = asyncio.run(heard())

    assert isinstance(told, RecordError)
    assert str(told).startswith(f"{EVENTS}/0/0: expected an event of run r that this client can read, but ")
    assert isinstance(taken, Record)


def test_runs_that_nobody_follows_any_more_are_let_go_of_although_no_event_of_them_comes() -> None:
    """A client kept 700 bytes of each run that it ever started: followers were forgotten, and their place was not."""

    async def kept() -> tuple[int, Record | FarandoleError]:
        edge, follower = FailingEdge(), Follower()
        tail = EventTail(edge, Topics())
        subscription = await follower.follow(tail)
        for number in range(10 * SWEEP_MIN):
            await tail.follow(f"r-{number}", 0, _nothing, _nothing)
        await edge.send(an_event())
        told = await follower.hear()
        size = len(tail._following)
        tail.unfollow(subscription)
        await tail.close()
        return size, told

    size, told = asyncio.run(kept())

    assert size <= SWEEP_MIN
    assert isinstance(told, Record)  # who still follows is not let go of


def _nothing(_: object) -> None:
    """Takes whatever is told."""
