"""Triggers and causes: whatever happens follows from something, and is triggered once (I3, I4)."""

from collections.abc import Iterator, Sequence

from farandole.events import facts
from farandole.ids import NO_ITEM, attempt_id, inbox_key
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import AttemptKey, Case, Docket, attempt_text, fired_apart
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, walk


def triggers_are_unique(case: Case) -> Iterator[Violation]:
    """I4: one trigger per run, step, item and attempt, and one for each repeat that fired it."""
    for key, several in case.triggers.items():
        if len(case.own(several)) > 1:
            yield case.broken("I4", f"{attempt_text(key)} was triggered {len(several)} times", *several)


def triggers_are_well_formed(case: Case) -> Iterator[Violation]:
    """I3: a trigger stands in its agent's inbox under its own key and id."""
    for (step, item, attempt), several in case.triggers.items():
        agent = case.graph.step(step).agent
        for each in several:
            if not each.topic.endswith(f".inbox.{agent}"):
                yield case.broken("I3", f"a trigger of {step} is not in the inbox of {agent}", each)
            if each.key != inbox_key(case.run, step, item):
                yield case.broken("I3", f"a trigger of {unit_text((step, item))} has key {each.key!r}", each)
            if each.id != attempt_id(case.run, step, item, attempt) + "/trigger":
                yield case.broken("I3", f"a trigger of {unit_text((step, item))} has id {each.id!r}", each)


def triggers_follow_from_facts(docket: Docket) -> Iterator[Violation]:
    """I3: the coordinator triggers what it scheduled, an agent what its success says that it fired, and nobody else."""
    for case in docket.judged:
        for key, several in case.triggers.items():
            for each in several:
                yield from _caused(docket, case, key, each)


def _caused(docket: Docket, case: Case, key: AttemptKey, trigger: Entry) -> Iterator[Violation]:
    step, item, attempt = key
    causes = [each for each in docket.by_id.get(trigger.cause, ()) if each.run == case.run]
    if not causes:
        if trigger.is_start:
            if case.graph.direct_root != step or attempt != 1:
                yield case.broken("I3", f"{step} was triggered as the start of its run, which it cannot be", trigger)
        elif docket.is_old(trigger):
            yield case.broken("I3", f"the trigger of {attempt_text(key)} follows from nothing on `events`", trigger)
        return
    cause = _cause_of(case, causes, trigger)
    fact = cause.fact
    match fact:
        case facts.StepScheduled():
            if (fact.step, fact.item, fact.attempt) != key:
                yield case.broken("I3", f"the trigger of {attempt_text(key)} names another attempt", cause, trigger)
        case facts.StepSucceeded(fired=fired):
            if step not in fired or item != NO_ITEM or attempt != 1:
                told = f"the trigger of {attempt_text(key)} was written by an agent that does not say so"
                yield case.broken("I3", told, cause, trigger)
            elif not _is_with(trigger, cause):
                told = f"the trigger of {attempt_text(key)} and the success behind it are not one transaction"
                yield case.broken("I3", told, cause, trigger)
        case _:
            told = f"the trigger of {attempt_text(key)} follows from a {type(fact).__name__}"
            yield case.broken("I3", told, cause, trigger)


def _cause_of(case: Case, causes: Sequence[Entry], trigger: Entry) -> Entry:
    """The fact behind a trigger; of several copies with its id, the repeat that wrote it where it is one itself."""
    if case.is_repeat(trigger):
        for each in causes:
            if case.is_repeat(each) and _is_with(trigger, each) and trigger.unit[0] in fired_apart(each):
                return each
    return causes[0]


def _is_with(trigger: Entry, success: Entry) -> bool:
    """Whether one transaction wrote both."""
    return (trigger.source, trigger.input) == (success.source, success.input)


def direct_starts_come_with_a_report(docket: Docket) -> Iterator[Violation]:
    """I1, I10: whoever reports a trigger that started its run says in the same transaction that the run began."""
    for case in docket.cases.values():
        for (step, item, attempt), several in case.triggers.items():
            reports = case.reports.get((step, item, attempt), [])
            for each in (trigger for trigger in several if trigger.is_start and reports):
                if not any(start.cause == each.id for start in (*case.starts, *case.void)) and docket.is_old(each):
                    yield case.broken("I1", f"{step} started the run, but nothing says that it began", each, *reports)
    for case in docket.judged:
        for each in case.starts:
            if isinstance(each.fact, facts.RunStarted) and each.fact.fired:
                yield from _begun(docket, case, each, each.fact.fired)


def _begun(docket: Docket, case: Case, start: Entry, fired: Sequence[str]) -> Iterator[Violation]:
    reports = [report for root in fired for report in case.reports.get((root, NO_ITEM, 1), ())]
    same = [r for r in reports if (r.source, r.input, r.partition) == (start.source, start.input, start.partition)]
    if docket.is_old(start) and not any(report.offset > start.offset for report in same):
        told = f"the run began with {', '.join(fired)}, but its report is not of the same transaction"
        yield case.broken("I10", told, start, *reports)


