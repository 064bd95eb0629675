"""Whether anything grows with time and not with load, from samples of a long run: a leak.

Memory is judged against a process's age and never across its restarts: processes are killed all the while, so those
of any hour are as old as those of another, and a constant leak would cancel out.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

UNITS = {"a": "agents", "c": "coordinators"}
"""By the first letter of a slot."""

WARM_UP_S = 60.0
"""What a process takes in its first minute under load (imports, caches, buffers of its client) is no leak."""

MEMORY_MIB_PER_MINUTE_MAX = 0.5
"""30 MiB an hour. The leak that a soak found made 5 a minute; what librdkafka keeps of broken calls, some 0.1."""

ERRORS = 2.0
"""Standard errors on either side of a slope: it lies between them in 95 of 100 cases."""

LAG_RECORDS_MAX = 20
"""The least lag is of small numbers (12 to 19 in an hour of faults), so that it is judged by what was added. What is
never consumed again adds more than that: some records for each of a hundred faults."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stood, `at` seconds after the beginning: resident memory in MiB by process, and what waits.

    `generation` counts the starts of each process.
    """

    at: float
    memory_mib: Mapping[str, float]
    lag_records: int
    runs_waiting: int
    generation: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Growth:
    """How fast something grows, and how sure that is: `error` is infinite where too little was seen."""

    what: str
    unit: str
    slope: float
    error: float
    bound: float

    @property
    def is_found(self) -> bool:
        """Whether it grows faster than it may, for certain."""
        return self.slope - ERRORS * self.error > self.bound

    @property
    def is_judged(self) -> bool:
        """Whether faster growth would have been told from noise."""
        return self.is_found or ERRORS * self.error <= self.bound

    def __str__(self) -> str:
        if math.isinf(self.error):
            return f"{self.what}: not enough was seen"
        return f"{self.what}: {self.slope:+.2f} {self.unit} (at most {self.bound:g}; ±{ERRORS * self.error:.2f})"


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Memory of each unit against age, and the least that waited in the last third over that in the middle one."""
    by_unit: dict[str, list[list[tuple[float, float]]]] = defaultdict(list)
    for (slot, _), life in _lives(samples).items():
        by_unit[UNITS.get(slot[0], slot)].append(life)
    found = [
        Growth(f"memory of {name}", "MiB a minute", *_slope(by_unit[name]), MEMORY_MIB_PER_MINUTE_MAX)
        for name in sorted({*by_unit, *UNITS.values()})
    ]
    return [*found, _lag(samples)]


def _lives(samples: Sequence[Sample]) -> Mapping[tuple[str, int], list[tuple[float, float]]]:
    """Minutes and MiB of each life of a process, warmed up; 0 MiB is one that had ended."""
    first: dict[tuple[str, int], float] = {}
    lives: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for each in samples:
        for slot, mib in each.memory_mib.items():
            life = slot, each.generation[slot]
            if mib and each.at - first.setdefault(life, each.at) >= WARM_UP_S:
                lives[life].append((each.at / 60, mib))
    return lives


def _slope(lives: Sequence[Sequence[tuple[float, float]]]) -> tuple[float, float]:
    """The slope that all lives share, each with a level of its own, and its standard error (least squares)."""
    points = [point for life in lives for point in _centred(life)]
    free = len(points) - len(lives) - 1
    spread = sum(x * x for x, _ in points)
    if free < 1 or not spread:
        return 0.0, math.inf
    slope = sum(x * y for x, y in points) / spread
    left = sum((y - slope * x) ** 2 for x, y in points)
    return slope, math.sqrt(left / free / spread)


def _centred(life: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    middle_x, middle_y = fmean(x for x, _ in life), fmean(y for _, y in life)
    return ((x - middle_x, y - middle_y) for x, y in life)


def _lag(samples: Sequence[Sample]) -> Growth:
    """What is never consumed raises the least of the samples too; the others tell how busy the machine was."""
    third = len(samples) // 3
    if third < 2:
        added, error = 0.0, math.inf
    else:
        middle, last = (min(map(_waiting, part)) for part in (samples[third : 2 * third], samples[2 * third :]))
        added, error = float(last - middle), 0.0
    return Growth("least lag and runs waiting", "more in the last third", added, error, LAG_RECORDS_MAX)


def _waiting(it: Sample) -> int:
    return it.lag_records + it.runs_waiting
