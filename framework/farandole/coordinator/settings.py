"""Limits and names of a coordinator, each with where it comes from."""

from dataclasses import dataclass, field
from datetime import timedelta

from farandole.events.topics import Topics
from farandole.kernel.decision import DEDUPE_WINDOW, STOPPED_WINDOW
from farandole.transport.port import MemberSettings

UNIT = "coordinator"
"""Name of the coordinators' unit: their group is `<ns>.coordinator`."""


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """How one coordinator runs. `slot` tells it from its peers and survives a restart (R7)."""

    namespace: str = "farandole"
    slot: str = "0"
    session_timeout: timedelta = timedelta(seconds=10)
    """Between 6 and 15 s (R14)."""

    batch_records: int = 500
    """Most input records per transaction: 9 ms of broker time at 1,000 records [lab/txn3]."""

    patience: timedelta = timedelta(milliseconds=50)
    """Longest that folded facts from which nothing follows wait for company. Such are the steps in the midst of a chain
    whose agents fire every edge: with the fact that ends the run they make one transaction and one state record, and
    that fact does not wait behind theirs. Only `runs` and the positions are that much older (docs/decisions/0070)."""

    timers_per_batch: int = 500
    """Most timers that become facts in one transaction, so that a storm of them starves nothing."""

    restore_slice: int = 2000
    """State records read per step while other partitions go on: about 20 ms."""

    idle_commit: timedelta = timedelta(milliseconds=200)
    """How long a home is quiet before its positions are committed over what needs no folding (R9)."""

    watch_every: timedelta = timedelta(seconds=60)
    """How often the watchdog looks at scheduled steps; a step must stand two looks before it is suspected."""

    dedupe_window: timedelta = DEDUPE_WINDOW
    stopped_window: timedelta = STOPPED_WINDOW
    topics: Topics = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "topics", Topics(self.namespace))

    @property
    def client_id(self) -> str:
        """Client id and transactional id (R7)."""
        return f"{self.topics.group(UNIT)}.{self.slot}"

    def member(self) -> MemberSettings:
        """How it joins: `range`, so that partition p of each home topic meets in one process."""
        return MemberSettings(self.topics.group(UNIT), self.client_id, "range", self.session_timeout)
