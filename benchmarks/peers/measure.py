"""How each peer is measured, in a process of the peers' own environment: one run at a time, then a backlog.

A run is three no-op steps in sequence that pass 300 bytes on. Warm-up, then bursts that grow until
one lasts long enough to size the measured one by. What comes out is one line of JSON.
"""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from importlib import metadata

PAYLOAD = "v" * 300
WARM_UP = 50


async def measure(
    one: Callable[[], Awaitable[None]],
    many: Callable[[int], Awaitable[None]],
    runs: int,
    seconds: float,
    packages: list[str],
) -> None:
    """Print the figures of a peer: `one` run until its end is known, `many` at once until all ends are."""
    await _timed(one, WARM_UP)
    count, took = 50, await _burst(many, 50)
    while took < seconds / 5:
        count = max(count * 2, int(count * min(4, seconds / 4 / took)))
        took = await _burst(many, count)
    latencies = sorted(await _timed(one, runs))
    count = max(50, int(count / took * seconds))
    took = await _burst(many, count)
    figures = {
        "runs_per_s": count / took,
        "p50_ms": latencies[math.ceil(0.5 * runs) - 1],
        "p99_ms": latencies[math.ceil(0.99 * runs) - 1],
    }
    print(json.dumps({"figures": figures, "versions": {name: metadata.version(name) for name in packages}}), flush=True)


async def flood(one: Callable[[], Awaitable[None]], count: int, in_flight: int) -> None:
    """So many runs, at most `in_flight` of them open at once."""
    left = iter(range(count))

    async def lane() -> None:
        for _ in left:
            await one()

    await asyncio.gather(*(lane() for _ in range(min(count, in_flight))))


async def _burst(many: Callable[[int], Awaitable[None]], count: int) -> float:
    began = time.perf_counter()
    await many(count)
    return time.perf_counter() - began


async def _timed(one: Callable[[], Awaitable[None]], count: int) -> list[float]:
    out = []
    for _ in range(count):
        began = time.perf_counter()
        await one()
        out.append((time.perf_counter() - began) * 1e3)
    return out
