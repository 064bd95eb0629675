"""What is to be reached on two cores with the broker (issue 6), and whether it is."""

from collections.abc import Iterator
from dataclasses import dataclass

from record import Entry


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one figure, or on one ratio (`of_bare`); `at_least` or else at most.

    `full`: a figure of the same entry and how large it must be, else the measurement was too small to count.
    """

    what: str
    case: str
    log: str
    way: str
    figure: str
    bound: float
    at_least: bool = False
    of_bare: bool = False
    full: tuple[str, float] | None = None

    def of(self, entry: Entry) -> float | None:
        """The figure of an entry, if it is the one that is meant."""
        row = entry.row
        if (row.case, row.log, row.way) != (self.case, self.log, self.way):
            return None
        if self.full is not None and row.values.get(self.full[0], 0.0) < self.full[1]:
            return None
        return (row.ratios if self.of_bare else row.values).get(self.figure)

    def is_met(self, value: float) -> bool:
        """Whether the bound is kept."""
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def text(self) -> str:
        """The bound, readable."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:,g}"


KAFKA, SQLITE, PEERS = "kafka", "sqlite", "peers"
TARGETS = (
    Target("throughput, three steps, fused, runs/s", "chain", KAFKA, "fused, direct", "runs_per_s", 5_000, True),
    Target(
        "throughput, per hop, three processes, runs/s",
        "chain",
        KAFKA,
        "per hop, three processes",
        "runs_per_s",
        2_000,
        True,
    ),
    Target("latency, fused, direct, p50 ms", "chain", KAFKA, "fused, direct", "p50_ms", 8),
    Target("latency, fused, direct, p99 ms", "chain", KAFKA, "fused, direct", "p99_ms", 25),
    Target("latency, per hop, through the coordinator, p50 ms", "chain", KAFKA, "per hop", "p50_ms", 30),
    Target("join of a map of 1,000, items/s", "map", KAFKA, "1,000 items", "items_per_s", 5_000, True),
    Target(
        "10,000 timers due at once, p99 late ms",
        "timers",
        KAFKA,
        "due within 1 s",
        "p99_late_ms",
        2_000,
        full=("timers", 10_000),
    ),
    Target("sqlite: throughput, fused, runs/s", "chain", SQLITE, "fused, direct", "runs_per_s", 4_000, True),
    Target("sqlite: latency, fused, direct, p50 ms", "chain", SQLITE, "fused, direct", "p50_ms", 4),
    Target(
        "1 % of records take 1 s: share of what 16 handlers allow",
        "mixed",
        KAFKA,
        "16 handlers",
        "per_s",
        0.8,
        True,
        True,
    ),
    *(
        Target(
            f"10,000 records, {keys} keys: of Parallel Consumer's time",
            "lanes",
            KAFKA,
            f"{keys} keys",
            "s_per_10000",
            1.5,
            of_bare=True,
        )
        for keys in ("1", "5", "20", "1,000")
    ),
    Target(
        "memory of a live run, bytes",
        "restore",
        KAFKA,
        "live runs",
        "bytes_per_live_run",
        2_000,
        full=("live_runs", 10_000),
    ),
    Target("5 ms handlers in two processes, cores", "isolation", KAFKA, "5 ms handlers", "cores", 1.8, True),
)


def judged(entries: list[Entry]) -> Iterator[tuple[Target, float | None]]:
    """Each target with the newest figure for it, None where nothing was measured."""
    for target in TARGETS:
        found = [value for entry in entries if (value := target.of(entry)) is not None]
        yield target, (found[-1] if found else None)


def against_peers(entries: list[Entry]) -> Iterator[tuple[Target, float | None]]:
    """The targets that are read against peers of the same call: shares of the best one's figure."""
    rows = [entry.row for entry in entries if entry.row.case == PEERS]
    ours = {row.log: row for row in rows if row.log in (KAFKA, SQLITE)}
    peers = [row for row in rows if row.log not in ours]
    if len(ours) < 2 or not peers:
        return
    best = min(row.values["p50_ms"] for row in peers)
    for what, log, bound in (
        ("latency, fused, direct: of the best peer's p50", KAFKA, 1.0),
        ("sqlite: latency, fused, direct: of the best peer's p50", SQLITE, 0.5),
    ):
        yield Target(what, PEERS, log, "", "p50_ms", bound), ours[log].values["p50_ms"] / best
    for row in peers:
        if row.way.startswith("Celery"):
            times = ours[KAFKA].values["runs_per_s"] / row.values["runs_per_s"]
            yield Target("throughput, fused: times Celery's", PEERS, KAFKA, "", "runs_per_s", 25, True), times
