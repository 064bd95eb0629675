"""The thread that writes plain records: whatever goes wrong, each has one outcome, and the next ones are written."""

import os
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.errors import TransportError
from farandole.transport.port import Commit, Isolation, MemberSettings, NewRecord, Position, TopicPartition, TopicSpec
from farandole.transport.sqlite import SqliteSettings, SqliteTransport
from farandole.transport.sqlite.bell import Bell
from farandole.transport.sqlite.courier import Courier, Placed
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.shared import Shared

AT = TopicPartition("t", 0)
GOOD, NOWHERE = NewRecord("t", b"k", b"v", (), 0), NewRecord("nowhere", b"k", b"v", (), 0)
WITHIN_S = 10.0


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    """A log with a topic."""
    settings = SqliteSettings(tmp_path / "log.db", patience=timedelta(milliseconds=100))
    with closing(SqliteTransport(settings).admin()) as admin:
        admin.create([TopicSpec("t", 1)])
    return Shared(settings)


class Sent:
    """Records that are on their way with one courier, and every outcome that was told for each."""

    def __init__(self, shared: Shared) -> None:
        self.courier = Courier(shared, "c", linger_s=0.02)  # what is sent together is one batch
        self.outcomes: list[list[Placed | TransportError]] = []

    def send(self, *records: NewRecord) -> list[Placed | TransportError]:
        """Send them; the first outcome of each."""
        told, left = threading.Event(), [len(records)]
        began = len(self.outcomes)

        def done(number: int, outcome: Placed | TransportError) -> None:
            self.outcomes[number].append(outcome)
            left[0] -= 1
            if not left[0]:
                told.set()

        for each in records:
            number = len(self.outcomes)
            self.outcomes.append([])
            self.courier.send(each, lambda outcome, number=number: done(number, outcome))  # type: ignore[misc]
        assert told.wait(WITHIN_S), "nobody was told"
        return [each[0] for each in self.outcomes[began:]]


def no_descriptor_is_free(*_: object) -> list[str]:
    """What `listdir` says then."""
    raise OSError(24, "Too many open files")


def test_a_moment_without_a_free_descriptor_costs_a_hint_and_not_the_courier(
    shared: Shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch was on the log; then its thread died of the bells, and this send and all later ones waited for ever."""
    sent = Sent(shared)
    sent.send(GOOD)
    other = Bell(tmp_path / "log.db-bells")
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", no_descriptor_is_free)
        during = sent.send(GOOD)

    after = sent.send(GOOD)

    assert (during, after) == ([(0, 1)], [(0, 2)])
    assert other.wait(0), "who was not rung in that moment is rung by the next"
    sent.courier.close()
    other.close()


def test_a_transaction_and_a_change_of_the_group_outlive_such_a_moment_too(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = SqliteTransport(shared.settings)
    member = transport.member(MemberSettings("g", "c"))
    monkeypatch.setattr(os, "listdir", no_descriptor_is_free)

    member.subscribe(["t"], Still())
    member.poll(0)
    ticket = member.call(Commit([GOOD], {AT: Position(0)}, member.snapshot()))

    assert [each.ticket for each in member.replies(1.0)] == [ticket]
    with closing(transport.admin()) as admin:
        assert admin.ends([AT], Isolation.COMMITTED) == {AT: 2}  # the record and its marker
    member.close()


class Still:
    """Has partitions and reads nothing."""

    def assigned(self, partitions: object) -> None:
        """Good."""

    def releasing(self, partitions: object) -> bool:
        """At once."""
        return True

    def gone(self, partitions: object, *, lost: bool) -> None:
        """Good."""


def stumble(*_: object, **__: object) -> None:
    """Fail as nothing of ours should."""
    raise RuntimeError("a bug")


def test_what_nobody_has_foreseen_fails_its_batch_and_not_the_courier(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent(shared)
    with monkeypatch.context() as patch:
        patch.setattr("farandole.transport.sqlite.courier.append", stumble)
        during = sent.send(GOOD, GOOD)

    after = sent.send(GOOD)

    assert ["RuntimeError: a bug" in str(each) and "Of 2 records none" in str(each) for each in during] == [True, True]
    assert after == [(0, 0)]
    sent.courier.close()


def test_a_refused_record_in_a_batch_that_cannot_be_written_has_one_outcome(shared: Shared) -> None:
    """It had two: a producer counted below zero, and its next `flush` said that all was written while nothing was."""
    sent = Sent(shared)
    holder = File(shared.settings)

    with holder.writing:
        during = sent.send(NOWHERE, GOOD)
    after = sent.send(GOOD)

    assert "refused" in str(during[0])
    assert "SIGSTOP" in str(during[1])
    assert "Of 1 records none" in str(during[1])
    assert [len(each) for each in sent.outcomes] == [1, 1, 1]
    assert after == [(0, 0)]
    sent.courier.close()
    holder.close()
