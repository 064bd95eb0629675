"""The one transaction of an agent, and what is left of it when its partitions have gone meanwhile (R4, R6)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import pytest

from farandole.clock import ManualClock
from farandole.errors import FatalTransportError, TransportError
from farandole.runtime.committing import Committer
from farandole.runtime.lanes import Load
from farandole.runtime.ownership import MISSING_RETRY_S, Ownership
from farandole.runtime.partition import Partition, Stage
from farandole.runtime.planner import Answer, Limits, Planner
from farandole.runtime.rechecking import LOOKS_S, Recheck
from farandole.runtime.recording import Counts
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import (
    Commit,
    Member,
    NewRecord,
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
RESULT = NewRecord("events", b"r-1", b"done")


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
    paused: list[TopicPartition] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ownership = Ownership("me", self.ask, pause=self.paused.extend)
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
            Recheck(self.ask, self.ownership),
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

    def is_over(self) -> bool:
        """Whether nothing is under way."""
        return self.committer.flight is None

    def wait(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def results(self, count: int) -> None:
        """So many results of one record each are in hand."""
        partition = self.ownership.partitions[KEPT]
        for offset in range(count):
            partition.offsets.admit(offset)
            self.committer.planner.add(Answer(partition, offset, [RESULT], 1, 0, lambda refused, error: None))

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


@pytest.mark.parametrize(
    ("verdict", "seconds", "size"),
    [
        (Verdict.DOUBT, 0.1, 50),
        (Verdict.ABORTED, 9.0, 50),
        (Verdict.ABORTED, 0.1, 100),
        (Verdict.STALE, 9.0, 100),
        (Verdict.FENCED, 9.0, 100),
    ],
)
def test_what_a_slow_log_did_not_take_in_time_is_made_smaller(verdict: Verdict, seconds: float, size: int) -> None:
    """A full transaction that took longer than the log's patience was made again as it was, for ever: at 100 kB/s an
    agent stood still for good. That it was fenced, or its group moved, says nothing of speed."""
    it = Owner()
    it.results(200)
    first = it.commit()
    assert first is not None
    assert len(first.records) == 100

    it.wait(seconds)
    it.answer(verdict=verdict)
    if verdict in (Verdict.DOUBT, Verdict.FENCED):
        it.answer()
        it.answer(positions={at: written("other", 1, 0) for at in first.positions})
        it.committer.recheck.step(it.clock.monotonic())
        it.answer(positions=dict.fromkeys((LOST, KEPT), Position(0)))
    again = it.commit()

    assert again is not None
    assert len(again.records) == size


def test_transactions_are_as_large_as_ever_once_a_slow_log_is_fast_again() -> None:
    it = Owner()
    it.results(200)
    it.commit()
    it.wait(9)
    it.answer(verdict=Verdict.ABORTED)

    sizes = []
    while (commit := it.commit()) is not None:
        sizes.append(len(commit.records))
        it.answer(verdict=Verdict.COMMITTED)

    assert sizes == [50, 60, 70, 20]


def test_transaction_of_no_results_says_nothing_of_what_the_log_can_take() -> None:
    it = Owner()
    it.reach_end(it.ownership.partitions[LOST], 7)
    it.wait(SETTLE_AFTER_S)
    it.commit()

    it.wait(9)
    it.answer(verdict=Verdict.ABORTED)
    it.results(200)
    commit = it.commit()

    assert commit is not None
    assert len(commit.records) == 100


def test_positions_that_are_refused_are_told_once_a_minute_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """An epoch that could not be committed was tried each second, and nobody was told why its partition stood still."""
    it = Owner()
    it.reach_end(it.ownership.partitions[LOST], 7)
    it.wait(SETTLE_AFTER_S)

    tries = 0
    for _ in range(100):
        if it.commit() is not None:
            tries += 1
            it.answer(verdict=Verdict.REFUSED, error=TransportError("inbox/0: UNKNOWN_TOPIC_OR_PART"))
        it.wait(1.0)

    assert tries > 50
    told = [record.getMessage() for record in caplog.records]
    assert told == ["Commit had no effect: inbox/0: UNKNOWN_TOPIC_OR_PART; trying again"] * 2


def test_result_of_which_the_log_takes_nothing_is_tried_again_after_a_pause_that_grows() -> None:
    it = Owner()
    it.results(1)

    pauses = []
    for _ in range(8):
        assert it.commit() is not None
        it.answer(verdict=Verdict.REFUSED, error=TransportError("events/0: UNKNOWN_TOPIC_OR_PART"))
        now = it.clock.monotonic()
        pauses.append(round((it.committer.next_due() or now) - now, 2))
        it.wait(pauses[-1] + 0.001)

    assert pauses == [0.0, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0]


def test_positions_that_went_back_judge_no_transaction() -> None:
    """What was in doubt had committed, and the broker lost the position of it and of the one before: judged to be
    without effect, it would have been made again, and stand twice on the log."""
    it = Owner()
    it.results(1)
    first = it.commit()
    assert first is not None
    it.answer(verdict=Verdict.COMMITTED)
    it.ownership.partitions[KEPT].offsets.admit(1)
    it.committer.planner.add(Answer(it.ownership.partitions[KEPT], 1, [RESULT], 1, 1, lambda *_: None))
    second = it.commit()
    assert second is not None
    it.answer(verdict=Verdict.DOUBT)
    it.answer()

    it.answer(positions={KEPT: written("me", 1, 0)})
    assert not it.is_over(), "asked again, until the group tells all that it had been told"
    it.wait(MISSING_RETRY_S - 0.1)
    it.committer.submit()
    assert not it.asked, "not all the time"
    it.wait(0.1)
    it.committer.submit()
    it.answer(positions=second.positions)

    assert it.is_over()
    assert it.ownership.partitions[KEPT].offsets.base == 2
    assert not it.committer.planner.has_answers


@pytest.mark.parametrize("reply", [{}, {"error": TransportError("away")}], ids=["pending", "no answer"])
def test_positions_that_are_not_told_yet_did_not_go_back(
    reply: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """Each doubt whose positions were pending for a moment waited for five seconds, and told of a loss."""
    it = Owner()
    it.ownership.remembered.note({KEPT: written("me", 1, 0)})
    it.results(1)
    commit = it.commit()
    assert commit is not None
    it.answer(verdict=Verdict.DOUBT)
    it.answer()

    it.answer(**reply)
    assert "went back" not in caplog.text
    it.wait(0.1)
    it.committer.submit()
    it.answer(positions=commit.positions)

    assert it.is_over()


def test_transaction_in_doubt_whose_end_has_torn_the_one_before_has_had_no_effect() -> None:
    """A broker left markers of a committed transaction out, and the roll-back of the next one ended both (0123)."""
    it = Owner()
    it.ownership.remembered.note({KEPT: written("me", 3, 0)})
    it.ownership.remembered.note({KEPT: written("me", 4, 1)})
    it.results(2)
    commit = it.commit()
    assert commit is not None
    it.answer(verdict=Verdict.DOUBT)
    it.answer()

    it.answer(positions={KEPT: written("me", 3, 0)})

    assert it.is_over()
    assert it.committer.planner.has_answers, "its results go once more"


def doubtful() -> Owner:
    """Whose last transaction was answered as committed, and the next one in doubt; that one has had no effect."""
    it = Owner()
    for offset in (0, 1):
        partition = it.ownership.partitions[KEPT]
        partition.offsets.admit(offset)
        it.committer.planner.add(Answer(partition, offset, [RESULT], 1, 0, lambda refused, error: None))
        it.commit()
        it.answer(verdict=Verdict.COMMITTED)
    it.reach_end(it.ownership.partitions[LOST], 7)
    it.wait(SETTLE_AFTER_S)
    it.commit()
    it.answer(verdict=Verdict.DOUBT)
    it.answer()
    it.answer(positions={LOST: Position(0)})
    return it


def test_nothing_is_committed_after_a_doubt_before_the_group_has_said_that_it_has_all_the_rest() -> None:
    it = doubtful()
    assert it.is_over()
    it.wait(60)
    assert it.commit() is None
    assert it.committer.recheck.step(it.clock.monotonic())
    assert it.commit() is None, "asked, and not answered"

    it.answer(positions={LOST: Position(0), KEPT: it.ownership.remembered.position(KEPT)})

    commit = it.commit()
    assert commit is not None
    assert commit.positions.keys() == {LOST}


def test_partition_of_which_the_group_lacks_the_last_transaction_is_taken_over_anew() -> None:
    """The end of the one in doubt had ended it too: the next commit passed over its result, and a run waited for it."""
    it = doubtful()
    before, known = it.ownership.partitions[KEPT], it.ownership.remembered
    it.committer.recheck.step(it.clock.monotonic())

    it.answer(positions={LOST: Position(0), KEPT: known.copy()._before[KEPT]})

    assert it.ownership.has_anew, "work on it is dropped"
    assert not it.ownership.is_current(before)
    assert it.ownership.partitions[KEPT].stage is Stage.LAST_WRITER
    assert it.ownership.partitions[LOST].stage is Stage.RUNNING


@pytest.mark.parametrize("reply", [{}, {"error": TransportError("away")}], ids=["pending", "no answer"])
def test_nothing_is_committed_while_the_group_does_not_say_what_it_has(reply: dict[str, object]) -> None:
    """The next commit passed over what was torn: the question had failed, right after the outage."""
    it = doubtful()
    for _ in range(700):
        if it.committer.recheck.step(it.clock.monotonic()):
            it.answer(**reply)
        assert it.commit() is None
        assert it.committer.next_due() is None, "the loop does not turn for what cannot go"
        it.wait(0.1)
    it.committer.recheck.step(it.clock.monotonic())
    it.answer(positions={LOST: Position(0), KEPT: it.ownership.remembered.position(KEPT)})

    assert it.commit() is not None


def test_group_is_asked_again_for_a_minute_after_a_doubt() -> None:
    it = doubtful()
    asked = []
    for seconds in range(70):
        if it.committer.recheck.step(it.clock.monotonic()):
            asked.append(seconds)
            it.answer(positions={LOST: None, KEPT: None})
        it.wait(1)

    assert asked == [0, 1, 10, 30, 60]
    assert not it.ownership.has_anew


def test_outage_that_goes_on_keeps_no_question_from_being_asked() -> None:
    """A registry that was away told of it at each poll: after a doubt nothing was committed any more."""
    it = doubtful()
    it.committer.outage()

    assert it.committer.recheck.step(it.clock.monotonic())


def test_what_somebody_else_had_since_is_no_torn_transaction_of_ours() -> None:
    """Positions of an hour ago lay between what this process had then and what it opened now (decision 0122)."""
    it = Owner()
    known = it.ownership.remembered
    known.note({KEPT: written("me", 3, 100)})
    known.take_over(KEPT, written("other", 9, 5000))
    known.note({KEPT: written("me", 4, 5000)})

    assert not known.are_torn({KEPT: written("other", 8, 4990)})
    assert known.are_torn({KEPT: written("other", 9, 5000)})


@pytest.mark.parametrize("meanwhile", ["lost", "committed"])
def test_answer_about_what_is_over_by_then_begins_nothing_anew(meanwhile: str) -> None:
    it = doubtful()
    before = it.ownership.remembered.copy()._before[KEPT]
    it.committer.recheck.step(it.clock.monotonic())
    if meanwhile == "lost":
        it.ownership.gone([KEPT])
    else:
        it.ownership.remembered.note({KEPT: written("me", 9, 3)})

    it.answer(positions={KEPT: before})

    assert not it.ownership.has_anew


def test_log_that_is_away_is_asked_once_it_may_be_back_and_keeps_nothing_from_being_committed() -> None:
    it = Owner()
    it.reach_end(it.ownership.partitions[LOST], 7)
    it.committer.outage()
    it.wait(SETTLE_AFTER_S)

    assert it.commit() is not None
    assert it.committer.recheck.next_due == it.clock.monotonic() - SETTLE_AFTER_S + LOOKS_S[0]


def test_transaction_in_doubt_does_not_wait_for_a_partition_that_is_no_longer_ours() -> None:
    it = Owner()
    it.ownership.remembered.note({LOST: written("me", 1, 50)})
    for partition in it.ownership.partitions.values():
        it.reach_end(partition, 7)
    it.wait(SETTLE_AFTER_S)
    commit = it.commit()
    assert commit is not None
    it.answer(verdict=Verdict.DOUBT)
    it.answer()
    it.ownership.gone([LOST])

    it.answer(positions={at: written("other", 1, 3) for at in commit.positions})

    assert it.is_over()


def test_committer_knows_that_no_transaction_of_its_process_ends_any_more() -> None:
    it = Owner()
    it.results(1)
    it.commit()
    it.answer(verdict=Verdict.DOUBT)
    it.answer()
    assert not it.committer.is_dead

    with pytest.raises(FatalTransportError, match="cannot be judged"):
        it.answer(positions={KEPT: Position(0, "f9.future")})

    assert it.committer.is_dead
