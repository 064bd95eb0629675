"""What the simulation says of a cancel that nothing came of."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from farandole.events import facts
from farandole.events.catalogue import decode, encode
from farandole.events.commands import CancelRun
from farandole.events.envelope import Envelope
from farandole.events.outgoing import Origin, event_record
from farandole.events.topics import Topics
from farandole.testing.simulation.cancels import Cancels
from farandole.transport.memory.broker import Broker
from farandole.transport.port import NewRecord, Position, Record, TopicPartition, TopicSpec

RUN, ASKED, NOW = "run-1", "run-1/command/1", datetime(2026, 1, 1, tzinfo=UTC)
TOPICS = Topics()
EVENTS, COMMANDS = TopicPartition(TOPICS.events, 0), TopicPartition(TOPICS.commands, 0)
SETTLED = facts.RunSettled(RUN, "succeeded", NOW, NOW)

Play = Callable[["Town"], None]


class Town:
    """A log with one home, and somebody who has cancelled a run there."""

    def __init__(self, *, begun: bool = True) -> None:
        self.broker, self.cancels = Broker(), Cancels(TOPICS)
        self.log: list[tuple[Record, facts.Event]] = []
        for name in (TOPICS.events, TOPICS.commands):
            self.broker.create_topic(TopicSpec(name, 1))
        if begun:
            self.write(facts.RunStarted(RUN, "p", "hash", b"", "hash", NOW))
        self.cancels.asked(self.broker, ASKED, RUN)
        envelope = Envelope(ASKED, "farandole.CancelRun", "clients", NOW, run=RUN)
        self.broker.append(NewRecord(TOPICS.commands, RUN.encode(), encode(CancelRun(RUN)), envelope.headers(), 0))

    def write(self, event: facts.Event, cause: str = "") -> None:
        it = event_record(TOPICS, event, event_id="x", cause=cause, origin=Origin("tests", NOW))
        _, offset = self.broker.append(NewRecord(it.topic, it.key.encode(), it.value, it.headers, 0))
        (record,), _ = self.broker.read(EVENTS, offset, 1)
        self.log.append((record, decode(it.value or b"")))  # type: ignore[arg-type]

    def pass_to(self, offset: int) -> None:
        """The coordinator commits its position, and the world looks."""
        self.broker.restore_position(TOPICS.group("coordinator"), COMMANDS, Position(offset, ""))
        self.cancels.look(self.broker, 0)

    @property
    def lost(self) -> list[str]:
        return list(self.cancels.lost(self.log))


def _marked(town: Town) -> None:
    town.write(facts.CancelRequested(RUN, ""), cause=ASKED)


def _cancelled_by_another(town: Town) -> None:
    town.write(facts.CancelRequested(RUN, ""), cause="another")


def _refused(town: Town) -> None:
    town.write(facts.RunRefused(RUN, "p", "definition_gone", ""), cause=ASKED)


def _settled(town: Town) -> None:
    town.write(SETTLED)


@pytest.mark.parametrize("play", [_marked, _cancelled_by_another, _refused, _settled])
def test_a_cancel_that_something_came_of_is_right(play: Play) -> None:
    town = Town()

    play(town)
    town.pass_to(1)

    assert town.lost == []


def test_a_cancel_that_nobody_has_come_to_is_not_judged() -> None:
    town = Town()

    town.pass_to(0)
    town.write(SETTLED)

    assert town.lost == []


def test_a_cancel_that_was_passed_while_its_run_went_on_is_told() -> None:
    town = Town()

    town.pass_to(1)
    town.write(SETTLED)

    assert town.lost == [f"{ASKED} was without effect, and {RUN} went on"]


def test_a_cancel_of_what_has_not_begun_is_nobodys_to_answer() -> None:
    town = Town(begun=False)

    town.pass_to(1)
    town.write(SETTLED)

    assert town.lost == []


def test_a_cancel_by_another_that_came_later_excuses_nothing() -> None:
    town = Town()

    town.pass_to(1)
    _cancelled_by_another(town)

    assert len(town.lost) == 1
