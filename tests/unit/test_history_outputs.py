"""Bad histories of what runs give: nothing, something else, something where there is nothing (I2)."""

from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import encode
from farandole.events.tables import Claim
from farandole.ids import sha256
from farandole.testing.history import check_history
from farandole.testing.history.builder import HandMade
from farandole.testing.sketch import define, framed, framed_params, node

TWO = define(node("a"), node("b", "a"), output="b")
SKIPPED = define(node("a"), node("b", "a", when="a.n > 3"), output="b")
NUMBER = define(node("a"), output="a.n")


def told(made: HandMade) -> str:
    """What the checker says of I2; everything that it says, if it says nothing of it."""
    found = check_history(made.history())
    return "\n".join(str(each) for each in found if each.invariant == "I2") or f"not told, but {found}"


def number(n: int) -> bytes:
    """The framed output of `NUMBER`."""
    return Schema.parse(NUMBER.output_schema or "").encode(n)


def ended(definition: Definition, output: bytes | None, given: bytes = framed(2)) -> HandMade:
    """A run of one or two steps that ended with an output."""
    made = HandMade(definition)
    made.started("a", params=framed_params(0))
    made.succeeded("a", output=framed(1))
    if definition is SKIPPED:
        made.follows(facts.StepSkipped(made.run, "b", "condition"))
    elif "b" in definition.steps:
        made.scheduled("b")
        made.succeeded("b", output=given)
    made.settled(output=output)
    return made


def test_a_run_gives_what_its_output_step_gave() -> None:
    assert check_history(ended(TWO, framed(2)).history()) == []
    assert "its output is not what its steps gave" in told(ended(TWO, framed(99)))
    assert "it ended succeeded without its output" in told(ended(TWO, None))


def test_a_run_gives_what_its_output_expression_says() -> None:
    assert check_history(ended(NUMBER, number(1)).history()) == []
    assert "it ended succeeded without its output" in told(ended(NUMBER, None))
    assert "its output is not what its steps gave" in told(ended(NUMBER, number(2)))


def test_a_run_gives_nothing_where_its_output_step_was_skipped() -> None:
    assert check_history(ended(SKIPPED, None).history()) == []
    assert "with an output, but what gives it was skipped" in told(ended(SKIPPED, framed(1)))


def test_a_run_without_an_output_or_without_a_good_end_gives_nothing() -> None:
    made = HandMade(TWO)
    made.started("a")
    made.cancel_asked()
    made.stopping()
    made.cancelled("a")
    made.settled("cancelled", output=framed(1))

    assert "it ended cancelled with an output, but has none" in told(made)
    assert "it ended succeeded with an output, but has none" in told(ended(define(node("a")), framed(1)))


def test_a_large_output_is_a_claim_for_what_the_steps_gave() -> None:
    good = ended(NUMBER, encode(Claim(sha256(number(1)), 9)))
    bad = ended(NUMBER, encode(Claim(sha256(number(2)), 9)))

    assert check_history(good.history()) == []
    assert "its output is not what its steps gave" in told(bad)


def test_a_final_success_ends_a_run_after_what_has_not_reported() -> None:
    """A trigger that was suspected and replayed has an attempt that may never report: the run stops first, to succeed,
    and ends when its patience is over. The checker wanted its end at once."""
    good, bad = HandMade(TWO), HandMade(TWO)
    for made, output in ((good, framed(5)), (bad, framed(6))):
        made.started("a")
        trigger = made.trigger_of("a")
        made.marked(facts.TriggerSuspected(made.run, "a", 1))
        made.held("a", "trigger_suspected")
        made.replay_asked("a", 1, trigger)
        made.scheduled("a", 2, replay=True)
        made.follows(facts.RunReleased(made.run, "replayed"))
        made.succeeded("a", 2, fired=("b",), output=framed(1))
        made.reported(facts.StepSucceeded(made.run, "b", 1, framed(5), final=True))
        made.stopping("succeeded")
        assert "not told" in told_now(made)
        made.cancelled("a")
        made.settled(output=output)

    assert check_history(good.history()) == []
    assert "b says that it is final, but the run did not end with it" in told(bad)


def told_now(made: HandMade) -> str:
    """What is said of I2 while the log goes on."""
    found = check_history(made.history(quiescent=False))
    return "\n".join(str(each) for each in found if each.invariant == "I2") or "not told"
