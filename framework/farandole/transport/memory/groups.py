"""Consumer groups: members, generations, rebalances (Kafka's classic protocol).

A rebalance begins when a member joins, leaves, falls silent, or finds that a topic has other
partitions than those that were divided. It ends when every member has joined again; that makes
a new generation, and snapshots of older ones are stale, also for partitions that stayed where
they were (R11). What a member holds is known from what it says when it joins. Knows nothing of
records, positions or callbacks; time is an argument.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from farandole.transport.memory.assignors import ASSIGNORS, Candidate
from farandole.transport.memory.refusals import AssignorDiffers, StaleGeneration, UnknownMember
from farandole.transport.port import TopicPartition

NEVER_JOINED = -1
"""Generation of who has not joined. With an empty member id it may commit, in any state of the group (R3, R8)."""

CountPartitions = Callable[[str], int]


class Standing(Enum):
    """What a member learns from a heartbeat."""

    ASSIGNED = "assigned"
    REJOIN = "rejoin"
    WAITING = "waiting"
    """It has joined; others have not yet."""
    UNKNOWN = "unknown"
    """It is no member: never was, or was removed for its silence."""


@dataclass(frozen=True, slots=True)
class Join:
    """What a member says when it joins. An empty `member_id` asks for a new one; `session` is in seconds."""

    client_id: str
    topics: frozenset[str]
    assignor: str
    session: float
    member_id: str = ""
    owned: frozenset[TopicPartition] = frozenset()
    generation: int = NEVER_JOINED


class Assigned(NamedTuple):
    """A member's share in a generation."""

    generation: int
    partitions: frozenset[TopicPartition]


def require_generation(member_id: str, generation: int, current: int, *, is_member: bool) -> None:
    """Refuse what says to come of a member that is none, or of another generation than the current one.

    Raises:
        StaleGeneration: it is refused.
    """
    if not member_id and generation == NEVER_JOINED:
        return
    if not is_member or generation != current:
        raise StaleGeneration(
            f"{member_id}: expected a member of generation {current}, but it is "
            f"{f'of {generation}' if is_member else 'no member any more'}"
        )


@dataclass(slots=True)
class Seat:
    """A member as its group knows it. `has_rejoined`: for the rebalance under way."""

    join: Join
    seen: float
    has_rejoined: bool = True
    partitions: frozenset[TopicPartition] = frozenset()


@dataclass(slots=True)
class Group:
    """One group. `divided` are the topics of the current generation, with their numbers of partitions."""

    generation: int = 0
    is_rebalancing: bool = False
    members: dict[str, Seat] = field(default_factory=dict)
    divided: dict[str, int] = field(default_factory=dict)

    def check(self, member_id: str, generation: int) -> None:
        """Refuse a commit of a member that is none, or not of this generation; ownership is nobody's concern (R6).

        Raises:
            StaleGeneration: it is refused.
        """
        require_generation(member_id, generation, self.generation, is_member=member_id in self.members)

    @property
    def topics_read(self) -> frozenset[str] | None:
        """Topics of which a member has partitions; None while they are divided anew."""
        if self.is_rebalancing:
            return None
        return frozenset(at.topic for member in self.members.values() for at in member.partitions)

    def outgrown(self, topics: Iterable[str], count: CountPartitions) -> bool:
        """Whether one of the topics has other partitions than those that were divided."""
        return any(self.divided.get(topic, 0) != count(topic) for topic in topics)

    def begin(self) -> None:
        """Everybody has to join again."""
        if not self.is_rebalancing:
            self.is_rebalancing = True
            for member in self.members.values():
                member.has_rejoined = False

    def complete(self, count: CountPartitions) -> bool:
        """The next generation, if nobody is missing; whether there is one."""
        if not self.is_rebalancing or not all(member.has_rejoined for member in self.members.values()):
            return False
        self.is_rebalancing = False
        self.generation += 1
        wanted = {topic for member in self.members.values() for topic in member.join.topics}
        self.divided = {topic: count(topic) for topic in sorted(wanted) if count(topic)}
        if self.members:
            assignor = ASSIGNORS[next(iter(self.members.values())).join.assignor]
            shares = assignor([_candidate(name, each.join) for name, each in self.members.items()], self.divided)
            for name, member in self.members.items():
                member.partitions = shares[name]
        return True


