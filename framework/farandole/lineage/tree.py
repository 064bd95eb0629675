"""The tree of a run: its steps under what released them, with every attempt and how it went.

Data only; `render` gives it a face. A step stands under the step whose end released it, which
for a join is the parent that ended last.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from farandole.definition.graph import graph_of
from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry, Unit
from farandole.lineage.graph import Lineage

DEPTH_MAX = 50
"""Levels of a tree: a pipeline may have a chain of 1,000 steps, which no terminal shows as one under the other, and
whose nesting neither we nor the readers of JSON can go down."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt. `outcome`: `succeeded`, `failed`, `cancelled` or `open`; `fired_by`: `agent`, `coordinator`, or
    `unknown` where what was said of it has expired.

    Places name records; `duration` is the handler's, None where no handler ran or nothing that can be was reported.
    """

    number: int
    outcome: str = "open"
    fired_by: str = "coordinator"
    detail: str = ""
    duration: timedelta | None = None
    trigger: str = ""
    report: str = ""
    source: str = ""
    replayed_by: str = ""
    dead_letter: str = ""
    published: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """A step, or one of its items.

    `outcome`: `succeeded`, `skipped`, `cancelled`, `failed`, `retrying`, `dead_letter` or `open`.
    """

    item: int
    outcome: str
    reason: str
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """A step with what it released. `works` is one entry, or one per item; `items` is None for a plain step."""

    step: str
    outcome: str
    reason: str
    items: int | None
    works: tuple[Work, ...]
    joins: tuple[str, ...] = ()
    children: "tuple[Branch, ...]" = ()
    follows: str = ""
    """The step that it would stand under, were that not too deep: it begins at the root again."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A run. `outcome` is empty while it lives; `marks` tell in words what happened to it as a whole."""

    run: str
    pipeline: str
    definition: str
    outcome: str
    reason: str
    asked: tuple[str, ...]
    started: datetime | None
    ended: datetime | None
    marks: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = ()
    refusals: tuple[str, ...] = field(default=())


def tree_of(lineage: Lineage) -> Tree:
    """The tree of a run."""
    started = _first(lineage, facts.RunStarted)
    settled = _first(lineage, facts.RunSettled)
    begun = started.fact if started is not None else None
    over = settled.fact if settled is not None else None
    refused = [e.fact for e in lineage.events if isinstance(e.fact, facts.RunRefused)]
    known = lineage.definition if not refused else None
    return Tree(
        run=lineage.run,
        pipeline=begun.pipeline if isinstance(begun, facts.RunStarted) else known.name if known is not None else "",
        definition=begun.definition if isinstance(begun, facts.RunStarted) else known.hash if known is not None else "",
        outcome=over.outcome if isinstance(over, facts.RunSettled) else "",
        reason=over.reason if isinstance(over, facts.RunSettled) else "",
        asked=tuple(e.place for e in lineage.commands),
        started=started.time if started is not None else None,
        ended=settled.time if settled is not None else None,
        marks=tuple(_marks(lineage)),
        branches=_branches(lineage),
        refusals=tuple(f"{each.reason}: {each.detail}" for each in refused),
    )


def _first(lineage: Lineage, kind: type) -> Entry | None:
    return next((each for each in lineage.events if isinstance(each.fact, kind)), None)


def _marks(lineage: Lineage) -> Iterator[str]:
    for each in lineage.events:
        match each.fact:
            case facts.RunHeld(reason=reason, step=step, item=item, detail=detail):
                at = f" at {unit_text((step, item))}" if step else ""
                yield f"held{at}: {reason}" + (f" ({detail})" if detail else "")
            case facts.RunReleased(reason=reason):
                yield f"released: {reason}"
            case facts.CancelRequested(reason=reason):
                yield "cancel requested" + (f": {reason}" if reason else "")
            case facts.RunStopping(outcome=outcome, reason=reason):
                yield f"stopping, to end {outcome}" + (f": {reason}" if reason else "")
            case facts.DeadlinePassed(scope=scope, step=step, item=item):
                yield f"{scope} deadline passed" + (f" at {unit_text((step, item))}" if step else "")
            case facts.TriggerSuspected(step=step, item=item):
                yield f"trigger suspected at {unit_text((step, item))}"
            case _:
                pass


