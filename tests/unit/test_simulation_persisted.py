"""What the simulation says of positions that go back."""

import pytest

from farandole.testing.simulation.persisted import Persisted
from farandole.transport.memory.broker import Broker
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import Position, TopicPartition, TopicSpec

GROUP, AT = "unit", TopicPartition("inbox", 0)


def seen(*positions: Position) -> Persisted:
    """What comes of these, committed one after the other."""
    broker, persisted = Broker(), Persisted()
    broker.create_topic(TopicSpec("inbox", 1))
    for position in positions:
        writer = broker.init("me", 60.0)
        broker.add_positions(writer, GROUP, "", -1, {AT: position})
        broker.end_transaction(writer, commit=True)
        broker.transactions.settle()
        persisted.look(broker, GROUP)
    return persisted


def at(offset: int, epoch: int = 1, now_ms: int | None = None) -> Position:
    return Position(offset, encode(Metadata("me", 1, epoch, clean=False, now_ms=now_ms)))


def test_positions_that_go_on_are_right() -> None:
    it = seen(at(1), at(1), at(7), at(7, epoch=2), at(9, epoch=2))

    assert it.taken_back == []
    assert it.instants_taken_back == []


@pytest.mark.parametrize(
    "later", [at(6), at(9, epoch=0), at(6, epoch=2)], ids=["the offset", "the epoch", "the offset under a new owner"]
)
def test_a_position_or_an_epoch_that_goes_back_is_told(later: Position) -> None:
    (told,) = seen(at(7), later).taken_back

    assert told.startswith("unit, inbox[0] by me: ")


def test_time_that_goes_back_is_told_apart() -> None:
    it = seen(at(1, now_ms=2_000), at(2, now_ms=1_000))

    assert it.taken_back == []
    assert it.instants_taken_back == ["unit, inbox[0] by me: 1000 was persisted after 2000"]


def test_what_the_broker_lost_is_no_owners_doing() -> None:
    """From there on owners are held to what it gives out."""
    broker, persisted = Broker(), Persisted()
    broker.create_topic(TopicSpec("inbox", 1))

    def commit(position: Position) -> None:
        writer = broker.init("me", 60.0)
        broker.add_positions(writer, GROUP, "", -1, {AT: position})
        broker.end_transaction(writer, commit=True)
        broker.transactions.settle()
        persisted.look(broker, GROUP)

    for offset in (3, 7):
        commit(at(offset, epoch=offset))
    broker.lose_positions(GROUP, 1)

    assert persisted.lost(broker, GROUP)
    commit(at(5, epoch=4))
    commit(at(7, epoch=4))
    assert persisted.taken_back == []
    commit(at(6, epoch=4))
    assert len(persisted.taken_back) == 1


def test_a_loss_of_what_had_not_moved_is_none() -> None:
    broker, persisted = Broker(), Persisted()
    broker.create_topic(TopicSpec("inbox", 1))
    for _ in range(2):
        writer = broker.init("me", 60.0)
        broker.add_positions(writer, GROUP, "", -1, {AT: at(3)})
        broker.end_transaction(writer, commit=True)
        broker.transactions.settle()
        persisted.look(broker, GROUP)

    assert broker.lose_positions(GROUP, 1) == 1
    assert not persisted.lost(broker, GROUP)
