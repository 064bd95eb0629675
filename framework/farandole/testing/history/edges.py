"""Edges: every trigger has a cause, is written once, and a step goes when its parents allow it (I3, I4, I6, I14)."""

from collections.abc import Iterator

from farandole.definition.graph import Graph, Parent
from farandole.definition.model import Step
from farandole.definition.policy import JoinKind, OnDeadLetter
from farandole.events import facts
from farandole.ids import NO_ITEM, attempt_id, inbox_key
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import AttemptKey, Case, Docket
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, walk


def triggers_are_unique(case: Case) -> Iterator[Violation]:
    """I4: one trigger per run, step, item and attempt."""
    for key, several in case.triggers.items():
        if len(several) > 1:
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
        if docket.is_old(trigger):
            yield case.broken("I3", f"the trigger of {attempt_text(key)} follows from nothing on `events`", trigger)
        return
    fact = causes[0].fact
    match fact:
        case facts.StepScheduled():
            if (fact.step, fact.item, fact.attempt) != key:
                yield case.broken("I3", f"the trigger of {attempt_text(key)} names another attempt", causes[0], trigger)
        case facts.StepSucceeded(fired=fired):
            if step not in fired or item != NO_ITEM or attempt != 1:
                told = f"the trigger of {attempt_text(key)} was written by an agent that does not say so"
                yield case.broken("I3", told, causes[0], trigger)
            elif (trigger.source, trigger.input) != (causes[0].source, causes[0].input):
                told = f"the trigger of {attempt_text(key)} and the success behind it are not one transaction"
                yield case.broken("I3", told, causes[0], trigger)
        case _:
            told = f"the trigger of {attempt_text(key)} follows from a {type(fact).__name__}"
            yield case.broken("I3", told, causes[0], trigger)


def what_was_fired_was_triggered(docket: Docket) -> Iterator[Violation]:
    """I4: whatever the log says was triggered has its trigger: a fact and its trigger are one transaction."""
    for case in docket.judged:
        for each in case.events:
            if not docket.is_old(each):
                continue
            match each.fact:
                case facts.StepScheduled(step=step, item=item, attempt=attempt):
                    yield from _triggered(docket, case, each, (step, item, attempt))
                case facts.StepSucceeded(fired=fired):
                    for child in fired:
                        yield from _triggered(docket, case, each, (child, NO_ITEM, 1))
                case _:
                    pass


def _triggered(docket: Docket, case: Case, cause: Entry, key: AttemptKey) -> Iterator[Violation]:
    if key[0] not in case.graph.number:
        yield case.broken("I20", f"it fired {key[0]!r}, which its definition does not have", cause)
        return
    inbox = docket.history.topics.inbox(case.graph.step(key[0]).agent)
    if not docket.history.is_whole(inbox):
        return  # the trigger may have expired
    if not any(trigger.cause == cause.id for trigger in case.triggers.get(key, ())):
        yield case.broken("I4", f"{attempt_text(key)} was scheduled, but its trigger is not in {inbox}", cause)


def agents_fire_only_their_edges(case: Case) -> Iterator[Violation]:
    """I3: an agent fires only edges for which it can know everything, and each only once."""
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, facts.StepSucceeded):
            continue
        for child in each.fact.fired:
            if child not in case.graph.fired_by_agent[each.fact.step]:
                yield case.broken("I3", f"the agent of {each.fact.step} fired {child}, which is not its to fire", each)
            elif before.phase == "running" and before.unit(child).status != "pending":
                told = f"the agent of {each.fact.step} fired {child}, which was {before.unit(child).status} already"
                yield case.broken("I4", told, each)


def facts_have_causes(docket: Docket) -> Iterator[Violation]:
    """I3: whatever stands on `events` follows from something that exists."""
    for case in docket.judged:
        for each in case.events:
            if not docket.is_old(each) or _has_cause(docket, case, each):
                continue
            yield case.broken("I3", f"{type(each.fact).__name__ or 'an event'} follows from nothing that exists", each)


def _has_cause(docket: Docket, case: Case, entry: Entry) -> bool:
    """A timer's marker is its own cause: `timers` judges it."""
    if isinstance(entry.fact, facts.RetryDue | facts.DeadlinePassed):
        return True
    found = [*docket.by_id.get(entry.cause, ()), *filter(None, [docket.by_place.get(entry.cause)])]
    if any(each.run == case.run and each.place != entry.place for each in found):
        return True
    named = entry.input or entry.cause
    return docket.may_have_expired(named) or (not entry.input and not _is_known(docket, entry.cause))


