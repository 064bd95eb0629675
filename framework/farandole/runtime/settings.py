"""Names and limits of an agent process, each with where it comes from."""

from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Self

from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.ids import SLOT_RULE, is_name, is_slot
from farandole.transport.metadata import WINDOW
from farandole.transport.port import MemberSettings

SESSION_MIN, SESSION_MAX = timedelta(seconds=6), timedelta(seconds=15)
"""Below, a busy machine loses its partitions; above, the dead hold theirs for too long (R14)."""


@dataclass(frozen=True, slots=True)
class FusionSettings:
    """When hops are fused. A chain of fast handlers only: all of it is run again if the process dies in between."""

    hops_max: int = 8
    """Most successors that run with one record."""

    timeout_max: timedelta = timedelta(seconds=5)
    """Longest timeout of a handler that may be fused; one without a timeout never is."""

    p99_max: timedelta = timedelta(milliseconds=20)
    """Slower handlers would hold up what runs before them for longer than a hop of its own takes."""

    observed_min: int = 20
    """Runs of a handler that must have been observed first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """What an operator may set of the processes of every unit: `[agent]` of `farandole.toml`."""

    session_timeout: timedelta = timedelta(seconds=10)
    """How long a silent process keeps its partitions: 6 to 15 s (R14)."""

    transaction_records_max: int = 1_000
    """Most records of one transaction: 9 ms of broker time; one answer is never split."""

    transaction_bytes_max: int = 4 * 1024 * 1024
    """Most bytes of one transaction: sixteen payloads at the inline limit."""

    in_flight_records_max: int = 2_000
    """Records taken and not yet committed; ten transactions of 200, so that the next is always full (DESIGN 9)."""

    in_flight_bytes_max: int = 64 * 1024 * 1024
    """Their inputs: four times what the client prefetches (`queued.max.messages.kbytes`, R14)."""

    window: int = WINDOW
    """Offsets above the lowest unfinished one, of one partition (R9)."""

    release_wait: timedelta = timedelta(seconds=2)
    """How long a revocation waits for running handlers; what is not done then runs again at the next owner."""

    settle_after: timedelta = timedelta(milliseconds=500)
    """Idle time before markers and gaps at a partition's end are committed over, so that lag reaches 0 (R9)."""

    drain_budget: timedelta = timedelta(seconds=20)
    """How long SIGTERM waits for running handlers; below the 30 s that Kubernetes gives."""

    threads: int = 16
    """Plain functions that run at once: for waiting, not for computing, which one interpreter does in turn."""

    coroutines: int = 256
    """Async handlers that run at once."""

    processes: int = 2
    """Child processes for `isolation="process"`."""

    stuck_max: int = 8
    """Timed-out threads that are still running before the process asks to be replaced: half the threads."""

    started_after: timedelta | None = timedelta(milliseconds=50)
    """Telemetry tells of attempts that run longer than this; None: of none. Short ones are over before one looks."""

    progress_every: timedelta = timedelta(milliseconds=100)
    """Least time between two progress signals of an attempt."""

    fusion: bool = True
    """Whether a quick successor in the same process runs at once, without a trigger: three hops for one transaction."""

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
        if not 1 <= self.window <= WINDOW:
            raise ConfigError(f"window: expected 1 to {WINDOW} offsets (R9), but found {self.window}")
        for each in fields(AgentLimits):
            value = getattr(self, each.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ConfigError(f"{each.name}: expected at least 1, but found {value}")
            if isinstance(value, timedelta) and value < timedelta():
                raise ConfigError(f"{each.name}: expected a time of at least 0, but found {value.total_seconds():g} s")


@dataclass(frozen=True, slots=True)
class AgentSettings(AgentLimits):
    """How the process of one unit runs. `slot` tells it from its peers and survives a restart (R7)."""

    unit: str
    namespace: str = "farandole"
    slot: str = "0"
    fusing: FusionSettings = FusionSettings()
    """When hops are fused, if `fusion` is on."""

    topics: Topics = field(init=False)

    @classmethod
    def within(cls, limits: AgentLimits, unit: str, namespace: str, slot: str) -> Self:
        """A process of a unit under the limits that the operator has set."""
        chosen = {each.name: getattr(limits, each.name) for each in fields(AgentLimits)}
        return cls(unit, namespace, slot, **chosen)

    def __post_init__(self) -> None:
        AgentLimits.__post_init__(self)
        object.__setattr__(self, "topics", Topics(self.namespace))
        for what, name in (("unit", self.unit), ("namespace", self.namespace)):
            if not is_name(name):
                raise ConfigError(f"{what}: expected a name such as 'orders', but found {name!r}")
        if not is_slot(self.slot):
            raise ConfigError(f"slot (--slot): expected {SLOT_RULE}, but found {self.slot!r:.80}")

    @property
    def group(self) -> str:
        """The consumer group of the unit (R8)."""
        return self.topics.group(self.unit)

    @property
    def client_id(self) -> str:
        """Client id and transactional id (R7)."""
        return f"{self.group}.{self.slot}"

    @property
    def source(self) -> str:
        """How records name their writer."""
        return f"{self.namespace}/{self.unit}/{self.slot}"

    def member(self) -> MemberSettings:
        """How it joins its group (R14): by `range`, so that each inbox is shared by all (docs/decisions/0036)."""
        return MemberSettings(self.group, self.client_id, "range", self.session_timeout)
