"""F14: crowds. A hot run beside a thousand small ones, fan-outs and joins as wide as there are, timers all at once.

No process dies: what must hold is that nobody waits much longer for a neighbour's crowd, and that memory is bounded. A
map has at most a thousand items (larger ones are refused by name), so a hundred thousand items are a hundred maps.
"""

import time
from collections.abc import Iterator, Sequence

from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.stage import Plan, Stage

CROWDED = Plan(per_second=2)

SMALL_RUNS = 1_000
WIDE_RUNS = 20
"""Of a thousand items each."""

LATE_RUNS = 2_000
"""Whose timers are due within a second or two of each other."""

SLOWER_MAX = 3.0
"""How much longer, at the 99th percentile, small runs may take beside a hot one than alone."""

MEMORY_MAX_MIB = 512.0


def crowd(stage: Stage) -> Iterator[Hit]:
    """F14: small runs alone, beside hot ones, many wide ones, and many timers at once."""
    since = time.monotonic()
    small = _load(stage, SMALL_RUNS, "small")
    yield Hit(since, runs=small)
    alone, since = _latencies(stage, small), time.monotonic()
    hot = list(_load(stage, 1, "wide"))
    small = _load(stage, SMALL_RUNS, "small")
    _stay_hot(stage, small, hot)
    yield Hit(since, runs=(*hot, *small))
    beside, since = _latencies(stage, small), time.monotonic()
    wide = _load(stage, WIDE_RUNS, "wide")
    yield Hit(since, runs=wide)
    since = time.monotonic()
    late = _load(stage, LATE_RUNS, "late")
    yield Hit(since, runs=late)
    slower = quantile(beside, 0.99) / quantile(alone, 0.99)
    memory = max(actor.process.memory_peak_mib for actor in stage.actors.values())
    stage.notes.append(
        f"{SMALL_RUNS:,} small runs at once: p99 {quantile(alone, 0.99):.1f} s alone, {quantile(beside, 0.99):.1f} s "
        f"beside runs of 1,000 items, one at a time ({slower:.1f} times); {len(hot) + len(wide)} runs of 1,000 items, "
        f"{len(late):,} timers at once; largest process {memory:.0f} MiB at its peak"
    )
    assert slower <= SLOWER_MAX, f"expected small runs to take at most {SLOWER_MAX:g} times as long, but {slower:.1f}"
    assert memory <= MEMORY_MAX_MIB, f"expected at most {MEMORY_MAX_MIB:.0f} MiB in a process, but found {memory:.0f}"


def _load(stage: Stage, count: int, pipeline: str) -> tuple[str, ...]:
    """Start runs; returns when they are acknowledged."""
    load = stage.load
    assert load is not None
    runs = load.start(count, pipeline)
    stage.until(lambda: load.acknowledged.keys() >= set(runs), f"{count} {pipeline} runs to be acknowledged")
    return tuple(runs)


def _stay_hot(stage: Stage, small: Sequence[str], hot: list[str]) -> None:
    """Until the small runs have ended, start the next hot run when the one before has: no small run is ever alone."""
    load = stage.load
    assert load is not None

    def are_over() -> bool:
        if all(run in load.settled for run in small):
            return True
        if all(run in load.settled for run in hot):
            hot.extend(load.start(1, "wide"))
        return False

    stage.until(are_over, f"{len(small)} small runs to end")


def _latencies(stage: Stage, runs: Sequence[str]) -> list[float]:
    """Seconds from the acknowledgement of each run, all of which have ended, to its end."""
    load = stage.load
    assert load is not None
    return [load.settled[run] - load.acknowledged[run] for run in runs]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
