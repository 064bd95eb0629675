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
    """F14: small runs alone, beside a hot one, many wide ones, and many timers at once."""
    alone = _latencies(stage, SMALL_RUNS)
    yield Hit(time.monotonic())
    hot = _load(stage, 1, "wide")
    beside = _latencies(stage, SMALL_RUNS)
    yield Hit(time.monotonic())
    wide = _load(stage, WIDE_RUNS, "wide")
    yield Hit(time.monotonic())
    late = _load(stage, LATE_RUNS, "late")
    yield Hit(time.monotonic())
    slower = quantile(beside, 0.99) / quantile(alone, 0.99)
    memory = max(actor.process.memory_mib for actor in stage.actors.values())
    stage.notes.append(
        f"{SMALL_RUNS:,} small runs at once: p99 {quantile(alone, 0.99):.1f} s alone, {quantile(beside, 0.99):.1f} s "
        f"beside a run of 1,000 items ({slower:.1f} times); {len(hot) + len(wide)} runs of 1,000 items, {len(late):,} "
        f"timers at once; largest process {memory:.0f} MiB"
    )
    assert slower <= SLOWER_MAX, f"expected small runs to take at most {SLOWER_MAX:g} times as long, but {slower:.1f}"
    assert memory <= MEMORY_MAX_MIB, f"expected at most {MEMORY_MAX_MIB:.0f} MiB in a process, but found {memory:.0f}"


def _load(stage: Stage, count: int, pipeline: str) -> list[str]:
    """Start runs; returns when they are acknowledged."""
    load = stage.load
    assert load is not None
    runs = load.start(count, pipeline)
    stage.until(lambda: load.acknowledged.keys() >= set(runs), f"{count} {pipeline} runs to be acknowledged")
    return runs


def _latencies(stage: Stage, count: int) -> list[float]:
    """Seconds from the acknowledgement of each of some small runs, started at once, to its end."""
    runs, load = _load(stage, count, "small"), stage.load
    assert load is not None
    stage.until(lambda: all(run in load.settled for run in runs), f"{count} small runs to end")
    return [load.settled[run] - load.acknowledged[run] for run in runs]


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
