"""How a partition becomes ours: its last writer first, then its position, then our epoch (R6, R7, R8)."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from farandole.errors import TransportError
from farandole.runtime.lanes import Load
from farandole.runtime.ownership import SLOW_S, Ownership
from farandole.runtime.partition import Partition, Stage
from farandole.runtime.recording import Counts
from farandole.runtime.view import View
from farandole.telemetry.catalogue import PARTITIONS
from farandole.transport.metadata import Metadata, decode, encode
from farandole.transport.port import (
    FenceWriter,
    ListMembers,
    Position,
    ReadEnds,
    ReadPositions,
    Reply,
    Request,
    TopicPartition,
)

A, B = TopicPartition("inbox", 0), TopicPartition("inbox", 1)


@dataclass
class Broker:
    """Answers when it is told to."""

    positions: dict[TopicPartition, Position | None] = field(default_factory=dict)
    pending: set[TopicPartition] = field(default_factory=set)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    refused: set[TopicPartition] = field(default_factory=set)
    members: frozenset[str] = frozenset()
    error: TransportError | None = None
    asked: list[Request] = field(default_factory=list)
    paused: list[TopicPartition] = field(default_factory=list)
    _waiting: list[tuple[Request, Callable[[Reply], None]]] = field(default_factory=list)

    def ask(self, request: Request, then: Callable[[Reply], None]) -> None:
        self.asked.append(request)
        self._waiting.append((request, then))

    def answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for request, then in waiting:
            then(self._reply(request))

    def _reply(self, request: Request) -> Reply:
        if self.error is not None:
            return Reply(1, request, error=self.error)
        match request:
            case ReadPositions(partitions=partitions) if self.refused.intersection(partitions):
                return Reply(1, request, error=TransportError("not authorized"))
            case ReadPositions(partitions=partitions, stable=stable):
                found = {at: self.positions.get(at) for at in partitions if not (stable and at in self.pending)}
                return Reply(1, request, positions=found)
            case ListMembers():
                return Reply(1, request, members=self.members)
            case ReadEnds():
                return Reply(1, request, ends=self.ends)
            case _:
                return Reply(1, request)

    def kinds(self) -> list[str]:
        return [type(request).__name__ for request in self.asked]


def written(writer: str, *, clean: bool = False, epoch: int = 3) -> Position:
    return Position(40, encode(Metadata(writer, 1, epoch, clean, bitmap=bytes([0b100]))))


def owning(
    positions: Mapping[TopicPartition, Position | None], members: frozenset[str] = frozenset({"me"})
) -> tuple[Ownership, Broker]:
    broker = Broker(dict(positions), members=members)
    ownership = Ownership("me", broker.ask, pause=broker.paused.extend)
    ownership.assigned(positions)
    return ownership, broker


def go_on(ownership: Ownership, broker: Broker, *, now: float = 0.0, steps: int = 8) -> None:
    for n in range(steps):
        ownership.step(now + n, may_fence=True)
        broker.answer()


@pytest.mark.parametrize(
    ("position", "members", "asked"),
    [
        (Position(40), {"me"}, ["ReadPositions", "ReadPositions"]),
        (written("me"), {"me"}, ["ReadPositions", "ReadPositions"]),
        (written("gone", clean=True), {"me"}, ["ReadPositions", "ReadPositions"]),
        (written("alive"), {"me", "alive"}, ["ReadPositions", "ListMembers", "ReadPositions"]),
        (written("gone"), {"me"}, ["ReadPositions", "ListMembers", "FenceWriter", "ReadPositions"]),
    ],
    ids=["fresh", "ours", "left in order", "alive", "dead"],
)
def test_partition_is_taken_over_and_only_a_dead_writer_is_fenced(
    position: Position, members: set[str], asked: list[str]
) -> None:
    ownership, broker = owning({A: position}, frozenset(members))

    go_on(ownership, broker)

    assert broker.kinds() == asked
    assert ownership.opening()[0].offsets.commit_point()[0] == 40


def test_partition_takes_over_epoch_and_bitmap_and_its_own_epoch_is_one_higher() -> None:
    ownership, broker = owning({A: written("me", epoch=3)})
    go_on(ownership, broker)
    (p,) = ownership.opening()

    p.opened()

    assert (p.stage, p.epoch, p.offsets.commit_point()) == (Stage.RUNNING, 4, (40, bytes([0b100])))


def test_pending_transaction_of_a_dead_writer_is_ended_before_positions_are_read() -> None:
    """A kill -9 inside a transaction: its pending positions would hold up a stable read for ten seconds."""
    ownership, broker = owning({A: written("gone")})
    broker.pending = {A}
    go_on(ownership, broker, steps=3)
    assert any(isinstance(request, FenceWriter) for request in broker.asked)

    broker.pending = set()
    go_on(ownership, broker, now=10.0)

    assert ownership.opening()


def test_fence_waits_for_a_transaction_under_way() -> None:
    ownership, broker = owning({A: written("gone")})
    for n in range(4):
        ownership.step(float(n), may_fence=False)
        broker.answer()
    assert "FenceWriter" not in broker.kinds()

    ownership.step(5.0, may_fence=True)

    assert ownership.is_fencing
    broker.answer()
    assert not ownership.is_fencing


def test_position_that_could_not_be_read_is_no_reason_to_wake_while_a_transaction_is_under_way() -> None:
    """Its pause had passed while the transaction stayed in doubt: the loop turned at full speed."""
    ownership, broker = owning({A: written("me")})
    go_on(ownership, broker, steps=1)
    broker.error = TransportError("away")
    go_on(ownership, broker, now=1.0, steps=1)
    assert ownership.partitions[A].stage is Stage.POSITIONS

    assert not ownership.step(5.0, may_fence=False)
    assert ownership.next_due(may_fence=False) is None

    assert ownership.next_due(may_fence=True) == pytest.approx(1.1)
    assert ownership.step(5.0, may_fence=True)


def test_writer_that_could_not_be_fenced_is_no_reason_to_wake_while_nobody_may_be() -> None:
    ownership, broker = owning({A: written("gone"), B: written("gone too")})
    go_on(ownership, broker, steps=2)
    broker.error = TransportError("away")
    ownership.step(2.0, may_fence=True)
    broker.answer()
    assert ownership.next_due(may_fence=True) == pytest.approx(2.1)
    assert ownership.next_due(may_fence=False) is None, "a transaction is under way"

    assert ownership.step(2.05, may_fence=True), "the other one's turn"
    assert ownership.is_fencing
    assert not ownership.step(5.0, may_fence=True)
    assert ownership.next_due(may_fence=True) is None

    broker.error = None
    broker.answer()
    assert ownership.next_due(may_fence=True) == pytest.approx(2.1)
    assert ownership.step(5.0, may_fence=True)


def test_members_that_could_not_be_listed_are_asked_again_though_a_transaction_is_under_way() -> None:
    ownership, broker = owning({A: written("gone")})
    go_on(ownership, broker, steps=1)
    broker.error = TransportError("away")
    ownership.step(1.0, may_fence=False)
    broker.answer()

    assert ownership.next_due(may_fence=False) == pytest.approx(1.1)
    assert ownership.step(1.2, may_fence=False)


def test_partition_without_position_is_stopped_and_looked_at_again_later() -> None:
    ownership, broker = owning({A: None, B: Position(0)})
    go_on(ownership, broker, steps=3)
    assert [p.at for p in ownership.opening()] == [B]
    assert ownership.partitions[A].stage is Stage.STOPPED

    broker.positions[A] = Position(0)
    go_on(ownership, broker, now=20.0)

    assert {p.at for p in ownership.opening()} == {A, B}


def test_partition_with_unreadable_metadata_is_stopped_for_good() -> None:
    ownership, broker = owning({A: Position(0, "f9.future"), B: Position(0)})

    go_on(ownership, broker)
    go_on(ownership, broker, now=100.0)

    assert [p.at for p in ownership.opening()] == [B]
    assert ownership.stopped == 1


def test_partition_whose_position_is_gone_stands_still_until_the_group_has_another_one() -> None:
    # The story: an inbox was deleted and made anew. Its partitions were stopped for good, and after `apply` had given
    # the new topic positions, nobody read it before the process was restarted.
    ownership, broker = owning({A: written("me"), B: Position(0)})
    go_on(ownership, broker)
    for p in ownership.opening():
        p.opened()
        p.committed = p.offsets.base
    before = ownership.partitions[A]
    ownership.remembered.note({A: written("me", epoch=4)})

    ownership.give_up(before, "its records were deleted", 10.0)
    go_on(ownership, broker, now=20.0)
    assert not ownership.is_current(before), "what is under way began before, and says nothing of what is there now"
    assert ownership.partitions[A].stage is Stage.STOPPED
    assert ownership.stopped == 1, "told once, however often it is looked at"
    broker.positions[A] = Position(7)
    go_on(ownership, broker, now=40.0)

    assert [(p.at, p.offsets.base) for p in ownership.opening()] == [(A, 7)]
    assert ownership.partitions[B].stage is Stage.RUNNING


def at_epoch(offset: int, epoch: int) -> Position:
    return Position(offset, encode(Metadata("other", 1, epoch)))


def test_partition_whose_position_went_back_stands_still_until_it_is_right_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The story: a broker that was killed twice in a minute gave out positions of an hour ago, and an hour's work was
    # done once more (docs/decisions/0122).
    ownership, broker = owning({A: at_epoch(40, 3)})
    ownership.remembered.note({A: at_epoch(5000, 80)})

    go_on(ownership, broker)
    assert ownership.partitions[A].stage is Stage.STOPPED
    assert "its position went back from 5000 to 40 (epoch 80 to 3)" in caplog.text
    assert "farandole agent reposition inbox" in caplog.text
    broker.positions[A] = at_epoch(5000, 81)
    go_on(ownership, broker, now=20.0)

    assert [(p.at, p.epoch) for p in ownership.opening()] == [(A, 81)]
    assert ownership.stopped == 1, "told once, however often it is looked at"


@pytest.mark.parametrize("known", [{A: at_epoch(5000, 80)}, {A: at_epoch(5000, 80), B: at_epoch(7, 1)}])
def test_partitions_of_a_group_wait_with_one_that_went_back(known: dict[TopicPartition, Position]) -> None:
    """A group has one log of positions: what was lost of it, was lost of all. What this process had long ago proves
    nothing of one that another owner had since."""
    ownership, broker = owning({A: at_epoch(40, 3), B: at_epoch(7, 2)})
    ownership.remembered.note(known)
    go_on(ownership, broker)
    assert {p.at for p in ownership.at(Stage.STOPPED)} == {A, B}

    ownership.gone([A])
    go_on(ownership, broker, now=20.0, steps=10)
    assert {p.at for p in ownership.at(Stage.STOPPED)} == {B}, "though another process has the other one now"
    broker.positions[A] = None
    go_on(ownership, broker, now=40.0, steps=10)
    assert {p.at for p in ownership.at(Stage.STOPPED)} == {B}, "none is no more than what went back"
    broker.positions = {A: at_epoch(5000, 81), B: at_epoch(900, 9)}
    go_on(ownership, broker, now=60.0, steps=10)

    assert [(p.at, p.epoch) for p in ownership.opening()] == [(B, 9)]


def committed(offset: int, number: int, epoch: int = 3) -> Position:
    return Position(offset, encode(Metadata("me", number, epoch)))


def test_partition_of_which_one_transaction_alone_is_missing_is_taken_over_as_it_stands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The story: a broker that was killed came back, left out markers of a transaction that it had answered as
    # committed, and the roll-back of the next one ended both: all partitions waited for a person (docs/decisions/0123).
    ownership, broker = owning({A: committed(12, 7), B: committed(5, 6)})
    ownership.remembered.note({A: committed(12, 7), B: committed(5, 6)})
    ownership.remembered.note({A: committed(14, 8, epoch=4)})

    go_on(ownership, broker)

    assert [(p.at, p.offsets.base, p.epoch) for p in ownership.opening()] == [(A, 12, 4), (B, 5, 3)]
    assert "its position went back from 14 to 12 (epoch 4 to 3): a broker did not keep the last tr" in caplog.text
    assert (ownership.stopped, ownership.went_back, ownership.torn) == (0, 0, 1)


def test_partition_of_which_more_than_one_transaction_is_missing_stands_still() -> None:
    ownership, broker = owning({A: committed(10, 6)})
    for number, offset in ((6, 10), (7, 12), (8, 14)):
        ownership.remembered.note({A: committed(offset, number)})

    go_on(ownership, broker)

    assert ownership.stopped == 1
    assert not ownership.opening()


def test_what_one_partition_lacks_is_looked_at_again_before_the_next_is_taken_over() -> None:
    """Its epoch is committed meanwhile: the group has what it lacked, and the other one is no reason to stop."""
    ownership, broker = owning({A: committed(12, 7), B: committed(5, 6)})
    broker.pending = {B}
    ownership.remembered.note({A: committed(12, 7), B: committed(5, 6)})
    ownership.remembered.note({A: committed(14, 8)})
    go_on(ownership, broker)
    (first,) = ownership.opening()
    first.opened()
    ownership.remembered.note({A: committed(14, 9, epoch=4)})
    broker.positions[A], broker.pending = committed(14, 9, epoch=4), set()

    go_on(ownership, broker, now=20.0)

    assert [(p.at, p.offsets.base) for p in ownership.opening()] == [(B, 5)]


def test_partition_at_work_that_lacks_its_last_transaction_is_taken_over_anew_with_the_others() -> None:
    """Another one was given to us, and told of it; this one went on, and passed over what was torn."""
    ownership, broker = owning({A: committed(12, 7)})
    go_on(ownership, broker)
    ownership.partitions[A].opened()
    ownership.remembered.note({A: committed(12, 8, epoch=4)})
    ownership.remembered.note({A: committed(14, 9, epoch=4)})
    broker.positions = {A: committed(12, 8, epoch=4), B: committed(5, 1)}
    ownership.assigned([B])

    go_on(ownership, broker, now=20.0)

    assert broker.paused == [A], "what is still to come of it was asked for before"
    assert ownership.has_anew
    assert [(p.at, p.offsets.base) for p in ownership.opening()] == [(A, 12), (B, 5)]
    assert ownership.torn == 1


def test_two_transactions_that_are_missing_are_seen_together_whoever_has_their_partitions() -> None:
    """Each was looked at by itself, and alone it is one torn transaction."""
    ownership, broker = owning({B: committed(5, 5)})
    broker.positions[A] = committed(12, 7)
    for at, offset, number in ((A, 12, 7), (B, 5, 5), (A, 14, 8), (B, 6, 9)):
        ownership.remembered.note({at: committed(offset, number)})

    go_on(ownership, broker)

    assert ownership.stopped == 1
    assert not ownership.opening()


def test_partition_that_was_seen_to_while_its_topic_was_looked_at_did_not_go_back() -> None:
    """Two looked at once after a doubt: one undid the torn transaction, the other stopped all (seed 7770224)."""
    ownership, broker = owning({B: committed(5, 5)})
    broker.positions[A] = committed(12, 7)
    ownership.remembered.note({A: committed(12, 7)})
    ownership.remembered.note({A: committed(14, 8)})
    while not any(isinstance(request, ReadEnds) for request in broker.asked):
        ownership.step(0.0, may_fence=True)
        broker.answer()

    ownership.remembered.undo(A)
    go_on(ownership, broker)

    assert ownership.stopped == 0
    assert [p.at for p in ownership.opening()] == [B]


def test_partition_that_another_process_has_now_tells_of_the_group_too() -> None:
    """After an outage two processes had each other's partitions, and neither saw that its own had gone back."""
    ownership, broker = owning({B: at_epoch(7, 2)})
    broker.positions[A] = at_epoch(40, 3)
    ownership.remembered.note({A: at_epoch(5000, 80)})

    go_on(ownership, broker)

    assert {p.at for p in ownership.at(Stage.STOPPED)} == {B}


