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
    outcomes: dict[str, str] = dataclasses.field(default_factory=dict)


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
    report = Report("F1", "kill", injected=1, hit=0, runs=10, lost=None, doubled=None, trouble="it broke off")

    assert "| F1 kill | 1 | 0 | 10 | - | 0 | - |" in table([report])
    assert not report.is_good


def poisoned(outcome: str, *, is_dead: bool) -> History:
    """A run of poison that ended in some way."""
    made = HandMade(define(node("a")), run="poison-1")
    made.started("a")
    if is_dead:
        made.failed("a", retryable=False)
        made.given_up("a", 1, "failed")
        made.stopping("failed")
    else:
        made.succeeded("a")
    made.settled(outcome)
    return made.history()


def ends(outcomes: dict[str, str], history: History, excuse: Excuse = NOTHING) -> list[str]:
    """What is said of how runs ended."""
    found = counted(history, Promised(dict.fromkeys(outcomes, 1.0), outcomes=outcomes), excuse).violations
    return [each for each in found if each.startswith("run ")]


def test_poison_that_does_nothing_is_found() -> None:
    """Nobody read how a run ended: a handler that returned its number was as good as one that ate all memory."""
    bitten, harmless = poisoned("failed", is_dead=True), poisoned("succeeded", is_dead=False)

    assert ends({"poison-1": "failed"}, bitten) == []
    assert ends({"poison-1": "succeeded"}, harmless) == [
        "run poison-1: expected it to end failed, but it ended succeeded"
    ]
    assert not counted(harmless, Promised({"poison-1": 1.0}, outcomes={"poison-1": "succeeded"})).is_good
    assert ends({"poison-1": "failed"}, harmless) == [
        "run poison-1: expected a dead letter of its poison, but found none"
    ]


def test_canary_that_did_not_succeed_is_found_unless_a_person_gave_it_up() -> None:
    history = ended().history()

    assert ends({"canary-1": "succeeded", "late-2": "succeeded"}, history) == []
    assert ends({"canary-1": "cancelled"}, history, Excuse(cancelled={"canary-1"})) == []
    assert ends({"canary-1": "cancelled", "wide-2": "failed"}, history, Excuse(cancelled={"canary-3"})) == [
        "run canary-1: expected it to end succeeded, but it ended cancelled",
        "run wide-2: expected it to end succeeded, but it ended failed",
    ]


def test_injections_of_which_nobody_asked_for_a_transaction_are_not_shown_as_none_hit() -> None:
    """F6 said without a look that all were hit; others looked before a kill, for which no transaction waits."""
    unasked, asked = Report("F7", "bad network"), Report("F1", "kill")

    for is_open in (None, None):
        unasked.add(is_open)
    for is_open in (True, False, None):
        asked.add(is_open)

    assert "| F7 bad network | 2 | - |" in table([unasked])
    assert "| F1 kill | 3 | 1 |" in table([asked])
