"""`run watch`: the graph's progress live in a terminal, plain lines or JSON elsewhere, to the run's end."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial

import typer

from farandole.cli.begun import until_begun
from farandole.cli.event_lines import pinned, print_event
from farandole.cli.run_view import RunView
from farandole.cli.unserved import Patience, agents_left
from farandole.client import Client, Run
from farandole.client.query import readable_event
from farandole.definition.model import Definition
from farandole.errors import RunNotFound
from farandole.transport.port import Record

FRAME_S = 0.1
"""Between two drawings: quick enough for an eye, slow enough for a terminal over ssh."""

FRAME_ROWS = 10
"""Rows of a terminal that are not steps: head, titles, waits, the prompt."""


async def watch_run(client: Client, run_id: str, patience: Patience, *, as_json: bool, plain: bool) -> None:
    """Show a run's progress to its end, from when it begins if it has only been asked for; who watches in vain is told.

    Raises:
        RunNotFound: nothing is known of it.
        RunRefused: it was asked for, and refused.
    """
    async with patience.while_waiting(partial(agents_left, client, run_id)):
        await until_begun(client, run_id)
        run = await client.run(run_id)
        if plain or as_json or not _is_drawable():
            seen = await _print_lines(run, as_json=as_json)
        else:
            seen = await _draw(client, run)
    if not seen:
        raise RunNotFound(f"run {run_id}: expected a run, but nothing is known of it", run_id=run_id)


def _is_drawable() -> bool:
    from rich.console import Console

    console = Console()
    return console.is_terminal and not console.is_dumb_terminal


async def _print_lines(run: Run[object], *, as_json: bool) -> bool:
    seen = False
    async with aclosing(run.watch_records()) as records:
        async for record in records:
            seen = True
            print_event(record, as_json=as_json)
    return seen


async def _draw(client: Client, run: Run[object]) -> bool:
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    from farandole.cli.picture import picture

    view, spinner, console = RunView(run.id), Spinner("dots"), Console()
    reading = asyncio.create_task(_read(client, run, view))
    rows = max(5, console.height - FRAME_ROWS)
    try:
        with Live(console=console, auto_refresh=False) as live:
            while not reading.done():
                if view.log:
                    live.update(picture(view, datetime.now(UTC), spinner, rows), refresh=True)
                await asyncio.wait((reading,), timeout=FRAME_S)
            reading.result()
            if view.log:
                live.update(
                    picture(view, datetime.now(UTC), None, len(view.graph.names) if view.graph else rows), refresh=True
                )
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    if view.settled is not None and view.settled.outcome in ("succeeded", "partial"):
        typer.echo(f"\nits result: farandole run result {run.id}")
    return bool(view.log)


async def _read(client: Client, run: Run[object], view: RunView) -> None:
    definition: Definition | None = None
    async with aclosing(run.watch_records()) as records:
        async for record in records:
            definition = await _take(client, view, record, definition)


async def _take(client: Client, view: RunView, record: Record, known: Definition | None) -> Definition | None:
    event = readable_event(record)
    if event is None:
        return known  # its run is held for it, which is said by the next event
    definition = await pinned(client, event, known)
    view.take(record, definition)
    return definition
