"""What operators ask: which runs there are, how one stands, which dead letters wait for somebody.

Answers come from the topics alone, each read to the end that stands at the call; nothing is
kept between calls. Knows nothing of terminals.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from farandole.client.lookup import (
    LIVE,
    RunStatus,
    final_status,
    live_status,
    read_head,
    read_settled,
    settled_of,
    state_of,
    status_of,
)
from farandole.client.scan import existing_places, header, header_text, scan, table
from farandole.client.session import Session
from farandole.client.waiting import Wait, waits
from farandole.errors import RecordError, RunNotFound
from farandole.events.catalogue import decode, type_name
from farandole.events.envelope import instant_of
from farandole.events.facts import (
    Event,
    ReplayRequested,
    RunRefused,
    RunSettled,
    RunStarted,
    StepDeadLettered,
    StepFailed,
    StepSucceeded,
)
from farandole.ids import NO_ITEM
from farandole.kernel.state import DEADLINE_PASSED, Run
from farandole.transport.port import Record

log = logging.getLogger("farandole.client")

Row = TypeVar("Row")

_STARTED = type_name(RunStarted).encode()
_SETTLED = type_name(RunSettled).encode()
_REFUSED = type_name(RunRefused).encode()
_SUCCEEDED = type_name(StepSucceeded).encode()
_FAILED = type_name(StepFailed).encode()
_ABOUT_LETTERS = {type_name(each).encode() for each in (StepFailed, StepDeadLettered, ReplayRequested, StepSucceeded)}

LIMITS = ("retry_budget", "run_deadline", "step_deadline")
"""Reasons of a dead letter (`kernel.decide`) that cut its attempts short: the error and the attempts do not tell."""

DIGITS_MAX = 19
"""Of an item or an attempt in a header: both have 64 bits at most. Python refuses to read thousands."""

TOLD_MAX = 1_000
"""Rows that were left out of a list of which it is known that they were told; a place and a reason each."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of a run as its state tells. `status` is a word of `kernel.state.Status`, in lower case.

    `attempt`: how many there were, of a mapped step those of all its items, as the final state says too. `error`: why
    it was given up on, where it was; of a mapped step that of the first item, with the number of the others.
    """

    step: str
    agent: str
    status: str
    attempt: int
    items: int
    done: int
    since: datetime | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run: how it stands, its steps, and what it waits for. An ended run has no `waits`."""

    status: RunStatus
    steps: tuple[StepRow, ...]
    waits: tuple[Wait, ...]


async def list_runs(session: Session, *, pipeline: str = "", status: str = "", limit: int = 0) -> list[RunStatus]:
    """Runs, the latest start first; of one pipeline, of one status, at most `limit` (0: all).

    A row that cannot be read is left out and told in the log: the others are still true.
    """
    ended = await table(session.edge, await existing_places(session.edge, session.topics.settled))
    heads = await table(
        session.edge, await existing_places(session.edge, session.topics.runs), lambda key: b"#" not in key
    )
    rows: dict[str, RunStatus] = {}
    for final in _readable(ended.values(), read_settled):
        rows[final.run] = final_status(final)
    for head in _readable(heads.values(), read_head):
        if head.status in LIVE or head.run not in rows:
            rows[head.run] = live_status(head)
    wanted = [each for each in rows.values() if pipeline in ("", each.pipeline) and status in ("", each.status)]
    wanted.sort(key=lambda each: each.started_at, reverse=True)
    return wanted[:limit] if limit else wanted


def _readable(records: Iterable[Record], read: Callable[[Record], Row]) -> Iterator[Row]:
    for record in records:
        try:
            yield read(record)
        except RecordError as error:
            _tell_of(str(error))


@lru_cache(maxsize=TOLD_MAX)
def _tell_of(trouble: str) -> None:
    """Once for each place: who lists runs every second would fill the log with one of them."""
    log.warning("%s. It was left out", trouble)


async def run_records(session: Session, run_id: str) -> list[Record]:
    """The run's records on `events`, in their order."""
    place = await session.at_home(session.topics.events, run_id)
    own = run_id.encode()
    async with aclosing(scan(session.edge, [place])) as records:
        return [record async for record in records if header(record, "ce_run") == own]


def goes_on(records: Iterable[Record]) -> bool:
    """Whether the run whose events these are has begun and not ended, also where the tables know nothing of it.

    A direct start is told by its first agent; the tables wait for a coordinator, which may find that it came too late.
    """
    begun = b""
    for record in records:
        kind = header(record, "ce_type")
        if kind == _STARTED:
            begun = header(record, "ce_id")
        elif kind == _SETTLED or (kind == _REFUSED and header(record, "ce_cause") == begun):
            begun = b""
    return bool(begun)


def event_of(record: Record) -> Event:
    """The event in a record of `events`.

    Raises:
        RecordError: it is something else.
    """
    found = decode(record.value or b"")
    if not isinstance(found, Event):
        raise RecordError(f"{record.place}: expected an event, but found {type(found).__name__}")
    return found


def readable_event(record: Record) -> Event | None:
    """The event in a record of `events`; None where it cannot be read, for which a coordinator holds its run."""
    try:
        return event_of(record)
    except RecordError:
        return None


async def run_detail(session: Session, run_id: str) -> RunDetail:
    """How a run stands, step by step.

    Raises:
        RunNotFound: nothing is known of it.
    """
    status = await status_of(session, run_id)
    if status is None:
        raise RunNotFound(
            f"run {run_id}: expected a run in {session.topics.namespace!r}, but nothing is known of it",
            run_id=run_id,
        )
    records = await run_records(session, run_id)
    changed, gave_up = _changed(records), given_up(records)
    state = await state_of(session, run_id)
    if state is None or state.is_settled:
        return RunDetail(status, _with_errors(await _final_steps(session, run_id, changed), gave_up), ())
    found = [_with_reason(each, gave_up) for each in waits(state, changed, _answered(records))]
    return RunDetail(status, _with_errors(_live_steps(state, changed), gave_up), tuple(found))