def test_answer_that_may_be_a_moment_behind_proves_nothing() -> None:
    """A transaction is told to be committed before its end stands on the log of positions: whoever got the partition
    back in between took the last position but one for a loss, and stopped for five seconds (two of sixty seeds)."""
    ownership, broker = owning({A: at_epoch(40, 3)})
    ownership.remembered.note({A: at_epoch(41, 3)})
    broker.pending = {A}
    go_on(ownership, broker)
    assert ownership.partitions[A].stage is Stage.POSITIONS

    broker.pending, broker.positions[A] = set(), at_epoch(41, 3)
    go_on(ownership, broker, now=10.0)

    assert [p.at for p in ownership.opening()] == [A]
    assert ownership.stopped == 0


def test_inbox_that_was_made_anew_is_another_one(caplog: pytest.LogCaptureFixture) -> None:
    """Only the process that had lost its records forgot what it knew: one that had had the partition before stopped,
    with all of the unit, and until it was restarted."""
    ownership, broker = owning({A: at_epoch(40, 1), B: Position(0)})
    broker.ends = {A: 41, B: 0}
    ownership.remembered.note({A: at_epoch(5000, 7), B: at_epoch(10, 7)})

    go_on(ownership, broker)

    assert {p.at: p.epoch for p in ownership.opening()} == {A: 1, B: 7}
    assert "went back" not in caplog.text


