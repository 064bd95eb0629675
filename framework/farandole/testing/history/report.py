"""What the checker is given, and what it says.

A `History` is the content of the topics, read to their ends, with whatever else is known:
committed positions, what handlers and clients wrote down. What is missing is not judged.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from farandole.definition.model import Definition
from farandole.events.acts import Repositioned
from farandole.events.topics import Topics
from farandole.lineage.entries import Entry
from farandole.testing.ledger import Execution

Partition = tuple[str, int]
"""Topic and number."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A history that cannot be: which rule it breaks, in which run, and the places of the records that show it.

    `predicate` is the function that found it.
    """

    invariant: str
    run: str
    message: str
    evidence: tuple[str, ...] = ()
    predicate: str = field(default="", compare=False)

    def __str__(self) -> str:
        shown = ", ".join(self.evidence[:6]) + (f" and {len(self.evidence) - 6} more" if len(self.evidence) > 6 else "")
        about = f" run {self.run}" if self.run else ""
        return f"{self.invariant}{about}: {self.message}" + (f" [{shown}]" if shown else "")


@dataclass(frozen=True, slots=True)
class Committed:
    """How far a group has committed in a partition: everything below `position`, and the offsets in `done`.

    `writer`, `epoch`, `clean` are from the metadata; `trouble` says why it could not be read.
    """

    group: str
    topic: str
    partition: int
    position: int
    done: frozenset[int] = frozenset()
    writer: str = ""
    epoch: int = 0
    clean: bool = True
    trouble: str = ""

    def is_done(self, offset: int) -> bool:
        """Whether the record at `offset` counts as consumed."""
        return offset < self.position or offset in self.done


@dataclass(frozen=True, slots=True)
class Span:
    """The offsets of a partition: the first that still exists, where committed reads end, the high watermark."""

    begin: int
    stable: int
    end: int


@dataclass(frozen=True, slots=True)
class History:
    """Everything that is known of one namespace.

    `quiescent`: nothing is under way and nobody waits, so every run must have ended and every record been
    consumed. `committed` was read before the topics (and, in a quiescent history, is final). `acknowledged` are
    the runs that clients were promised, `executions` what handlers did (None: nobody wrote it down), `faults`
    how many crashes and fencings there were (None: unknown). `foreign` are run ids that a test forged: records
    about them are not judged. `rebuild` compares the fold of `events` with `runs`, where somebody can do that.
    `now`: the instant at which the topics were read. `repositions`: what people let be read again.
    """

    topics: Topics
    events: tuple[Entry, ...] = ()
    commands: tuple[Entry, ...] = ()
    inboxes: tuple[Entry, ...] = ()
    dead: tuple[Entry, ...] = ()
    runs: tuple[Entry, ...] = ()
    settled: tuple[Entry, ...] = ()
    control: tuple[Entry, ...] = ()
    published: tuple[Entry, ...] = ()
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    spans: Mapping[Partition, Span] = field(default_factory=dict)
    committed: tuple[Committed, ...] = ()
    repositions: tuple[Repositioned, ...] = ()
    executions: tuple[Execution, ...] | None = None
    acknowledged: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    quiescent: bool = False
    faults: int | None = None
    now: datetime | None = None
    rebuild: "Callable[[History], Iterable[Violation]] | None" = None

    @property
    def home_partitions(self) -> int:
        """P; 0 if it is not known."""
        return 1 + max((number for topic, number in self.spans if topic == self.topics.events), default=-1)

    def is_whole(self, topic: str) -> bool:
        """Whether nothing of the topic has expired, as far as is known."""
        return all(span.begin == 0 for (name, _), span in self.spans.items() if name == topic)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The records of all topics that lineage walks."""
        return (*self.commands, *self.events, *self.inboxes, *self.dead, *self.published)
