"""Groups: who is assigned what, how partitions change hands, whose commits no longer count (R3, R5, R6, R11)."""

from collections.abc import Sequence
from datetime import timedelta

from farandole.errors import NotJoined
from farandole.testing.conformance.case import cases, expect_error
from farandole.testing.conformance.driven import Driven
from farandole.testing.conformance.kit import Kit
from farandole.transport.port import ListMembers, NewRecord, Position, TopicPartition, Verdict

LONG_SESSION = timedelta(seconds=20)
"""Long enough to tell a leave from a session that ends: a heartbeat (a quarter of it) against the whole."""


def _everything(kit: Kit, topics: Sequence[str]) -> frozenset[TopicPartition]:
    return frozenset(at for topic in topics for at in kit.places(topic))


def _shared(kit: Kit, members: Sequence[Driven], topics: Sequence[str]) -> None:
    """Wait until everything is assigned, each partition once and something to everybody."""
    everything = _everything(kit, topics)

    def is_shared() -> bool:
        owned = [member.owned for member in members]
        return (
            all(owned)
            and sum(map(len, owned)) == len(everything)
            and frozenset[TopicPartition]().union(*owned) == everything
        )

    kit.until(is_shared, f"{len(everything)} partitions to be shared by {len(members)} members")


def _pair(kit: Kit, topic: str, assignor: str = "cooperative-sticky") -> tuple[Driven, Driven]:
    """A member that had everything, and a second one that took its share."""
    first = kit.member([topic], client_id="first", assignor=assignor)
    kit.until(lambda: first.owned == _everything(kit, [topic]), "the first member to be assigned everything")
    second = kit.member([topic], client_id="second", assignor=assignor)
    _shared(kit, [first, second], [topic])
    return first, second


def _handed_over(first: Driven, second: Driven) -> None:
    """Every partition of the second was released by the first, then gone, then assigned."""
    for at in second.owned:
        released, gone = first.moments("releasing", at)[-1], first.moments("gone", at)[-1]
        assert released < gone < second.moments("assigned", at)[-1], f"{at} was not handed over in order"


def a_snapshot_before_joining_is_refused(kit: Kit) -> None:
    """Without member id and generation the broker accepts a commit in any state (R3)."""
    (at,) = kit.topic_of([[]])
    member = kit.member([at.topic])

    expect_error(NotJoined, member.member.snapshot)

    kit.until(lambda: member.owned, "the member to join")
    member.commits([], {at: Position(0)})


def members_share_partitions_and_each_has_one_owner(kit: Kit) -> None:
    """Everything is assigned, nothing twice, in equal shares."""
    topic = kit.topic(partitions=6)
    first, second = _pair(kit, topic)

    third = kit.member([topic], client_id="third")

    _shared(kit, [first, second, third], [topic])
    assert {len(each.owned) for each in (first, second, third)} == {2}


def a_partition_is_released_then_gone_then_assigned_elsewhere(kit: Kit) -> None:
    """The next owner reads positions that the last one can no longer change."""
    first, second = _pair(kit, kit.topic(partitions=4))

    _handed_over(first, second)
    assert first.moved("lost") == second.moved("lost") == frozenset()


def a_range_group_hands_over_in_the_same_order(kit: Kit) -> None:
    """The eager protocol, which coordinators use."""
    first, second = _pair(kit, kit.topic(partitions=4), "range")

    _handed_over(first, second)
    assert first.moved("lost") == second.moved("lost") == frozenset()


def a_partition_stays_until_its_owner_lets_go(kit: Kit) -> None:
    """`releasing` is asked again until it agrees: what is under way may end first."""
    topic = kit.topic(partitions=2)
    first = kit.joined([topic], client_id="first")
    second = kit.member([topic], client_id="second")
    asked: list[frozenset[TopicPartition]] = []

    def answer() -> bool:
        """Let the other one poll meanwhile; agree when asked for the fourth time."""
        second.pump(0.05)
        asked.append(second.owned)
        return len(asked) > 3

    first.answer = answer

    _shared(kit, [first, second], [topic])
    (at,) = second.owned
    assert len(first.moments("releasing", at)) == 4
    assert asked[:4] == [frozenset()] * 4
    _handed_over(first, second)


def range_gives_the_same_numbers_of_several_topics_to_one_member(kit: Kit) -> None:
    """A home's partitions of all home topics meet in one coordinator."""
    topics = [kit.topic(text, 6) for text in ("commands", "events", "telemetry")]
    members = [kit.member(topics, client_id=text, assignor="range") for text in ("first", "second")]

    _shared(kit, members, topics)

    for member in members:
        numbers = [{at.partition for at in member.owned if at.topic == topic} for topic in topics]
        assert numbers[0] == numbers[1] == numbers[2]
        assert len(numbers[0]) == 3


def cooperative_members_keep_what_they_need_not_give(kit: Kit) -> None:
    """What stays is neither released nor assigned again."""
    topic = kit.topic(partitions=6)

    first, second = _pair(kit, topic)

    assert len(first.owned) == len(second.owned) == 3
    assert first.moved("releasing", "gone") == second.owned
    for at in first.owned:
        assert len(first.moments("assigned", at)) == 1


def newly_assigned_partitions_deliver_nothing_until_they_are_resumed(kit: Kit) -> None:
    """Positions come from the loop, after a stable read (R6, R9)."""
    first, second = kit.topic_of([[b"a0", b"a1"], [b"b0"]])
    member = kit.joined([first.topic], start=None)
    other = kit.joined([first.topic], "others", "other")
    kit.until(lambda: len(other.records) == 3, "another group to read everything")
    assert not member.records

    member.member.seek(first, 1)
    member.member.resume([first])

    kit.until(lambda: member.records, "a record of what was resumed")
    kit.until(lambda: first in member.ends, "its end")
    assert member.values() == [b"a1"]
    assert second not in member.ends