def unit_text(unit: Unit) -> str:
    """`clean` or `clean[14]`."""
    step, item = unit
    return step if item == NO_ITEM else f"{step}[{item}]"


# --- steps and attempts -------------------------------------------------------------------


def _branches(lineage: Lineage) -> tuple[Branch, ...]:
    by_unit: dict[Unit, list[Entry]] = defaultdict(list)
    for each in lineage.entries:
        if each.unit[0]:
            by_unit[each.unit].append(each)
    steps = list(dict.fromkeys(step for step, _ in by_unit))
    above, joins = _places(lineage, steps)
    deep = _too_deep(above)
    below: dict[str, list[str]] = defaultdict(list)
    for step in steps:
        if step in above and step not in deep:
            below[above[step]].append(step)

    def grown(step: str) -> Branch:
        bare = _branch(lineage, step, by_unit, joins[step])
        return replace(bare, children=tuple(map(grown, below[step])), follows=deep.get(step, ""))

    return tuple(grown(step) for step in steps if step not in above or step in deep)


def _too_deep(above: Mapping[str, str]) -> dict[str, str]:
    """The steps that begin at the root again, each with the one above it."""
    depth: dict[str, int] = {}
    for step in above:
        way = [step]
        while way[-1] in above and above[way[-1]] not in depth:
            way.append(above[way[-1]])
        for each in reversed(way):
            depth[each] = depth[above[each]] + 1 if each in above else 0
    return {step: over for step, over in above.items() if depth[step] % DEPTH_MAX == 0}


