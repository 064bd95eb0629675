"""Who gets which partitions: `range` and `cooperative-sticky`."""

from collections.abc import Collection, Mapping

from hypothesis import given
from hypothesis import strategies as st

from farandole.transport.memory.assignors import Assignment, Candidate, assign_range, assign_sticky
from farandole.transport.port import TopicPartition


def candidate(
    member_id: str, topics: str = "t", owned: Collection[TopicPartition] = (), generation: int = 1
) -> Candidate:
    return Candidate(member_id, frozenset(topics), frozenset(owned), generation)


def of(topic: str, *numbers: int) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(topic, number) for number in numbers)


def keeping(candidates: Collection[Candidate], given_: Assignment) -> list[Candidate]:
    """The members when they join again with what they were given."""
    return [Candidate(each.member_id, each.topics, given_[each.member_id], 9) for each in candidates]


def settled(candidates: Collection[Candidate], topics: Mapping[str, int], phases_max: int = 2) -> Assignment:
    """What a cooperative group has in the end: two phases, or more where members want different topics."""
    given_ = assign_sticky(candidates, topics)
    for _ in range(phases_max - 1):
        given_ = assign_sticky(keeping(candidates, given_), topics)
    return given_


def test_range_gives_contiguous_shares_and_the_first_members_one_more() -> None:
    given_ = assign_range([candidate("b"), candidate("a"), candidate("c")], {"t": 8})

    assert given_ == {"a": of("t", 0, 1, 2), "b": of("t", 3, 4, 5), "c": of("t", 6, 7)}


def test_range_puts_the_same_numbers_of_all_topics_together() -> None:
    members = [candidate(name, "ce") for name in "xy"]

    given_ = assign_range(members, {"c": 12, "e": 12})

    for partitions in given_.values():
        assert {at.partition for at in partitions if at.topic == "c"} == {
            at.partition for at in partitions if at.topic == "e"
        }


def test_range_gives_a_topic_only_to_who_wants_it() -> None:
    given_ = assign_range([candidate("a", "t"), candidate("b", "tu")], {"t": 2, "u": 2})

    assert given_ == {"a": of("t", 0), "b": of("t", 1) | of("u", 0, 1)}


def test_range_leaves_members_without_a_share_empty() -> None:
    given_ = assign_range([candidate("a"), candidate("b")], {"t": 1})

    assert given_ == {"a": of("t", 0), "b": frozenset()}


def test_sticky_divides_topics_among_fresh_members_evenly_each() -> None:
    given_ = assign_sticky([candidate("a", "tu"), candidate("b", "tu")], {"t": 12, "u": 12})

    for partitions in given_.values():
        assert sorted(at.topic for at in partitions) == ["t"] * 6 + ["u"] * 6


def test_sticky_withholds_what_another_still_holds_and_gives_it_in_the_second_phase() -> None:
    members = [candidate("a", owned=of("t", 0, 1, 2, 3)), candidate("b")]

    first = assign_sticky(members, {"t": 4})
    second = settled(members, {"t": 4})

    assert first == {"a": of("t", 0, 1), "b": frozenset()}
    assert second == {"a": of("t", 0, 1), "b": of("t", 2, 3)}


def test_sticky_moves_some_of_every_topic_to_a_newcomer() -> None:
    members = [candidate("a", "tu", of("t", *range(12)) | of("u", *range(12))), candidate("b", "tu")]

    given_ = settled(members, {"t": 12, "u": 12})

    for partitions in given_.values():
        assert sorted(at.topic for at in partitions) == ["t"] * 6 + ["u"] * 6


def test_sticky_gives_the_partitions_of_who_left_to_the_others_and_moves_nothing_else() -> None:
    members = [candidate("a", owned=of("t", 0, 1)), candidate("b", owned=of("t", 2, 3))]

    given_ = assign_sticky(members, {"t": 6})

    assert given_["a"] > of("t", 0, 1)
    assert given_["b"] > of("t", 2, 3)
    assert len(given_["a"]) == len(given_["b"]) == 3


def test_sticky_believes_the_later_generation_of_two_who_claim_the_same() -> None:
    members = [candidate("a", owned=of("t", 0, 1), generation=3), candidate("b", owned=of("t", 0, 1), generation=4)]

    given_ = assign_sticky(members, {"t": 2})

    assert given_ == {"a": frozenset(), "b": of("t", 0)}


def test_sticky_ignores_what_is_held_but_gone_or_no_longer_wanted() -> None:
    members = [candidate("a", "t", of("t", 0, 7) | of("u", 0))]

    given_ = assign_sticky(members, {"t": 1, "u": 1})

    assert given_ == {"a": of("t", 0)}


NAMES = "abcd"
TOPICS = "tuv"


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[Candidate], dict[str, int]]:
    topics = {name: draw(st.integers(1, 6)) for name in TOPICS}
    everything = [TopicPartition(name, number) for name in TOPICS for number in range(topics[name])]
    members = [
        Candidate(
            name,
            frozenset(draw(st.sets(st.sampled_from(TOPICS), min_size=1))),
            frozenset(draw(st.sets(st.sampled_from(everything)))),
            draw(st.integers(0, 3)),
        )
        for name in draw(st.sets(st.sampled_from(NAMES), min_size=1))
    ]
    return members, topics


def shares_everything_wanted(given_: Assignment, members: Collection[Candidate], topics: Mapping[str, int]) -> bool:
    """Each partition of a wanted topic has one owner, who wants it."""
    wanted = {topic for each in members for topic in each.topics}
    owned = sorted(at for partitions in given_.values() for at in partitions)
    wants = {each.member_id: each.topics for each in members}
    return owned == sorted(TopicPartition(topic, n) for topic in wanted for n in range(topics[topic])) and all(
        at.topic in wants[member] for member, partitions in given_.items() for at in partitions
    )


@given(groups())
def test_range_gives_everything_once_whatever_the_order_of_members(
    group: tuple[list[Candidate], dict[str, int]],
) -> None:
    members, topics = group

    given_ = assign_range(members, topics)

    assert shares_everything_wanted(given_, members, topics)
    assert given_ == assign_range(members[::-1], topics)


@given(groups())
def test_sticky_ends_with_everything_given_once_and_then_moves_nothing(
    group: tuple[list[Candidate], dict[str, int]],
) -> None:
    members, topics = group

    given_ = settled(members, topics, phases_max=6)

    assert shares_everything_wanted(given_, members, topics)
    assert assign_sticky(keeping(members, given_), topics) == given_
    assert assign_sticky(members, topics) == assign_sticky(members[::-1], topics)


@given(groups())
def test_sticky_never_gives_away_what_another_holds(group: tuple[list[Candidate], dict[str, int]]) -> None:
    members, topics = group

    given_ = assign_sticky(members, topics)

    for each in members:
        mine = given_[each.member_id]
        for other in members:
            rightful = other.owned if other.generation > each.generation else frozenset()
            valid = {at for at in rightful if at.topic in other.topics}
            assert other is each or mine.isdisjoint(valid)


@given(groups())
def test_sticky_balances_members_that_want_the_same(group: tuple[list[Candidate], dict[str, int]]) -> None:
    members, topics = group
    alike = [Candidate(each.member_id, frozenset(TOPICS), each.owned, each.generation) for each in members]

    given_ = settled(alike, topics)

    sizes = [len(partitions) for partitions in given_.values()]
    assert max(sizes) - min(sizes) <= 1