def _is_known(docket: Docket, cause: str) -> bool:
    """Whether the topic that `cause` belongs to is whole: a trigger's may not be."""
    return not cause.endswith("/trigger") or all(
        docket.history.is_whole(topic) for topic, _ in docket.history.spans if ".inbox." in topic
    )


def runs_are_started(docket: Docket) -> Iterator[Violation]:
    """I3: nobody works for a run that was never started."""
    if not docket.history.is_whole(docket.history.topics.events):
        return
    for case in docket.cases.values():
        refused = any(isinstance(each.fact, facts.RunRefused) for each in case.events)
        triggers = [each for several in case.triggers.values() for each in several]
        told = [each for each in (*case.events, *triggers) if not isinstance(each.fact, facts.RunRefused)]
        if not case.starts and told and (not refused or triggers) and all(docket.is_old(each) for each in told):
            yield case.broken("I3", "there are records of it, but it was never started", *told[:3])


def facts_stand_at_home(docket: Docket) -> Iterator[Violation]:
    """I3: every event of a run is on its home partition: the order of that log decides."""
    for case in docket.cases.values():
        home = docket.home_of(case.run)
        astray = [each for each in (*case.events, *case.settled) if home is not None and each.partition != home]
        if astray:
            yield case.broken("I3", f"its home is partition {home}, but records of it are elsewhere", *astray)


def steps_go_when_their_parents_allow(case: Case) -> Iterator[Violation]:
    """I6, I14: the coordinator schedules, expands or skips a pending step of a running run, and only when it may."""
    for each, before in walk(case.graph, case.story):
        match each.fact:
            case facts.StepScheduled(attempt=1, step=step, item=item) | facts.StepSkipped(step=step, item=item):
                if before.phase != "running":
                    yield case.broken("I14", f"{_did(each)} while the run was {before.phase}", each)
                yield from _may_go(case, each, before, case.graph.step(step), item)
            case facts.StepExpanded(step=step):
                if before.phase != "running":
                    yield case.broken("I14", f"{_did(each)} while the run was {before.phase}", each)
                yield from _may_go(case, each, before, case.graph.step(step), NO_ITEM)
            case facts.StepCompleted(step=step, succeeded=succeeded):
                yield from _may_complete(case, each, before, step, succeeded)
            case facts.StepScheduled():
                if before.phase != "running":
                    yield case.broken("I14", f"{_did(each)} while the run was {before.phase}", each)
            case _:
                pass


def _did(entry: Entry) -> str:
    return f"{type(entry.fact).__name__} of {unit_text(entry.unit)}"


def _may_go(case: Case, entry: Entry, before: Standing, step: Step, item: int) -> Iterator[Violation]:
    fact, unit = entry.fact, before.unit(step.name, item)
    if isinstance(fact, facts.StepSkipped) and fact.reason == "dead_letter":
        if unit.status != "dead" or step.on_dead_letter is not OnDeadLetter.SKIP:
            yield case.broken("I6", f"{_did(entry)} for a dead letter, but it was {unit.status}", entry)
        return
    if unit.status != "pending":
        yield case.broken("I4", f"{_did(entry)}, though it was {unit.status} already", entry)
        return
    allowed = item_ready(case.graph, before, step, item) if item != NO_ITEM else ready(case.graph, before, step)
    wanted = fact.reason if isinstance(fact, facts.StepSkipped) else "go"
    if wanted == "condition":
        wanted = "go"  # whether the condition held is judged by `conditions`
    if wanted not in allowed:
        told = f"{_did(entry)} ({wanted}), but its parents say: {' or '.join(sorted(allowed))}"
        yield case.broken("I6", told, entry)


def _may_complete(case: Case, entry: Entry, before: Standing, step: str, succeeded: int) -> Iterator[Violation]:
    count = before.items.get(step)
    states = [before.unit(step, item).status for item in range(count or 0)]
    if count is None or before.unit(step).status != "expanded":
        yield case.broken("I6", f"{step} was completed, but it was {before.unit(step).status}", entry)
    elif any(each not in ("succeeded", "skipped", "failed", "cancelled") for each in states):
        yield case.broken("I6", f"{step} was completed while items of it were under way", entry)
    elif states.count("succeeded") != succeeded:
        told = f"{step} was completed with {succeeded} results, but {states.count('succeeded')} items succeeded"
        yield case.broken("I6", told, entry)


