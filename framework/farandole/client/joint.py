"""A question that many ask at once: asked once for all who wait, and anew for those who come while it is under way.

So each answer is as new as the moment at which it was asked for, and a thousand who ask together are two questions.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Joint(Generic[T]):
    """One question; belongs to one event loop. What an answer takes, or its failure, is shared by all who wait."""

    def __init__(self, ask: Callable[[], Awaitable[T]], name: str) -> None:
        self._ask = ask
        self._name = name
        self._now: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def asked(self) -> T:
        """The answer to a question that is put after this call; whoever is cancelled leaves the others theirs."""
        if self._next is None:
            self._next = asyncio.create_task(self._turn(self._now), name=self._name)
            self._next.add_done_callback(_seen)
        return await asyncio.shield(self._next)

    async def _turn(self, before: asyncio.Task[T] | None) -> T:
        if before is not None and not before.done():
            await asyncio.wait((before,))
        self._now, self._next = self._next, None
        return await self._ask()


def _seen(task: asyncio.Task[T]) -> None:
    """A failure that nobody waits for any more is no news to anybody."""
    if not task.cancelled():
        task.exception()