def _candidate(member_id: str, join: Join) -> Candidate:
    return Candidate(member_id, join.topics, join.owned, join.generation)


class Groups:
    """All groups. `changed` collects those whose members have to look; whoever tells them empties it.

    `groups` are those that are known already, from wherever they are kept; `named` gives a client a member id.
    """

    def __init__(
        self,
        count: CountPartitions,
        groups: dict[str, Group] | None = None,
        named: Callable[[str], str] | None = None,
    ) -> None:
        self.changed: set[str] = set()
        self._count = count
        self._groups: dict[str, Group] = {} if groups is None else groups
        self._named = named or self._numbered
        self._joined = 0
        self._due = float("inf") if groups is None else float("-inf")

    def join(self, group: str, join: Join, now: float) -> str:
        """Join, or join again; the member id.

        Raises:
            AssignorDiffers: the group divides its partitions otherwise.
            UnknownMember: it was removed; what it says it holds may be another's by now.
        """
        it = self._groups.setdefault(group, Group())
        for each in it.members.values():
            if each.join.assignor != join.assignor:
                raise AssignorDiffers(
                    f"{group}: expected the assignor {each.join.assignor!r} of its members, but {join.client_id} "
                    f"has {join.assignor!r}. It cannot join"
                )
        if join.member_id and join.member_id not in it.members:
            raise UnknownMember(
                f"{group}: expected {join.member_id} to be a member still, but it was removed. It joins as a new one"
            )
        member_id = join.member_id or self._named(join.client_id)
        it.begin()
        it.members[member_id] = Seat(join, now)
        self._due = min(self._due, now + join.session)
        self._moved(group, it)
        return member_id

    def heartbeat(self, group: str, member_id: str, now: float) -> Standing:
        """The member lives; what it has to do."""
        it = self._groups.get(group)
        if it is None or member_id not in it.members:
            return Standing.UNKNOWN
        member = it.members[member_id]
        member.seen = now
        if not it.is_rebalancing and it.outgrown(member.join.topics, self._count):
            it.begin()
            self.changed.add(group)
        if not it.is_rebalancing:
            return Standing.ASSIGNED
        return Standing.WAITING if member.has_rejoined else Standing.REJOIN

    def assigned(self, group: str, member_id: str) -> Assigned:
        """The share of a member that stands as `ASSIGNED`."""
        it = self._groups[group]
        return Assigned(it.generation, it.members[member_id].partitions)

    def leave(self, group: str, member_id: str) -> None:
        """The member goes; its partitions are free at once."""
        it = self._groups.get(group)
        if it is not None and it.members.pop(member_id, None) is not None:
            self._lost_one(group, it)

    def disband(self, group: str) -> None:
        """Nobody is a member any more, and nobody is told: who comes is a new one, in a later generation."""
        it = self._groups.get(group)
        if it is not None and it.members:
            it.members.clear()
            self._lost_one(group, it)

    def check(self, group: str, member_id: str, generation: int) -> None:
        """As `Group.check`; a group that never was refuses every member."""
        self._groups.get(group, Group()).check(member_id, generation)

    def client_ids(self, group: str) -> frozenset[str]:
        """Client ids of the members."""
        it = self._groups.get(group)
        return frozenset(each.join.client_id for each in it.members.values()) if it else frozenset()

    def topics_read(self, group: str) -> frozenset[str] | None:
        """Topics of which a member has partitions; None while they are divided anew."""
        return self._groups.get(group, Group()).topics_read

    def expire(self, now: float) -> None:
        """Remove members that were silent for their session."""
        if now < self._due:
            return
        self._due = float("inf")
        for name, it in self._groups.items():
            silent = [key for key, each in it.members.items() if each.seen + each.join.session <= now]
            for member_id in silent:
                del it.members[member_id]
            if silent:
                self._lost_one(name, it)
            for each in it.members.values():
                self._due = min(self._due, each.seen + each.join.session)

    @property
    def due(self) -> float:
        """Nobody's session ends before."""
        return self._due

    def _numbered(self, client_id: str) -> str:
        self._joined += 1
        return f"{client_id}-{self._joined:08d}"

    def _lost_one(self, group: str, it: Group) -> None:
        it.begin()
        self._moved(group, it)

    def _moved(self, group: str, it: Group) -> None:
        it.complete(self._count)
        self.changed.add(group)
