"""Limits and names of a coordinator, each with where it comes from."""

from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Self

from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.ids import SLOT_RULE, is_slot
from farandole.kernel.decision import DEDUPE_WINDOW, STOPPED_WINDOW
from farandole.transport.port import MemberSettings

UNIT = "coordinator"
"""Name of the coordinators' unit: their group is `<ns>.coordinator`."""

SESSION_MIN, SESSION_MAX = timedelta(seconds=6), timedelta(seconds=15)
"""R14, as for agents (`runtime.settings`), which this package does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorLimits:
    """What an operator may set of every coordinator: `[coordinator]` of `farandole.toml`."""

    session_timeout: timedelta = timedelta(seconds=10)
    """How long a silent coordinator keeps its homes: 6 to 15 s (R14)."""

    batch_records: int = 500
    """Most input records per transaction: 9 ms of broker time at 1,000 records."""

    patience: timedelta = timedelta(milliseconds=50)
    """Longest that folded facts from which nothing follows wait for company. Such are the steps in the midst of a chain
    whose agents fire every edge: with the fact that ends the run they make one transaction and one state record, and
    that fact does not wait behind theirs. Only `runs` and the positions are that much older (docs/decisions/0070)."""

    timers_per_batch: int = 500
    """Most timers that become facts in one transaction, so that a storm of them starves nothing."""

    restore_slice: int = 2000
    """State records read per step while other partitions go on: about 20 ms."""

    store_patience: timedelta = timedelta(minutes=1)
    """How long a home waits for a payload that the artifact store cannot read now; then its run is held, since one
    bad payload must not stop a partition. A store that is restarted is back in less."""

    idle_commit: timedelta = timedelta(milliseconds=200)
    """How long a home is quiet before its positions are committed over what needs no folding (R9)."""

    watch_every: timedelta = timedelta(seconds=60)
    """How often the watchdog looks at scheduled steps; a step must stand two looks before it is suspected."""

    dedupe_window: timedelta = DEDUPE_WINDOW
    """How long the stub of a settled run stays, so that the same id is still the same run (DESIGN 6.1)."""

    stopped_window: timedelta = STOPPED_WINDOW
    """How long `control` names a stopped run: longer than the inboxes keep a trigger (DESIGN 6.6)."""

    def __post_init__(self) -> None:
        """Refuse what could not work.

        Raises:
            ConfigError: naming the setting.
        """
        if not SESSION_MIN <= self.session_timeout <= SESSION_MAX:
            raise ConfigError(
                f"session_timeout: expected {SESSION_MIN.seconds} to {SESSION_MAX.seconds} s (R14), "
                f"but found {self.session_timeout.total_seconds()} s"
            )
        for each in fields(CoordinatorLimits):
            value = getattr(self, each.name)
            if isinstance(value, int) and value < 1:
                raise ConfigError(f"{each.name}: expected at least 1, but found {value}")
            if isinstance(value, timedelta) and value <= timedelta(0):
                raise ConfigError(f"{each.name}: expected a time above 0, but found {value.total_seconds()} s")


@dataclass(frozen=True, slots=True)
class CoordinatorSettings(CoordinatorLimits):
    """How one coordinator runs. `slot` tells it from its peers and survives a restart (R7)."""

    namespace: str = "farandole"
    slot: str = "0"
    topics: Topics = field(init=False)

    @classmethod
    def within(cls, limits: CoordinatorLimits, namespace: str, slot: str) -> Self:
        """A coordinator under the limits that the operator has set."""
        chosen = {each.name: getattr(limits, each.name) for each in fields(CoordinatorLimits)}
        return cls(namespace, slot, **chosen)

    def __post_init__(self) -> None:
        CoordinatorLimits.__post_init__(self)
        object.__setattr__(self, "topics", Topics(self.namespace))
        if not is_slot(self.slot):
            raise ConfigError(f"slot (--slot): expected {SLOT_RULE}, but found {self.slot!r:.80}")

    @property
    def client_id(self) -> str:
        """Client id and transactional id (R7)."""
        return f"{self.topics.group(UNIT)}.{self.slot}"

    def member(self) -> MemberSettings:
        """How it joins: `range`, so that partition p of each home topic meets in one process."""
        return MemberSettings(self.topics.group(UNIT), self.client_id, "range", self.session_timeout)
