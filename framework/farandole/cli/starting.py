"""`run start`, `run rerun` and `run result`: what became of the run, in words and as an exit code."""

import asyncio
import sys
from collections.abc import Awaitable
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial

import typer

from farandole.cli.begun import until_begun
from farandole.cli.exit_codes import OK, OUTCOMES
from farandole.cli.output import print_json, visible
from farandole.cli.streams import is_closed
from farandole.cli.texts import given_duration
from farandole.cli.unserved import Patience, agents_left, agents_of
from farandole.client import Client, Ending, Run
from farandole.client.query import readable_event
from farandole.definition.policy import duration_text
from farandole.errors import RunError, RunHeld, RunNotFound, RunRefused, WaitTimedOut
from farandole.events import facts

REFUSAL = timedelta(seconds=1)
"""How long a start under a chosen id waits for its refusal: a coordinator answers in some 10 ms."""


async def start_run(
    client: Client,
    pipeline: str,
    params: str,
    run_id: str | None,
    wait: bool,
    timeout: str | None,
    as_json: bool,
    patience: Patience,
) -> int:
    """Start a run and give the exit code of the command; who waits in vain is told so."""
    limit = given_duration("--timeout", timeout)
    run = await client.start(pipeline, params=params, run_id=run_id)
    async with patience.while_waiting(partial(agents_of, client, pipeline)):
        return await _told_or_waited(run, wait, limit, as_json, is_chosen=run_id is not None)


async def rerun(
    client: Client,
    old: str,
    params: str | None,
    run_id: str | None,
    wait: bool,
    timeout: str | None,
    as_json: bool,
    patience: Patience,
) -> int:
    """Start an ended run once more under a new id, and give the exit code of the command."""
    limit = given_duration("--timeout", timeout)
    try:
        run = await client.rerun(old, params=params, new_id=run_id)
    except RunNotFound:
        await _require_begun(client, old)
        raise
    async with patience.while_waiting(partial(agents_left, client, run.id)):
        return await _told_or_waited(run, wait, limit, as_json, is_chosen=run_id is not None)


async def _told_or_waited(
    run: Run[object], wait: bool, limit: timedelta | None, as_json: bool, *, is_chosen: bool
) -> int:
    if not wait and limit is None:
        if is_chosen:
            await _require_not_refused(run)
        _tell_id(run.id, as_json)
        return OK
    if not as_json:
        typer.echo(run.id, err=True)
    return await wait_for(run.id, _itself(run), limit, as_json)


def _tell_id(run_id: str, as_json: bool) -> None:
    """Print it, and where that cannot be done say it aside: the start is sent, and who asks again needs the id."""
    try:
        print_json({"run": run_id}, indent=None) if as_json else typer.echo(run_id)
    except OSError:
        typer.echo(f"started: {run_id}", err=True)
        raise
    if is_closed(sys.stdout):
        typer.echo(f"started: {run_id}", err=True)


async def _require_not_refused(run: Run[object]) -> None:
    """Give the coordinator a moment to refuse an id that another run has: nobody would hear of it.

    Raises:
        RunRefused: it did.
    """
    with suppress(WaitTimedOut, RunHeld, RunNotFound):
        ending = await run.ended(REFUSAL)
        if ending.outcome == "refused":
            raise RunRefused(f"run {run.id}: expected it to be started, but it was refused: {ending.reason}")


async def result_of_run(
    client: Client, run_id: str, wait: bool, timeout: str | None, as_json: bool, patience: Patience
) -> int:
    """Print the result of a run, and give the exit code of its outcome; who waits in vain is told so.

    Raises:
        RunError: it has not ended, and is not waited for.
        RunNotFound: nothing is known of it.
        RunRefused: it was waited for, and refused.
        WaitTimedOut: it was not there in time.
    """
    limit = given_duration("--timeout", timeout)
    if wait or limit is not None:
        async with patience.while_waiting(partial(agents_left, client, run_id)):
            return await wait_for(run_id, _begun(client, run_id), limit, as_json)
    run = await client.run(run_id)
    try:
        status = await run.status()
    except RunNotFound:
        await _require_begun(client, run_id)
        raise
    if not status.is_over and status.status != "held":
        raise RunError(
            f"run {run_id}: expected a run that has ended, but it is {status.status}. "
            f"`farandole run result {run_id} --wait` waits for it, `farandole run show {run_id}` says for what.",
            run_id=run_id,
        )
    return await wait_for(run_id, _itself(run), None, as_json)


async def _require_begun(client: Client, run_id: str) -> None:
    """Say of a run of which the tables know nothing what `run show` says of it: it may be asked for, or refused.

    Raises:
        RunNotFound: nobody asked for it, or it has not begun.
        RunRefused: it was asked for, and refused.
    """
    from farandole.cli.showing import look_at

    await look_at(client, run_id)


async def _begun(client: Client, run_id: str) -> Run[object]:
    await until_begun(client, run_id)
    return await client.run(run_id)


async def _itself(run: Run[object]) -> Run[object]:
    return run


async def wait_for(run_id: str, begun: Awaitable[Run[object]], limit: timedelta | None, as_json: bool) -> int:
    """Wait until the run has begun, and until it ends or is held; say so, and give the exit code."""
    try:
        run, outcome, reason = await _within(run_id, begun, limit)
    except WaitTimedOut as late:
        if as_json:  # the id of a run that goes on
            print_json({"run": run_id, "outcome": None, "reason": str(late), "result": None})
        raise
    result = await run.result() if outcome in ("succeeded", "partial") else None
    if as_json:
        print_json({"run": run.id, "outcome": outcome, "reason": reason, "result": result})
    elif outcome in ("succeeded", "partial"):
        print_json(result)
    else:
        typer.echo(visible(f"{run.id}: {outcome}{': ' + reason if reason else ''}", keep="\n"), err=True)
        typer.echo(f"farandole run show {run.id} says more", err=True)
    return OUTCOMES[outcome]


async def _within(run_id: str, begun: Awaitable[Run[object]], limit: timedelta | None) -> tuple[Run[object], str, str]:
    run: Run[object] | None = None
    try:
        async with asyncio.timeout(limit.total_seconds() if limit is not None else None):
            run = await begun
            return run, *await _outcome(run)
    except TimeoutError:
        assert limit is not None
        expected, rest = ("begin", "") if run is None else ("end", "; it goes on")
        raise WaitTimedOut(
            f"run {run_id}: expected it to {expected} within {duration_text(limit)}, but it did not{rest}",
            run_id=run_id,
        ) from None


async def _outcome(run: Run[object]) -> tuple[str, str]:
    """The run's end, or `held` as soon as it waits for a person."""
    ended: asyncio.Task[Ending] = asyncio.create_task(run.ended(held="wait"))
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
            event = readable_event(record)
            if isinstance(event, facts.RunHeld) and (await run.status()).status == "held":
                return ": ".join(filter(None, (event.reason, event.step, event.detail)))
    return ""