def test_inbox_that_was_deleted_stops_nobody_else() -> None:
    ownership, broker = owning({B: at_epoch(7, 2)})
    broker.positions[A], broker.ends = None, {}
    ownership.remembered.note({A: at_epoch(5000, 80)})

    go_on(ownership, broker)

    assert [p.at for p in ownership.opening()] == [B]


def test_position_that_is_missing_where_its_topic_is_as_long_as_it_was_is_lost() -> None:
    ownership, broker = owning({B: at_epoch(7, 2)})
    broker.positions[A], broker.ends = None, {A: 6000}
    ownership.remembered.note({A: at_epoch(5000, 80)})

    go_on(ownership, broker, steps=20)

    assert ownership.opening() == []
    assert ownership.went_back > 1


def test_answer_is_held_against_what_was_known_when_it_was_asked_for() -> None:
    """It came behind that to a later commit of ours: twice in a row, and a healthy unit was told that the broker had
    lost its positions."""
    ownership, broker = owning({B: at_epoch(7, 2)})
    ownership.remembered.note({A: at_epoch(40, 3)})
    broker.positions[A] = at_epoch(40, 3)
    for n in range(8):
        ownership.step(float(n), may_fence=True)
        ownership.remembered.note({A: at_epoch(41 + n, 3)})
        broker.answer()
        broker.positions[A] = at_epoch(41 + n, 3)

    assert [p.at for p in ownership.opening()] == [B]
    assert ownership.stopped == 0


