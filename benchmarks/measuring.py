"""What a case of the benchmarks is given and what it gives: a site to measure at, rows of figures.

A ratio is a figure over the bare limit's figure of the same name, measured in the same call:
above 1 is better for what is per second, worse for times.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import embedded
import limit
from deployment import Log

LEAST = 20
"""Runs of the smallest measurement: what a smoke run takes."""


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one way to do one thing, and those of the bare log beside it."""

    case: str
    log: str
    way: str
    values: Mapping[str, float]
    bare: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratios(self) -> dict[str, float]:
        """Each figure that the bare log has too, as its share."""
        return {name: value / self.bare[name] for name, value in self.values.items() if self.bare.get(name)}


@dataclass(slots=True)
class Site:
    """A log, and how much is measured on it: `scale` 1 is a full measurement. Bare limits are measured once a call."""

    log: Log
    scale: float = 1.0
    is_long: bool = False
    _bare: dict[tuple[int, bool], dict[str, float]] = field(default_factory=dict)

    def warm_up(self) -> None:
        """Let a broker compile what it runs often: its first seconds are several times slower than all that follow."""
        if self.log.bootstrap is not None:
            for is_fused in (False, True):
                limit.measure(self.log.bootstrap, self.many(20_000), LEAST, is_fused=is_fused)

    def many(self, full: int) -> int:
        """How many of something that a full measurement has `full` of."""
        return max(min(LEAST, full), int(full * self.scale))

    def bare(self, *, processes: int = 1, is_fused: bool = False) -> dict[str, float]:
        """The bare limit: three hops in a row in one or three processes, or all three in one transaction."""
        key = (processes, is_fused)
        if key not in self._bare:
            it = self._measure(processes, is_fused)
            self._bare[key] = {"runs_per_s": it.runs_per_second, "p50_ms": it.p50_ms, "p99_ms": it.p99_ms}
        return self._bare[key]

    def _measure(self, processes: int, is_fused: bool) -> limit.Figures:
        runs, one_by_one = self.many(20_000), self.many(200)
        if self.log.bootstrap is not None:
            return limit.measure(self.log.bootstrap, runs, one_by_one, processes=processes, is_fused=is_fused)
        with tempfile.TemporaryDirectory() as folder:
            return embedded.measure(Path(folder), runs, one_by_one, processes=processes, is_fused=is_fused)


Case = Callable[[Site], Iterator[Row]]


def percentile(seconds: list[float], share: float) -> float:
    """By nearest rank, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
