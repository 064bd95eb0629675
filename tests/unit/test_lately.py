"""The doctor's look at positions: behind what was answered lately, and nothing else is called so."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from farandole.client import lately
from farandole.client.lately import TAIL_OFFSETS, WentBack, named_lately, went_back
from farandole.errors import TransportError
from farandole.events.acts import LATE, REPOSITION, ReadAgain, Repositioned
from farandole.events.facts import StepSucceeded
from farandole.events.outgoing import Origin, Trigger, event_record, trigger_record
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, attempt_id
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import NewRecord, Position, TopicPartition, TopicSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks, and no time between them."""
    monkeypatch.setattr(lately, "CERTAIN_S", 0.0)
    monkeypatch.setattr(lately, "LOOK_S", 0.5)


@dataclass
class Log:
    """A namespace with the agents `charge` and `ship` of the unit `orders`, and `send` of `mail`."""

    transport: MemoryTransport = field(default_factory=MemoryTransport)
    topics: Topics = field(default_factory=Topics)
    owners: dict[str, str] = field(default_factory=lambda: {"charge": "orders", "send": "mail", "ship": "orders"})

    def __post_init__(self) -> None:
        self.admin = self.transport.admin()
        names = {self.topics.events: 2, self.topics.definitions: 1}
        names |= {self.topics.inbox(agent): 2 for agent in self.owners}
        self.admin.create([TopicSpec(name, count) for name, count in names.items()])
        self.producer = self.transport.producer("tests")

    def triggers(self, agent: str, count: int, generation: str = "") -> TopicPartition:
        """So many records of its inbox, in one partition, of which nothing is done."""
        at = TopicPartition(self.topics.inbox(agent), 1)
        for n in range(count):
            trigger = Trigger(f"r-{n}{generation}", agent, agent, 1, b"input")
            it = trigger_record(self.topics, trigger, cause="c", origin=Origin("x", NOW))
            self.producer.send(NewRecord(at.topic, it.key.encode(), it.value, list(it.headers), at.partition))
        self.stands(at, 0)
        return at

    def answered(self, agent: str, *offsets: int) -> None:
        """A fact names each of them, and one what the agent did behind it."""
        for n in offsets:
            run = f"r-{n}"
            for cause in (attempt_id(run, agent, NO_ITEM, 1) + "/trigger", "another fact"):
                origin = Origin("x", NOW, input=f"{self.topics.inbox(agent)}/1/{n}", agent=agent)
                it = event_record(
                    self.topics, StepSucceeded(run, agent, 1, b"output"), event_id="e", cause=cause, origin=origin
                )
                self.producer.send(NewRecord(self.topics.events, run.encode(), it.value, list(it.headers), n % 2))

    def stands(self, at: TopicPartition, position: int, *done: int) -> None:
        """What the broker says of a partition."""
        bitmap = sum(1 << (offset - position) for offset in done).to_bytes(64, "little").rstrip(b"\0")
        unit = self.owners[at.topic.removeprefix(self.topics.inbox(""))]
        self.set(unit, at, Position(position, encode(Metadata("w", 1, 3, clean=True, bitmap=bitmap))))

    def set(self, unit: str, at: TopicPartition, position: Position) -> None:
        """As it stands."""
        with self.transport.hub as broker:
            broker.restore_position(self.topics.group(unit), at, position)

    def act(self, at: datetime, *again: ReadAgain) -> None:
        """A person let records of `charge` be read again."""
        it = Repositioned("charge", "orders", at, again)
        self.row(it.key, it.text())

    def row(self, key: str, value: str) -> None:
        """One of `definitions`."""
        self.producer.send(NewRecord(self.topics.definitions, key.encode(), value.encode(), partition=0))

    def look(self, meanwhile: Callable[[], None] = lambda: None) -> list[WentBack]:
        """What the doctor finds."""
        named = named_lately(self.transport, self.admin, self.topics)
        meanwhile()
        return went_back(self.transport, self.admin, self.topics, named, self.owners)


def test_position_that_is_behind_what_was_answered_is_told_with_the_highest_that_was() -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.triggers("ship", 9)
    log.answered("charge", 3, 6, 5)
    log.stands(at, 2, 3)

    assert log.look() == [WentBack("orders", at, 2, 6)]


def test_positions_of_each_unit_are_held_against_its_own_inboxes() -> None:
    log = Log()
    places = [log.triggers(agent, 9) for agent in ("send", "charge", "ship")]
    for agent in log.owners:
        log.answered(agent, 1)

    assert log.look() == [
        WentBack(unit, at, 0, 1) for unit, at in zip(("mail", "orders", "orders"), places, strict=True)
    ]


def test_what_is_done_by_position_or_bitmap_did_not_go_back() -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", 0, 1, 2, 4, 6)
    log.stands(at, 3, 4, 6)

    assert log.look() == []


def test_positions_that_come_a_moment_after_what_their_transaction_wrote_did_not_go_back() -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", *range(4))

    assert log.look(lambda: log.stands(at, 4)) == []


def test_position_on_which_a_transaction_is_pending_is_not_told() -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", 3)
    with log.transport.hub as broker:
        broker._positions.stage("w", log.topics.group("orders"), {at: Position(4)})

    assert log.look() == []


