"""What the simulation says of inputs: a step is given what it asks for, and again the same."""

from collections.abc import Mapping
from datetime import timedelta

from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.ids import NO_ITEM
from farandole.testing.history.builder import HandMade
from farandole.testing.history.cases import AttemptKey, docket_of
from farandole.testing.simulation.inputs import Inputs
from farandole.testing.sketch import define, framed, framed_params, node

CHAIN = define(node("a"), node("b", "a"), node("c", "b.n", "params.n"))
MAP = define(node("m", over="params.items"), node("w", over="m"))


def wrong(
    made: HandMade, given: Mapping[AttemptKey, bytes], dead: Mapping[AttemptKey, bytes] | None = None
) -> list[str]:
    """What is wrong with the inputs of its one run. `dead`: by attempt, for those that left one dead letter."""
    history = made.history(quiescent=False)
    left = {each.cause: dead[*each.unit, each.attempt] for each in history.dead} if dead else {}
    return told(made, given, left)


def told(made: HandMade, given: Mapping[AttemptKey, bytes], left: Mapping[str, bytes]) -> list[str]:
    """The same, with each dead letter by the fact that it went with."""
    (case,) = docket_of(made.history(quiescent=False)).judged
    return list(Inputs(case, given, left).wrong())


def asking(definition: Definition, step: str, *values: object) -> bytes:
    """The framed input of a step that takes several."""
    return Schema.parse(definition.steps[step].input_schema).encode({f"p{n}": each for n, each in enumerate(values)})


def chain() -> HandMade:
    """`a` fired `b`, and the coordinator `c`."""
    made = HandMade(CHAIN)
    made.started("a", params=framed_params(4))
    made.succeeded("a", fired=["b"], output=framed(1))
    made.succeeded("b", output=framed(2))
    made.scheduled("c")
    return made


GOOD = {
    ("a", NO_ITEM, 1): asking(CHAIN, "a", 4),
    ("b", NO_ITEM, 1): framed(1),
    ("c", NO_ITEM, 1): asking(CHAIN, "c", 2, 4),
}


def test_steps_that_were_given_what_they_ask_for_are_right_whoever_fired_them() -> None:
    assert wrong(chain(), GOOD) == []


def test_a_step_that_was_given_something_else_is_told() -> None:
    by_agent = wrong(chain(), {**GOOD, ("b", NO_ITEM, 1): framed(7)})
    by_coordinator = wrong(chain(), {**GOOD, ("c", NO_ITEM, 1): asking(CHAIN, "c", 2, 5)})

    assert by_agent == [
        "attempt 1 of b of r-1 was given {'n': 7, 'items': [], 'pad': ''}, "
        "but it asks for {'n': 1, 'items': [], 'pad': ''}"
    ]
    assert by_coordinator == ["attempt 1 of c of r-1 was given {'p0': 2, 'p1': 5}, but it asks for {'p0': 2, 'p1': 4}"]


def test_what_cannot_be_read_is_not_what_a_step_asks_for() -> None:
    (told,) = wrong(chain(), {**GOOD, ("b", NO_ITEM, 1): b"?"})

    assert "attempt 1 of b of r-1 was given 'nothing that can be read" in told


def test_each_item_is_given_its_own_element() -> None:
    """Each was given that of the first, and nothing in the simulation noticed."""
    made = HandMade(MAP)
    start = made.started(params=framed_params(items=[5, 6]))
    made.follows(facts.StepExpanded(made.run, "m", 2), start)
    for item in (0, 1):
        made.scheduled("m", 1, item, cause=start)
    made.follows(facts.StepExpanded(made.run, "w", 2), start)
    made.succeeded("m", 1, 1, output=framed(9))
    made.scheduled("w", 1, 1)
    good = {
        ("m", 0, 1): asking(MAP, "m", 5),
        ("m", 1, 1): asking(MAP, "m", 6),
        ("w", 1, 1): framed(9),
    }

    assert wrong(made, good) == []
    assert wrong(made, {**good, ("m", 1, 1): asking(MAP, "m", 5)}) == [
        "attempt 1 of m[1] of r-1 was given {'p0': 5}, but it asks for {'p0': 6}"
    ]


def failed_once(replayed_with: bytes = b"") -> HandMade:
    """`a` failed, was tried again, failed for good and was replayed."""
    made = HandMade(define(node("a")))
    made.started("a", params=framed_params(4))
    made.failed("a", given=asking(made.definition, "a", 4))
    made.retry("a", 2)
    made.failed("a", 2, retryable=False, given=asking(made.definition, "a", 4))
    letter = made.entries[made.topics.dead("a")][0]
    made.given_up("a", 2, "exception", by="agent")
    made.held("a")
    made.replay_asked("a", 2, letter, given=replayed_with)
    made.scheduled("a", 3, replay=True)
    return made


