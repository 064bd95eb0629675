"""A question that many ask at once: asked once for all who wait, and anew for those who come while it is under way.

So each answer is as new as the moment at which it was asked for, and a thousand who ask together are two questions.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from farandole.errors import TransportError

T = TypeVar("T")


class Joint(Generic[T]):
    """One question; belongs to one event loop. An answer, or its failure, is shared by all who wait for it."""

    def __init__(self, ask: Callable[[], Awaitable[T]], name: str) -> None:
        self._ask = ask
        self._name = name
        self._now: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def asked(self) -> T:
        """The answer to a question that is put after this call; whoever is cancelled leaves the others theirs.

        Raises:
            TransportError: the question was cancelled, as at the end of its client.
        """
        if self._next is None or self._next.done():  # done: it was cancelled before its turn came
            self._next = asyncio.create_task(self._turn(self._now), name=self._name)
            self._next.add_done_callback(_seen)
        question = self._next
        await asyncio.wait((question,))
        if question.cancelled():
            raise TransportError("expected an answer, but the client was closed; make a new one")
        return question.result()

    async def close(self) -> None:
        """Cancel what is asked, and wait until it has ended."""
        under_way = [each for each in (self._now, self._next) if each is not None and not each.done()]
        for each in under_way:
            each.cancel()
        if under_way:
            await asyncio.wait(under_way)

    async def _turn(self, before: asyncio.Task[T] | None) -> T:
        if before is not None and not before.done():
            await asyncio.wait((before,))
        self._now, self._next = self._next, None
        return await self._ask()


def _seen(task: asyncio.Task[T]) -> None:
    """A failure that nobody waits for any more is no news to anybody."""
    if not task.cancelled():
        task.exception()
