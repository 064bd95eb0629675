"""Groups in the broker in memory: generations, sessions, who may commit."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from farandole.errors import TransportError
from farandole.transport.memory.groups import Assigned, Groups, Join, Standing
from farandole.transport.memory.membership import Membership
from farandole.transport.memory.refusals import AssignorDiffers, StaleGeneration, UnknownMember
from farandole.transport.port import MemberSettings, TopicPartition

SESSION = 10.0
G = "g"


class World:
    """Groups over one topic of which the number of partitions may change."""

    def __init__(self) -> None:
        self.partitions = {"t": 4}
        self.groups = Groups(lambda topic: self.partitions.get(topic, 0))

    def join(self, client_id: str, now: float = 0.0, assignor: str = "cooperative-sticky", topics: str = "t") -> str:
        return self.groups.join(G, Join(client_id, frozenset(topics), assignor, SESSION), now)

    def rejoin(self, client_id: str, member_id: str, now: float = 0.0) -> None:
        """As a client that keeps what it was assigned."""
        generation, partitions = self.groups.assigned(G, member_id)
        join = Join(client_id, frozenset("t"), "cooperative-sticky", SESSION, member_id, partitions, generation)
        self.groups.join(G, join, now)

    def standing(self, member_id: str, now: float = 0.0) -> Standing:
        return self.groups.heartbeat(G, member_id, now)

    def accepts(self, member_id: str, generation: int) -> bool:
        try:
            self.groups.check(G, member_id, generation)
        except StaleGeneration:
            return False
        return True


@pytest.fixture
def world() -> World:
    return World()


def test_first_member_is_assigned_everything_at_once(world: World) -> None:
    member = world.join("a")

    assert world.standing(member) is Standing.ASSIGNED
    assert world.groups.assigned(G, member) == (1, frozenset(TopicPartition("t", n) for n in range(4)))


def test_rebalance_waits_until_every_member_has_joined_again(world: World) -> None:
    first = world.join("a")

    second = world.join("b")

    assert world.standing(first) is Standing.REJOIN
    assert world.standing(second) is Standing.WAITING
    assert world.accepts(first, 1)
    world.rejoin("a", first)
    assert world.standing(first) is world.standing(second) is Standing.ASSIGNED
    assert not world.accepts(first, 1)
    assert world.accepts(first, 2)


def test_partition_reaches_a_newcomer_only_when_its_holder_has_joined_without_it(world: World) -> None:
    first = world.join("a")
    second = world.join("b")
    world.rejoin("a", first)
    kept = world.groups.assigned(G, first).partitions
    assert world.groups.assigned(G, second).partitions == frozenset()

    world.rejoin("a", first)
    world.rejoin("b", second)

    assert world.groups.assigned(G, first) == (3, kept)
    assert len(kept) == len(world.groups.assigned(G, second).partitions) == 2


def test_member_that_dies_while_others_wait_is_no_obstacle(world: World) -> None:
    first = world.join("a", now=0.0)
    second = world.join("b", now=5.0)

    world.groups.expire(9.9)
    before = world.standing(second, 9.9)
    world.groups.expire(10.0)

    assert before is Standing.WAITING
    assert world.standing(second, 10.0) is Standing.ASSIGNED
    assert len(world.groups.assigned(G, second).partitions) == 4
    assert world.standing(first, 10.0) is Standing.UNKNOWN


def test_heartbeat_prolongs_the_session(world: World) -> None:
    member = world.join("a", now=0.0)
    world.standing(member, 6.0)

    world.groups.expire(15.9)

    assert world.standing(member, 15.9) is Standing.ASSIGNED
    assert world.groups.due <= 16.0


def test_zombie_may_not_commit_once_it_was_removed(world: World) -> None:
    zombie = world.join("a", now=0.0)

    world.groups.expire(10.0)

    assert not world.accepts(zombie, 1)
    assert world.groups.client_ids(G) == frozenset()


def test_member_that_was_removed_joins_again_as_a_new_one_and_not_with_its_claims(world: World) -> None:
    """As Kafka has it (UNKNOWN_MEMBER_ID); here it had a new id for the asking, and kept what others had by then."""
    removed = world.join("a", now=0.0)
    generation, partitions = world.groups.assigned(G, removed)
    world.groups.expire(10.0)
    world.groups.changed.clear()
    again = Join("a", frozenset("t"), "cooperative-sticky", SESSION, removed, partitions, generation)

    with pytest.raises(UnknownMember, match="was removed"):
        world.groups.join(G, again, 10.0)

    assert world.groups.changed == set()
    assert world.groups.client_ids(G) == frozenset()
    assert world.join("a", now=10.0) != removed


def test_generation_goes_on_after_a_group_was_empty(world: World) -> None:
    first = world.join("a")
    world.groups.leave(G, first)

    second = world.join("a")

    assert second != first
    assert world.groups.assigned(G, second).generation > 1
    assert not world.accepts(first, 1)


def test_leaving_twice_or_unknown_changes_nothing(world: World) -> None:
    member = world.join("a")
    world.groups.leave(G, member)
    world.groups.changed.clear()

    world.groups.leave(G, member)
    world.groups.leave("other", member)

    assert world.groups.changed == set()


def test_who_never_joined_may_commit_in_any_state(world: World) -> None:
    assert world.accepts("", -1)

    member = world.join("a")

    assert world.accepts("", -1)
    assert not world.accepts("", 1)
    assert not world.accepts(member, -1)


def test_ownership_is_not_checked_only_the_generation(world: World) -> None:
    """R6 exists because of this: a result for a partition that has moved away is accepted."""
    first = world.join("a")
    second = world.join("b")
    world.rejoin("a", first)

    assert world.accepts(second, 2)
    assert world.groups.assigned(G, second).partitions == frozenset()


def test_topic_that_grows_or_appears_begins_a_rebalance(world: World) -> None:
    member = world.join("a", topics="tu")
    assert world.standing(member) is Standing.ASSIGNED

    world.partitions["u"] = 2

    assert world.standing(member) is Standing.REJOIN


def test_member_with_another_assignor_is_refused(world: World) -> None:
    world.join("a")

    with pytest.raises(AssignorDiffers, match="cooperative-sticky"):
        world.join("b", assignor="range")


def test_changes_name_the_groups_whose_members_must_look(world: World) -> None:
    member = world.join("a")
    told = set(world.groups.changed)
    world.groups.changed.clear()

    world.standing(member)

    assert told == {G}
    assert world.groups.changed == set()


def test_member_that_joins_with_other_topics_begins_a_rebalance(world: World) -> None:
    world.partitions["u"] = 1
    first, second = world.join("a"), world.join("b")
    world.rejoin("a", first)
    join = Join("b", frozenset("tu"), "cooperative-sticky", SESSION, second, frozenset(), 2)

    world.groups.join(G, replace(join), 0.0)

    assert world.standing(first) is Standing.REJOIN


class FailsOnce:
    """A group whose first join does not reach the log; its time is what somebody says it is."""

    def __init__(self) -> None:
        self.groups = Groups(lambda topic: 2)
        self.fails = True
        self.fails_in_a_pause = False
        self.now = 0.0

    def standing(self, group: str, member_id: str) -> tuple[Standing, Assigned | None]:
        """As the group has it."""
        self.groups.expire(self.now)
        standing = self.groups.heartbeat(group, member_id, self.now)
        return standing, self.groups.assigned(group, member_id) if standing is Standing.ASSIGNED else None

    def join(self, group: str, join: Join) -> str:
        """Fails, once."""
        if self.fails:
            self.fails = False
            raise TransportError("the disk is full")
        self.groups.expire(self.now)
        return self.groups.join(group, join, self.now)

    def leave(self, group: str, member_id: str) -> None:
        """Nobody does here."""

    def monotonic(self) -> float:
        """It stands still by itself."""
        return self.now

    def pause(self, seconds: float) -> bool:
        """It does; the log is asked here too, and may fail."""
        if self.fails_in_a_pause:
            raise TransportError("the disk is full")
        return False


class Noting:
    """Notes what it was given and what it lost; `release` is what it does when it is to let go."""

    def __init__(self) -> None:
        self.given: list[TopicPartition] = []
        self.lost: list[TopicPartition] = []
        self.let_go: list[TopicPartition] = []
        self.release: Callable[[], bool] = lambda: True

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """More."""
        self.given += partitions

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """As it is told."""
        return self.release()

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Less."""
        (self.lost if lost else self.let_go).extend(partitions)


