"""Positions that the broker in memory has lost, as a real one killed twice in a minute has (docs/decisions/0112)."""

import pytest

from farandole.transport.memory.broker import Broker
from farandole.transport.memory.groups import Join, Standing
from farandole.transport.memory.positions import KEPT_MAX
from farandole.transport.memory.refusals import StaleGeneration
from farandole.transport.memory.transactions import Writer
from farandole.transport.port import Position, TopicPartition, TopicSpec

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
TIMEOUT, GROUP = 10.0, "g"


@pytest.fixture
def broker() -> Broker:
    broker = Broker()
    broker.create_topic(TopicSpec("t", 2))
    return broker


def told(broker: Broker, writer_id: str, **offsets: int) -> Writer:
    """A transaction that names positions and is left open."""
    writer = broker.init(writer_id, TIMEOUT)
    broker.add_positions(writer, GROUP, "", -1, {{"a": A, "b": B}[at]: Position(n, "") for at, n in offsets.items()})
    return writer


def commit(broker: Broker, **offsets: int) -> None:
    end(broker, told(broker, "w", **offsets))


def end(broker: Broker, writer: Writer) -> None:
    broker.end_transaction(writer, commit=True)
    broker.settle()


def offsets(broker: Broker) -> tuple[int, ...]:
    return tuple(broker.all_positions(GROUP)[at].offset for at in (A, B))


def test_all_partitions_go_back_to_one_moment(broker: Broker) -> None:
    commit(broker, a=0, b=0)
    commit(broker, a=1)
    commit(broker, b=1)
    commit(broker, a=2)
    commit(broker, a=3, b=2)

    assert broker.lose_positions(GROUP, 2) == 2
    assert offsets(broker) == (1, 1)
    assert broker.lose_positions(GROUP, 1) == 1
    assert offsets(broker) == (1, 0)


def test_a_group_goes_on_from_where_it_went_back_to(broker: Broker) -> None:
    commit(broker, a=0, b=0)
    commit(broker, a=5)
    broker.lose_positions(GROUP, 1)

    commit(broker, a=2)

    assert offsets(broker) == (2, 0)
    broker.lose_positions(GROUP, 1)
    assert offsets(broker) == (0, 0)


def test_the_first_position_of_a_partition_is_never_lost(broker: Broker) -> None:
    """Without one nobody goes on before a person acts: that is another fault."""
    commit(broker, a=0)
    commit(broker, a=1)
    commit(broker, b=0)
    commit(broker, a=2)

    assert broker.lose_positions(GROUP, 10) == 1
    assert offsets(broker) == (1, 0)
    assert broker.lose_positions("another", 10) == 0


def test_other_groups_keep_theirs(broker: Broker) -> None:
    broker.restore_position("other", A, Position(1, ""))
    broker.restore_position("other", A, Position(2, ""))
    commit(broker, a=0)
    commit(broker, a=1)

    broker.lose_positions(GROUP, 10)

    assert broker.all_positions("other") == {A: Position(2, "")}


def test_only_so_many_commits_are_kept(broker: Broker) -> None:
    for offset in range(KEPT_MAX + 10):
        commit(broker, a=offset, b=0)

    assert broker.lose_positions(GROUP, KEPT_MAX + 10) == KEPT_MAX
    assert offsets(broker) == (9, 0)


def test_what_was_pending_and_lost_moves_nothing(broker: Broker) -> None:
    """It stood on the log behind the end that was lost: its transaction commits, and no position with it."""
    commit(broker, a=0, b=0)
    commit(broker, a=1)
    pending = told(broker, "other", b=7)

    broker.lose_positions(GROUP, 1)

    assert broker.positions(GROUP, [B], stable=True) == {B: Position(0, "")}
    end(broker, pending)
    assert offsets(broker) == (0, 0)


def test_what_was_pending_before_stays_so_until_its_transaction_ends(broker: Broker) -> None:
    commit(broker, a=0, b=0)
    pending = told(broker, "other", b=7)
    commit(broker, a=1)
    commit(broker, a=2)

    broker.lose_positions(GROUP, 1)

    assert broker.positions(GROUP, [A, B], stable=True) == {A: Position(1, "")}
    end(broker, pending)
    assert offsets(broker) == (1, 7)


def test_nobody_is_a_member_any_more(broker: Broker) -> None:
    member = broker.join(GROUP, Join("c", frozenset("t"), "range", TIMEOUT))
    generation = broker.assigned(GROUP, member).generation
    broker.take_changes()

    broker.lose_positions(GROUP, 1)

    changes = broker.take_changes()
    assert changes is not None
    assert GROUP in changes.groups
    assert broker.members(GROUP) == frozenset()
    assert broker.heartbeat(GROUP, member) is Standing.UNKNOWN
    again = broker.join(GROUP, Join("c", frozenset("t"), "range", TIMEOUT))
    assert broker.assigned(GROUP, again).generation > generation
    with pytest.raises(StaleGeneration):
        broker.add_positions(broker.init("w", TIMEOUT), GROUP, member, generation, {A: Position(1, "")})
