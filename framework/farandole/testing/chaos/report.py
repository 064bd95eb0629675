"""What a fault did: counted, written as JSON, and as a table for people."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass
class Report:
    """One fault. `recoveries`: seconds from each injection until every run that was under way then had ended.

    `hit`: injections that found a transaction open; None if that was never asked.
    `lost`: acknowledged runs of which the log knows nothing; `stuck`: that did not end; `doubled`: accepted twice;
    None for what nobody counted, because the trial broke off.
    `violations`: of any invariant of the history checker. `note`, `notes`: what is to be known of its figures.
    `trouble`: why the trial itself did not come to its end.
    """

    name: str
    title: str
    injected: int = 0
    hit: int | None = None
    recoveries: list[float] = field(default_factory=list)
    runs: int = 0
    lost: int | None = 0
    stuck: int = 0
    doubled: int | None = 0
    executions: int = 0
    reruns: int = 0
    metadata_characters: int = 0
    stall_s: float = 0.0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)
    note: str = ""
    notes: list[str] = field(default_factory=list)
    trouble: str = ""
    told: str = ""
    """When, at which commit, and under which load of the machine."""

    @property
    def is_good(self) -> bool:
        """Whether it did what it was to do, and nothing that must not be was found."""
        return self.injected > 0 and not (self.lost or self.stuck or self.doubled or self.violations or self.trouble)

    @property
    def reruns_per_million(self) -> int:
        """Handlers that ran again for an attempt that had run before."""
        return round(1e6 * self.reruns / self.executions) if self.executions else 0

    def add(self, is_open: bool | None) -> None:
        """One more injection, and whether it found a transaction open."""
        self.injected += 1
        if is_open is not None:
            self.hit = (self.hit or 0) + is_open

    def recovery(self, share: float) -> float | None:
        """The quantile of the recoveries, seconds, between two of them where it falls there; of few, no rare one."""
        ordered = sorted(self.recoveries)
        if not ordered or (0.5 < share < 1 and len(ordered) < TAIL_MIN):
            return None
        place = share * (len(ordered) - 1)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        return below + (above - below) * (place % 1)


TAIL_MIN = 100
"""Recoveries below which the 99th percentile would be another name for the longest."""

HEAD = (
    "| Fault | Injected | In a transaction | Runs | Lost | Stuck | Doubled | Re-runs per million "
    "| Recovery p50 / p99 / max, s | Metadata, characters | Stall, s | When |"
)


def table(reports: Sequence[Report]) -> str:
    """A table in Markdown, and what else is to be said."""
    lines = [HEAD, "|---" * (HEAD.count("|") - 1) + "|", *map(_row, reports)]
    notes = [f"- {each.name}: {what}" for each in reports for what in (each.note, *each.notes) if what]
    wrong = [f"- **{each.name}: {what}**" for each in reports for what in (*each.violations[:20], each.trouble) if what]
    return "\n".join([*lines, "", *notes, *wrong])


def as_json(reports: Sequence[Report]) -> str:
    """Everything, with each recovery."""
    return json.dumps([asdict(each) for each in reports], indent=1)


def from_json(text: str) -> list[Report]:
    """What `as_json` wrote."""
    return [Report(**each) for each in json.loads(text)]


def _known(count: int | None) -> str:
    return "-" if count is None else str(count)


def _row(it: Report) -> str:
    times = [it.recovery(share) for share in (0.5, 0.99, 1.0)]
    recovery = " / ".join("-" if each is None else f"{each:.1f}" for each in times)
    cells = (
        f"{it.name} {it.title}",
        it.injected,
        _known(it.hit),
        it.runs,
        _known(it.lost),
        it.stuck,
        _known(it.doubled),
        it.reruns_per_million,
        recovery,
        it.metadata_characters,
        f"{it.stall_s:.1f}",
        it.told,
    )
    return "| " + " | ".join(map(str, cells)) + " |"