def member_of(meeting: FailsOnce, client_id: str) -> tuple[Membership, Noting]:
    """A cooperative member that has made its first move."""
    noting = Noting()
    membership = Membership(meeting, MemberSettings(G, client_id, "cooperative-sticky"), lambda partitions: None)
    membership.subscribe(frozenset(["t"]), noting)
    moved(membership)
    return membership, noting


def moved(membership: Membership) -> None:
    """All moves that are due."""
    while membership.step(lambda partitions: None):
        pass


def test_a_member_that_is_removed_while_it_lets_go_has_lost_the_rest_and_joins_without_it() -> None:
    """It was stopped for longer than its session while it let go of one partition. It joined again with a claim on the
    other, which it had lost, under a new id: its commits were accepted again, and overwrote those of the owner."""
    meeting = FailsOnce()
    meeting.fails = False
    stopped, noting = member_of(meeting, "a")
    other, others = member_of(meeting, "b")

    def stand_still() -> bool:
        noting.release = lambda: True
        meeting.now += 1_000.0
        moved(other)
        return True

    noting.release = stand_still
    moved(stopped)  # everybody has joined again: the other one is to have a partition
    before = set(others.given)
    moved(stopped)
    moved(other)
    moved(stopped)
    moved(other)

    assert len(noting.let_go) == 1
    assert noting.lost == [at for at in (TopicPartition("t", 0), TopicPartition("t", 1)) if at not in noting.let_go]
    assert before == {TopicPartition("t", 0), TopicPartition("t", 1)}
    assert not stopped.owned & other.owned
    assert stopped.owned | other.owned == before


