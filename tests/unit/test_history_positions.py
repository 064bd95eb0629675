"""Bad histories of positions and effects, dead letters and handlers' ledgers (I10 to I13, I15, I16)."""

import dataclasses
from datetime import timedelta

import pytest
from msgspec import structs

from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.testing.history import Committed, History, Span, check_history
from farandole.testing.history.builder import HandMade
from farandole.testing.ledger import Execution
from farandole.testing.sketch import define, node

ONE = define(node("a"))


def told(made: HandMade | History, invariant: str) -> str:
    """What the checker says of an invariant; everything that it says, if it says nothing of it."""
    history = made.history(quiescent=False) if isinstance(made, HandMade) else made
    found = check_history(history)
    return "\n".join(str(each) for each in found if each.invariant == invariant) or f"not told, but {found}"


def done() -> HandMade:
    """A run of one step that has ended."""
    made = HandMade(ONE)
    made.started("a")
    made.succeeded("a")
    made.settled()
    return made


def committed(made: HandMade, position: int, done: frozenset[int] = frozenset(), **changes: str) -> History:
    """The history with another position of the inbox."""
    whole = made.history()
    trigger = made.trigger_of("a")
    mine = Committed("farandole.unit", trigger.topic, trigger.partition, position, done, **changes)  # type: ignore[arg-type]
    others = tuple(c for c in whole.committed if (c.topic, c.partition) != (trigger.topic, trigger.partition))
    return dataclasses.replace(whole, committed=(*others, mine))


def test_a_record_that_counts_as_consumed_without_an_outcome_was_lost() -> None:
    made = HandMade(ONE)
    made.started("a")

    below = dataclasses.replace(committed(made, 1), quiescent=False)
    above = dataclasses.replace(committed(made, 0, frozenset({0})), quiescent=False)

    assert "an inbox record counts as consumed by farandole.unit, but has no outcome" in told(below, "I10")
    assert "an inbox record counts as consumed by farandole.unit, but has no outcome" in told(above, "I10")


def test_a_record_with_an_outcome_that_would_be_consumed_again_is_told_when_nothing_is_under_way() -> None:
    made = done()

    assert "has its outcome, but farandole.unit would consume it again" in told(committed(made, 0), "I10")
    assert check_history(dataclasses.replace(committed(made, 0), quiescent=False)) == []


def test_a_record_with_two_outcomes_was_done_twice() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.succeeded("a")
    made.succeeded("a")

    assert "an inbox record has 2 outcomes" in told(made, "I10")


def test_a_quarantined_record_has_its_dead_letter_as_its_only_outcome() -> None:
    made = done()
    record = made.stranger("a")
    made.quarantined("a", record)
    once = made.history()
    made.quarantined("a", record)

    assert check_history(once) == []
    assert "an inbox record has 2 outcomes" in told(made, "I10")


def test_an_outcome_of_no_record_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.reported(facts.StepCancelled(made.run, "a", 2, "x"))

    assert "an outcome names no record, where there is none" in told(made, "I10")


def test_an_outcome_of_another_attempts_record_is_told() -> None:
    made = HandMade(define(node("a"), node("b")))
    made.started("a", "b")
    made.succeeded("a")
    events = made.entries[made.topics.events]
    envelope = events[-1].envelope
    assert envelope is not None
    other = structs.replace(envelope, input=made.trigger_of("b").place)
    renamed = structs.replace(envelope, cause="r-1/z")
    events[-1] = dataclasses.replace(events[-1], envelope=other)
    astray = told(made, "I10")
    events[-1] = dataclasses.replace(events[-1], envelope=renamed)

    assert "an outcome is about another attempt than the record it names" in astray
    assert "an outcome names r-1/z as its cause, not its record" in told(made, "I10")


def test_an_outcome_whose_record_has_expired_is_fine() -> None:
    made = done()
    whole = made.history()
    trigger = made.trigger_of("a")
    spans = {**whole.spans, (trigger.topic, trigger.partition): Span(1, 1, 1)}

    assert check_history(dataclasses.replace(whole, inboxes=(), spans=spans)) == []