def test_topic_that_may_not_be_seen_any_more_keeps_no_partition_of_others() -> None:
    """The rights on a retired agent's inbox went, and the process took over no partition of any agent any more."""
    ownership, broker = owning({B: at_epoch(7, 2)})
    ownership.remembered.note({A: at_epoch(40, 3)})
    broker.refused = {A}

    go_on(ownership, broker)

    assert [p.at for p in ownership.opening()] == [B]


def test_partition_whose_records_are_gone_is_no_longer_one_that_went_back() -> None:
    ownership, broker = owning({A: at_epoch(40, 3), B: at_epoch(7, 2)})
    ownership.remembered.note({A: at_epoch(5000, 80)})
    go_on(ownership, broker)
    ownership.give_up(ownership.partitions[A], "its records were deleted", 10.0)
    ownership.gone([A])

    go_on(ownership, broker, now=20.0, steps=10)

    assert [p.at for p in ownership.opening()] == [B]


def test_token_does_not_fall_where_a_process_that_knew_nothing_has_caught_up() -> None:
    """It had opened the partition under epoch 4, where there had been epoch 80; nothing is left to be done twice."""
    ownership, broker = owning({A: at_epoch(6000, 4)})
    ownership.remembered.note({A: at_epoch(5000, 80)})

    go_on(ownership, broker)
    (p,) = ownership.opening()
    p.opened()

    assert p.epoch == 81