def more_topics_may_be_subscribed_later(kit: Kit) -> None:
    """By calling `subscribe` again with all of them."""
    (old,), (new,) = kit.topic_of([[b"old"]]), kit.topic_of([[b"new"]], "new")
    member = kit.joined([old.topic])

    member.subscribe([old.topic, new.topic])

    kit.until(lambda: member.owned == {old, new}, "both topics to be assigned")
    kit.until(lambda: member.values(new), "a record of the new topic")
    member.commits([], {old: Position(1), new: Position(1)})


def a_snapshot_from_before_a_rebalance_is_stale_and_has_no_effect(kit: Kit) -> None:
    """Also for a partition that was retained; with a fresh snapshot it goes through (R11)."""
    topic, (out,) = kit.topic(partitions=4), kit.topic_of([[]], "out")
    first = kit.joined([topic], client_id="first")
    at = kit.places(topic)[0]
    first.commits([], {at: Position(0, "before") for at in kit.places(topic)})
    old = first.member.snapshot()
    second = kit.member([topic], client_id="second")
    _shared(kit, [first, second], [topic])
    at = min(first.owned)

    reply = first.commit([_to(out, b"stale")], {at: Position(5, "stale")}, old)

    assert reply.verdict is Verdict.STALE
    assert first.positions([at]) == {at: Position(0, "before")}
    first.commits([_to(out, b"fresh")], {at: Position(6, "fresh")})
    kit.sees(out, [b"fresh"])


def a_zombie_cannot_commit_and_learns_that_it_lost_its_partitions(kit: Kit) -> None:
    """Whatever it still wants to say: others own its partitions (R3)."""
    (at,), (out,) = kit.topic_of([[]]), kit.topic_of([[]], "out")
    zombie = kit.member([at.topic], client_id="zombie", session=kit.session)
    kit.until(lambda: zombie.owned, "the first member to be assigned")
    zombie.commits([], {at: Position(1, "alive")})
    snapshot = zombie.member.snapshot()
    heir = kit.member([at.topic], client_id="heir")

    zombie.fall_silent()
    kit.until(lambda: heir.owned, "the silent member's partition to be assigned to another")
    reply = zombie.commit([_to(out, b"undead")], {at: Position(2, "undead")}, snapshot)

    assert reply.verdict in (Verdict.STALE, Verdict.FENCED)
    assert heir.positions([at]) == {at: Position(1, "alive")}
    heir.commits([_to(out, b"heir")], {at: Position(3, "heir")})
    kit.sees(out, [b"heir"])
    zombie.speak()
    kit.until(lambda: at in zombie.moved("lost"), "the zombie to be told that its partition is lost")
    assert not zombie.moments("releasing", at)


def a_member_that_closes_leaves_at_once(kit: Kit) -> None:
    """A graceful stop costs the others no session."""
    topic = kit.topic(partitions=2)
    members = [kit.member([topic], client_id=text, session=LONG_SESSION) for text in ("first", "second")]
    _shared(kit, members, [topic])
    first, second = members
    held = first.owned
    began = kit.now

    first.close()

    kit.until(lambda: second.owned == _everything(kit, [topic]), "the other member to be assigned everything")
    assert kit.now - began < 0.7 * LONG_SESSION.total_seconds(), "expected a leave, but a session ended"
    assert held <= first.moved("gone")
    assert kit.admin.members(kit.name("group")) == {second.client_id}


def the_members_of_a_group_are_known_by_their_client_ids(kit: Kit) -> None:
    """How a take-over finds out whether the last writer lives (R7)."""
    topic = kit.topic(partitions=2)
    first, second = _pair(kit, topic)

    listed = first.ask(ListMembers())

    assert listed.members == {first.client_id, second.client_id}
    assert kit.admin.members(kit.name("group")) == listed.members
    assert kit.admin.members(kit.name("nobody")) == frozenset()


def a_topic_that_no_member_subscribes_to_is_read_by_nobody(kit: Kit) -> None:
    """Members alone do not tell who serves an inbox: theirs may be others (`farandole agent list`)."""
    topic, _ = kit.topic(), kit.topic("other")

    _pair(kit, topic)

    kit.until(lambda: kit.admin.topics_read(kit.name("group")) == frozenset({topic}), "only the topic to be read")
    assert kit.admin.topics_read(kit.name("nobody")) == frozenset()


def _to(at: TopicPartition, value: bytes) -> NewRecord:
    return NewRecord(at.topic, None, value, (), at.partition)


CASES = cases(
    a_snapshot_before_joining_is_refused,
    members_share_partitions_and_each_has_one_owner,
    a_partition_is_released_then_gone_then_assigned_elsewhere,
    a_range_group_hands_over_in_the_same_order,
    a_partition_stays_until_its_owner_lets_go,
    range_gives_the_same_numbers_of_several_topics_to_one_member,
    cooperative_members_keep_what_they_need_not_give,
    newly_assigned_partitions_deliver_nothing_until_they_are_resumed,
    more_topics_may_be_subscribed_later,
    a_snapshot_from_before_a_rebalance_is_stale_and_has_no_effect,
    a_zombie_cannot_commit_and_learns_that_it_lost_its_partitions,
    a_member_that_closes_leaves_at_once,
    the_members_of_a_group_are_known_by_their_client_ids,
    a_topic_that_no_member_subscribes_to_is_read_by_nobody,
)