def test_a_log_that_fails_while_a_member_lets_go_costs_neither_side_a_partition() -> None:
    """The generation was noted before its share was taken: what it took away stayed here, for nobody else to have."""
    meeting = FailsOnce()
    meeting.fails = False
    first, noting = member_of(meeting, "a")
    second, _ = member_of(meeting, "b")
    answers = iter([False])
    noting.release = lambda: next(answers, True)
    meeting.fails_in_a_pause = True

    with pytest.raises(TransportError):
        moved(first)
    meeting.fails_in_a_pause = False
    for each in (first, second, first, second):
        moved(each)

    assert len(noting.let_go) == len(first.owned) == len(second.owned) == 1


def test_a_join_for_more_topics_that_the_log_refused_is_made_again() -> None:
    """The wish to join was forgotten with the call that failed: new inboxes were never assigned to anybody."""
    meeting, noting = FailsOnce(), Noting()
    meeting.fails = False
    membership = Membership(meeting, MemberSettings("g", "c"), lambda partitions: None)
    membership.subscribe(frozenset(["old"]), noting)
    while membership.step(lambda partitions: None):
        pass
    meeting.fails = True
    membership.subscribe(frozenset(["old", "new"]), noting)

    with pytest.raises(TransportError):
        membership.step(lambda partitions: None)
    while membership.step(lambda partitions: None):
        pass

    assert {at.topic for at in noting.given} == {"old", "new"}
