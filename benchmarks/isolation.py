"""Cases of handlers that compute: `isolation="process"` against one core, and whom a long one holds up."""

import asyncio
import time
from collections.abc import Iterator

from chains import UNITS
from deployment import Deployment
from measuring import Row, Site, percentile
from traffic import bulk, latencies, send, starts

COMPUTE_S = 0.005
LONG_S = 0.050
PROCESSES = 2
UNIT = UNITS / "computing.py"


def isolation(site: Site) -> Iterator[Row]:
    """5 ms of CPU per handler in two processes: handlers' CPU seconds per second, bare one core (and no more)."""
    runs = site.many(2_000)
    with Deployment(site.log, UNIT, {"FARANDOLE_AGENT__PROCESSES": str(PROCESSES)}) as it:
        it.coordinator()
        it.agent()
        asyncio.run(latencies(it, "computing", 1, {"seconds": COMPUTE_S}, warm_up=10))
        done = bulk(it, "computing", runs, {"seconds": COMPUTE_S})
        values = {
            "cores": done.runs_per_s * COMPUTE_S,
            "overhead_cpu_ms_per_run": done.cpu_ms_per_run - COMPUTE_S * 1000,
        }
        yield Row("isolation", site.log.name, "5 ms handlers", values, {"cores": _cores()})
        alone = asyncio.run(latencies(it, "quick", site.many(200), {"number": 1}))
        send(it, starts(it, it.definition("computing"), site.many(400), {"seconds": LONG_S}))
        beside = asyncio.run(latencies(it, "quick", site.many(100), {"number": 1}, warm_up=5))
    names = {"p50_ms": 0.5, "p99_ms": 0.99}
    values = {name: percentile(beside, share) for name, share in names.items()}
    bare = {name: percentile(alone, share) for name, share in names.items()}
    yield Row("isolation", site.log.name, "no-op beside 50 ms handlers", values, bare)


def _cores() -> float:
    """What one core gives to a loop here and now: 1, less what others take of it."""
    began, spent = time.perf_counter(), time.process_time()
    while time.process_time() - spent < 1.0:
        pass
    return 1.0 / (time.perf_counter() - began)