def test_answer_to_an_earlier_assignment_says_nothing_of_the_next() -> None:
    ownership, broker = owning({A: written("me", epoch=3)})
    ownership.step(0.0, may_fence=True)
    (before,) = ownership.gone([A])
    ownership.assigned([A])

    broker.answer()

    assert not ownership.is_current(before)
    assert ownership.partitions[A].stage is Stage.LAST_WRITER
    assert ownership.partitions[A].number > before.number


def test_broker_that_is_away_is_asked_again_after_a_pause() -> None:
    ownership, broker = owning({A: Position(0)})
    broker.error = TransportError("away")
    ownership.step(0.0, may_fence=True)
    broker.answer()
    assert not ownership.step(0.01, may_fence=True)
    assert ownership.next_due(may_fence=True) == pytest.approx(0.1)

    broker.error = None
    go_on(ownership, broker, now=1.0)

    assert ownership.opening()


def test_partitions_that_stand_still_cost_no_question() -> None:
    ownership, broker = owning({A: Position(0)})
    go_on(ownership, broker)
    for p in ownership.opening():
        p.opened()
    ownership.step(50.0, may_fence=True)
    before = len(broker.asked)

    go_on(ownership, broker, now=60.0)

    assert len(broker.asked) == before
    assert ownership.next_due(may_fence=True) is None
    assert decode("").epoch == 0
    assert isinstance(ownership.partitions[A], Partition)


