"""Transactional ids in the broker in memory: epochs, fencing, markers one by one, time-outs, pending positions."""

import pytest

from farandole.transport.memory.broker import Broker
from farandole.transport.memory.refusals import (
    MetadataTooLong,
    ProducerFenced,
    RecordTooLarge,
    TransactionBusy,
    UnknownTopic,
)
from farandole.transport.memory.transactions import Writer
from farandole.transport.port import Isolation, NewRecord, Position, TopicPartition, TopicSpec

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
TIMEOUT = 10.0


@pytest.fixture
def broker() -> Broker:
    broker = Broker()
    broker.create_topic(TopicSpec("t", 2))
    return broker


def to(at: TopicPartition, value: bytes = b"x") -> NewRecord:
    return NewRecord(at.topic, None, value, (), at.partition)


def values(broker: Broker, at: TopicPartition) -> list[bytes | None]:
    return [each.value for each in broker.read(at, 0, 100)[0]]


def add(broker: Broker, writer: Writer, position: Position, at: TopicPartition = A, group: str = "g") -> None:
    broker.add_positions(writer, group, "", -1, {at: position})


def committed(broker: Broker, at: TopicPartition = A, *, stable: bool = True) -> dict[TopicPartition, Position | None]:
    return broker.positions("g", [at], stable=stable)


def test_init_raises_the_epoch_and_fences_the_one_before(broker: Broker) -> None:
    old = broker.init("w", TIMEOUT)

    new = broker.init("w", TIMEOUT)

    assert new.epoch > old.epoch
    with pytest.raises(ProducerFenced):
        broker.append_in(old, to(A))
    broker.append_in(new, to(A))


def test_init_aborts_what_was_left_open_and_waits_for_its_markers(broker: Broker) -> None:
    old = broker.init("w", TIMEOUT)
    broker.append_in(old, to(A, b"left"))

    with pytest.raises(TransactionBusy):
        broker.init("w", TIMEOUT)

    with pytest.raises(ProducerFenced):
        broker.end_transaction(old, commit=True)
    broker.settle()
    broker.init("w", TIMEOUT)
    assert values(broker, A) == []
    assert broker.end(A, Isolation.COMMITTED) == 2


def test_prepared_commit_stands_though_its_markers_come_one_by_one(broker: Broker) -> None:
    writer = broker.init("w", TIMEOUT)
    broker.append_in(writer, to(A, b"a"))
    broker.append_in(writer, to(B, b"b"))
    add(broker, writer, Position(5))
    broker.end_transaction(writer, commit=True)

    assert list(broker.transactions.unmarked()) == [("w", A), ("w", B), ("w", "g")]
    broker.transactions.mark("w", B)

    assert (values(broker, A), values(broker, B)) == ([], [b"b"])
    assert committed(broker) == {}
    with pytest.raises(TransactionBusy):
        broker.append_in(writer, to(A))
    broker.settle()
    assert values(broker, A) == [b"a"]
    assert committed(broker) == {A: Position(5)}
    broker.append_in(writer, to(A))


def test_end_without_a_transaction_decides_nothing(broker: Broker) -> None:
    writer = broker.init("w", TIMEOUT)

    broker.end_transaction(writer, commit=True)

    assert list(broker.transactions.unmarked()) == []
    assert broker.end(A, Isolation.UNCOMMITTED) == 0


def test_time_out_aborts_and_fences(broker: Broker) -> None:
    broker.tick(100.0, 0)
    writer = broker.init("w", TIMEOUT)
    broker.append_in(writer, to(A, b"late"))

    broker.tick(109.9, 0)
    before = list(broker.transactions.unmarked())
    broker.tick(110.0, 0)

    assert before == []
    assert list(broker.transactions.unmarked()) == [("w", A)]
    with pytest.raises(ProducerFenced):
        broker.end_transaction(writer, commit=True)
    broker.settle()
    assert values(broker, A) == []


def test_time_out_counts_from_the_first_use_of_each_transaction(broker: Broker) -> None:
    writer = broker.init("w", TIMEOUT)
    broker.append_in(writer, to(A, b"first"))
    broker.end_transaction(writer, commit=True)
    broker.settle()
    broker.tick(9.0, 0)
    broker.append_in(writer, to(A, b"second"))

    broker.tick(18.0, 0)
    broker.end_transaction(writer, commit=True)
    broker.settle()

    assert values(broker, A) == [b"first", b"second"]


def test_refused_record_leaves_the_transaction_as_it_was(broker: Broker) -> None:
    writer = broker.init("w", TIMEOUT)
    broker.append_in(writer, to(A, b"fine"))

    with pytest.raises(RecordTooLarge):
        broker.append_in(writer, to(B, b"x" * 2_000_000))
    with pytest.raises(UnknownTopic):
        broker.append_in(writer, to(TopicPartition("t", 9)))

    broker.end_transaction(writer, commit=True)
    broker.settle()
    assert values(broker, A) == [b"fine"]
    assert broker.end(B, Isolation.UNCOMMITTED) == 0


