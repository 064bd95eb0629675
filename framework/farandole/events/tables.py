"""Records of the compacted topics and of telemetry: what others may read as tables and signals.

`RunHead` (on `runs`) and `SettledRun` (on `settled`) are public; `RunControl` tells agents which
runs they must not go on with; the attempt signals are hints on `telemetry`, never the truth.
"""

from dataclasses import dataclass
from datetime import datetime

from farandole.ids import NO_ITEM


@dataclass(frozen=True, slots=True)
class RunHead:
    """A live run as anyone may read it from `runs` under its run id; `state` is private to the coordinator.

    `status` is `running`, `held`, `stopping` or `settled` (a stub kept for the dedupe window).
    """

    run: str
    pipeline: str
    definition: str
    status: str
    started_at: datetime
    updated_at: datetime
    outcome: str
    waiting: str
    state: bytes


@dataclass(frozen=True, slots=True)
class SettledStep:
    """How one step of an ended run ended; counts for mapped steps."""

    step: str
    status: str
    attempts: int
    items: int
    succeeded: int


@dataclass(frozen=True, slots=True)
class SettledRun:
    """The final state of an ended run."""

    run: str
    pipeline: str
    definition: str
    outcome: str
    reason: str
    started_at: datetime
    settled_at: datetime
    steps: tuple[SettledStep, ...]
    output: bytes | None = None


@dataclass(frozen=True, slots=True)
class RunControl:
    """What agents must respect now about a run: `state` is `stopping` (or, later, `paused`)."""

    run: str
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A handler was called."""

    run: str
    step: str
    attempt: int
    agent: str
    at: datetime
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class AttemptProgress:
    """How far a handler says it is."""

    run: str
    step: str
    attempt: int
    at: datetime
    done: float
    total: float | None = None
    note: str = ""
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class Claim:
    """Stands in place of a payload above the inline limit: `sha256` names it in the artifact store, `size` in bytes."""

    sha256: str
    size: int


Table = RunHead | SettledRun | RunControl
Signal = AttemptStarted | AttemptProgress