def positions_told(ownership: Ownership) -> dict[TopicPartition, int]:
    parts: Any = None
    return View(Counts(), ownership, parts, parts, parts, parts).positions()


def test_lag_of_a_partition_that_stands_still_is_told_where_its_position_is_known() -> None:
    """It was left out, and so was the only lag that grew: the alert on it was green."""
    ownership, broker = owning({A: written("me"), B: Position(5, "f9.future")})
    go_on(ownership, broker)
    (p,) = ownership.opening()
    p.opened()
    p.committed = p.offsets.base
    assert positions_told(ownership) == {A: 40, B: 5}

    ownership.give_up(p, "its records were deleted", 10.0)

    assert {p.at for p in ownership.at(Stage.STOPPED)} == {A, B}
    assert positions_told(ownership) == {A: 40, B: 5}


def test_lag_of_a_partition_without_position_is_not_told() -> None:
    ownership, broker = owning({A: None})
    go_on(ownership, broker, steps=3)

    assert positions_told(ownership) == {}


def test_every_stage_of_partitions_is_told_those_where_none_is_too() -> None:
    ownership, broker = owning({A: None, B: Position(0)})
    go_on(ownership, broker, steps=3)
    load, parts = Load(100, 10_000), cast(Any, SimpleNamespace)
    work = parts(load=load, running=())

    shown = dict(View(Counts(), ownership, parts(), work, parts(), parts()).samples())

    stages = {(stage.value,): 0 for stage in Stage}
    assert shown[PARTITIONS] == stages | {("stopped",): 1, ("epoch",): 1}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was warned of."""
    caplog.set_level(logging.WARNING, "farandole.runtime")
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_partition_that_is_long_on_its_way_says_what_it_waits_for(told: Callable[[], list[str]]) -> None:
    """Positions stayed pending behind a transaction that nobody ended, and no line told which partition or why."""
    ownership, broker = owning({A: written("me"), B: written("me")})
    broker.pending = {A}
    for second in range(2 * int(SLOW_S) + 1):
        go_on(ownership, broker, now=100.0 + second, steps=1)
        ownership.tell_slow(100.0 + second)
        for p in ownership.opening():
            p.opened()

    assert told() == ["inbox[0] is not served yet: it waits for its position, on which a transaction is still open"] * 2


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_its_words_or_has_told_already(stage: Stage, told: Callable[[], list[str]]) -> None:
    ownership, _ = owning({A: written("me")})
    ownership.partitions[A].stage = stage

    ownership.tell_slow(0.0)
    ownership.tell_slow(SLOW_S)

    assert len(told()) == (stage in (Stage.LAST_WRITER, Stage.FENCING, Stage.POSITIONS, Stage.EPOCH))


def test_partition_that_is_stopped_is_not_told_twice_over(told: Callable[[], list[str]]) -> None:
    ownership, broker = owning({A: None})

    for second in range(3 * int(SLOW_S)):
        ownership.step(float(second), may_fence=True)
        ownership.tell_slow(float(second))  # while it is looked at once more, it is on its way again
        broker.answer()

    assert ownership.partitions[A].stage is Stage.STOPPED
    assert told() == []
