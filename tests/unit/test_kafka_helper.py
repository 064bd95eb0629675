"""A helper thread does one thing after another, and nothing that goes wrong in one of them ends it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pytest

from farandole.errors import TransportError
from farandole.transport.kafka.helper import Helper, Replies
from farandole.transport.kafka.member import KafkaMember
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.transactions import Snapshot, Transactor
from farandole.transport.port import (
    Commit,
    FenceWriter,
    Isolation,
    ListMembers,
    MemberSettings,
    Position,
    ReadEnds,
    ReadPositions,
    Reply,
    Request,
    TopicPartition,
    Verdict,
)


def answer(ticket: int) -> Callable[[], Reply]:
    return lambda: Reply(ticket, ListMembers())


def fails() -> None:
    raise RuntimeError("in a way of its own")


def told(replies: Callable[[float], Sequence[Reply]], count: int) -> list[Reply]:
    """So many replies; fewer if they do not come."""
    found: list[Reply] = []
    until = time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        found += replies(0.05)
    return found


@pytest.mark.parametrize("rest", [fails, lambda: None])
def test_helper_goes_on_whatever_goes_wrong_beside_its_work(rest: Callable[[], None]) -> None:
    """A CA file that was being replaced ended the thread between two transactions: nothing was committed any more."""
    replies = Replies()
    helper = Helper("test", replies, rest)
    for work in (answer(1), fails, answer(2)):
        helper.submit(work)

    assert [reply.ticket for reply in told(replies.take, 2)] == [1, 2]
    helper.close(5)


def test_producer_that_cannot_be_made_is_told_as_any_other_error() -> None:
    settings = KafkaSettings("127.0.0.1:1", extra={"security.protocol": "ssl", "ssl.ca.location": "no such file"})

    with pytest.raises(TransportError, match="was not initialised"):
        Transactor(settings, "me").prepare()


def test_member_has_no_admin_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had six threads and eight descriptors in each process, and was asked nothing any more."""
    made: list[object] = []
    monkeypatch.setattr("farandole.transport.kafka.queries.AdminClient", made.append)
    settings = KafkaSettings("127.0.0.1:1", call_timeout=timedelta(seconds=0.2))
    member = KafkaMember(settings, MemberSettings("g", "g.0", "range", timedelta(seconds=6)))
    at = TopicPartition("events", 0)
    questions: list[Request] = [ReadPositions([at]), ReadEnds([at], Isolation.COMMITTED), ListMembers()]

    for request in questions:
        member.call(request)
    found = told(member.replies, 3)
    member.close()

    assert all(isinstance(reply.error, TransportError) for reply in found)
    assert made == []


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commits do not come back from the client (librdkafka issue 5456)."""
    is_over = threading.Event()

    def commit(self: Transactor, *_: object) -> object:
        with self.calls:
            is_over.wait(60)
        raise AssertionError("nobody waits for it any more")

    monkeypatch.setattr(Transactor, "commit", commit)
    monkeypatch.setattr(Transactor, "prepare", lambda self: None)
    yield
    is_over.set()


@pytest.mark.usefixtures("hanging")
def test_whatever_waits_behind_a_call_that_hangs_is_answered_too() -> None:
    """The FenceWriter behind it had an answer, and the Commit none: its coordinator stood still for ever."""
    settings = KafkaSettings("127.0.0.1:1", call_timeout=timedelta(seconds=0.2))
    member = KafkaMember(settings, MemberSettings("g", "g.0", "range", timedelta(seconds=6)))
    at = TopicPartition("events", 0)

    commit = member.call(Commit([], {at: Position(1, "")}, Snapshot(object(), 1, "me")))
    fence = member.call(FenceWriter("g.dead"))
    found = told(member.replies, 2)

    assert [(reply.ticket, reply.verdict) for reply in found] == [(commit, Verdict.DOUBT), (fence, None)]
    assert all(isinstance(reply.error, TransportError) for reply in found)