def test_metadata_that_cannot_be_read_is_told_and_judged_no_further() -> None:
    history = committed(done(), 0, trouble="another version")

    assert told(history, "I10") == (
        "I10: the position of farandole.unit cannot be read: another version [farandole.inbox.a/1/0]"
    )


def test_records_that_expired_before_they_were_consumed_are_lost() -> None:
    made = done()
    history = committed(made, 0)
    trigger = made.trigger_of("a")
    spans = {**history.spans, (trigger.topic, trigger.partition): Span(1, 1, 1)}

    found = told(dataclasses.replace(history, spans=spans, quiescent=False), "I11")

    assert "farandole.unit stands at 0, but the log begins at 1: records were lost" in found


def test_a_position_beyond_the_end_is_told() -> None:
    assert "farandole.unit stands at 9, beyond the end at 1" in told(committed(done(), 9), "I11")


def test_a_position_that_is_done_itself_is_told() -> None:
    found = told(committed(done(), 0, frozenset({0})), "I11")

    assert "farandole.unit stands at 0, but its bitmap says that this offset is done" in found


def test_what_nobody_has_consumed_is_told_when_nothing_is_under_way() -> None:
    made = done()
    made.stranger("a")
    history = dataclasses.replace(made.history(), quiescent=True)

    assert "farandole.unit has not consumed it" in told(history, "I11")


def test_an_open_transaction_is_told_when_nothing_is_under_way() -> None:
    whole = done().history()
    spans = {**whole.spans, ("farandole.events", 0): Span(0, 3, 4)}

    found = told(dataclasses.replace(whole, spans=spans), "I16")

    assert found == ("I16: committed reads end at 3, the log at 4: a transaction is open [farandole.events/0/3]")


# --- dead letters ---------------------------------------------------------------------------


def given_up() -> HandMade:
    """A step whose failure was final."""
    made = HandMade(ONE)
    made.started("a")
    made.failed("a", retryable=False)
    made.given_up("a", 1, "exception", by="agent")
    made.held("a")
    return made


def test_a_final_failure_without_a_dead_letter_is_told() -> None:
    history = dataclasses.replace(given_up().history(quiescent=False), dead=())

    assert "it was given up on, but farandole.dead.a does not hold it" in told(history, "I15")


def test_a_dead_letter_twice_or_elsewhere_is_told() -> None:
    made = given_up()
    letter = made.entries[made.topics.dead("a")][0]
    whole = made.history(quiescent=False)

    twice = dataclasses.replace(whole, dead=(letter, dataclasses.replace(letter, offset=1)))
    astray = dataclasses.replace(whole, dead=(dataclasses.replace(letter, topic="farandole.dead.z"),))

    assert "it was dead-lettered 2 times" in told(twice, "I15")
    assert "its dead letter is not in farandole.dead.a" in told(astray, "I15")


def test_a_dead_letter_that_no_fact_tells_of_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.dead_letter(made.failed("a"), "exception")

    assert "a dead letter follows from no fact that says so" in told(made, "I15")


def test_a_quarantined_record_that_does_not_exist_is_told() -> None:
    made = done()
    record = made.stranger("a")
    made.quarantined("a", record)
    history = dataclasses.replace(made.history(), inboxes=(made.trigger_of("a"),))

    assert "a quarantined record names farandole.inbox.a/1/1, where there is none" in told(history, "I15")


# --- the ledger -----------------------------------------------------------------------------


def call(token: tuple[int, int] = (1, 1), begun: float = 0.0, ended: float | None = 1.0, run: str = "r-1") -> Execution:
    """A call of the handler of `a`."""
    return Execution(run, "a", NO_ITEM, 1, token, 7, begun, ended)


def worked(*calls: Execution, faults: int | None = None) -> History:
    """A run of one step that has ended, with what its handlers wrote down."""
    return dataclasses.replace(done().history(), executions=calls, faults=faults)


def test_a_result_without_a_call_of_its_handler_is_told() -> None:
    history = worked(call(run="r-2"))

    assert "attempt 1 of a has a result, but no handler was called" in told(history, "I12")


def test_a_call_without_a_trigger_is_told() -> None:
    assert "I12 run r-2: attempt 1 of a ran, but was never triggered" in told(worked(call(), call(run="r-2")), "I12")


