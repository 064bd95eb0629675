"""Cases of growth: CPU per event against what grows. CPU and not time, because the machine may be shared.

An event is a step's success in all of them, coordinator and agents together; the bare figure is the
first row's, so that a ratio of 1.15 means 15 % more than at the smallest size.
"""

import asyncio
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from chains import CHAIN
from deployment import Deployment
from measuring import Row, Site
from traffic import bulk, latencies

SETTLED = (1_000, 2_000, 5_000, 10_000, 20_000)
SETTLED_LONG = (1_000, 10_000, 100_000, 300_000, 1_000_000)
PIPELINES = (1, 10, 100, 1_000)
STEPS = (3, 10, 100, 1_000)
PROCESSES = (1, 2, 5, 10)
WINDOW = 1_000
"""Runs measured at each size, at least."""

TENTH = 10
"""Part of what has settled that is measured beyond it: the upkeep of the log (compaction) comes in bursts in proportion
to what is there, and a window that is shorter has one whole or none."""

AHEAD = 20_000
"""Runs begun at once: a million starts at once are a gigabyte in each process."""

SPREAD = 20
"""Pipelines among which they are spread, evenly over all that there are."""

AT_ONCE, EVENTS = 50, 10_000
"""Long runs at once, as many for each length, for few share fewer transactions; and events measured at least."""

AGENT = '''
"""Made by the benchmarks."""

from farandole import agent, pipeline

@agent(timeout="5s")
async def pass_on(number: int) -> int:
    """Pass it on."""
    return number
'''
PIPELINE = '''
@pipeline(owner="bench@example.org")
def {name}(number: int) -> int:
    """Made by the benchmarks."""
{body}
    return number
'''


def settled(site: Site) -> Iterator[Row]:
    """After more and more settled runs of the chain."""
    sizes = SETTLED_LONG if site.is_long else SETTLED
    rows = _Rows(site, "growth: settled runs", events=3)
    with Deployment(site.log, CHAIN) as it:
        _start(it)
        asyncio.run(latencies(it, "chain", 1))
        ended = 0
        for size in sizes:
            target = site.many(size)
            _many(it, target - ended)
            window = max(site.many(WINDOW), target // TENTH)
            yield rows.add(size, _many(it, window))
            ended = max(target, ended) + window


def _many(it: Deployment, runs: int) -> float:
    """So many runs, no more than `AHEAD` at once; CPU per run, ms."""
    parts = [min(AHEAD, runs - begun) for begun in range(0, runs, AHEAD)]
    return sum(bulk(it, "chain", part).cpu_ms_per_run * part for part in parts) / max(1, runs)


def pipelines(site: Site) -> Iterator[Row]:
    """Beside more and more pipelines of the same agents, the runs spread over all of them."""
    rows = _Rows(site, "growth: pipelines", events=3)
    for count in PIPELINES if site.scale >= 0.1 else PIPELINES[:2]:
        unit = _unit(f"p{count}", [(f"p{n}", 3) for n in range(count)])
        with Deployment(site.log, unit) as it:
            _start(it)
            asyncio.run(latencies(it, "p0", 1, {"number": 1}))
            spread = min(count, SPREAD)
            chosen = [f"p{n * count // spread}" for n in range(spread)]
            yield rows.add(count, bulk(it, chosen, site.many(WINDOW), {"number": 1}).cpu_ms_per_run)


def steps(site: Site) -> Iterator[Row]:
    """In longer and longer runs."""
    rows = _Rows(site, "growth: steps of a run")
    for count in STEPS if site.scale >= 0.1 else STEPS[:2]:
        with Deployment(site.log, _unit(f"s{count}", [("long", count)])) as it:
            _start(it)
            asyncio.run(latencies(it, "long", 1, {"number": 1}, warm_up=max(3, 30 // count)))
            rounds = max(1, EVENTS // (AT_ONCE * count)) if site.scale >= 0.1 else 1
            spent = [bulk(it, "long", AT_ONCE, {"number": 1}).cpu_ms_per_run for _ in range(rounds)]
            yield rows.add(count, sum(spent) / rounds / count)


def processes(site: Site) -> Iterator[Row]:
    """With more and more agent processes on 12 partitions: each has transactions, and markers, of its own."""
    rows = _Rows(site, "growth: agent processes", events=3)
    for count in PROCESSES if site.scale >= 0.1 else PROCESSES[:2]:
        with Deployment(site.log, CHAIN) as it:
            _start(it, agents=count)
            asyncio.run(latencies(it, "chain", 1))
            yield rows.add(count, bulk(it, "chain", site.many(WINDOW * 2)).cpu_ms_per_run)


class _Rows:
    """Rows of one curve."""

    def __init__(self, site: Site, name: str, events: int = 1) -> None:
        self._site, self._name, self._events = site, name, events
        self._first: dict[str, float] = {}

    def add(self, size: int, cpu_ms: float) -> Row:
        """The row of one size."""
        values = {"cpu_us_per_event": cpu_ms / self._events * 1000}
        self._first = self._first or values
        return Row(self._name, self._site.log.name, f"{size:,}", values, self._first)


def _start(it: Deployment, agents: int = 1) -> None:
    it.coordinator()
    for _ in range(agents):
        it.agent()


def _unit(name: str, chains: Sequence[tuple[str, int]]) -> Path:
    """A unit of one agent, with pipelines of so many steps each."""
    parts = [AGENT]
    for pipeline, count in chains:
        lines = [f'number = pass_on.options(name="s{n}")(number)' for n in range(count)]
        parts.append(PIPELINE.format(name=pipeline, body=textwrap.indent("\n".join(lines), "    ")))
    folder = Path(tempfile.mkdtemp(prefix="farandole-bench-unit-"))
    path = folder / f"{name}.py"
    path.write_text("".join(parts))
    return path