def test_position_that_is_right_at_the_second_look_was_only_being_read_by_its_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", 3)
    monkeypatch.setattr("time.sleep", lambda seconds: log.stands(at, 4))

    assert log.look() == []


def test_answer_of_a_record_that_another_has_the_place_of_proves_nothing() -> None:
    log = Log()
    log.triggers("charge", 9, generation="-new")
    log.answered("charge", 3)

    assert log.look() == []


@pytest.mark.parametrize(
    "place", ["", "farandole.events/1/3", "farandole.inbox.charge/1/12", "farandole.inbox.none/1/3"]
)
def test_place_that_is_none_of_a_known_inbox_proves_nothing(place: str) -> None:
    log = Log()
    log.triggers("charge", 9)
    origin = Origin("x", NOW, input=place, agent="charge")
    it = event_record(log.topics, StepSucceeded("r-3", "charge", 1, b""), event_id="e", cause="c", origin=origin)
    log.producer.send(NewRecord(log.topics.events, b"r-3", it.value, list(it.headers), 0))

    assert log.look() == []


def test_record_that_is_gone_proves_nothing() -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", 3)
    with log.transport.hub as broker:
        broker.truncate_before(at, 5)

    assert log.look() == []


@pytest.mark.parametrize("metadata", ["of another program", ""], ids=["unreadable", "fresh"])
def test_position_that_nobody_can_read_is_not_judged_and_a_fresh_one_is(metadata: str) -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", 3)
    log.set("orders", at, Position(2, metadata))

    assert log.look() == ([] if metadata else [WentBack("orders", at, 2, 3)])


def test_position_that_is_missing_did_not_go_back() -> None:
    log = Log()
    log.answered("charge", 3)

    assert log.look() == []


@pytest.mark.parametrize("ahead", [0, 20], ids=["one_clock", "agents_clock_is_ahead"])
def test_records_that_a_person_let_be_read_again_are_no_error_while_the_unit_catches_up(ahead: int) -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", *range(7))
    log.act(datetime.now(UTC) - timedelta(seconds=ahead), ReadAgain(1, 0, 7))
    log.stands(at, 2)

    assert log.look() == []


@pytest.mark.parametrize(
    "again",
    [ReadAgain(1, 0, 6), ReadAgain(1, 7, 9), ReadAgain(0, 0, 9)],
    ids=["it_ended_below", "it_began_above", "another_partition"],
)
def test_record_that_an_act_does_not_name_is_told(again: ReadAgain) -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", *range(7))
    log.act(datetime.now(UTC), again)

    assert log.look() == [WentBack("orders", at, 0, 6)]


def test_what_was_answered_once_more_after_an_act_is_not_to_be_open_again() -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", *range(7))
    log.act(datetime.now(UTC) - LATE - timedelta(seconds=1), ReadAgain(1, 0, 9))

    assert log.look() == [WentBack("orders", at, 0, 6)]


def test_row_that_is_no_act_lets_nothing_be_read_again() -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", 3)
    log.row(f"{REPOSITION}charge/1", "of a later release")

    assert log.look() == [WentBack("orders", at, 0, 3)]


def test_only_the_ends_of_events_are_read() -> None:
    log = Log()
    at = log.triggers("charge", TAIL_OFFSETS + 100)
    log.answered("charge", 1)
    log.answered("ship", *range(0, TAIL_OFFSETS, 2))
    log.answered("ship", *range(1, TAIL_OFFSETS, 2))

    named = named_lately(log.transport, log.admin, log.topics)

    assert at not in named
    assert {place.topic: len(found) for place, found in named.items()} == {log.topics.inbox("ship"): 2 * TAIL_OFFSETS}


def test_transaction_that_is_open_on_events_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    at = log.triggers("charge", 9)
    log.answered("charge", 3)
    with log.transport.hub as broker:
        writer = broker.init("w", 600.0)
        for partition in range(2):
            broker.append_in(writer, NewRecord(log.topics.events, b"k", b"v", partition=partition))
    monkeypatch.setattr(lately, "LOOK_S", 60.0)
    began = time.monotonic()

    named = named_lately(log.transport, log.admin, log.topics)

    assert [each.offset for each in named[at]] == [3, 3]
    assert time.monotonic() - began < 30.0


def test_look_ends_in_its_time_with_what_was_read_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.triggers("charge", 9)
    log.answered("charge", 3)
    monkeypatch.setattr(lately, "LOOK_S", 0.0)

    assert named_lately(log.transport, log.admin, log.topics) == {}


def test_namespace_that_was_never_applied_has_nothing_to_look_at() -> None:
    transport = MemoryTransport()

    assert named_lately(transport, transport.admin(), Topics()) == {}


def test_positions_of_a_group_that_does_not_answer_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.triggers("charge", 9)
    log.answered("charge", 3)
    monkeypatch.setattr(lately, "LOOK_S", 0.0)
    named = {TopicPartition(log.topics.inbox("charge"), 1): [lately.Named(3, 0, NOW)]}

    with pytest.raises(TransportError, match=r"farandole\.orders: its positions were not told"):
        went_back(log.transport, log.admin, log.topics, named, log.owners)
