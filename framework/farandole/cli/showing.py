"""A run for a terminal: its steps, what it waits for, its events as they come."""

from collections.abc import Iterable
from contextlib import aclosing
from datetime import UTC, datetime

import typer

from farandole.cli.output import ago, as_json, instant, print_json, print_table, shorten
from farandole.client import Client
from farandole.client.query import RunDetail, event_of
from farandole.client.waiting import Wait
from farandole.errors import RunNotFound
from farandole.events import facts
from farandole.events.catalogue import type_name
from farandole.ids import NO_ITEM
from farandole.transport.port import Record

WAITS_SHOWN = 12
"""Lines of a run's waits on a terminal; `--json` has all."""


def print_detail(detail: RunDetail) -> None:
    """How a run stands, for a person."""
    now, status = datetime.now(UTC), detail.status
    typer.echo(f"{status.run}  {status.status}{': ' + shorten(status.waiting) if status.waiting else ''}")
    typer.echo(f"pipeline {status.pipeline}  definition {status.definition[:12]}")
    typer.echo(f"started {instant(status.started_at)}  changed {instant(status.updated_at)}")
    typer.echo("")
    rows = [
        (s.step, s.agent, s.status, str(s.attempt), f"{s.done}/{s.items}" if s.items else "", ago(s.since, now))
        for s in detail.steps
    ]
    print_table(("STEP", "AGENT", "STATUS", "ATTEMPTS", "ITEMS", "SINCE"), rows)
    if detail.waits:
        typer.echo("\nwaits for")
        for line in wait_lines(detail.waits, now):
            typer.echo(f"  {line}")


def wait_lines(waits: Iterable[Wait], now: datetime) -> list[str]:
    """What a run waits for, items that wait for the same thing in one line."""
    groups: dict[tuple[str, str, str], list[Wait]] = {}
    for each in waits:
        groups.setdefault((each.kind, each.step, each.text), []).append(each)
    lines = [_line(found, now) for found in groups.values()]
    rest = len(lines) - WAITS_SHOWN
    return lines if rest <= 0 else [*lines[:WAITS_SHOWN], f"… and {rest} more"]


def _line(found: list[Wait], now: datetime) -> str:
    first = found[0]
    items = [each.item for each in found if each.item != NO_ITEM]
    which = f"[{items[0]}]" if len(items) == 1 else f" ({len(items)} items)" if items else ""
    since = min((each.since for each in found if each.since is not None), default=None)
    told = f"{first.step}{which}: {shorten(first.text)}" if first.step else shorten(first.text)
    if since is not None:
        told += f", since {ago(since, now)}"
    if first.until is not None:
        told += f" (until {instant(first.until)})"
    return told


async def watch_run(client: Client, run_id: str, *, as_json: bool) -> None:
    """Print a run's events to its end.

    Raises:
        RunNotFound: nothing is known of it.
    """
    run, seen = await client.run(run_id), False
    async with aclosing(run.watch_records()) as records:
        async for record in records:
            seen = True
            print_event(record, as_json=as_json)
    if not seen:
        raise RunNotFound(f"run {run_id}: expected a run, but nothing is known of it", run_id=run_id)


def print_event(record: Record, *, as_json: bool) -> None:
    """One event: a line for a person, or one JSON object a line."""
    event = event_of(record)
    kind = type_name(type(event)).removeprefix("farandole.")
    at = datetime.fromtimestamp(record.timestamp_ms / 1000, tz=UTC)
    if as_json:
        print_json({"at": at, "place": record.place, "type": kind, "event": event_fields(event)}, indent=None)
    else:
        typer.echo(f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}  {kind:<16} {event_line(event)}".rstrip())


def event_fields(event: facts.Event) -> object:
    """An event's fields for JSON; payloads are told by their size, for their schema is the step's."""
    fields = as_json(event)
    assert isinstance(fields, dict)
    for name in ("input", "output", "params"):
        payload = getattr(event, name, None)
        if isinstance(payload, bytes):
            fields[name] = {"bytes": len(payload)}
    return fields


def event_line(event: facts.Event) -> str:
    """What an event says, in a line."""
    step = getattr(event, "step", "")
    item = getattr(event, "item", NO_ITEM)
    where = f"{step}[{item}]" if step and item != NO_ITEM else step
    attempt = f"attempt {n}" if (n := getattr(event, "attempt", 0)) else ""
    return "  ".join(filter(None, (where, attempt, _details(event))))


def _details(event: facts.Event) -> str:
    match event:
        case facts.StepSucceeded(fired=fired, duration_ms=duration):
            return f"{duration} ms{', fired ' + ', '.join(fired) if fired else ''}"
        case facts.StepFailed():
            dead = ", dead-lettered" if event.dead_lettered else ""
            return f"{event.kind}: {shorten(event.error)}{dead}"
        case facts.RetryScheduled(due=due):
            return f"due {instant(due)}"
        case facts.StepExpanded(items=items):
            return f"{items} items"
        case facts.RunStarted(pipeline=pipeline):
            return pipeline
        case facts.RunSettled(outcome=outcome, reason=reason) | facts.RunStopping(outcome=outcome, reason=reason):
            return f"{outcome}{': ' + reason if reason else ''}"
        case facts.RunRefused(reason=reason, detail=detail) | facts.RunHeld(reason=reason, detail=detail):
            return f"{reason}: {shorten(detail)}" if detail else reason
        case _:
            return str(getattr(event, "reason", ""))