def what_was_fired_was_triggered(docket: Docket) -> Iterator[Violation]:
    """I4: whatever the log says was triggered has its trigger: a fact and its trigger are one transaction."""
    for case in docket.judged:
        for each in case.events:
            if not docket.is_old(each):
                continue
            match each.fact:
                case facts.StepScheduled(step=step, item=item, attempt=attempt):
                    yield from _triggered(docket, case, each, (step, item, attempt))
                case facts.StepSucceeded():
                    for child in fired_apart(each):
                        yield from _triggered(docket, case, each, (child, NO_ITEM, 1))
                case _:
                    pass


def _triggered(docket: Docket, case: Case, cause: Entry, key: AttemptKey) -> Iterator[Violation]:
    inbox = docket.history.topics.inbox(case.graph.step(key[0]).agent)
    if not docket.history.is_whole(inbox):
        return  # the trigger may have expired
    written = sum(trigger.cause == cause.id for trigger in case.triggers.get(key, ()))
    if written < 1 + _copies_before(case, cause, key[0]):
        yield case.broken("I4", f"{attempt_text(key)} was scheduled, but its trigger is not in {inbox}", cause)


def _copies_before(case: Case, cause: Entry, child: str) -> int:
    """How often the same was said before by records of which each has a trigger of its own, if `cause` repeats it."""
    if not case.is_repeat(cause):
        return 0
    copies = [each for each in case.events if each.id == cause.id and each.offset < cause.offset]
    return sum(child in fired_apart(each) for each in copies)


def agents_fire_only_their_edges(case: Case) -> Iterator[Violation]:
    """I3: an agent fires only edges for which it can know everything, and each only once (and once for each repeat)."""
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, facts.StepSucceeded):
            continue
        for child in each.fact.fired:
            if child not in case.graph.fired_by_agent[each.fact.step]:
                yield case.broken("I3", f"the agent of {each.fact.step} fired {child}, which is not its to fire", each)
            elif before.phase == "running" and before.unit(child).status != "pending":
                if _is_again(case, each, before):
                    continue
                told = f"the agent of {each.fact.step} fired {child}, which was {before.unit(child).status} already"
                yield case.broken("I4", told, each)


def _is_again(case: Case, success: Entry, before: Standing) -> bool:
    """Whether a success fires once more because it, or the one that counts, is a repeat."""
    accepted = before.of(success).accepted
    return case.is_repeat(success) or (accepted is not None and case.is_repeat(accepted))


def facts_have_causes(docket: Docket) -> Iterator[Violation]:
    """I3: whatever stands on `events` follows from something that exists."""
    for case in docket.judged:
        for each in case.events:
            if each.fact is not None and docket.is_old(each) and not _has_cause(docket, case, each):
                yield case.broken("I3", f"{type(each.fact).__name__} follows from nothing that exists", each)


def _has_cause(docket: Docket, case: Case, entry: Entry) -> bool:
    """A timer's marker is its own cause: `timers` judges it."""
    if isinstance(entry.fact, facts.RetryDue | facts.DeadlinePassed):
        return True
    if isinstance(entry.fact, facts.TriggerSuspected) and _was_fused(case, entry.unit[0]):
        return True  # it never had a trigger: its attempt ran at once
    found = [*docket.by_id.get(entry.cause, ()), *filter(None, [docket.by_place.get(entry.cause)])]
    if any(each.run == case.run and each.place != entry.place for each in found):
        return True
    named = entry.input or entry.cause
    return docket.may_have_expired(named) or (not entry.input and not _is_known(docket, entry.cause))


def _was_fused(case: Case, step: str) -> bool:
    return any(isinstance(each.fact, facts.StepSucceeded) and step in each.fact.fused for each in case.events)


def _is_known(docket: Docket, cause: str) -> bool:
    """Whether the topic that `cause` belongs to is whole: a trigger's may not be."""
    return not cause.endswith("/trigger") or all(
        docket.history.is_whole(topic) for topic, _ in docket.history.spans if ".inbox." in topic
    )


def runs_are_started(docket: Docket) -> Iterator[Violation]:
    """I3: nobody works for a run that was never started; a start that nobody has taken yet waits in its inbox."""
    if not docket.history.is_whole(docket.history.topics.events):
        return
    for case in docket.cases.values():
        triggers = [each for several in case.triggers.values() for each in several]
        if not docket.history.quiescent:
            triggers = [each for each in triggers if not each.is_start]
        told = [each for each in (*case.events, *triggers) if not isinstance(each.fact, facts.RunRefused)]
        if not (case.starts or case.void) and told and all(docket.is_old(each) for each in told):
            yield case.broken("I3", "there are records of it, but it was never started", *told[:3])


def facts_stand_at_home(docket: Docket) -> Iterator[Violation]:
    """I3: every event of a run is on its home partition: the order of that log decides."""
    for case in docket.cases.values():
        home = docket.home_of(case.run)
        astray = [each for each in (*case.events, *case.settled) if home is not None and each.partition != home]
        if astray:
            yield case.broken("I3", f"its home is partition {home}, but records of it are elsewhere", *astray)
