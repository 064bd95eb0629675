"""Runs as wholes: none is lost, each ends once, and nothing of an ended one lingers (I1, I2, I17, I20)."""

from collections.abc import Iterator

from farandole.events import facts
from farandole.events.commands import StartRun
from farandole.events.tables import RunHead, SettledRun
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.lineage.tree import unit_text
from farandole.testing.history.cases import Case, Docket
from farandole.testing.history.report import Violation
from farandole.testing.history.standing import Standing, walk

GOOD = ("succeeded", "partial")
"""Outcomes of runs all of whose steps have ended; one may be stopping with them while an attempt is still open."""


def acknowledged_runs_are_known(docket: Docket) -> Iterator[Violation]:
    """I1: every start that a client was promised is a run, or was refused in so many words."""
    if not docket.history.quiescent:
        return
    for run in sorted(docket.history.acknowledged):
        case = docket.cases.get(run)
        if case is None or not (case.starts or _refusals(case)):
            yield Violation("I1", run, "its start was acknowledged, but nothing on `events` answers it")


def starts_are_answered(docket: Docket) -> Iterator[Violation]:
    """I1: every command that was consumed at its home is answered on `events`."""
    history = docket.history
    committed = {c.partition: c for c in history.committed if c.topic == history.topics.commands}
    refused = {each.cause for each in history.events if isinstance(each.fact, facts.RunRefused)}
    for asked in history.commands:
        if docket.home_of(asked.run) not in (None, asked.partition) or asked.run in history.foreign:
            continue
        position = committed.get(asked.partition)
        consumed = position is not None and position.is_done(asked.offset)
        if not (consumed or (history.quiescent and position is None)):
            continue
        if not (isinstance(asked.command, StartRun) or asked.command is None):
            continue  # what is asked of a run that is not there has no effect, and no answer
        case = docket.cases.get(asked.run)
        # The refusal of an id that is too long stands under what is left of it.
        answered = not refused.isdisjoint((asked.id, asked.place))
        if not answered and case is not None:
            answered = bool(case.starts or _refusals(case))
        if not answered and history.is_whole(history.topics.events):
            yield Violation("I1", asked.run, "its start was consumed, but not answered", (asked.place,))


def a_run_starts_once(docket: Docket) -> Iterator[Violation]:
    """I2: one start per run id, unless the run before it had ended and was forgotten."""
    for case in docket.cases.values():
        ends = [each for each in case.events if isinstance(each.fact, facts.RunSettled)]
        for n, start in enumerate(case.starts[1:]):
            over = ends[n].fact if n < len(ends) else None
            if not isinstance(over, facts.RunSettled) or start.time < over.forget_at:
                yield case.broken("I2", "it was started twice, though its first start was not forgotten", *case.starts)
                break


def a_run_ends_at_most_once(case: Case) -> Iterator[Violation]:
    """I2: one outcome; terminal is terminal."""
    ends = [each for each in case.story if isinstance(each.fact, facts.RunSettled)]
    if len(ends) > 1:
        yield case.broken("I2", f"it ended {len(ends)} times", *ends)
    for each, before in walk(case.graph, case.story):
        answered = isinstance(each.fact, facts.RunRefused | facts.RunSettled)
        if before.phase == "settled" and each.is_consequence and not answered:
            yield case.broken("I2", f"{_kind(each)} was decided after the run had ended", *_only(before.settled), each)


def every_run_ends(docket: Docket) -> Iterator[Violation]:
    """I2: when nothing is under way any more, every run has an outcome."""
    if not docket.history.quiescent:
        return
    for case in docket.cases.values():
        if not case.starts or any(isinstance(e.fact, facts.RunSettled) for e in case.events):
            continue
        yield case.broken("I2", f"it has not ended{_why(case)}", case.starts[0])


def _why(case: Case) -> str:
    if not case.is_judged:
        return ""
    standing = case.final()
    open_units = [unit_text(unit) for unit, it in standing.units.items() if it.is_open or it.status == "expanded"]
    held = "held, " if standing.is_held else ""
    return f" ({held}open: {', '.join(open_units[:5]) or 'nothing'})"


def an_outcome_fits_its_steps(case: Case) -> Iterator[Violation]:
    """I2: a run that nothing stopped ends when all steps have; partial iff a dead letter was skipped."""
    for each, before in walk(case.graph, case.story):
        fact = each.fact
        if not isinstance(fact, facts.RunSettled) or before.phase == "settled":
            continue
        if before.kernel_error is not None:
            if fact.outcome not in ("cancelled", "failed"):
                yield case.broken("I2", f"an error held it, but it ended {fact.outcome}", before.kernel_error, each)
        elif before.stopping is not None:
            stopping = before.stopping.fact
            assert isinstance(stopping, facts.RunStopping)
            if fact.outcome != stopping.outcome:
                told = f"it was stopping to end {stopping.outcome}, but ended {fact.outcome}"
                yield case.broken("I2", told, before.stopping, each)
        if before.kernel_error is None and (before.stopping is None or fact.outcome in GOOD):
            yield from _good_end(case, each, fact, before)


def _good_end(case: Case, entry: Entry, fact: facts.RunSettled, before: Standing) -> Iterator[Violation]:
    expected = "partial" if before.is_partial else "succeeded"
    if fact.outcome != expected:
        yield case.broken("I2", f"nothing went wrong, so it must end {expected}, but it ended {fact.outcome}", entry)
    for name in case.graph.names:
        if before.unit(name).status not in ("succeeded", "skipped"):
            told = f"it ended {fact.outcome} while step {name} was {before.unit(name).status}"
            yield case.broken("I2", told, entry)


