"""Collecting a history from a log: topics, definitions, positions with their bitmaps, ends."""

import dataclasses
from datetime import timedelta

import pytest

from farandole.clock import ManualClock
from farandole.errors import TransportError
from farandole.events import facts
from farandole.events.acts import ReadAgain, Repositioned
from farandole.events.topics import Topics
from farandole.testing.history import check_history, collect, lag
from farandole.testing.history.builder import START, HandMade
from farandole.testing.sketch import define, node
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import NewRecord, Position, TopicPartition, TopicSpec

TOPICS = Topics("ns")
ONE = define(node("a"))


def log_of(made: HandMade) -> MemoryTransport:
    """A log in memory that holds what was made by hand, in its order."""
    transport = MemoryTransport(ManualClock())
    admin = transport.admin()
    names = {*made.entries, TOPICS.events, TOPICS.commands, TOPICS.runs, TOPICS.control, TOPICS.inbox("a"), "own"}
    admin.create([TopicSpec(name, made.partitions) for name in sorted(names)])
    admin.create([TopicSpec(TOPICS.definitions, 1), TopicSpec("ns2.events", 1), TopicSpec(TOPICS.telemetry, 1)])
    producer = transport.producer("test")
    rows = [
        (str(ONE.hash), ONE.to_json()),
        ("broken", "{}"),
        ("pipeline:sketch", str(ONE.hash)),
        ("inbox:a", "unit"),
    ]
    for key, value in rows:
        producer.send(NewRecord(TOPICS.definitions, key.encode(), value.encode()))
    producer.send(NewRecord(TOPICS.definitions, b"pipeline:sketch", None))
    producer.send(NewRecord("own", b"k", b"v"))
    for record in made.written:
        producer.send(record)
    producer.flush(1)
    return transport


def ended() -> HandMade:
    """A run of one step that has ended."""
    made = HandMade(ONE, topics=TOPICS)
    made.started("a")
    made.succeeded("a")
    made.settled()
    return made


def commit(transport: MemoryTransport, group: str, at: TopicPartition, position: Position) -> None:
    """A first position of a group."""
    transport.admin().start_positions(f"ns.{group}", {at: position})


def test_a_collected_history_is_what_was_written() -> None:
    made = ended()
    expected = made.history()

    transport = log_of(made)
    for number in range(made.partitions):
        for name in (TOPICS.events, TOPICS.commands):
            commit(transport, "coordinator", TopicPartition(name, number), Position(0))
        commit(transport, "unit", TopicPartition(TOPICS.inbox("a"), number), Position(0))

    history = collect(transport, "ns", clock=ManualClock())

    assert check_history(history) == []
    for name in ("events", "commands", "inboxes", "settled", "runs"):
        places = [each.place for each in getattr(history, name)]
        assert sorted(places) == sorted(each.place for each in getattr(expected, name)), name
    assert [each.fact for each in history.events] == [each.fact for each in expected.events]
    assert history.home_partitions == made.partitions
    assert {digest: each.hash for digest, each in history.definitions.items()} == {str(ONE.hash): ONE.hash}
    assert dict(history.units) == {"a": "unit"}


def test_acts_on_positions_are_collected_and_what_is_no_act_is_left_out() -> None:
    act = Repositioned("a", "unit", START, (ReadAgain(0, 3, 7, None), ReadAgain(1, 0, 0, 9)))
    transport = log_of(ended())
    producer = transport.producer("test")
    for key, value in ((act.key, act.text()), ("reposition:a/1", "{}"), ("reposition:a/2", "\xff")):
        producer.send(NewRecord(TOPICS.definitions, key.encode(), value.encode()))
    producer.flush(1)

    history = collect(transport, "ns", clock=ManualClock())

    assert history.repositions == (act,)
    assert dict(history.units) == {"a": "unit"}


def test_other_namespaces_and_private_topics_are_left_alone_and_own_ones_read_on_demand() -> None:
    transport = log_of(ended())

    history = collect(transport, "ns", clock=ManualClock())
    with_own = collect(transport, "ns", own=["own"], clock=ManualClock())

    assert not {topic for topic, _ in history.spans} & {"own", "ns2.events", TOPICS.telemetry, TOPICS.definitions}
    assert [each.topic for each in with_own.published] == ["own"]


def test_positions_come_with_their_bitmaps_and_their_owners() -> None:
    transport = log_of(ended())
    inbox, events = TopicPartition(TOPICS.inbox("a"), 0), TopicPartition(TOPICS.events, 1)
    told = encode(Metadata("ns.unit.0", 7, 3, bitmap=bytes([0b0000_0110])))
    commit(transport, "unit", inbox, Position(10, told))
    commit(transport, "coordinator", events, Position(2))

    history = collect(transport, "ns", clock=ManualClock())

    by_topic = {each.topic: each for each in history.committed}
    mine = by_topic[TOPICS.inbox("a")]
    assert (mine.group, mine.position, mine.done, mine.writer) == ("ns.unit", 10, frozenset({11, 12}), "ns.unit.0")
    assert (mine.epoch, mine.clean) == (3, False)
    assert [mine.is_done(offset) for offset in (9, 10, 11, 13)] == [True, False, True, False]
    assert by_topic[TOPICS.events].group == "ns.coordinator"


def test_metadata_of_somebody_else_is_a_trouble_not_an_error() -> None:
    transport = log_of(ended())
    commit(transport, "unit", TopicPartition(TOPICS.inbox("a"), 0), Position(0, "x9.foreign"))

    history = collect(transport, "ns", clock=ManualClock())

    assert "expected commit metadata of version" in history.committed[0].trouble


def test_lag_counts_what_is_behind_the_ends() -> None:
    made = ended()
    transport = log_of(made)
    end = 1 + max(each.offset for each in made.history().events)
    commit(transport, "coordinator", TopicPartition(TOPICS.events, 1), Position(2))

    assert lag(transport, "ns") == end - 2


def test_a_quiescent_history_with_lag_is_told() -> None:
    transport = log_of(ended())
    commit(transport, "coordinator", TopicPartition(TOPICS.events, 1), Position(2))

    found = check_history(collect(transport, "ns", quiescent=True, clock=ManualClock()))

    assert {each.invariant for each in found} == {"I11"}


def test_an_open_transaction_that_hides_the_end_is_an_error_with_its_place() -> None:
    transport = log_of(ended())

    class Late(ManualClock):
        """A clock on which every look takes a minute."""

        def monotonic(self) -> float:
            """A minute later each time."""
            self.advance(timedelta(minutes=1))
            return super().monotonic()

    with transport.hub as broker:
        writer = broker.init("somebody", 60.0)
        broker.append_in(writer, NewRecord(TOPICS.events, b"k", b"v", partition=0))

    with pytest.raises(TransportError, match=r"ns.events\[0\]: expected to read up to 1 within 0:01:00"):
        collect(transport, "ns", clock=Late())


def test_a_fresh_namespace_has_an_empty_history() -> None:
    transport = MemoryTransport(ManualClock())
    transport.admin().create([TopicSpec(TOPICS.definitions, 1)])

    history = collect(transport, "ns", clock=ManualClock())

    assert dataclasses.replace(history, now=None, spans={}).entries == ()
    assert isinstance(check_history(history), list)
    assert not any(isinstance(each.fact, facts.RunStarted) for each in history.events)
