"""Steps that wait as long as they are told, as for a network or a disk: what concurrency of handlers comes to."""

import asyncio
import time

from farandole import agent, pipeline


@agent
async def sleep(seconds: float) -> float:
    """Wait on the event loop, whose clock ticks in milliseconds."""
    await asyncio.sleep(seconds)
    return seconds


@agent
def block(seconds: float) -> float:
    """Wait in a thread."""
    time.sleep(seconds)
    return seconds


@pipeline(owner="bench@example.org")
def sleeping(seconds: float) -> float:
    """One step."""
    return sleep(seconds)


@pipeline(owner="bench@example.org")
def blocking(seconds: float) -> float:
    """One step."""
    return block(seconds)
