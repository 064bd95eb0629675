"""Bad histories of hop fusion, direct starts and final facts (I1, I2, I4, I10)."""

import dataclasses

from msgspec import structs

from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.testing.history import History, check_history
from farandole.testing.history.builder import HandMade
from farandole.testing.sketch import define, node

ROW = define(node("a"), node("b", "a"), output="b")


def told(made: HandMade, *, quiescent: bool = True) -> str:
    """Everything that the checker says."""
    return told_of(made.history(quiescent=quiescent))


def told_of(history: History) -> str:
    """As `told`, of a history that was changed."""
    return "\n".join(str(each) for each in check_history(history))


def first(made: HandMade, *, fused: bool = True, fired: tuple[str, ...] = ("b",)) -> Entry:
    """The success of `a`, with which `b` ran at once."""
    fact = facts.StepSucceeded("r-1", "a", 1, b"", fired, fused=fired if fused else ())
    return made.reported(fact)


def second(made: HandMade, parent: Entry, **changes: object) -> Entry:
    """The success of `b`, which ends the run."""
    fact = facts.StepSucceeded("r-1", "b", 1, b"out", final=True)
    return made.reported(dataclasses.replace(fact, **changes), parent)  # type: ignore[arg-type]


def whole() -> HandMade:
    """A run that was started directly, and whose two steps ran in one transaction."""
    made = HandMade(ROW)
    made.started_directly("a")
    second(made, first(made))
    made.settled("succeeded", b"out")
    return made


def test_run_in_one_transaction_is_valid() -> None:
    assert told(whole()) == ""


def test_hop_that_ran_at_once_without_a_report_is_told() -> None:
    made = HandMade(ROW)
    made.started_directly("a")
    first(made)

    assert "attempt 1 of b was run at once with a, but has no report" in told(made, quiescent=False)


def test_hop_that_ran_at_once_and_was_triggered_too_is_told() -> None:
    made = HandMade(ROW)
    made.started_directly("a")
    made.succeeded("a", fired=["b"])
    fact = facts.StepSucceeded("r-1", "a", 1, b"", ("b",), fused=("b",))
    parent = made.entries[made.topics.events][-1]
    made.entries[made.topics.events][-1] = dataclasses.replace(parent, content=fact)
    second(made, parent)

    assert "attempt 1 of b was run at once with a, and triggered too" in told(made, quiescent=False)


def test_report_without_a_trigger_of_which_the_parent_knows_nothing_is_told() -> None:
    made = HandMade(ROW)
    made.started_directly("a")
    second(made, first(made, fused=False))

    assert "attempt 1 of b was run at once, but its parent does not say so" in told(made, quiescent=False)


def test_hop_of_another_transaction_than_its_parent_is_told() -> None:
    made = HandMade(ROW)
    made.started_directly("a")
    parent = first(made)
    assert parent.envelope is not None
    other = dataclasses.replace(parent, envelope=structs.replace(parent.envelope, source="farandole/unit/1"))
    second(made, other)

    assert "was run at once with a, but they are not one transaction" in told(made, quiescent=False)


def test_direct_start_of_which_nobody_said_that_it_began_is_told() -> None:
    made = whole()
    made.entries[made.topics.events] = [e for e in made.entries[made.topics.events] if not _begins(e)]

    assert "a started the run, but nothing says that it began" in told(made)


def _begins(entry: Entry) -> bool:
    return isinstance(entry.fact, facts.RunStarted)


def test_beginning_that_stands_apart_from_its_report_is_told() -> None:
    made = HandMade(ROW)
    made.started_directly("a")

    assert "the run began with a, but its report is not of the same transaction" in told(made)


def test_direct_start_that_was_sent_twice_is_told() -> None:
    made = whole()
    made.started_directly("a")

    assert "it was started twice" in told(made, quiescent=False)


def test_final_fact_after_which_the_run_goes_on_is_told() -> None:
    made = HandMade(ROW)
    made.started_directly("a")
    second(made, first(made), output=b"other")
    made.settled("succeeded", b"out")

    assert "b says that it is final, but the run did not end with it" in told(made)


def test_final_fact_of_a_step_that_has_a_successor_is_told() -> None:
    made = HandMade(ROW)
    made.started_directly("a")
    made.reported(facts.StepSucceeded("r-1", "a", 1, b"", (), final=True))

    assert "a says that it is final, but more may follow" in told(made, quiescent=False)


def test_final_fact_in_a_run_that_is_stopping_is_no_promise() -> None:
    made = HandMade(ROW)
    made.started_directly("a")
    parent = first(made)
    made.cancel_asked()
    made.stopping()
    second(made, parent)
    made.settled("cancelled")

    assert "says that it is final" not in told(made)


def test_direct_start_has_its_state_once_a_coordinator_has_read_of_it_and_not_before() -> None:
    """An agent says that the run exists; `verify` on a live log told of those that nobody had folded yet."""
    made = HandMade(ROW)
    made.started_directly("a")
    made.run = "r-2"
    made.head("running")
    folded = made.history(quiescent=False)

    unread = dataclasses.replace(folded, committed=())

    assert "run r-1: it has not ended, but `runs` does not hold it" in told_of(folded)
    assert "does not hold it" not in told_of(unread)
