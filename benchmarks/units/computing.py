"""Steps that compute, in processes of their own, beside one that does nothing."""

import time

from farandole import agent, pipeline


def burn(seconds: float) -> float:
    """Use the processor for so long (CPU time, not the clock's, so that others cannot shorten it)."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return seconds


@agent(isolation="process")
def compute(seconds: float) -> float:
    """Compute."""
    return burn(seconds)


@agent(timeout="5s")
async def nothing(number: int) -> int:
    """Pass it on."""
    return number


@pipeline(owner="bench@example.org")
def computing(seconds: float) -> float:
    """One step that computes."""
    return compute(seconds)


@pipeline(owner="bench@example.org")
def quick(number: int) -> int:
    """One step that does nothing."""
    return nothing(number)
