"""The ledger that handlers and clients append to: what is written survives whatever comes after."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from farandole.definition.context import FencingToken
from farandole.testing import ledger

_RECORDS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from farandole.testing import ledger
ledger.acknowledge(Path(sys.argv[1]), "r-1")
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A context without a runtime behind it."""

    run_id: str = "r-1"
    pipeline: str = "p"
    step: str = "a"
    item: int | None = None
    attempt: int = 2
    deadline: datetime | None = None

    @property
    def fencing_token(self) -> FencingToken:
        """Of the second attempt, at the fifth owner."""
        return FencingToken(2, 5)

    @property
    def idempotency_key(self) -> str:
        """As the runtime makes it."""
        return f"{self.run_id}:{self.step}:-"

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """Any."""
        return logging.LoggerAdapter(logging.getLogger("test"), {})

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """To nobody."""

    def publish(self, topic: str, value: object, *, key: str | None = None) -> None:
        """To nowhere."""


def test_a_call_is_read_back_with_its_token_its_process_and_its_instants(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    with ledger.executing(path, Attempt(), note="first"):
        during = ledger.read(path)
    after = ledger.read(path)

    assert [each.ended for each in during] == [None]
    assert len(after) == 1
    only = after[0]
    assert (only.run, only.step, only.item, only.attempt) == ("r-1", "a", -1, 2)
    assert (only.token, only.pid, only.note) == ((2, 5), os.getpid(), "first")
    assert only.ended is not None
    assert only.ended >= only.begun


def test_a_call_that_raises_has_ended_too(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    with pytest.raises(RuntimeError), ledger.executing(path, Attempt(item=3)):
        raise RuntimeError

    assert [(each.item, each.ended is None) for each in ledger.read(path)] == [(3, False)]


def test_a_call_that_is_recorded_and_never_finished_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    first = ledger.record(path, Attempt())
    ledger.record(path, Attempt())
    ledger.finish(path, first)

    assert [each.ended is None for each in ledger.read(path)] == [False, True]


def test_a_ledger_that_nobody_wrote_is_empty(tmp_path: Path) -> None:
    assert ledger.read(tmp_path / "none") == ()
    assert ledger.read_acknowledged(tmp_path / "none") == ()


def test_what_was_acknowledged_survives_the_death_of_its_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger"

    ended = subprocess.run([sys.executable, "-c", _RECORDS_AND_DIES, str(path)], check=False, timeout=60)

    assert ended.returncode == -signal.SIGKILL
    assert ledger.read_acknowledged(path) == ("r-1",)


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger.acknowledge(path, "r-1")
    with path.open("ab") as file:
        file.write(b'{"acknowledged": "r-')

    assert ledger.read_acknowledged(path) == ("r-1",)


def test_a_line_cut_short_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    """A full disk or a kill cuts a line before its end, and whoever appends next does so behind it: reading ended there
    with an error, and with it the judgement of a whole night."""
    path = tmp_path / "ledger"
    ledger.acknowledge(path, "r-1")
    with path.open("ab") as file:
        file.write(b'{"begin":"1","run":"r')
    ledger.acknowledge(path, "r-2")
    with path.open("ab") as file:
        file.write(b"no JSON at all\n")
    ledger.acknowledge(path, "r-3")

    assert ledger.read_acknowledged(path) == ("r-1", "r-2", "r-3")
    assert ledger.read(path) == ()
