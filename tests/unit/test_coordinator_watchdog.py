"""The watchdog: what it suspects, and that a log which does not answer costs it a look and nothing else."""

from collections.abc import Callable
from datetime import timedelta

from farandole.coordinator.settings import CoordinatorSettings
from farandole.coordinator.watchdog import Inboxes, Watchdog
from farandole.errors import TransportError
from farandole.events.facts import TriggerSuspected
from farandole.testing.desk import Desk
from farandole.testing.sketch import define, node
from farandole.transport.port import Position, ReadEnds, ReadPositions, Reply, Request, TopicPartition

INBOX = TopicPartition("farandole.inbox.a", 0)
MINUTE = timedelta(minutes=1).total_seconds()


class Log:
    """A log with one inbox, with its end and committed position; `answers` are partition counts, in turn."""

    def __init__(self, *answers: int | TransportError) -> None:
        self.answers = list(answers)
        self.end, self.position = 1, 0

    def partitions(self, topic: str) -> int:
        """The next answer; the last one is given for ever."""
        assert topic == INBOX.topic
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TransportError):
            raise answer
        return answer

    def ask(self, request: Request, then: Callable[[Reply], None]) -> None:
        """Answer at once; partitions that were added are empty."""
        if isinstance(request, ReadEnds):
            then(Reply(1, request, ends={at: self.end if at == INBOX else 0 for at in request.partitions}))
        elif isinstance(request, ReadPositions):
            places = {at: Position(self.position if at == INBOX else 0, "") for at in request.partitions}
            then(Reply(1, request, positions=places))


def looked(log: Log, looks: int) -> list[TriggerSuspected]:
    """What is suspected of a run with one scheduled step, after so many looks."""
    desk = Desk(define(node("a"), name="p"))
    desk.start("r-1")
    desk.turns()
    watchdog = Watchdog(CoordinatorSettings(), log.ask, Inboxes(log.partitions, lambda agent: "unit"), 1)
    for n in range(looks + 1):
        watchdog.step(1 + n * MINUTE, [desk.home])
    return sorted(set(watchdog.take(0)), key=str)


def test_trigger_whose_inbox_was_consumed_past_it_is_suspected() -> None:
    log = Log(1)
    log.position = 1

    assert looked(log, 1) == []
    assert looked(log, 2) == [TriggerSuspected("r-1", "a", 1)]


def test_trigger_in_a_backlog_is_never_suspected() -> None:
    assert looked(Log(1), 9) == []


def test_log_that_does_not_answer_costs_the_watchdog_a_look() -> None:
    """The error went through the loop and ended the coordinator, with all its homes."""
    log = Log(TransportError("no answer"), 1)
    log.position = 1

    assert looked(log, 2) == []
    log.answers = [TransportError("no answer"), 1]
    assert looked(log, 3) == [TriggerSuspected("r-1", "a", 1)]


def test_log_that_does_not_answer_is_asked_once_per_look() -> None:
    """Each question blocks the loop for as long as the client is patient."""
    log = Log(*[TransportError("no answer")] * 8)

    inboxes = Inboxes(log.partitions, lambda agent: "unit")
    assert [inboxes.size(INBOX.topic), inboxes.size(INBOX.topic)] == [0, 0]

    assert len(log.answers) == 7


def test_inbox_that_does_not_exist_yet_is_looked_for_again() -> None:
    """That there was none was remembered for ever."""
    log = Log(0, 1)
    log.position = 1

    assert looked(log, 3) == [TriggerSuspected("r-1", "a", 1)]


def test_inbox_that_was_given_more_partitions_is_counted_again_at_the_next_look() -> None:
    # The story: the number was kept for ever, and once an inbox had more partitions the watchdog looked for a trigger
    # in the wrong one: its position had passed the end, and a run that only waited was held.
    log = Log(4, 6)

    inboxes = Inboxes(log.partitions, lambda agent: "unit")
    before = [inboxes.size(INBOX.topic), inboxes.size(INBOX.topic)]
    inboxes.look_again()

    assert before == [4, 4]
    assert inboxes.size(INBOX.topic) == 6


def test_trigger_that_waits_where_it_was_placed_before_its_inbox_grew_is_never_suspected() -> None:
    # The story: an inbox with a backlog was given more partitions. The watchdog looked for a trigger where it would be
    # placed now, in an empty partition, whose position had passed its end: runs that only waited were held.
    log = Log(6)  # the trigger stands in `INBOX`, from when that was all

    suspected = looked(log, 9)
    log.position = log.end

    assert suspected == []
    assert looked(log, 2) == [TriggerSuspected("r-1", "a", 1)]
