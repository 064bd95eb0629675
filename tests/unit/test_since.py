"""The doctor's look at what was answered long ago: from the records that are next at the positions on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from farandole.client import lately, since
from farandole.client.lately import TAIL_OFFSETS, WentBack, named_lately, went_back
from farandole.client.since import NEXT_OFFSETS, PARTITIONS_MAX, SPOTS, STRETCH_OFFSETS, named_since
from farandole.clock import ManualClock
from farandole.errors import TransportError
from farandole.events.facts import StepSucceeded
from farandole.events.outgoing import Origin, Trigger, event_record, trigger_record
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, attempt_id, partition_of
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import NewRecord, Position, TopicPartition, TopicSpec

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNERS = {"charge": "orders", "ship": "orders"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks, and no time between them."""
    monkeypatch.setattr(lately, "CERTAIN_S", 0.0)


@dataclass
class Log:
    """A namespace with two agents of a unit; their inboxes have so many partitions, and there are so many homes."""

    homes: int = 1
    partitions: int = 1
    topics: Topics = field(default_factory=Topics)

    def __post_init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.transport = MemoryTransport(self.clock)
        self.admin = self.transport.admin()
        names = {self.topics.events: self.homes, self.topics.definitions: 1}
        names |= {self.topics.inbox(agent): self.partitions for agent in OWNERS}
        self.admin.create([TopicSpec(name, count) for name, count in names.items()])
        self.producer = self.transport.producer("tests")
        self.asked: list[dict[TopicPartition, int]] = []

    def trigger(self, n: int, partition: int = 0, agent: str = "charge") -> None:
        """The next record of an inbox, of run `r-n`."""
        trigger = Trigger(f"r-{n}", agent, agent, 1, b"in")
        it = trigger_record(self.topics, trigger, cause="c", origin=Origin("x", NOW))
        self.producer.send(NewRecord(it.topic, it.key.encode(), it.value, list(it.headers), partition))

    def answer(self, n: int, partition: int = 0, offset: int | None = None) -> None:
        """A fact on the home of the run names its record."""
        place = f"{self.topics.inbox('charge')}/{partition}/{n if offset is None else offset}"
        cause = attempt_id(f"r-{n}", "charge", NO_ITEM, 1) + "/trigger"
        fact, origin = StepSucceeded(f"r-{n}", "charge", 1, b"out"), Origin("x", NOW, input=place, agent="charge")
        it = event_record(self.topics, fact, event_id="e", cause=cause, origin=origin)
        home = partition_of(it.key, self.homes)
        self.producer.send(NewRecord(it.topic, it.key.encode(), it.value, list(it.headers), home))

    def stands(
        self,
        position: int,
        partition: int = 0,
        done: Iterable[int] = (),
        metadata: str | None = None,
        agent: str = "charge",
    ) -> None:
        """What the broker says of a partition of an inbox."""
        bitmap = sum(1 << (offset - position) for offset in done).to_bytes(64, "little").rstrip(b"\0")
        told = encode(Metadata("w", 1, 3, clean=True, bitmap=bitmap)) if metadata is None else metadata
        with self.transport.hub as broker:
            at = TopicPartition(self.topics.inbox(agent), partition)
            broker.restore_position(self.topics.group("orders"), at, Position(position, told))

    def at(self, partition: int = 0) -> TopicPartition:
        """A partition of the inbox of `charge`."""
        return TopicPartition(self.topics.inbox("charge"), partition)

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(timedelta(seconds=seconds))

    def offsets_at(self, instants: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """As Kafka answers; what was asked is kept."""
        self.asked.append(dict(instants))
        found: dict[TopicPartition, int] = {}
        with self.transport.hub as broker:
            for at, ms in instants.items():
                records, _ = broker.read(at, broker.beginning(at), 100_000)
                later = [each.offset for each in records if each.timestamp_ms >= ms]
                found |= {at: later[0]} if later else {}
        return found

    def since(self) -> dict[TopicPartition, list[int]]:
        """Offsets that were named since."""
        found = named_since(self.transport, self.admin, self.topics, OWNERS, self.offsets_at)
        return {at: [each.offset for each in named] for at, named in found.items()}


def test_positions_that_went_back_are_found_though_the_unit_has_done_much_once_more_since() -> None:
    """A unit that was started anew pushes its old facts out of the ends of `events`, and the doctor saw nothing."""
    log = Log()
    for n in range(3_000):
        log.trigger(n)
    for n in (*range(3_000), *range(1_500)):
        log.answer(n)
    log.stands(1_500)

    ends = named_lately(log.transport, log.admin, log.topics)
    named = named_since(log.transport, log.admin, log.topics, OWNERS, log.offsets_at)

    assert went_back(log.transport, log.admin, log.topics, ends, OWNERS) == []
    (found,) = went_back(log.transport, log.admin, log.topics, named, OWNERS)
    assert (found.unit, found.at, found.position) == ("orders", log.at(), 1_500)
    assert 1_500 <= found.answered < 3_000


def test_one_record_that_is_left_of_all_that_is_done_once_more_is_found_from_its_instant_on() -> None:
    log, count = Log(), 2_000
    for n in range(count):
        log.trigger(n)
        log.answer(n)
        log.later(60)
    for n in range(count - 1):
        log.answer(n)
    log.stands(count - 1)

    named = named_since(log.transport, log.admin, log.topics, OWNERS, log.offsets_at)

    assert went_back(log.transport, log.admin, log.topics, named, OWNERS) == [
        WentBack("orders", log.at(), count - 1, count - 1)
    ]


def test_facts_of_a_writer_whose_clock_is_a_little_behind_are_found() -> None:
    log = Log()
    log.answer(0)
    log.later(0.9)
    log.trigger(0)
    log.stands(0)

    assert log.since() == {log.at(): [0]}


def test_home_is_that_of_the_run_that_is_next_and_what_is_done_tells_none() -> None:
    log = Log(homes=64)
    for n in range(9):
        log.trigger(n)
        log.later(60)
    log.stands(3, done=(4, 5, 7, 8))

    log.since()

    instants = {TopicPartition(log.topics.events, partition_of(f"r-{n}", 64)): n for n in (6, 3)}
    start = int(NOW.timestamp() * 1000) - since.EARLY_MS
    assert log.asked == [{at: start + n * 60_000 for at, n in instants.items()}]


def test_home_of_several_runs_is_read_from_the_first_of_them_on() -> None:
    log = Log()
    for n in range(3):
        log.trigger(n)
        log.answer(n)
        log.later(60)
    log.stands(1)

    assert log.since() == {log.at(): [1, 2]}


@pytest.mark.parametrize("apart", [0, 500, 3_000], ids=["at_once", "overlapping", "long_before"])
def test_home_is_read_once_for_each_agent_from_its_own_record_on(apart: int) -> None:
    """An agent that waits for long must not keep another's answers from being found."""
    log, count = Log(), 6_000
    log.trigger(0, agent="ship")
    log.stands(0, agent="ship")
    for n in range(apart):
        log.answer(n, partition=1)
    log.later(60)
    log.trigger(0)
    for n in range(count):
        log.answer(n)
    log.stands(0)

    offsets = log.since()[log.at()]

    assert offsets[:STRETCH_OFFSETS] == list(range(STRETCH_OFFSETS))


def test_what_is_read_of_a_home_is_bounded_however_much_came_since() -> None:
    log, count = Log(), 5_000
    for n in range(count):
        log.trigger(n)
        log.answer(n)
    log.stands(0)

    (offsets,) = log.since().values()

    assert offsets[:STRETCH_OFFSETS] == list(range(STRETCH_OFFSETS))
    assert len(offsets) == STRETCH_OFFSETS + SPOTS * since.SPOT_OFFSETS
    assert offsets == sorted(set(offsets))
    assert count - 2 * TAIL_OFFSETS < offsets[-1] < count - TAIL_OFFSETS


def test_spots_of_a_home_that_has_little_more_are_next_to_each_other() -> None:
    log, count = Log(), STRETCH_OFFSETS + TAIL_OFFSETS + 150
    for n in range(count):
        log.trigger(n)
        log.answer(n)
    log.stands(0)

    (offsets,) = log.since().values()

    assert offsets == list(range(STRETCH_OFFSETS + 200))


def test_partitions_that_are_looked_at_are_those_with_most_left() -> None:
    log = Log(homes=512, partitions=PARTITIONS_MAX + 2)
    for partition in range(log.partitions):
        for n in range(partition + 1):
            log.trigger(100 * partition + n, partition)
            log.answer(100 * partition + n, partition, n)
        log.stands(0, partition)

    assert log.since().keys() == {log.at(partition) for partition in range(2, log.partitions)}


def test_only_the_next_records_of_a_partition_are_read() -> None:
    log = Log(homes=512)
    for n in range(10 * NEXT_OFFSETS):
        log.trigger(n)
    log.stands(7)

    log.since()

    runs = [f"r-{n}" for n in range(7, 7 + NEXT_OFFSETS)]
    assert {at.partition for at in log.asked[0]} == {partition_of(run, 512) for run in runs}


@pytest.mark.parametrize(
    ("position", "metadata"), [(9, None), (12, None), (2, "of another program")], ids=["end", "beyond", "unreadable"]
)
def test_nothing_is_asked_where_nothing_is_left_or_nobody_can_read_what_is(position: int, metadata: str | None) -> None:
    log = Log()
    for n in range(9):
        log.trigger(n)
        log.answer(n)
    log.stands(position, metadata=metadata)

    assert (log.since(), log.asked) == ({}, [])


def test_position_whose_records_are_gone_is_not_looked_at() -> None:
    log = Log()
    for n in range(9):
        log.trigger(n)
        log.answer(n)
    log.stands(2)
    with log.transport.hub as broker:
        broker.truncate_before(log.at(), 5)

    assert log.since() == {}


def test_look_has_its_time_and_what_was_read_by_then_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(since, "LOOK_S", 0.0)
    log = Log()
    log.trigger(0)
    log.answer(0)
    log.stands(0)

    assert log.since() == {}


def test_home_that_does_not_deliver_is_told() -> None:
    log = Log()
    log.trigger(0)
    log.answer(0)
    log.answer(0)
    log.stands(0)
    with log.transport.hub as broker:
        broker.truncate_before(TopicPartition(log.topics.events, 0), 1)

    with pytest.raises(TransportError, match=r"farandole\.events/0 does not deliver"):
        named_since(log.transport, log.admin, log.topics, OWNERS, lambda instants: dict.fromkeys(instants, 0))


def test_namespace_that_was_never_applied_has_nothing_since() -> None:
    transport = MemoryTransport()

    assert named_since(transport, transport.admin(), Topics(), OWNERS, lambda instants: {}) == {}
