"""What the doctor looks at: plain values, so that every judgement can be tested without a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path

from farandole.client.lately import WentBack
from farandole.transport.drift import Fault
from farandole.transport.kafka.forgotten import Forgotten
from farandole.transport.kafka.inspection import Inspected
from farandole.transport.kafka.pending import Pending


class Severity(Enum):
    """`error`: something does not work, or may be lost. `warning`: it will matter. `note`: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `code` is stable; `fix` is a command, or what a person does."""

    severity: Severity
    code: str
    fact: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class TopicFact:
    """One topic of the namespace as it is."""

    replication: int
    min_insync: int
    in_sync: int = -1
    """Replicas that keep up, of the partition that has the fewest; -1 if nobody looked."""

    leaderless: int = 0
    """Partitions that nobody can read or write now."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was seen of a deployment on Kafka."""

    bootstrap: str
    namespace: str
    is_production: bool = False
    is_encrypted: bool = False
    session_timeouts: Mapping[str, timedelta] = field(default_factory=dict)
    """By section of the settings."""

    brokers: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Settings of each broker, those that we may see."""

    inspected: Inspected = field(default_factory=Inspected)
    forgotten: tuple[Forgotten, ...] = ()
    """Transactions that nobody ends any more."""

    pending: tuple[Pending, ...] = ()
    """Positions that wait for the end of a transaction which has ended."""

    back: tuple[WentBack, ...] = ()
    """Positions that are behind what was answered."""

    positions_log: Mapping[str, str] | None = field(default_factory=dict)
    """Settings of the topic of positions, where one broker alone has some of it; None: we may not see it."""

    topics: Mapping[str, TopicFact] = field(default_factory=dict)
    drift: tuple[Fault, ...] = ()
    is_applied: bool = True
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Client ids of the members of each group of the namespace; one that stands twice is two members."""

    owners: Mapping[str, str] = field(default_factory=dict)
    """Unit of each agent, as `apply` recorded it."""

    readers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups that have positions on the inbox of each agent; those of a unit that it was moved from stay."""

    assigned: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Groups of which a member has partitions of the inbox of each agent."""

    untold: tuple[str, ...] = ()
    """What we may not see."""

    unanswered: tuple[str, ...] = ()
    """What was asked, and not answered."""


@dataclass(frozen=True, slots=True)
class FolderFact:
    """A folder that processes write to."""

    path: Path
    is_writable: bool
    free_bytes: int
    filesystem: str = ""
    is_on_read_only: bool = False
    """Whether nobody can write there, whoever owns it: so its disk is mounted."""


@dataclass(frozen=True, slots=True)
class FileFact:
    """A log of one machine: the file of the embedded transport."""

    path: Path
    version: int
    version_known: int
    integrity: str
    """`ok`, or what SQLite's own check says."""

    folder: FolderFact
    unseen: str = ""
    """Why it could not be looked at, which says nothing of what is in it."""

    is_foreign: bool = False
    """Whether another application has made it."""

    is_empty: bool = False
    """Whether nothing was ever made in it."""

    locked_for: timedelta | None = None
    """How long we waited for its write lock in vain; None: it was to be had, or nobody tried."""


@dataclass(frozen=True, slots=True)
class Local:
    """What was seen on this machine."""

    artifacts: FolderFact | None = None
    log: FileFact | None = None
    readable_secrets: Path | None = None
    """A settings file with secrets that everybody on this machine may read."""

    strangers: tuple[str, ...] = ()
