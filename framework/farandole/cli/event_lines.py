"""Events of a run as lines: one for a person, or one JSON object."""

import typer

from farandole.cli.output import as_json, instant, instant_ms, print_json, shorten, visible
from farandole.client import Client
from farandole.client.payload import definition_of, plain_of
from farandole.client.query import event_of
from farandole.client.scan import header_text
from farandole.definition.model import Definition, Step
from farandole.errors import FarandoleError, RecordError
from farandole.events import facts
from farandole.events.catalogue import type_name
from farandole.events.envelope import instant_of
from farandole.ids import NO_ITEM
from farandole.transport.port import Record


def print_event(record: Record, *, as_json: bool, payloads: object = None) -> None:
    """One event: a line for a person, or one JSON object a line; one that cannot be read has a place and a reason."""
    try:
        event = event_of(record)
    except RecordError as bad:
        _print_unreadable(record, str(bad), as_json=as_json)
        return
    kind = type_name(type(event)).removeprefix("farandole.")
    at = instant_of(record.timestamp_ms)
    if as_json:
        document = {"at": at, "place": record.place, "type": kind, "event": event_fields(event)}
        print_json({**document, "payload": payloads} if payloads is not None else document, indent=None)
        return
    typer.echo(f"{instant_ms(at)}  {kind:<16} {event_line(event)}".rstrip())
    if payloads is not None:
        print_json(payloads)


def _print_unreadable(record: Record, problem: str, *, as_json: bool) -> None:
    at, kind = instant_of(record.timestamp_ms), header_text(record, "ce_type")
    kind = kind.removeprefix("farandole.") or "unreadable"
    if as_json:
        document = {"at": at, "place": record.place, "type": kind, "event": None, "problem": problem}
        print_json(document, indent=None)
    else:
        typer.echo(f"{instant_ms(at)}  {kind:<16} {record.place} cannot be read: {shorten(problem)}")


async def payload_of(client: Client, event: facts.Event, definition: Definition | None) -> object:
    """The payload of an event, decoded; why not, where it cannot be; None where it has none."""
    if definition is None:
        return None
    try:
        match event:
            case facts.StepSucceeded(output=framed, step=step) if framed:
                schema: str | None = _step(definition, step).output_schema
            case facts.StepFailed(input=framed, step=step) | facts.ReplayRequested(input=framed, step=step) if framed:
                schema = _step(definition, step).input_schema
            case facts.RunStarted(params=framed):
                schema = definition.params_schema
            case facts.RunSettled(output=framed) if framed:
                schema = definition.output_schema
            case _:
                return None
        return as_json(plain_of(schema or "", framed or b"", client.session.artifacts))
    except FarandoleError as bad:
        return f"cannot be read: {bad}"


def _step(definition: Definition, name: str) -> Step:
    """A step of a run's definition: an event may name one that it does not have, for which its run is held."""
    if name not in definition.steps:
        raise RecordError(f"definition {definition.hash[:12]} has no step {name!r}")
    return definition.steps[name]


async def pinned(client: Client, event: facts.Event, known: Definition | None) -> Definition | None:
    """The definition of the run, from its first event on."""
    return await definition_of(client.session, event.definition) if isinstance(event, facts.RunStarted) else known


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
    return visible("  ".join(filter(None, (where, attempt, _details(event)))))


def _details(event: facts.Event) -> str:
    match event:
        case facts.StepSucceeded(fired=fired, duration_ms=duration):
            return f"{duration} ms{', fired ' + ', '.join(fired) if fired else ''}"
        case facts.StepFailed():
            dead = ", dead-lettered" if event.dead_lettered else ""
            return f"{event.kind}: {_one_line(event.error)}{dead}"
        case facts.RetryScheduled(due=due):
            return f"due {instant(due)}"
        case facts.StepExpanded(items=items):
            return f"{items} items"
        case facts.RunStarted(pipeline=pipeline):
            return pipeline
        case facts.RunSettled(outcome=outcome, reason=reason) | facts.RunStopping(outcome=outcome, reason=reason):
            return f"{outcome}{': ' + reason if reason else ''}"
        case facts.RunHeld(reason=reason, detail=detail, run=run):
            told = f"{reason}: {_one_line(detail)}" if detail else reason
            return f"{told} (farandole run show {run})"
        case facts.RunRefused(reason=reason, detail=detail):
            return f"{reason}: {_one_line(detail)}" if detail else reason
        case _:
            return str(getattr(event, "reason", ""))


def _one_line(text: str) -> str:
    """All of a text: what an error advises stands at its end."""
    return " ".join(text.split())
