"""The one transaction of an agent, and what is left of it when its partitions have gone meanwhile (R4, R6)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import pytest

from farandole.clock import ManualClock
from farandole.runtime.committing import Committer
from farandole.runtime.lanes import Load
from farandole.runtime.ownership import Ownership
from farandole.runtime.partition import Partition, Stage
from farandole.runtime.planner import Limits, Planner
from farandole.runtime.recording import Counts
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import (
    Commit,
    Member,
    Position,
    ReadPositions,
    RenewProducer,
    Reply,
    Request,
    TopicPartition,
    Verdict,
)

LOST, KEPT = TopicPartition("inbox", 0), TopicPartition("inbox", 1)
SETTLE_AFTER_S = 0.5


@dataclass
class Joined:
    """A member that may commit at any time."""

    client_id: str = "me"

    def snapshot(self) -> str:
        return "as it is now"


@dataclass
class Owner:
    """A committer over two partitions that run, and the requests that wait for an answer."""

    clock: ManualClock = field(default_factory=ManualClock)
    asked: list[tuple[Request, Callable[[Reply], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ownership = Ownership("me", self.ask)
        self.ownership.assigned([LOST, KEPT])
        for partition in self.ownership.partitions.values():
            partition.stage, partition.epoch, partition.committed = Stage.RUNNING, 1, 0
        self.committer = Committer(
            cast("Member", Joined()),
            self.ask,
            Planner("me", 5, Limits(100, 10_000)),
            self.ownership,
            Load(100, 10_000),
            Counts(),
            self.clock,
            lambda flight: None,
            SETTLE_AFTER_S,
        )

    def ask(self, request: Request, then: Callable[[Reply], None]) -> None:
        self.asked.append((request, then))

    def commit(self) -> Commit | None:
        """The transaction that it submits now, if it does."""
        self.committer.submit()
        return next((request for request, _ in self.asked if isinstance(request, Commit)), None)

    def answer(self, **reply: object) -> None:
        request, then = self.asked.pop(0)
        then(Reply(1, request, **reply))  # type: ignore[arg-type]

    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def reach_end(self, partition: Partition, end: int) -> None:
        """Markers up to there: nothing of it is still to come."""
        partition.offsets.reached_end(end)
        self.committer.look_at_end(partition)


def written(writer: str, number: int, offset: int) -> Position:
    return Position(offset, encode(Metadata(writer, number, 1, clean=False)))


def test_ends_are_committed_over_when_nothing_else_went_for_a_while() -> None:
    it = Owner()
    it.reach_end(it.ownership.partitions[LOST], 7)

    assert it.commit() is None
    it.wait(SETTLE_AFTER_S)
    commit = it.commit()

    assert commit is not None
    assert {at: position.offset for at, position in commit.positions.items()} == {LOST: 7}


@pytest.mark.parametrize("ours", [LOST, KEPT], ids=["seen on the lost one", "seen on the kept one"])
def test_a_partition_that_was_lost_while_a_transaction_was_in_doubt_is_never_named_again(ours: TopicPartition) -> None:
    """It committed over two ends, in doubt, while one of them went to another owner, and was found to stand: from then
    on its position of the lost one was committed again every two seconds, over those of whoever had it (seed 1002048).
    """
    it = Owner()
    for partition in it.ownership.partitions.values():
        it.reach_end(partition, 7)
    it.wait(SETTLE_AFTER_S)
    commit = it.commit()
    assert commit is not None
    assert commit.positions.keys() == {LOST, KEPT}

    it.answer(verdict=Verdict.DOUBT)
    gone = it.ownership.gone([LOST])
    it.committer.forget(it.ownership.is_current)
    it.answer()
    assert [type(request) for request, _ in it.asked] == [ReadPositions]
    number = it.committer.planner.number
    positions = {at: written("me" if at == ours else "other", number, 7) for at in (LOST, KEPT)}
    it.answer(positions=positions)

    assert it.committer.flight is None
    assert [partition.at for partition in gone] == [LOST]
    it.wait(60)
    assert it.commit() is None


def test_nobody_looks_again_at_once_for_what_cannot_go_now() -> None:
    """A settle time that had passed was told while a transaction was under way: the loop turned at full speed."""
    it = Owner()
    it.reach_end(it.ownership.partitions[LOST], 7)
    it.wait(SETTLE_AFTER_S)
    assert it.committer.next_due() == it.clock.monotonic()
    it.commit()
    assert it.committer.next_due() is None

    it.answer(verdict=Verdict.ABORTED)
    it.commit()  # the first repetition goes at once
    it.answer(verdict=Verdict.ABORTED)

    due = it.committer.next_due()
    assert due is not None
    assert due > it.clock.monotonic()


def test_ends_that_could_go_are_no_reason_to_wake_while_another_writer_is_fenced() -> None:
    """No transaction may begin beside it: the loop turned at full speed until the broker had answered."""
    it = Owner()
    it.reach_end(it.ownership.partitions[LOST], 7)
    it.wait(SETTLE_AFTER_S)

    it.ownership.is_fencing = True
    assert it.commit() is None
    assert it.committer.next_due() is None

    it.ownership.is_fencing = False
    assert it.committer.next_due() == it.clock.monotonic()
    assert it.commit() is not None


def test_a_new_producer_is_asked_for_before_anybody_judges() -> None:
    it = Owner()
    it.reach_end(it.ownership.partitions[LOST], 7)
    it.wait(SETTLE_AFTER_S)
    it.commit()

    it.answer(verdict=Verdict.DOUBT)

    assert [type(request) for request, _ in it.asked] == [RenewProducer]
