"""A task that several wait for: none of them ends it by being cancelled, and its failure is told to each."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from farandole.errors import TransportError

T = TypeVar("T")


def begun(work: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
    """The task, under way."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_seen)
    return task


async def shared(task: "asyncio.Task[T]", ended: Callable[[], TransportError]) -> T:
    """What the task brings; `ended` makes the error if it was cancelled.

    Each is told a failure by an error of its own: one and the same, raised by all, would keep the frames of each.
    """
    await asyncio.wait([task])
    if task.cancelled():
        raise ended()
    error = task.exception()
    if isinstance(error, TransportError):
        raise type(error)(str(error)) from error
    return task.result()


def _seen(task: "asyncio.Task[T]") -> None:
    """A failure that nobody waits for any more is no news to anybody."""
    if not task.cancelled():
        task.exception()