def test_further_attempts_are_given_what_the_first_was() -> None:
    made = failed_once()
    four, five = (asking(made.definition, "a", n) for n in (4, 5))
    good = {("a", NO_ITEM, attempt): four for attempt in (1, 2, 3)}

    assert wrong(made, good, {("a", NO_ITEM, 2): four}) == []
    for attempt in (2, 3):
        (told,) = wrong(made, {**good, ("a", NO_ITEM, attempt): five})
        assert told == f"attempt {attempt} of a of r-1 was given {{'p0': 5}}, but it asks for {{'p0': 4}}"


def test_a_replay_that_brings_an_input_gives_that_one() -> None:
    five = asking(CHAIN, "a", 5)
    made = failed_once(five)
    good = {("a", NO_ITEM, attempt): asking(CHAIN, "a", 4) for attempt in (1, 2)}

    assert wrong(made, {**good, ("a", NO_ITEM, 3): five}) == []
    (told,) = wrong(made, {**good, ("a", NO_ITEM, 3): asking(CHAIN, "a", 4)})
    assert told == "attempt 3 of a of r-1 was given {'p0': 4}, but it asks for {'p0': 5}"


def test_failures_and_dead_letters_hold_what_the_step_was_given() -> None:
    made = HandMade(CHAIN)
    made.started("a", params=framed_params(4))
    made.failed("a", retryable=False, given=asking(CHAIN, "a", 5))

    found = wrong(made, {}, {("a", NO_ITEM, 1): asking(CHAIN, "a", 6)})

    assert found == [
        "attempt 1 of a of r-1 says that it was given {'p0': 5}, but it asks for {'p0': 4}",
        "attempt 1 of a of r-1 left, as a dead letter, {'p0': 6}, but it asks for {'p0': 4}",
    ]


def test_a_dead_letter_from_before_a_repair_holds_what_was_given_then() -> None:
    five, four = asking(CHAIN, "a", 5), asking(CHAIN, "a", 4)
    made = failed_once(five)

    assert wrong(made, {("a", NO_ITEM, 3): five}, {("a", NO_ITEM, 2): four}) == []
    (told,) = wrong(made, {("a", NO_ITEM, 3): five}, {("a", NO_ITEM, 2): five})
    assert told == "attempt 2 of a of r-1 left, as a dead letter, {'p0': 5}, but it asks for {'p0': 4}"


def test_the_dead_letter_of_a_deadline_holds_what_the_coordinator_makes_of_the_results_by_then() -> None:
    """Seed 544: nobody has told what the attempt was given, and its join went with the first of two results; the dead
    letter has both. For a join that waited for all there is no difference."""
    second = timedelta(seconds=1)
    early = define(node("a"), node("b"), node("c", "a.n?", "b.n?", join="any", deadline=second))
    whole = define(node("a"), node("b"), node("c", "a.n?", "b.n?", join="all_done", deadline=second))
    given = {}
    for definition in (early, whole):
        made = HandMade(definition)
        made.started("a", "b")
        made.succeeded("a", output=framed(1))
        if definition is early:
            made.scheduled("c")
        made.succeeded("b", output=framed(2))
        if definition is whole:
            made.scheduled("c")
        made.wait(second)
        made.marked(facts.DeadlinePassed(made.run, "step", "c", 1))
        made.given_up("c", 1, "step_deadline")
        made.held("c")
        given[definition.hash] = {
            n: wrong(made, {}, {("c", NO_ITEM, 1): asking(definition, "c", 1, n)}) for n in (2, None)
        }

    for definition in (early, whole):
        assert given[definition.hash][2] == []
        assert given[definition.hash][None] != []


def test_an_attempt_that_was_given_up_and_fails_later_leaves_two_dead_letters_each_with_what_its_writer_knew() -> None:
    """Seed 5004367: the agent's came after the coordinator's, and was taken for it."""
    second = timedelta(seconds=1)
    made = HandMade(define(node("a"), node("b"), node("c", "a.n?", "b.n?", join="any", deadline=second)))
    with_one, with_both = asking(made.definition, "c", 1, None), asking(made.definition, "c", 1, 2)
    made.started("a", "b")
    made.succeeded("a", output=framed(1))
    made.scheduled("c")
    made.succeeded("b", output=framed(2))
    made.wait(second)
    made.marked(facts.DeadlinePassed(made.run, "step", "c", 1))
    given_up = made.given_up("c", 1, "step_deadline").cause
    made.held("c")
    failed = made.failed("c", retryable=False, given=with_one).id
    triggers = {("c", NO_ITEM, 1): with_one}

    assert told(made, triggers, {given_up: with_both, failed: with_one}) == []
    assert told(made, triggers, {given_up: with_one, failed: with_one}) == [
        "attempt 1 of c of r-1 left, as a dead letter, {'p0': 1, 'p1': None}, but it asks for {'p0': 1, 'p1': 2}"
    ]
    assert len(told(made, triggers, {given_up: with_both, failed: asking(made.definition, "c", 7, 7)})) == 1
