"""`lineage` of one record: what it follows from, and what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

import typer

from farandole.cli.event_lines import event_line
from farandole.client import Client
from farandole.client.dead import record_at
from farandole.client.trail import entry_of, trail_of
from farandole.errors import RunNotFound
from farandole.events.catalogue import type_name
from farandole.events.envelope import rfc3339
from farandole.ids import NO_ITEM
from farandole.lineage.entries import Entry
from farandole.lineage.graph import Lineage


@dataclass(frozen=True, slots=True)
class Traced:
    """A record with its causes and its effects, each after what it follows from."""

    run: str
    causes: tuple[Entry, ...]
    record: Entry
    effects: tuple[Entry, ...]


async def trace(client: Client, place: str, topics: list[str]) -> Traced:
    """Walk from the record at a place, in both directions.

    Raises:
        RecordError: the place is malformed, or nothing is there (any more).
        RunNotFound: the record belongs to no run.
    """
    record = await record_at(client.session, place)
    entry = entry_of(record)
    if not entry.run:
        raise RunNotFound(f"{place}: expected a record of a run, but its headers name none")
    inside = record.topic.startswith(f"{client.session.topics.namespace}.")
    own = topics if inside or record.topic in topics else [*topics, record.topic]
    entries, definition = await trail_of(client.session, entry.run, own, entry)
    lineage = Lineage(entry.run, entries, definition)
    return Traced(entry.run, causal(lineage, lineage.up(place)), entry, causal(lineage, lineage.down(place)))


def causal(lineage: Lineage, entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Each record after all that it follows from: clocks agree to the millisecond at best, causes always."""
    by_place = {each.place: each for each in sorted(entries, key=lambda e: (e.time, e.topic, e.partition, e.offset))}
    order: TopologicalSorter[str] = TopologicalSorter()
    for place, each in by_place.items():
        order.add(place, *(cause.place for cause in lineage.causes(each) if cause.place in by_place))
    try:
        return tuple(by_place[place] for place in order.static_order())
    except CycleError:  # somebody wrote records by hand: their times are all that is left
        return tuple(by_place.values())


def print_traced(it: Traced, *, up: bool, down: bool) -> None:
    """One line for each record, in the order of causes."""
    typer.echo(f"run {it.run}")
    for each in it.causes if up else ():
        typer.echo(f"  ↑ {entry_line(each)}")
    typer.secho(f"  ● {entry_line(it.record)}", bold=True)
    for each in it.effects if down else ():
        typer.echo(f"  ↓ {entry_line(each)}")


def entry_line(entry: Entry) -> str:
    """What a record is, about what, and where it stands."""
    if entry.fact is not None:
        told = event_line(entry.fact)
    else:
        step, item = entry.unit
        where = f"{step}[{item}]" if step and item != NO_ITEM else step
        told = f"{where}  attempt {entry.attempt}" if entry.attempt else where
    return "  ".join(filter(None, (rfc3339(entry.time)[11:23], f"{kind_of(entry):<17}", told, entry.place)))


def kind_of(entry: Entry) -> str:
    """One word for it."""
    if entry.content is not None:
        return type_name(type(entry.content)).removeprefix("farandole.")
    if entry.is_trigger:
        return "Trigger"
    if entry.is_dead_letter:
        return "DeadLetter"
    return "Published" if entry.is_published else "record"


def traced_fields(it: Traced, *, up: bool, down: bool) -> dict[str, object]:
    """The same for programs."""
    return {
        "run": it.run,
        "record": _fields(it.record),
        "up": [_fields(each) for each in it.causes] if up else [],
        "down": [_fields(each) for each in it.effects] if down else [],
    }


def _fields(entry: Entry) -> dict[str, object]:
    step, item = entry.unit
    return {
        "place": entry.place,
        "id": entry.id,
        "kind": kind_of(entry),
        "at": entry.time,
        "step": step,
        "item": item,
        "attempt": entry.attempt,
        "cause": entry.cause,
        "input": entry.input,
        "source": entry.source,
    }