def _places(lineage: Lineage, steps: Sequence[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The step above each step, and the other parents of joins (known from the definition alone)."""
    above: dict[str, str] = {}
    joins: dict[str, tuple[str, ...]] = {}
    graph = graph_of(lineage.definition) if lineage.definition is not None else None
    for step in steps:
        over = _released_by(lineage, step)
        parents = [p.name for p in graph.parents.get(step, ()) if p.name in steps] if graph is not None else []
        if parents and over not in parents:
            over = parents[-1]
        if over and not _is_below(above, over, step):
            above[step] = over
        joins[step] = tuple(name for name in parents if name != over)
    return above, joins


def _is_below(above: Mapping[str, str], step: str, root: str) -> bool:
    """Whether `step` stands under `root`: a step can not hang under itself, whatever the records say."""
    at: str | None = step
    while at is not None and at != root:
        at = above.get(at)
    return at == root


def _released_by(lineage: Lineage, step: str) -> str:
    """The step whose end the first record about `step` follows from; empty for a root."""
    first = next((e for e in lineage.entries if e.unit[0] == step and _begins(e)), None)
    if first is None:
        return ""
    for each in lineage.up(first.place):
        if each.fact is not None and each.unit[0] not in ("", step):
            return each.unit[0]
    return ""


def _begins(entry: Entry) -> bool:
    if entry.is_trigger:
        return entry.attempt == 1
    if entry.is_fused:
        return True
    return isinstance(entry.fact, facts.StepExpanded | facts.StepScheduled | facts.StepSkipped)


def _branch(lineage: Lineage, step: str, by_unit: Mapping[Unit, list[Entry]], joins: tuple[str, ...]) -> Branch:
    whole = by_unit.get((step, NO_ITEM), [])
    expanded = next((e.fact for e in whole if isinstance(e.fact, facts.StepExpanded)), None)
    if not isinstance(expanded, facts.StepExpanded):
        work = _work(lineage, NO_ITEM, whole)
        return Branch(step, work.outcome, work.reason, None, (work,), joins)
    items = sorted(item for name, item in by_unit if name == step and item != NO_ITEM)
    works = tuple(_work(lineage, item, by_unit[step, item]) for item in items)
    return Branch(step, _whole_outcome(whole, works, expanded.items), "", expanded.items, works, joins)


def _whole_outcome(whole: Iterable[Entry], works: Sequence[Work], items: int) -> str:
    outcomes = {each.outcome for each in works}
    # A run that stops, or ends directly, completes no map.
    if any(isinstance(each.fact, facts.StepCompleted) for each in whole) or (
        len(works) == items and outcomes <= {"succeeded", "skipped"}
    ):
        return "succeeded"
    return next((word for word in ("dead_letter", "failed", "cancelled", "retrying") if word in outcomes), "open")


def _work(lineage: Lineage, item: int, entries: Sequence[Entry]) -> Work:
    outcome, reason = "open", ""
    told = sorted((e for e in entries if e.fact is not None), key=lambda e: (e.partition, e.offset))
    for each in told:
        outcome, reason = _next_outcome(outcome, reason, each.fact)
    numbers = sorted({each.attempt for each in entries if _concerns_a_try(each)})
    return Work(item, outcome, reason, tuple(_try(lineage, n, [e for e in entries if e.attempt == n]) for n in numbers))


def _concerns_a_try(entry: Entry) -> bool:
    return entry.is_trigger or isinstance(entry.fact, facts.AgentFact | facts.StepScheduled)


def _next_outcome(outcome: str, reason: str, fact: facts.Event | None) -> tuple[str, str]:
    if outcome in ("succeeded", "skipped"):
        return outcome, reason  # a verdict stands: what comes later is told by its attempt
    match fact:
        case facts.StepSucceeded():
            return "succeeded", ""
        case facts.StepSkipped(reason=why):
            return "skipped", why
        case facts.StepCancelled(reason=why):
            return "cancelled", why
        case facts.StepFailed(kind=kind):
            return "failed", kind
        case facts.RetryScheduled():
            return "retrying", reason
        case facts.StepDeadLettered(reason=why):
            return "dead_letter", why
        case facts.StepScheduled():
            return "open", ""
        case _:
            return outcome, reason


def _try(lineage: Lineage, number: int, entries: Sequence[Entry]) -> Try:
    trigger = next((e for e in entries if e.is_trigger), None)
    report = next((e for e in entries if isinstance(e.fact, facts.AgentFact)), None)
    scheduled = next((e for e in entries if isinstance(e.fact, facts.StepScheduled)), None)
    outcome, detail, duration = _told(report.fact if report is not None else None)
    return Try(
        number,
        outcome,
        _fired_by(lineage, number, entries),
        detail,
        duration,
        trigger.place if trigger is not None else "",
        report.place if report is not None else "",
        report.source if report is not None else "",
        _replayed_by(lineage, scheduled),
        next((e.place for e in entries if e.is_dead_letter), ""),
        tuple(e.place for e in entries if e.is_published),
    )


def _fired_by(lineage: Lineage, number: int, entries: Sequence[Entry]) -> str:
    """Who wrote the trigger of an attempt: an agent only that of a first one."""
    if number > 1 or any(isinstance(e.fact, facts.StepScheduled) for e in entries):
        return "coordinator"
    trigger = next((e for e in entries if e.is_trigger), None)
    if trigger is not None and "/StepScheduled/" in trigger.cause:
        return "coordinator"
    is_known = trigger is not None or any(e.is_fused or e.unit[0] in lineage.fired for e in entries)
    return "agent" if is_known else "unknown"


def _told(fact: facts.Event | None) -> tuple[str, str, timedelta | None]:
    match fact:
        case facts.StepSucceeded(duration_ms=ms):
            return "succeeded", "", _lasted(ms)
        case facts.StepFailed(kind=kind, error=error, duration_ms=ms):
            return "failed", f"{kind}: {error}", _lasted(ms)
        case facts.StepCancelled(reason=reason):
            return "cancelled", reason, None
        case _:
            return "open", "", None


def _lasted(ms: int) -> timedelta | None:
    """A duration as its writer told it; None if it is longer than any can be, as of one that counts otherwise."""
    try:
        return timedelta(milliseconds=ms)
    except OverflowError:
        return None


def _replayed_by(lineage: Lineage, scheduled: Entry | None) -> str:
    """The command (or, without one, the marker) that asked for the attempt once more."""
    if scheduled is None:
        return ""
    for cause in lineage.causes(scheduled):
        if isinstance(cause.fact, facts.ReplayRequested):
            asked = [each.place for each in lineage.causes(cause) if each.command is not None]
            return (asked or [cause.place])[0]
    return ""
