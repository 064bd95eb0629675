"""One step that waits as long as it is told: what concurrency of handlers comes to."""

import asyncio

from farandole import agent, pipeline


@agent
async def sleep(seconds: float) -> float:
    """Wait, as for a network."""
    await asyncio.sleep(seconds)
    return seconds


@pipeline(owner="bench@example.org")
def sleeping(seconds: float) -> float:
    """One step."""
    return sleep(seconds)
