"""What is counted after a fault, over histories made by hand."""

import dataclasses

import pytest

from farandole.testing.chaos import Report, table
from farandole.testing.chaos.counting import Excuse, count
from farandole.testing.history import History
from farandole.testing.history.builder import HandMade
from farandole.testing.sketch import define, node

NOTHING = Excuse()


@dataclasses.dataclass
class Promised:
    """What a client was told."""

    acknowledged: dict[str, float]
    settled_twice: set[str] = dataclasses.field(default_factory=set)


def ended() -> HandMade:
    """A run from its start to its end."""
    made = HandMade(define(node("a")))
    made.started("a")
    made.succeeded("a")
    made.settled()
    return made


def counted(history: History, load: Promised, excuse: Excuse = NOTHING) -> Report:
    """A report of one injection."""
    report = Report("F1", "kill", injected=1)
    count(report, history, load, excuse)
    return report


@pytest.mark.parametrize("is_quiescent", [False, True])
def test_acknowledged_run_of_which_the_log_knows_nothing_is_lost_though_it_keeps_others_waiting(
    is_quiescent: bool,
) -> None:
    """It never settles, so that the history was never quiescent, and the checker was asked only then."""
    made = ended()
    history = dataclasses.replace(made.history(), quiescent=is_quiescent)

    known = counted(history, Promised({made.run: 1.0}))
    lost = counted(history, Promised({made.run: 1.0, "canary-9": 2.0}))

    assert (known.runs, known.lost) == (1, 0)
    assert (lost.runs, lost.lost) == (2, 1)
    assert not lost.is_good


def test_what_a_trial_that_broke_off_did_not_count_is_not_shown_as_zero() -> None:
    report = Report("F1", "kill", injected=1, runs=10, lost=None, doubled=None, trouble="it broke off")

    assert "| F1 kill | 1 | 0 | 10 | - | 0 | - |" in table([report])
    assert not report.is_good
