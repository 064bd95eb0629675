"""Three steps in a line; the first waits until a gate is open."""

import time
from pathlib import Path

from farandole import agent, pipeline


@agent
def first(gate: str) -> int:
    """Wait for the gate."""
    while not Path(gate).exists():
        time.sleep(0.05)
    return 1


@agent
async def second(number: int) -> int:
    """Count on."""
    return number + 1


@agent
async def third(number: int) -> int:
    """Count on."""
    return number + 1


@pipeline(owner="tests@example.org", deadline="5m")
def line(gate: str) -> int:
    """Three hops."""
    return third(second(first(gate)))
