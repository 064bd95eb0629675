"""What handlers did, beside what the log says: results were worked for, owners had their own tokens (I12, I13)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from farandole.events import facts
from farandole.lineage.entries import Entry
from farandole.testing.history.cases import AttemptKey, Case, Docket, attempt_text
from farandole.testing.history.report import Violation
from farandole.testing.ledger import Execution

RAN = frozenset({"exception", "timeout", "contract"})
"""Kinds of failure that only a handler's run can have; a crash or too little memory may come before its first line."""


def results_were_worked_for(docket: Docket) -> Iterator[Violation]:
    """I12: where handlers wrote down what they did, every result of theirs has a call behind it."""
    calls = _calls(docket)
    recording = {key[0] for by_attempt in calls.values() for key in by_attempt}
    for case in docket.judged:
        for key, reports in case.reports.items():
            ran = [r for r in reports if isinstance(r.fact, facts.StepSucceeded) or _ran(r.fact)]
            if ran and key[0] in recording and not calls[case.run].get(key):
                yield case.broken("I12", f"{attempt_text(key)} has a result, but no handler was called", *ran)


def _ran(fact: object) -> bool:
    """Whether it tells of a handler's run; an attempt that was given up while it waited for room lasted no time."""
    if not isinstance(fact, facts.StepFailed) or fact.kind not in RAN:
        return False
    return fact.kind != "timeout" or fact.duration_ms > 0


def calls_were_triggered(docket: Docket) -> Iterator[Violation]:
    """I12: a handler is called for attempts that were triggered, and again only after a crash or a fencing."""
    history = docket.history
    most = None if history.faults is None else 1 + history.faults
    for run, by_attempt in _calls(docket).items():
        case = docket.cases.get(run)
        if run in history.foreign:
            continue
        for key, calls in by_attempt.items():
            triggers = [*case.triggers.get(key, ()), *_fused(case, key)] if case is not None else []
            if not triggers and all(history.is_whole(topic) for topic, _ in history.spans if ".inbox." in topic):
                yield Violation("I12", run, f"{attempt_text(key)} ran, but was never triggered")
            again = sum(case.is_repeat(each) for each in case.reports.get(key, ())) if case is not None else 0
            if most is not None and len(calls) > most + again:
                told = f"{attempt_text(key)} ran {len(calls)} times, with {history.faults} faults"
                yield Violation("I12", run, told, tuple(each.place for each in triggers))


def _fused(case: Case, key: AttemptKey) -> list[Entry]:
    """What stands for a trigger where an attempt may run at once: the one that its parent has, committed or not."""
    step, _, attempt = key
    if not case.starts and attempt == 1:  # started directly, and its first transaction is under way still
        return [each for several in case.triggers.values() for each in several if each.is_start]
    above = case.graph.chain_above(step) if case.is_judged and attempt == 1 else ()
    return [each for name in above for n, several in case.triggers.items() if n[0] == name for each in several]


def tokens_tell_owners_apart(docket: Docket) -> Iterator[Violation]:
    """I13: calls for one attempt that overlap have different fencing tokens; each carries its attempt's number."""
    for run, by_attempt in _calls(docket).items():
        for key, calls in by_attempt.items():
            tokens = sorted(call.token for call in calls)
            in_order = sorted(calls, key=lambda call: call.begun)
            if any(_overlaps(one, other) for n, one in enumerate(in_order) for other in in_order[n + 1 :]):
                yield Violation("I13", run, f"{attempt_text(key)} ran twice at once under one fencing token: {tokens}")
            if any(token[0] != key[2] for token in tokens):
                yield Violation("I13", run, f"{attempt_text(key)} ran under the token of another: {tokens}")


def _overlaps(one: Execution, later: Execution) -> bool:
    """Whether two calls were under way at once with the same token; one that never ended may be still."""
    return one.token == later.token and (one.ended is None or later.begun < one.ended)


def _calls(docket: Docket) -> Mapping[str, Mapping[AttemptKey, list[Execution]]]:
    found: dict[str, dict[AttemptKey, list[Execution]]] = defaultdict(lambda: defaultdict(list))
    for each in docket.history.executions or ():
        found[each.run][each.step, each.item, each.attempt].append(each)
    return found
