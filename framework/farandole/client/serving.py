"""Who serves what: the units of the agents, their processes, and how far behind they are. Blocking."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from farandole.client.applying import read_rows
from farandole.client.planning import COORDINATOR, INBOX
from farandole.clock import Clock, SystemClock
from farandole.errors import ConfigError, MetadataUnreadable
from farandole.events.envelope import instant_of
from farandole.events.topics import Topics
from farandole.transport.metadata import decode
from farandole.transport.port import Admin, Isolation, Position, Record, TopicPartition, Transport

AGE_WAIT_S = 2.0
"""Longest that the oldest waiting records are looked for: a number without its age is still worth telling."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a unit is behind on one topic.

    `behind`: records (and markers) between the lowest unfinished one and the end, without what is finished or deleted;
    `oldest`: when the first of them was written. `processes`: members of the unit's group; if none of them has
    anything of the topic, they are `without` it, and no process serves it. `unknown`: partitions without a position.
    """

    unit: str
    topic: str
    behind: int
    processes: int
    partitions: int
    oldest: datetime | None = None
    unknown: int = 0
    by_partition: Mapping[int, int] = field(default_factory=dict)
    without: int = 0


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves an agent's inbox; `processes` and `without` as of a `Lag`."""

    unit: str
    processes: int
    without: int = 0


def nobody_serves(agent: str, unit: str, without: int) -> str:
    """That no process serves an agent, and whether its unit runs all the same: the agent is not in its code then."""
    return f"no process serves agent {agent}" + (f"; unit {unit} runs without it" if without else "")


def owners_of(transport: Transport, admin: Admin, topics: Topics) -> dict[str, str]:
    """The unit of each agent that was applied.

    Raises:
        ConfigError: the namespace was never applied.
    """
    if topics.definitions not in admin.topics([topics.definitions]):
        raise ConfigError(
            f"{topics.definitions}: expected the topic to exist, but it does not. "
            "Run `farandole apply` (or `farandole dev`) first."
        )
    rows = read_rows(transport, admin, topics.definitions)
    return {key.removeprefix(INBOX): value for key, value in rows.items() if key.startswith(INBOX)}


def serving_of(transport: Transport, topics: Topics, agents: Collection[str]) -> dict[str, Serving]:
    """Who serves the inbox of each agent; agents that no unit owns are absent."""
    admin = transport.admin()
    try:
        owners = owners_of(transport, admin, topics)
        owned = {agent: owners[agent] for agent in agents if agent in owners}
        groups = {unit: _Readers.of(admin, topics.group(unit)) for unit in set(owned.values())}
        return {agent: Serving(unit, *groups[unit].of_topic(topics.inbox(agent))) for agent, unit in owned.items()}
    finally:
        admin.close()


def coordinators(transport: Transport, topics: Topics) -> int:
    """How many coordinators run."""
    admin = transport.admin()
    try:
        return len(admin.members(topics.group(COORDINATOR)))
    finally:
        admin.close()


def lags(transport: Transport, topics: Topics, agents: Collection[str] = (), *, ages: bool = True) -> list[Lag]:
    """How far every unit is behind on every topic that it reads, or only on the inboxes of some agents.

    Raises:
        ConfigError: the namespace was never applied, or no unit owns one of the agents.
    """
    admin = transport.admin()
    try:
        owners = owners_of(transport, admin, topics)
        if strange := sorted(set(agents) - set(owners)):
            known = ", ".join(sorted(owners)) or "none"
            raise ConfigError(f"agent {strange[0]!r}: expected one that was applied ({known})")
        read = [(unit, topics.inbox(agent)) for agent, unit in sorted(owners.items()) if agent in (agents or owners)]
        ours = [] if agents else [(COORDINATOR, topics.commands), (COORDINATOR, topics.events)]
        return _lags(transport, admin, topics, [*ours, *read], ages=ages)
    finally:
        admin.close()


def commands_lag(transport: Transport, topics: Topics) -> Lag:
    """How far coordinators are behind on `commands`: what was asked for, and not taken."""
    admin = transport.admin()
    try:
        (found,) = _lags(transport, admin, topics, [(COORDINATOR, topics.commands)], ages=True)
        return found
    finally:
        admin.close()


