"""Who is in a group under our name beside us, and when that is looked at."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from farandole.errors import TransportError
from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.arrival import LOOK_EVERY, LOOKS_AFTER, OUT_MAX, Namesakes
from farandole.transport.kafka.membership import Members


class Group:
    """Members by client and member id, a clock, and a helper that works at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members: list[tuple[str, str]] = []
        self.now = 0.0
        self.looks = 0
        monkeypatch.setattr("farandole.transport.kafka.arrival.time.monotonic", lambda: self.now)
        self.it = Namesakes(KafkaSettings("nowhere:1"), "us", "group", self._tell)
        monkeypatch.setattr(self.it, "_leave", self._leave)

    def step(self, own: str | None, after: float = 0.0, *, is_in: bool = True) -> bool:
        """A step of the member, so many seconds later; whether its join is lost."""
        self.now += after
        return self.it.step(lambda: own, lambda work: work(), is_in=is_in)

    def _tell(self, _: str) -> Members:
        self.looks += 1
        return Members(tuple(self.members), "known:1,known:2")

    def _leave(self, gone: list[str]) -> None:
        self.members = [each for each in self.members if each[1] not in gone]


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    return Group(monkeypatch)


def test_group_is_looked_at_once_a_minute_while_the_broker_is_reached(group: Group) -> None:
    group.members = [("us", "us-2")]
    for _ in range(round(5 * LOOK_EVERY)):
        assert not group.step("us-2", 1.0)

    assert group.looks == 5
    assert group.it.bootstrap == "known:1,known:2"


def test_member_of_a_coordinator_that_is_cut_off_joins_anew_without_any_sign(group: Group) -> None:
    """The story: no error told of the cut. Both agents and both coordinators sat in the group of the broker that was
    cut off, which answered them, until it was healed five minutes later."""
    lost = next(second for second in range(1, 200) if group.step("us-2", 1.0))

    assert LOOK_EVERY < lost < LOOK_EVERY + 20


def test_what_goes_wrong_again_and_again_does_not_put_off_what_is_found(group: Group) -> None:
    """In the group of one that is cut off no commit succeeds: each of them tells of it."""
    lost = False
    for _ in range(20):
        group.it.suspected()
        lost |= group.step("us-2", 1.0)

    assert lost


def test_looks_do_not_pile_up_behind_one_that_takes_its_time(group: Group) -> None:
    """Where packets were dropped a look took ten seconds, and five came in fifteen. What a take-over asks waits for the
    same helper."""
    waiting: list[Callable[[], None]] = []
    group.it.disturbed()
    for _ in range(20):
        group.now += 1.0
        group.it.step(lambda: "us-2", waiting.append)
    assert len(waiting) == 1

    waiting.pop()()
    group.it.step(lambda: "us-2", waiting.append)

    assert len(waiting) == 1  # one for all that were due meanwhile


def test_look_that_fails_is_over(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: str) -> Members:
        raise TransportError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(group.it, "_ask", away)
        group.step("us-2", LOOK_EVERY)
    group.step("us-2", LOOK_EVERY)

    assert group.looks == 1


def test_other_self_is_taken_out_after_an_outage(group: Group) -> None:
    group.members = [("us", "us-1"), ("us", "us-2"), ("them", "them-1")]
    group.it.disturbed()

    group.step("us-2", LOOKS_AFTER[0])
    group.step("us-2")

    assert group.members == [("us", "us-2"), ("them", "them-1")]


def test_who_does_not_know_its_own_id_takes_nobody_out(group: Group) -> None:
    """It is joining: one of them may be itself."""
    group.members = both = [("us", "us-1"), ("us", "us-2")]
    group.it.disturbed()

    group.step(None, LOOKS_AFTER[0])
    group.step(None)

    assert group.members == both


def test_old_self_is_taken_out_where_the_broker_knows_nothing_of_the_new_one(group: Group) -> None:
    """It had forgotten the join, and would wait for the old one for 5 minutes."""
    group.members = [("us", "us-1"), ("them", "them-1")]
    group.it.disturbed()

    group.step("us-2", LOOKS_AFTER[0])
    group.step("us-2")

    assert group.members == [("them", "them-1")]


def test_join_that_the_broker_knows_nothing_of_is_lost_after_some_looks(group: Group) -> None:
    group.it.disturbed()
    lost = [second for second in range(1, 20) if group.step("us-2", 1.0)]

    assert lost == [16]  # the look of the 15th second, answered at once, is looked at in the next step


@pytest.mark.parametrize("own", [None, ""])
def test_join_whose_id_never_came_is_lost_too(group: Group, own: str | None) -> None:
    group.it.disturbed()

    assert any(group.step(own, 1.0) for _ in range(20))


def test_join_that_is_seen_is_not_lost(group: Group) -> None:
    group.members = [("us", "us-2")]
    group.it.disturbed()

    assert not any(group.step("us-2", 1.0) for _ in range(100))


def test_join_that_leads_to_nothing_is_lost_although_it_is_seen(group: Group) -> None:
    """One was seen by each look, in a group that the broker then loaded again without it; nobody looked any more."""
    group.members = [("us", "us-2")]
    group.it.disturbed()
    lost = [second for second in range(1, 60) if group.step("us-2", 1.0, is_in=False)]

    assert lost[0] == OUT_MAX + 11  # the look of the 40th second is the first after half a minute


def test_joins_that_are_lost_one_after_the_other_are_waited_for_longer_and_longer(group: Group) -> None:
    """A broker took no join for minutes, and each member made a new client every 16 s."""
    group.it.disturbed()
    lost: list[float] = []
    while len(lost) < 6:
        if group.step("us-2", 1.0, is_in=False):
            lost.append(group.now)
            group.it.disturbed()
    waits = [after - before for before, after in pairwise([0.0, *lost])]

    assert waits == sorted(waits)
    assert waits[0] < 20 < 90 < waits[-1] < 120


def test_looks_go_on_for_as_long_as_the_member_is_not_in(group: Group) -> None:
    group.members = [("us", "us-2")]
    group.it.disturbed()
    for _ in range(200):
        group.step("us-2", 1.0, is_in=False)
    seen = group.looks
    assert seen > len(LOOKS_AFTER) + 10

    for _ in range(200):
        group.step("us-2", 1.0)

    assert group.looks <= seen + 1 + 200 // LOOK_EVERY


def test_join_is_not_lost_while_signs_of_the_outage_come(group: Group) -> None:
    """A broker that is away for long answers no look; one that comes and goes says nothing for certain."""
    for _ in range(100):
        group.it.disturbed()
        assert not any(group.step(None, 1.0) for _ in range(10))


def test_looks_are_rare_again_a_minute_after_the_last_sign_of_an_outage(group: Group) -> None:
    group.members = [("us", "us-1")]
    group.it.disturbed()
    for _ in range(round(LOOKS_AFTER[-1])):
        group.step("us-1", 1.0)
    assert group.looks == len(LOOKS_AFTER)

    for _ in range(round(2 * LOOK_EVERY)):
        group.step("us-1", 1.0)

    assert group.looks == len(LOOKS_AFTER) + 2


@pytest.mark.parametrize("after", LOOKS_AFTER)
def test_other_self_that_comes_late_is_found_by_a_later_look(group: Group, after: float) -> None:
    group.it.disturbed()
    while group.now < after - 0.5:
        group.step("us-2", 0.5)
    group.members = [("us", "us-1"), ("us", "us-2")]

    group.step("us-2", 0.5)
    group.step("us-2", 0.5)

    assert group.members == [("us", "us-2")]
