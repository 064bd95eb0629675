"""Loops in threads: what ends one is kept for who asks, and told once."""

import logging
import threading

import pytest

from farandole.errors import FatalTransportError
from farandole.testing.threads import Threads

GONE = "log.db: expected the log to stay where it is, but it was removed"


class Ends:
    """A loop that ends by an error, and cannot be closed for the same reason."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = threading.Event()

    def step(self, wait: float) -> bool:
        raise self.error

    def close(self) -> None:
        self.closed.set()
        raise type(self.error)(f"{self.error}, so it cannot be closed")


def test_error_of_ours_that_ends_a_loop_is_told_in_a_line_and_raised_by_check(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`rm -rf .farandole` under a running `dev` gave two tracebacks before the message that says what to do."""
    uncaught: list[object] = []
    monkeypatch.setattr(threading, "excepthook", uncaught.append)
    loop = Ends(FatalTransportError(GONE))

    with Threads([loop]) as threads:
        assert loop.closed.wait(10)

    assert not uncaught
    assert GONE in caplog.text
    assert "Traceback" not in caplog.text
    with pytest.raises(FatalTransportError, match=r"was removed$"):  # the first one, not what followed from it
        threads.check()


def test_defect_that_ends_a_loop_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), Threads([Ends(ValueError("a defect"))]) as threads:
        pass

    assert "Traceback" in caplog.text
    with pytest.raises(ValueError, match=r"a defect$"):
        threads.check()
