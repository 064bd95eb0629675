"""A home that does not come says what it waits for."""

import logging
from collections.abc import Callable

import pytest

from farandole.coordinator.takeover import SLOW_S, Stage, Takeover
from farandole.events.topics import Topics
from farandole.transport.port import Reply, Request


def takeover() -> Takeover:
    """One whose questions nobody answers."""

    def ask(request: Request, then: Callable[[Reply], None]) -> None:
        pass

    return Takeover(Topics("ns"), "ns.coordinator.c1", ask)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was warned of."""
    caplog.set_level(logging.WARNING, "farandole.coordinator")
    return lambda: [record.getMessage() for record in caplog.records]


def test_home_that_is_long_on_its_way_says_what_it_waits_for(told: Callable[[], list[str]]) -> None:
    """One stood still for minutes after an outage, and no line told which or why."""
    it = takeover()
    it.begin(3)
    for second in range(2 * int(SLOW_S)):
        it.tell_slow(100.0 + second)
    it.claimed[3].stage = Stage.RESTORE
    it.tell_slow(100.0 + 2 * SLOW_S)

    assert told() == [
        "home 3 is not served yet: it waits for the positions that its last owner left",
        "home 3 is not served yet: it waits for its runs to be read",
    ]


def test_home_that_comes_in_time_says_nothing(told: Callable[[], list[str]]) -> None:
    it = takeover()
    it.begin(3)
    it.tell_slow(0.0)
    it.drop(3)
    it.tell_slow(SLOW_S)

    assert told() == []


@pytest.mark.parametrize("stage", [each for each in Stage if each is not Stage.RUNNING])
def test_every_stage_has_its_words_or_has_told_already(stage: Stage, told: Callable[[], list[str]]) -> None:
    it = takeover()
    it.begin(0)
    it.claimed[0].stage = stage
    it.tell_slow(0.0)
    it.tell_slow(SLOW_S)

    assert len(told()) == (stage is not Stage.STOPPED)
