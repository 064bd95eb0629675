"""What runs give: the result of their output step or expression, and nothing where they came to no end (I2)."""

from collections.abc import Iterator

from farandole.definition.expressions import compile_expression
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.claims import is_claim
from farandole.ids import sha256
from farandole.lineage.entries import Entry
from farandole.testing.history.cases import Case
from farandole.testing.history.report import Violation
from farandole.testing.history.runs import GOOD
from farandole.testing.history.standing import Standing, walk
from farandole.testing.history.values import UnknownValue, Values, decoded, is_same


def final_facts_end_their_runs(case: Case) -> Iterator[Violation]:
    """I2: a success that says it is final ends its run with its output, unless the run was being ended already.

    Where an earlier attempt of a step has not reported, the run stops first, and ends so when it has.
    """
    for each, before in walk(case.graph, case.story):
        fact = each.fact
        if not isinstance(fact, facts.StepSucceeded) or not fact.final:
            continue
        if fact.step != case.graph.last:
            yield case.broken("I2", f"{fact.step} says that it is final, but more may follow", each)
        is_free = before.phase == "running" and before.kernel_error is None and before.counts(each)
        if is_free and case.is_folded and not _ends_with(case, each, fact):
            yield case.broken("I2", f"{fact.step} says that it is final, but the run did not end with it", each)
    for each in _unread_ends(case):
        yield case.broken("I2", "a success that says it is final was not read when the run was ended", each)


def _unread_ends(case: Case) -> list[Entry]:
    """Final successes that a run has not folded, though it has ended, for its coordinator could not read it; a client
    knows of those before which nothing was asked."""
    held = (each.fact for each in case.events if isinstance(each.fact, facts.RunHeld))
    if not case.has(facts.RunSettled) or not any(fact.is_unread for fact in held):
        return []
    told = {each.place for each in case.story}
    asked = min(each.offset for each in case.events if isinstance(each.fact, facts.Marker | facts.RunSettled))
    missed = [each for each in case.events if each.place not in told and each.offset < asked]
    return [each for each in missed if isinstance(each.fact, facts.StepSucceeded) and each.fact.final]


def _ends_with(case: Case, final: Entry, fact: facts.StepSucceeded) -> bool:
    follow = case.following(final)
    ends = [each for each in follow if isinstance(each, facts.RunSettled)]
    if any(isinstance(each, facts.RunStopping) and each.outcome == "succeeded" for each in follow):
        ends = [each.fact for each in case.events if isinstance(each.fact, facts.RunSettled)]
        if not ends:
            return True  # it waits for what has not reported
    return any(each.output == fact.output for each in ends)


def outputs_are_the_runs(case: Case) -> Iterator[Violation]:
    """I2: a run that came to its end gives what its definition says of its steps' results; any other nothing."""
    if not case.has(facts.RunSettled):
        return
    for each, before in walk(case.graph, case.story):
        if isinstance(each.fact, facts.RunSettled) and before.phase != "settled":
            try:
                yield from _judge(case, each, each.fact, before)
            except (UnknownValue, RecordError):
                continue


def _judge(case: Case, entry: Entry, end: facts.RunSettled, before: Standing) -> Iterator[Violation]:
    definition = case.graph.definition
    if end.outcome not in GOOD or definition.output is None or definition.output_schema is None:
        if end.output is not None:
            yield case.broken("I2", f"it ended {end.outcome} with an output, but has none", entry)
        return
    given = _given(case, entry, before, definition.output, definition.output_schema)
    if (given is None) != (end.output is None):
        word = "without its output" if end.output is None else "with an output, but what gives it was skipped"
        yield case.broken("I2", f"it ended {end.outcome} {word}", entry)
    elif given is not None and end.output is not None and not _is_payload(definition.output_schema, end.output, given):
        yield case.broken("I2", "its output is not what its steps gave", entry)


def _given(case: Case, entry: Entry, before: Standing, text: str, schema: str) -> bytes | None:
    """The framed output; None where what gives it was skipped, unless an expression guards itself against that.

    Raises:
        UnknownValue: a value is not on the log.
        RecordError: it cannot be evaluated, though nothing is lacking.
    """
    if text in case.graph.names and not case.graph.step(text).is_mapped:
        told = before.unit(text).accepted
        return told.fact.output or None if told is not None and isinstance(told.fact, facts.StepSucceeded) else None
    expression, values = compile_expression(text), Values(case, before, entry)
    env = {root: values.root(root) for root in expression.roots}
    is_lacking = any(root in case.graph.names and not before.has_won(root) for root in expression.roots)
    if is_lacking and expression.is_path:
        return None
    try:
        return Schema.parse(schema).encode(expression.evaluate(env))
    except RecordError:
        if is_lacking:
            return None
        raise


def _is_payload(schema: str, said: bytes, given: bytes) -> bool:
    """Whether a payload is the one that was to be given: as a claim too, and however an older version framed it."""
    claim = is_claim(said)
    if said == given or (claim is not None and claim.sha256 == sha256(given)):
        return True
    return claim is None and is_same(decoded(schema, said), decoded(schema, given))
