"""Cases of runs that go through at once: the chain in each way, the diamond, the map, retries, large payloads."""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployment import HERE, Deployment
from measuring import Row, Site, percentile
from traffic import PARCEL, bulk, latencies

CHAIN = HERE / "chain" / "chain.py"
UNITS = HERE / "units"
MAP_ITEMS = 1_000
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run the chain. `direct`: clients start by one record, and end at the last step's success."""

    name: str
    agents: int = 1
    is_fused: bool = False
    is_direct: bool = False

    @property
    def options(self) -> list[str]:
        """What the agents' processes are told."""
        return [] if self.is_fused else ["--no-fusion"]


WAYS = (
    Way("per hop"),
    Way("per hop, three processes", agents=3),
    Way("fused", is_fused=True),
    Way("fused, direct", is_fused=True, is_direct=True),
)


def chain(site: Site, names: Collection[str] = ()) -> Iterator[Row]:
    """Three no-op steps: a bulk, then one run at a time, in each way (or in those named)."""
    ways = WAYS if site.scale >= 0.1 else (WAYS[0], WAYS[3])
    for way in (each for each in ways if not names or each.name in names):
        with Deployment(site.log, CHAIN) as it:
            _start(it, way)
            bulk(it, "chain", site.many(2_000), direct=way.is_direct)  # agents fuse only handlers that they know
            done = bulk(it, "chain", site.many(10_000), direct=way.is_direct)
            took = asyncio.run(latencies(it, "chain", site.many(200), direct=way.is_direct))
        values = {"runs_per_s": done.runs_per_s, "cpu_ms_per_run": done.cpu_ms_per_run, **_latency(took)}
        yield Row("chain", site.log.name, way.name, values, site.bare(processes=way.agents, is_fused=way.is_fused))


def diamond(site: Site) -> Iterator[Row]:
    """Four no-op steps, two of them in parallel and joined; the bare limit is three hops in a row."""
    yield from _both(site, "diamond", UNITS / "diamond.py", PARCEL)


def retry(site: Site) -> Iterator[Row]:
    """The chain, whose second step fails once in one run of ten and comes again after 10 ms."""
    for way in (WAYS[0], WAYS[2]):
        with Deployment(site.log, UNITS / "flaky.py") as it:
            _start(it, way)
            asyncio.run(latencies(it, "flaky", 1))
            parcels: list[Mapping[str, object]] = [
                {"parcel": {"name": "bench", "number": number, "body": "v" * 280}} for number in range(10)
            ]
            runs = site.many(5_000)
            done = bulk(it, "flaky", runs, (parcels[n % 10] for n in range(runs)))
        values = {"runs_per_s": done.runs_per_s, "cpu_ms_per_run": done.cpu_ms_per_run}
        yield Row("retry", site.log.name, way.name, values, _rate(site, is_fused=way.is_fused))


def mapped(site: Site) -> Iterator[Row]:
    """Maps of 1,000 items and their join, some at once; the bare limit is one hop per item."""
    with Deployment(site.log, UNITS / "mapped.py") as it:
        _start(it, WAYS[2])
        asyncio.run(latencies(it, "mapped", 1, {"count": 10}, warm_up=5))
        items, runs = (MAP_ITEMS, max(1, int(10 * site.scale))) if site.scale >= 0.1 else (site.many(MAP_ITEMS), 1)
        (took,) = asyncio.run(latencies(it, "mapped", 1, {"count": items}, warm_up=0))
        done = bulk(it, "mapped", runs, {"count": items})
    values = {
        "items_per_s": done.runs_per_s * items,
        "one_map_ms": took * 1000,
        "cpu_us_per_item": done.cpu_ms_per_run / items * 1000,
    }
    yield Row("map", site.log.name, "1,000 items", values, {"items_per_s": site.bare()["runs_per_s"] * 3})


def large(site: Site) -> Iterator[Row]:
    """Two payloads of 1 MB between three steps, as claim checks; bare: both hashed and written to a file."""
    with Deployment(site.log, UNITS / "large.py") as it:
        _start(it, WAYS[2])
        took = asyncio.run(latencies(it, "large", site.many(100), {"size": MB}, warm_up=3))
    values = {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99)}
    yield Row("large", site.log.name, "1 MB twice, one at a time", values, {"p50_ms": _two_files_ms()})


def _two_files_ms() -> float:
    """What it takes to hash and write the two payloads of a run, whatever the log."""
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(10):
            began = time.perf_counter()
            for n in range(2):
                body = bytes([n]) * MB
                (Path(folder) / hashlib.sha256(body).hexdigest()).write_bytes(body)
            rounds.append(time.perf_counter() - began)
    return percentile(rounds, 0.5)


def _both(site: Site, pipeline: str, unit: Path, params: Mapping[str, object]) -> Iterator[Row]:
    """Latency and bulk of a pipeline, agents left to fuse what they may."""
    with Deployment(site.log, unit) as it:
        _start(it, WAYS[2])
        took = asyncio.run(latencies(it, pipeline, site.many(100), params))
        done = bulk(it, pipeline, site.many(5_000), params)
    values = {"runs_per_s": done.runs_per_s, "cpu_ms_per_run": done.cpu_ms_per_run, **_latency(took)}
    yield Row(pipeline, site.log.name, "one process", values, site.bare())


def _start(it: Deployment, way: Way) -> None:
    it.coordinator()
    for _ in range(way.agents):
        it.agent(*way.options)


def _latency(took: list[float]) -> dict[str, float]:
    return {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99)}


def _rate(site: Site, *, is_fused: bool) -> dict[str, float]:
    return {"runs_per_s": site.bare(is_fused=is_fused)["runs_per_s"]}