def test_a_handler_runs_again_only_after_a_fault() -> None:
    calls = call((1, 1)), call((1, 2), 2.0, 3.0)

    assert "attempt 1 of a ran 2 times, with 0 faults" in told(worked(*calls, faults=0), "I12")
    assert check_history(worked(*calls, faults=1)) == []
    assert check_history(worked(*calls)) == []


def test_two_owners_at_once_under_one_token_are_told() -> None:
    ended = worked(call((1, 1), 0.0, 5.0), call((1, 1), 2.0, 3.0))
    killed = worked(call((1, 1), 0.0, None), call((1, 1), 2.0, 3.0))
    apart = worked(call((1, 1), 0.0, 5.0), call((1, 2), 2.0, 3.0))

    assert "attempt 1 of a ran twice at once under one fencing token" in told(ended, "I13")
    assert "attempt 1 of a ran twice at once under one fencing token" in told(killed, "I13")
    assert check_history(apart) == []


def test_a_token_of_another_attempt_is_told() -> None:
    assert "attempt 1 of a ran under the token of another: [(2, 1)]" in told(worked(call((2, 1))), "I13")


def test_failures_that_need_no_call_are_not_asked_for_one() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.failed("a", kind="undecodable", retryable=False)
    made.given_up("a", 1, "undecodable", by="agent")
    made.held("a")
    made.wait(timedelta(seconds=1))
    history = dataclasses.replace(made.history(quiescent=False), executions=(call(run="r-2"),))

    assert "no handler was called" not in told(history, "I12")


@pytest.mark.parametrize(("lasted_ms", "needs_a_call"), [(0, False), (7, True)])
def test_attempt_that_was_given_up_before_it_began_needs_no_call(lasted_ms: int, needs_a_call: bool) -> None:
    """Its deadline had passed while it waited for room, and a replay came: it is answered as timed out (seed 687)."""
    made = HandMade(ONE)
    made.started("a")
    made.failed("a", kind="timeout", lasted_ms=lasted_ms)
    history = dataclasses.replace(made.history(quiescent=False), executions=(call(run="r-2"),))

    assert ("no handler was called" in told(history, "I12")) is needs_a_call


# --- what is there at all -------------------------------------------------------------------


def test_a_partition_that_is_owned_and_has_no_position_is_told() -> None:
    """Nobody reads it any more (R8), and the checker found nothing wrong: no position said so."""
    made = done()
    whole = dataclasses.replace(made.history(), units={"a": "unit"})
    inbox = made.topics.inbox("a")

    for topic in (inbox, made.topics.events, made.topics.commands):
        lost = tuple(each for each in whole.committed if each.topic != topic)

        assert f"nobody has a position on {topic}[1]" in told(dataclasses.replace(whole, committed=lost), "I11")
    assert check_history(whole) == []


def test_an_inbox_that_nobody_owns_has_no_position() -> None:
    made = done()
    whole = dataclasses.replace(made.history(quiescent=False), units={"b": "unit"})
    lost = tuple(each for each in whole.committed if each.topic != made.topics.inbox("a"))

    assert check_history(dataclasses.replace(whole, committed=lost)) == []


def test_a_good_trigger_that_was_quarantined_is_told() -> None:
    made = HandMade(ONE)
    made.started("a")
    made.head("running")
    made.quarantined("a", made.trigger_of("a"))

    assert "a good trigger was quarantined as a stranger's record" in told(made, "I15")


def test_a_trigger_in_another_agents_inbox_or_of_a_run_that_nobody_knows_is_a_strangers() -> None:
    made = HandMade(define(node("a"), node("b")))
    made.started("a", "b")
    trigger = made.trigger_of("a")
    astray = dataclasses.replace(made.trigger_of("b"), topic=trigger.topic, offset=trigger.offset + 1)
    made.quarantined("a", astray)
    other = HandMade(ONE)
    other.started("a")
    other.quarantined("a", other.trigger_of("a"))

    history = made.history(quiescent=False)
    elsewhere = dataclasses.replace(history, inboxes=(*history.inboxes, astray))
    unknown = dataclasses.replace(other.history(quiescent=False), events=())

    assert "quarantined" not in told(elsewhere, "I15")
    assert "quarantined" not in told(unknown, "I15")