def an_end_waits_for_every_attempt(case: Case) -> Iterator[Violation]:
    """I2: a run settles when every attempt that was triggered has reported, or its patience has passed."""
    for each, before in walk(case.graph, case.story):
        if not isinstance(each.fact, facts.RunSettled) or before.phase == "settled" or before.kernel_error is not None:
            continue
        if before.phase == "stopping" and _patience_is_over(case, each):
            continue
        for unit, state in before.units.items():
            if state.unreported:
                numbers = ", ".join(str(n) for n in sorted(state.unreported))
                told = f"it ended while attempt {numbers} of {unit_text(unit)} had not reported"
                yield case.broken("I2", told, each)


def _patience_is_over(case: Case, settled: Entry) -> bool:
    return any(
        isinstance(each.fact, facts.DeadlinePassed) and each.fact.scope == "stop" and each.id == settled.cause
        for each in case.events
    )


def an_end_leaves_its_record(case: Case) -> Iterator[Violation]:
    """I17: the end of a run and its record on `settled` are one transaction, and say the same."""
    ends = [each for each in case.story if isinstance(each.fact, facts.RunSettled)]
    rows = [each for each in case.settled if isinstance(each.content, SettledRun)]
    if len(rows) > len(ends):
        yield case.broken("I17", f"{len(rows)} records on `settled` for {len(ends)} ends", *rows)
    for end, row in zip(ends, rows, strict=False):
        assert isinstance(end.fact, facts.RunSettled)
        assert isinstance(row.content, SettledRun)
        if (row.content.outcome, row.content.output) != (end.fact.outcome, end.fact.output):
            yield case.broken("I17", "`settled` tells another end than `events`", end, row)


def ends_are_on_settled(docket: Docket) -> Iterator[Violation]:
    """I17: every end has its record on `settled`, unless that has expired."""
    if not docket.history.is_whole(docket.history.topics.settled):
        return
    for case in docket.judged:
        ends = [each for each in case.story if isinstance(each.fact, facts.RunSettled)]
        if any(docket.is_old(end) for end in ends) and not any(isinstance(e.content, SettledRun) for e in case.settled):
            yield case.broken("I17", "it ended, but `settled` does not hold it", *ends)


def ended_runs_leave_no_state(docket: Docket) -> Iterator[Violation]:
    """I17: of an ended run `runs` holds a stub at most; all other keys have a tombstone."""
    rows: dict[str, Entry] = {}
    for each in docket.history.runs:
        rows[each.key] = each
    for key, row in rows.items():
        run, _, part = key.partition("#")
        case = docket.cases.get(run)
        if case is None or row.size is None or len(case.starts) != 1:
            continue
        end = next((each for each in case.events if isinstance(each.fact, facts.RunSettled)), None)
        is_stub = not part and isinstance(row.content, RunHead) and row.content.status == "settled"
        if end is not None and docket.is_old(end) and not is_stub:
            yield case.broken("I17", f"it has ended, but `runs` still holds {key}", end, row)


def live_runs_have_state(docket: Docket) -> Iterator[Violation]:
    """I9: what `runs` says of a run is what its events say: it lives until it has ended, under the same definition."""
    if not docket.history.runs:
        return
    rows = {each.key: each for each in docket.history.runs}
    for case in docket.judged:
        ended = any(isinstance(each.fact, facts.RunSettled) for each in case.events)
        row = rows.get(case.run)
        start = case.starts[0].fact
        assert isinstance(start, facts.RunStarted)
        # What a coordinator starts it remembers in the same transaction; what an agent says that it has started, later.
        is_known = case.is_folded or not start.fired
        if not ended and is_known and docket.is_old(case.starts[0]) and (row is None or row.size is None):
            yield case.broken("I9", "it has not ended, but `runs` does not hold it", case.starts[0])
        if row is not None and isinstance(row.content, RunHead):
            if row.content.definition != start.definition:
                yield case.broken("I20", "`runs` holds it under another definition", case.starts[0], row)
            if not ended and row.content.status == "settled" and docket.is_old(row):
                yield case.broken("I9", "`runs` says that it has ended, but `events` does not", row)


def a_run_keeps_its_definition(case: Case) -> Iterator[Violation]:
    """I20: every record of a run names the definition that it was started with."""
    start = case.starts[0].fact
    assert isinstance(start, facts.RunStarted)
    triggers = [each for several in case.triggers.values() for each in several]
    for each in (*case.events, *triggers, *case.dead, *case.settled):
        named = each.envelope.definition if each.envelope is not None else ""
        if named and named != start.definition:
            told = f"it was started with definition {start.definition[:12]}, but a record names {named[:12]}"
            yield case.broken("I20", told, case.starts[0], each)


def steps_are_of_the_definition(docket: Docket) -> Iterator[Violation]:
    """I20: no record names a step that the run's definition does not have."""
    for case in docket.cases.values():
        for name, each in case.strangers:
            told = f"a record names step {name!r}, which its definition does not have"
            yield case.broken("I20", told, each)


def definitions_of_runs_exist(docket: Docket) -> Iterator[Violation]:
    """I20: the definition that a run is pinned to is on `definitions`."""
    for case in docket.cases.values():
        for start in case.starts[:1]:
            if case.definition is None:
                yield case.broken("I20", "`definitions` does not hold the definition that it is pinned to", start)


def _refusals(case: Case) -> list[Entry]:
    return [each for each in case.events if isinstance(each.fact, facts.RunRefused)]


def _kind(entry: Entry) -> str:
    name = type(entry.fact).__name__
    return f"{name} of {unit_text(entry.unit)}" if entry.unit[0] and entry.unit[1] != NO_ITEM else name


def _only(entry: Entry | None) -> tuple[Entry, ...]:
    return () if entry is None else (entry,)