def ready(graph: Graph, now: Standing, step: Step) -> frozenset[str]:
    """What may happen to a pending step: `go`, `input` or `join` (skips), or `wait`."""
    parents = graph.parents[step.name]
    data = [p for p in parents if not p.ordering]
    ended = {p.name: _has_ended(graph, now, step, p) for p in parents}
    if not all(ended[p.name] for p in parents if p.ordering):
        return frozenset({"wait"})
    won = {p.name: _has_won(graph, now, step, p) for p in parents}
    over = all(ended[p.name] for p in data)
    lacks = any(p.required and ended[p.name] and not won[p.name] for p in data)
    needed = {JoinKind.ANY: 1, JoinKind.N_OF: step.join.needed}.get(step.join.kind)
    if needed is not None:
        count = sum(won[p.name] for p in data)
        if count < needed:
            return frozenset({"join"}) if over else frozenset({"wait"})
        unsure = any(p.required and not won[p.name] for p in data)
        return frozenset({"input"}) if unsure else frozenset({"go"})
    if step.join.kind is JoinKind.ALL_SUCCEEDED and lacks:
        return frozenset({"input"})
    if not over:
        return frozenset({"wait"})
    return frozenset({"input"}) if lacks else frozenset({"go"})


def item_ready(graph: Graph, now: Standing, step: Step, item: int) -> frozenset[str]:
    """The same for an item of an expanded step."""
    if now.unit(step.name).status != "expanded" or not 0 <= item < now.items.get(step.name, 0):
        return frozenset({"wait"})
    above = graph.items_of(step)
    if above is None:
        return frozenset({"go"})
    status = now.unit(above, item).status
    if status == "succeeded":
        return frozenset({"go"})
    return frozenset({"input"}) if status in ("skipped", "failed", "cancelled") else frozenset({"wait"})


def _has_ended(graph: Graph, now: Standing, step: Step, parent: Parent) -> bool:
    item_wise = graph.items_of(step) == parent.name and now.unit(parent.name).status == "expanded"
    return item_wise or now.has_ended(parent.name)


def _has_won(graph: Graph, now: Standing, step: Step, parent: Parent) -> bool:
    item_wise = graph.items_of(step) == parent.name and now.unit(parent.name).status == "expanded"
    return item_wise or now.has_won(parent.name)


def nothing_that_may_go_waits(case: Case) -> Iterator[Violation]:
    """I6: once everything is folded, no step of a running run is pending that could go."""
    if not case.is_folded:
        return
    now = case.final()
    if now.phase != "running" or now.kernel_error is not None:
        return
    for step in case.graph.steps:
        if now.unit(step.name).status == "pending" and "wait" not in (may := ready(case.graph, now, step)):
            told = f"{step.name} is still pending, but its parents say: {' or '.join(sorted(may))}"
            yield case.broken("I6", told, case.story[-1])
        for item in range(now.items.get(step.name, 0)):
            waits = now.unit(step.name, item).status == "pending"
            if waits and "wait" not in item_ready(case.graph, now, step, item):
                yield case.broken("I6", f"{unit_text((step.name, item))} is still pending, but may go", case.story[-1])


def stopping_runs_are_told(docket: Docket) -> Iterator[Violation]:
    """I14: who stops a run tells its agents, in the same transaction."""
    history = docket.history
    if not history.control:
        return
    told = {each.key for each in history.control}
    for case in docket.judged:
        stopping = next((each for each in case.events if isinstance(each.fact, facts.RunStopping)), None)
        if stopping is not None and docket.is_old(stopping) and f"run:{case.run}" not in told:
            yield case.broken("I14", "it is stopping, but `control` does not say so", stopping)


def requests_to_stop_are_heeded(case: Case) -> Iterator[Violation]:
    """I14: a cancellation, or the run's deadline, that is folded while the run goes on stops it."""
    if not case.is_folded:
        return
    answered = {each.cause for each in case.events if isinstance(each.fact, facts.RunStopping | facts.RunSettled)}
    for each, before in walk(case.graph, case.story):
        is_stop = isinstance(each.fact, facts.CancelRequested) or (
            isinstance(each.fact, facts.DeadlinePassed) and each.fact.scope == "run"
        )
        if is_stop and before.phase == "running" and each.id not in answered:
            yield case.broken("I14", f"{type(each.fact).__name__} was folded while it ran, but did not stop it", each)


def attempt_text(key: AttemptKey) -> str:
    """`attempt 2 of clean[14]`."""
    return f"attempt {key[2]} of {unit_text(key[:2])}"
