"""Who gets which partitions: `range` and `cooperative-sticky`, as Kafka's assignors divide them.

Pure and deterministic: the same members and topics give the same answer, whatever their order.
`range` divides each topic by itself among members in the order of their ids, so the same
partition numbers of topics of one size meet in one member. `cooperative-sticky` leaves what is
held where it is, as far as balance allows, and never gives away what another member still holds:
that is missing from this answer, and handed out after it was released.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from farandole.transport.port import TopicPartition


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member that wants partitions: those it holds, and since which generation."""

    member_id: str
    topics: frozenset[str]
    owned: frozenset[TopicPartition] = frozenset()
    generation: int = -1


Assignment = dict[str, frozenset[TopicPartition]]
"""Partitions by member; every member is in it."""

Assignor = Callable[[Collection[Candidate], Mapping[str, int]], Assignment]
"""Divides topics (name to number of partitions) among candidates."""


def assign_range(candidates: Collection[Candidate], topics: Mapping[str, int]) -> Assignment:
    """Each topic in contiguous ranges; the first members get one more where it does not divide evenly."""
    given: dict[str, set[TopicPartition]] = {each.member_id: set() for each in candidates}
    for topic, count in topics.items():
        members = sorted(each.member_id for each in candidates if topic in each.topics)
        start = 0
        for index, member in enumerate(members):
            share = count // len(members) + (index < count % len(members))
            given[member].update(TopicPartition(topic, number) for number in range(start, start + share))
            start += share
    return {member: frozenset(partitions) for member, partitions in given.items()}


def assign_sticky(candidates: Collection[Candidate], topics: Mapping[str, int]) -> Assignment:
    """Balanced, with as few moves as possible; what has to move is withheld until its holder let go of it."""
    held = _held(candidates, topics)
    target = _Target({each.member_id: each.topics for each in candidates}, held)
    taken = {at for partitions in held.values() for at in partitions}
    target.give(at for at in _all(topics) if at not in taken)
    target.balance()
    holder = {at: member for member, partitions in held.items() for at in partitions}
    return {
        member: frozenset(at for at in partitions if holder.get(at, member) == member)
        for member, partitions in target.given.items()
    }


ASSIGNORS: Mapping[str, Assignor] = {"range": assign_range, "cooperative-sticky": assign_sticky}
"""By their names in Kafka's `partition.assignment.strategy`."""

EAGER = frozenset({"range"})
"""Assignors whose members let go of everything before each assignment."""


def _all(topics: Mapping[str, int]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in sorted(topics) for number in range(topics[topic])]


def _held(candidates: Iterable[Candidate], topics: Mapping[str, int]) -> dict[str, set[TopicPartition]]:
    """What each holds that exists and that it still wants; of two who claim the same, the later generation has it."""
    holder: dict[TopicPartition, Candidate] = {}
    for candidate in sorted(candidates, key=lambda each: (-each.generation, each.member_id)):
        for at in candidate.owned:
            if at.topic in candidate.topics and at.partition < topics.get(at.topic, 0):
                holder.setdefault(at, candidate)
    held: dict[str, set[TopicPartition]] = {each.member_id: set() for each in candidates}
    for at, candidate in holder.items():
        held[candidate.member_id].add(at)
    return held


class _Target:
    """What each member is to have in the end; `wants` are the topics of each."""

    def __init__(self, wants: Mapping[str, frozenset[str]], held: Mapping[str, set[TopicPartition]]) -> None:
        self._wants = wants
        self.given = {member: set(partitions) for member, partitions in sorted(held.items())}

    def give(self, free: Iterable[TopicPartition]) -> None:
        """Each free partition to whoever has fewest, and among those fewest of its topic."""
        for at in free:
            members = [each for each in self.given if at.topic in self._wants[each]]
            if members:
                poorest = min(members, key=lambda each: (len(self.given[each]), self._of_topic(each, at.topic), each))
                self.given[poorest].add(at)

    def balance(self) -> None:
        """Move one at a time from rich to poor while two members differ by more than one; each move narrows a gap."""
        while self._move():
            pass

    def _move(self) -> bool:
        by_load = sorted(self.given, key=lambda each: (-len(self.given[each]), each))
        for rich in by_load:
            for poor in reversed(by_load):
                if len(self.given[rich]) - len(self.given[poor]) < 2:
                    break
                movable = sorted(at for at in self.given[rich] if at.topic in self._wants[poor])
                if movable:
                    at = self._best(rich, poor, movable)
                    self.given[rich].remove(at)
                    self.given[poor].add(at)
                    return True
        return False

    def _best(self, rich: str, poor: str, movable: Sequence[TopicPartition]) -> TopicPartition:
        """Of the topic of which they differ most, so that no topic ends up with one member; its last partition."""
        return max(
            movable, key=lambda at: (self._of_topic(rich, at.topic) - self._of_topic(poor, at.topic), at.partition)
        )

    def _of_topic(self, member: str, topic: str) -> int:
        return sum(at.topic == topic for at in self.given[member])
