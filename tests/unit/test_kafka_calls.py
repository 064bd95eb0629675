"""Calls that do not come back, and the helper that is in one."""

import threading

import pytest

from farandole.transport.kafka.calls import CallWatch, GivenUpError
from farandole.transport.kafka.helper import Helper, Replies
from farandole.transport.port import ListMembers, Reply

PATIENCE_MAX = 20.0


def answer(ticket: int) -> Reply:
    """To a question that nobody asked."""
    return Reply(ticket, ListMembers())


def test_call_is_overdue_only_while_it_lasts_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("farandole.transport.kafka.calls.time.monotonic", lambda: now)
    watch = CallWatch(10.0)

    seen = [watch.overdue]
    with watch:
        now += 12.9
        seen.append(watch.overdue)
        now += 0.2
        seen.append(watch.overdue)
    seen.append(watch.overdue)

    assert seen == [0.0, 0.0, pytest.approx(13.1), 0.0]


def test_thread_that_comes_back_from_a_call_that_was_given_up_goes_no_further() -> None:
    watch, reached = CallWatch(10.0), []

    def calls() -> None:
        with watch:
            watch.give_up()
        reached.append("the next call")

    with pytest.raises(GivenUpError):
        calls()

    assert not reached


def test_dismissed_helper_is_not_heard_when_it_comes_back() -> None:
    replies, stuck = Replies(), threading.Event()
    helper = Helper("stuck", replies)
    helper.submit(lambda: answer(1) if stuck.wait(PATIENCE_MAX) else None)
    helper.submit(lambda: answer(2))

    was_dismissed = helper.dismiss()
    stuck.set()
    helper.close(PATIENCE_MAX)

    assert was_dismissed
    assert replies.take(0) == []


def test_helper_that_has_just_come_back_is_not_dismissed() -> None:
    replies = Replies()
    helper = Helper("quick", replies)
    helper.submit(lambda: answer(1))

    (reply,) = replies.take(PATIENCE_MAX)
    was_dismissed = helper.dismiss()
    helper.close(PATIENCE_MAX)

    assert reply.ticket == 1
    assert not was_dismissed
