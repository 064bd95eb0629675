"""`run start`: send, and with `--wait` say what became of the run, in words and as an exit code."""

import asyncio
from contextlib import aclosing
from datetime import timedelta

import typer

from farandole.cli.output import print_json
from farandole.cli.runs import EXIT_CODES
from farandole.client import Client, Ending, Run
from farandole.client.query import event_of
from farandole.definition.policy import duration
from farandole.errors import RunTimedOut
from farandole.events import facts


async def start_run(
    client: Client, pipeline: str, params: str, run_id: str | None, wait: bool, timeout: str | None, as_json: bool
) -> int:
    """Start a run and give the exit code of the command."""
    limit = duration(timeout) if timeout is not None else None
    run = await client.start(pipeline, params=params, run_id=run_id)
    if not wait:
        print_json({"run": run.id}, indent=None) if as_json else typer.echo(run.id)
        return 0
    if not as_json:
        typer.echo(run.id, err=True)
    outcome, reason = await _within(run, limit)
    result = await run.result() if outcome in ("succeeded", "partial") else None
    if as_json:
        print_json({"run": run.id, "outcome": outcome, "reason": reason, "result": result})
    elif outcome in ("succeeded", "partial"):
        print_json(result)
    else:
        typer.echo(f"{run.id}: {outcome}{': ' + reason if reason else ''}", err=True)
    return EXIT_CODES[outcome]


async def _within(run: Run[object], limit: timedelta | None) -> tuple[str, str]:
    try:
        async with asyncio.timeout(limit.total_seconds() if limit else None):
            return await _outcome(run)
    except TimeoutError:
        raise RunTimedOut(f"run {run.id}: expected it to end within {limit}, but it did not; it goes on") from None


async def _outcome(run: Run[object]) -> tuple[str, str]:
    """The run's end, or `held` as soon as it waits for a person."""
    ended: asyncio.Task[Ending] = asyncio.create_task(run.ended())
    held = asyncio.create_task(_held(run))
    try:
        await asyncio.wait((ended, held), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return ended.result().outcome, ended.result().reason
        if held.result():
            return "held", held.result()
        await ended
        return ended.result().outcome, ended.result().reason
    finally:
        for task in (ended, held):
            task.cancel()
        await asyncio.gather(ended, held, return_exceptions=True)


async def _held(run: Run[object]) -> str:
    """Why the run is held, as soon as it is and nobody has released it since; empty if it ended otherwise."""
    async with aclosing(run.watch_records()) as records:
        async for record in records:
            event = event_of(record)
            if isinstance(event, facts.RunHeld) and (await run.status()).status == "held":
                return ": ".join(filter(None, (event.reason, event.step, event.detail)))
    return ""
