"""A question that many ask at once: how often it is put, whom an answer serves, and what a failure is to whom."""

import asyncio

import pytest

from farandole.client.joint import Joint
from farandole.errors import TransportError


class Oracle:
    """Answers with how often it was asked, when the test lets it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.asked = 0
        self.failure: Exception | None = None

    async def ask(self) -> int:
        """The answer."""
        self.asked += 1
        mine = self.asked
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return mine


async def settle() -> None:
    """Let every task come to where it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_comes_while_it_is_asked_is_answered_by_the_next_question() -> None:
    """The answer under way may be older than what the later one has just done."""

    async def live() -> tuple[list[int], int]:
        oracle = Oracle()
        joint = Joint(oracle.ask, "tests")
        first = [asyncio.create_task(joint.asked()) for _ in range(3)]
        await settle()
        later = [asyncio.create_task(joint.asked()) for _ in range(1000)]
        await settle()
        oracle.gate.set()
        return await asyncio.gather(*first, *later), oracle.asked

    answers, asked = asyncio.run(live())

    assert (answers, asked) == ([1] * 3 + [2] * 1000, 2)


def test_who_is_cancelled_leaves_the_others_their_answer() -> None:
    async def live() -> tuple[bool, int]:
        oracle = Oracle()
        joint = Joint(oracle.ask, "tests")
        gone, stays = (asyncio.create_task(joint.asked()) for _ in range(2))
        await settle()
        gone.cancel()
        await settle()
        oracle.gate.set()
        return gone.cancelled(), await stays

    assert asyncio.run(live()) == (True, 1)


def test_failure_is_of_all_who_waited_and_of_none_who_asks_later() -> None:
    async def live() -> tuple[list[object], int]:
        oracle = Oracle()
        oracle.failure = OSError("away")
        oracle.gate.set()
        joint = Joint(oracle.ask, "tests")
        told: list[object] = await asyncio.gather(*(joint.asked() for _ in range(5)), return_exceptions=True)
        oracle.failure = None
        return told, await joint.asked()

    told, later = asyncio.run(live())

    assert [str(each) for each in told] == ["away"] * 5
    assert later == 2


def test_failure_that_nobody_waits_for_any_more_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    """The event loop would log `Task exception was never retrieved` for a caller who had lost patience."""

    async def live() -> bool:
        oracle = Oracle()
        oracle.failure = OSError("away")
        joint = Joint(oracle.ask, "tests")
        gone = asyncio.create_task(joint.asked())
        await settle()
        gone.cancel()
        await settle()
        oracle.gate.set()
        await settle()
        return gone.cancelled()

    assert asyncio.run(live())
    assert not caplog.records


def test_question_that_was_cancelled_is_put_again_for_who_asks_later() -> None:
    """Whoever cancelled all tasks of the loop and went on got that cancellation from every later call, for ever."""

    async def live() -> tuple[list[object], int]:
        oracle = Oracle()
        joint = Joint(oracle.ask, "tests")
        waiting = [asyncio.create_task(joint.asked()) for _ in range(2)]
        await asyncio.sleep(0)
        for each in asyncio.all_tasks() - {asyncio.current_task(), *waiting}:
            each.cancel()
        told: list[object] = await asyncio.gather(*waiting, return_exceptions=True)
        oracle.gate.set()
        return told, await asyncio.wait_for(joint.asked(), 10)

    told, later = asyncio.run(live())

    assert [type(each) for each in told] == [TransportError] * 2
    assert later == 1


def test_close_ends_what_is_asked_and_what_is_to_be_asked_next() -> None:
    async def live() -> tuple[list[object], set[str]]:
        oracle = Oracle()
        joint = Joint(oracle.ask, "tests")
        first = asyncio.create_task(joint.asked())
        await settle()
        second = asyncio.create_task(joint.asked())
        await settle()
        await joint.close()
        told: list[object] = [*await asyncio.gather(first, second, return_exceptions=True)]
        return told, {task.get_name() for task in asyncio.all_tasks()} & {"tests"}

    told, left = asyncio.run(live())

    assert [type(each) for each in told] == [TransportError] * 2
    assert left == set()