def test_position_is_pending_until_the_marker_and_gone_after_an_abort(broker: Broker) -> None:
    first, second = broker.init("w", TIMEOUT), broker.init("v", TIMEOUT)
    add(broker, first, Position(1, "one"))
    broker.end_transaction(first, commit=True)
    broker.settle()

    add(broker, second, Position(9))

    assert committed(broker) == {}
    assert committed(broker, stable=False) == {A: Position(1, "one")}
    broker.end_transaction(second, commit=False)
    broker.settle()
    assert committed(broker) == {A: Position(1, "one")}


def test_of_two_transactions_the_one_told_later_wins_whichever_ends_first(broker: Broker) -> None:
    early, late = broker.init("w", TIMEOUT), broker.init("v", TIMEOUT)
    add(broker, early, Position(1, "early"))
    add(broker, late, Position(2, "late"))

    broker.end_transaction(late, commit=True)
    broker.settle()
    broker.end_transaction(early, commit=True)
    broker.settle()

    assert committed(broker) == {A: Position(2, "late")}


def test_position_told_again_in_one_transaction_replaces_the_one_before(broker: Broker) -> None:
    writer = broker.init("w", TIMEOUT)
    add(broker, writer, Position(1))
    add(broker, writer, Position(2))

    broker.end_transaction(writer, commit=True)
    broker.settle()

    assert committed(broker) == {A: Position(2)}


def test_metadata_that_is_too_long_is_refused_for_its_partition_alone(broker: Broker) -> None:
    writer = broker.init("w", TIMEOUT)

    with pytest.raises(MetadataTooLong, match="4095"):
        broker.add_positions(writer, "g", "", -1, {A: Position(1, "x" * 4096), B: Position(1, "y" * 4095)})

    assert committed(broker, A) == {A: None}
    assert committed(broker, B) == {}


def test_position_of_an_unknown_partition_is_refused(broker: Broker) -> None:
    writer = broker.init("w", TIMEOUT)

    with pytest.raises(UnknownTopic):
        add(broker, writer, Position(1), TopicPartition("nowhere", 0))

    assert list(broker.transactions.unmarked()) == []


def test_fenced_writer_is_told_so_even_if_its_generation_is_stale_too(broker: Broker) -> None:
    old = broker.init("w", TIMEOUT)
    broker.init("w", TIMEOUT)

    with pytest.raises(ProducerFenced):
        broker.add_positions(old, "g", "nobody", 3, {A: Position(1)})


def left_out(broker: Broker) -> Writer:
    """A writer whose commit was answered, and marked nowhere."""
    writer = broker.init("w", TIMEOUT)
    broker.append_in(writer, to(A, b"one"))
    add(broker, writer, Position(7))
    broker.end_transaction(writer, commit=True)
    assert broker.transactions.forgettable() == ["w"]
    broker.transactions.forget("w")
    return writer


def test_markers_that_were_left_out_hide_what_was_committed_until_somebody_writes_them(broker: Broker) -> None:
    left_out(broker)
    broker.settle()
    assert (values(broker, A), committed(broker)) == ([], {})

    assert broker.transactions.recall("w")

    assert (values(broker, A), committed(broker)) == ([b"one"], {A: Position(7)})
    assert broker.transactions.recall("w"), "nothing is left"


@pytest.mark.parametrize("commit", [True, False])
def test_next_end_of_a_writer_that_has_heard_of_nothing_ends_what_was_left_out_too(
    broker: Broker, commit: bool
) -> None:
    writer = left_out(broker)
    broker.append_in(writer, to(A, b"two"))
    broker.append_in(writer, to(B, b"three"))
    assert not broker.transactions.recall("w"), "something is under way"
    broker.end_transaction(writer, commit=commit)
    broker.settle()

    assert broker.transactions.is_torn("w") is not commit
    broker.transactions.recall("w")

    assert values(broker, A) == ([b"one", b"two"] if commit else [])
    assert committed(broker) == {A: Position(7) if commit else None}


def test_initialised_an_id_has_all_its_markers(broker: Broker) -> None:
    left_out(broker)

    broker.init("w", TIMEOUT)

    assert values(broker, A) == [b"one"]


def test_only_commits_of_which_no_marker_is_written_yet_are_left_out(broker: Broker) -> None:
    half, aborting, positions = (broker.init(name, TIMEOUT) for name in ("half", "aborting", "positions"))
    for writer in (half, aborting):
        broker.append_in(writer, to(A))
        broker.append_in(writer, to(B))
    broker.end_transaction(half, commit=True)
    add(broker, positions, Position(7))
    broker.end_transaction(positions, commit=True)
    broker.end_transaction(aborting, commit=False)
    broker.transactions.mark("half", A)

    assert broker.transactions.forgettable() == []