def _lags(
    transport: Transport, admin: Admin, topics: Topics, read: Sequence[tuple[str, str]], *, ages: bool
) -> list[Lag]:
    found = _measured(admin, topics, read)
    firsts = {at: offset for each in found for at, offset in each.waiting.items()}
    times = _times(transport, topics, firsts) if ages and firsts else {}
    return [each.lag(times) for each in found]


@dataclass(frozen=True, slots=True)
class _Readers:
    """The members of a group, and the topics of which they have partitions, once these are divided."""

    members: int
    read: frozenset[str] | None

    @classmethod
    def of(cls, admin: Admin, group: str) -> "_Readers":
        members = len(admin.members(group))
        return cls(members, admin.topics_read(group) if members else None)

    def of_topic(self, topic: str) -> tuple[int, int]:
        """How many serve a topic, and how many run without it."""
        return (self.members, 0) if self.read is None or topic in self.read else (0, self.members)


@dataclass(frozen=True, slots=True)
class _Measured:
    unit: str
    topic: str
    processes: int
    without: int
    partitions: int
    behind: Mapping[TopicPartition, int]
    waiting: Mapping[TopicPartition, int]
    """Where the first that waits is looked for."""

    def lag(self, times: Mapping[TopicPartition, datetime]) -> Lag:
        """With the ages that were found."""
        oldest = min((times[at] for at in self.waiting if at in times), default=None)
        by_partition = {at.partition: count for at, count in self.behind.items()}
        unknown = self.partitions - len(self.behind)
        total = sum(self.behind.values())
        shown = (oldest, unknown, by_partition, self.without)
        return Lag(self.unit, self.topic, total, self.processes, self.partitions, *shown)


def _measured(admin: Admin, topics: Topics, read: Sequence[tuple[str, str]]) -> list[_Measured]:
    specs = admin.topics([topic for _, topic in read])
    places = {topic: [TopicPartition(topic, n) for n in range(spec.partitions)] for topic, spec in specs.items()}
    all_places = [at for each in places.values() for at in each]
    begins, ends = admin.beginnings(all_places), admin.ends(all_places, Isolation.UNCOMMITTED)
    groups = {unit: _Readers.of(admin, topics.group(unit)) for unit in dict.fromkeys(unit for unit, _ in read)}
    out = []
    for unit, topic in read:
        own = places.get(topic, [])
        positions = admin.positions(topics.group(unit), own) if own else {}
        behind = {at: _left(position, begins.get(at, 0), ends.get(at, 0)) for at, position in positions.items()}
        waiting = {at: max(positions[at].offset, begins.get(at, 0)) for at, count in behind.items() if count}
        out.append(_Measured(unit, topic, *groups[unit].of_topic(topic), len(own), behind, waiting))
    return out


def _left(position: Position, begin: int, end: int) -> int:
    """What is left of what still exists: of a unit that was away for longer than its records are kept, some is gone."""
    gone = max(0, begin - position.offset)
    try:
        done = int.from_bytes(decode(position.metadata).bitmap, "little") >> gone
    except MetadataUnreadable:
        done = 0
    return max(0, end - position.offset - gone - done.bit_count())


def _times(
    transport: Transport, topics: Topics, firsts: Mapping[TopicPartition, int]
) -> dict[TopicPartition, datetime]:
    """When the first record at or after each of these offsets was written, as far as that is found in time."""
    clock: Clock = SystemClock()
    reader = transport.reader(f"{topics.namespace}.lag")
    out: dict[TopicPartition, datetime] = {}
    left = set(firsts)
    try:
        reader.assign(firsts)
        until = clock.monotonic() + AGE_WAIT_S
        while left and clock.monotonic() < until:
            for each in reader.poll(0.1):
                at = each.at
                if at in left and isinstance(each, Record):
                    out[at] = instant_of(each.timestamp_ms)
                left.discard(at) if at is not None else None
    finally:
        reader.close()
    return out


def oldest_age(found: Iterable[Lag], now: datetime) -> timedelta:
    """How long the oldest waiting record of some topics has waited."""
    return max((now - each.oldest for each in found if each.oldest is not None), default=timedelta())
