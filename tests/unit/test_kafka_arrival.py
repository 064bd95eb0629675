"""Who is in a group under our name beside us, and when that is looked at."""

import pytest

from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.arrival import LOOKS_AFTER, Namesakes


class Group:
    """Members by client and member id, a clock, and a helper that works at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members: list[tuple[str, str]] = []
        self.now = 0.0
        self.looks = 0
        self.it = Namesakes(KafkaSettings("nowhere:1"), "us", "group", self._tell)
        monkeypatch.setattr("farandole.transport.kafka.arrival.time.monotonic", lambda: self.now)
        monkeypatch.setattr(self.it, "_leave", self._leave)

    def step(self, own: str | None, after: float = 0.0) -> None:
        """A step of the member, so many seconds later."""
        self.now += after
        self.it.step(lambda: own, lambda work: work())

    def _tell(self) -> list[tuple[str, str]]:
        self.looks += 1
        return list(self.members)

    def _leave(self, gone: list[str]) -> None:
        self.members = [each for each in self.members if each[1] not in gone]


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    return Group(monkeypatch)


def test_nobody_looks_while_the_broker_is_reached(group: Group) -> None:
    for _ in range(100):
        group.step("us-2", 1.0)

    assert group.looks == 0


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


def test_single_membership_is_left_alone_even_if_it_has_another_id(group: Group) -> None:
    """What a member joins as may be told by the broker before the client knows of it."""
    group.members = [("us", "us-3")]
    group.it.disturbed()

    for _ in range(100):
        group.step("us-2", 1.0)

    assert group.members == [("us", "us-3")]


def test_looks_end_a_minute_after_the_last_sign_of_an_outage(group: Group) -> None:
    group.it.disturbed()
    for _ in range(200):
        group.step("us-1", 1.0)

    assert group.looks == len(LOOKS_AFTER)


@pytest.mark.parametrize("after", LOOKS_AFTER)
def test_other_self_that_comes_late_is_found_by_a_later_look(group: Group, after: float) -> None:
    group.it.disturbed()
    while group.now < after - 0.5:
        group.step("us-2", 0.5)
    group.members = [("us", "us-1"), ("us", "us-2")]

    group.step("us-2", 0.5)
    group.step("us-2", 0.5)

    assert group.members == [("us", "us-2")]