def _changed(records: Iterable[Record]) -> dict[tuple[str, int], datetime]:
    """When something was last said of each step and item, in the last life of the run's id."""
    out: dict[tuple[str, int], datetime] = {}
    for record in records:
        if header(record, "ce_type") == _STARTED:
            out.clear()
        step, item = header_text(record, "ce_step"), _number(record, "ce_item", NO_ITEM)
        if step and item is not None:
            out[step, item] = _written(record)
        if header(record, "ce_type") == _SUCCEEDED:
            fact = readable_event(record)
            fired = fact.fired if isinstance(fact, StepSucceeded) else ()
            out.update({(child, NO_ITEM): _written(record) for child in fired})
    return out


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Why an attempt was given up on: what it reported, and the limit that allowed no other one, if one did."""

    attempt: int
    error: str
    limit: str

    @property
    def told(self) -> str:
        """Both in one text."""
        return f"dead letter{f' ({self.limit})' if self.limit else ''}: {self.error}"


def given_up(records: Iterable[Record]) -> dict[tuple[str, int], GivenUp]:
    """Each step and item that was given up on and not tried again since, in the last life of the run's id."""
    errors: dict[tuple[str, int, int], str] = {}
    out: dict[tuple[str, int], GivenUp] = {}
    for record in records:
        kind = header(record, "ce_type")
        if kind == _STARTED:
            errors.clear()
            out.clear()
        match readable_event(record) if kind in _ABOUT_LETTERS else None:
            case StepFailed(step=step, item=item, attempt=attempt, error=error):
                errors[step, item, attempt] = error
            case StepDeadLettered(step=step, item=item, attempt=attempt, reason=reason):
                limit = reason if reason in LIMITS else ""
                said = errors.get((step, item, attempt), "") or ("" if limit else reason)
                out[step, item] = GivenUp(attempt, said or DEADLINE_PASSED, limit)
            case StepSucceeded(step=step, item=item):
                out.pop((step, item), None)
            case ReplayRequested(step=step, item=item, attempt=attempt) if (step, item) in out:
                if out[step, item].attempt == attempt:  # else it is without effect
                    del out[step, item]
    return out


def _with_reason(wait: Wait, gave_up: Mapping[tuple[str, int], GivenUp]) -> Wait:
    """A dead letter with the limit that cut its attempts short: "attempt 1 of 3" and an error do not explain it."""
    found = gave_up.get((wait.step, wait.item)) if wait.kind == "dead_letter" else None
    if found is None or not found.limit:
        return wait
    return replace(wait, text=wait.text.replace("dead letter:", f"dead letter ({found.limit}):", 1))


def _with_errors(rows: Iterable[StepRow], gave_up: Mapping[tuple[str, int], GivenUp]) -> tuple[StepRow, ...]:
    told: dict[str, str] = {}
    items = Counter(step for step, item in gave_up if item != NO_ITEM)
    for (step, item), each in sorted(gave_up.items()):
        more = f" and {items[step] - 1} more" if items[step] > 1 else ""
        told.setdefault(step, each.told if item == NO_ITEM else f"item {item}{more}: {each.told}")
    return tuple(replace(row, error=told.get(row.step, "")) for row in rows)


def _answered(records: Iterable[Record]) -> set[tuple[str, int, int]]:
    """Step, item and attempt of each result, in the last life of the run's id."""
    out: set[tuple[str, int, int]] = set()
    for record in records:
        kind = header(record, "ce_type")
        if kind == _STARTED:
            out.clear()
        item, attempt = _number(record, "ce_item", NO_ITEM), _number(record, "ce_attempt", 0)
        if kind in (_SUCCEEDED, _FAILED) and item is not None and attempt is not None:
            out.add((header_text(record, "ce_step"), item, attempt))
    return out


def _number(record: Record, name: str, otherwise: int) -> int | None:
    """The number in a header, or what stands for an absent one; None where a stranger wrote what is none of ours."""
    text = header_text(record, name)
    if not text:
        return otherwise
    return int(text) if text.isdecimal() and len(text) <= DIGITS_MAX else None


def _written(record: Record) -> datetime:
    return instant_of(record.timestamp_ms)


def _live_steps(run: Run, changed: Mapping[tuple[str, int], datetime]) -> Iterable[StepRow]:
    for name in run.graph.names:
        unit = run.step(name)
        agent = run.graph.step(name).agent
        since = max((at for (step, _), at in changed.items() if step == name), default=None)
        attempts = unit.attempt + sum(item.attempt for _, item in run.items(name))
        yield StepRow(name, agent, unit.status.name.lower(), attempts, unit.items, unit.done, since)


async def _final_steps(
    session: Session, run_id: str, changed: Mapping[tuple[str, int], datetime]
) -> tuple[StepRow, ...]:
    final = await settled_of(session, run_id)
    if final is None:
        return ()
    definition = await session.book.by_hash(final.definition)
    agents = {step.name: step.agent for step in definition.steps.values()} if definition else {}
    return tuple(
        StepRow(
            each.step,
            agents.get(each.step, each.step),
            each.status,
            each.attempts,
            each.items,
            each.succeeded,
            max((at for (step, _), at in changed.items() if step == each.step), default=None),
        )
        for each in final.steps
    )
