"""A run that was asked for and has not begun: `run result --wait` and `run watch` wait for it, as they do for its end.

Whoever types them knows that it was asked for, perhaps a moment ago and by kcat. A command without a key may stand on
any partition, so an id that is nowhere yet is given a moment too, instead of reading all commands.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

import typer

from farandole.cli.output import instant
from farandole.client import Client
from farandole.client.asking import Asked, start_asked
from farandole.client.lookup import status_of
from farandole.client.query import goes_on, readable_event, run_records
from farandole.client.scan import header
from farandole.errors import FarandoleError, RunNotFound, RunRefused
from farandole.events import facts
from farandole.transport.port import Record

MOMENT_S = 3.0
"""How long an id may be unknown: a coordinator begins a run in some 10 ms, or in a second if it has just started."""

SAY_AFTER_S = 4.0
"""When it is said what is waited for; as `run start --wait` does."""


async def until_begun(client: Client, run_id: str) -> None:
    """Wait until there is a run of this id.

    Raises:
        RunNotFound: nothing is known of it, and nobody asked for it.
        RunRefused: it was asked for, and refused.
    """
    session, queue = client.session, asyncio.Queue[Record | FarandoleError]()
    live = await session.tail.follow(run_id, await session.home(run_id), queue.put_nowait, queue.put_nowait)
    try:
        if await status_of(session, run_id) is not None:
            return
        asked = await start_asked(session, run_id)
        records = await run_records(session, run_id)
        if goes_on(records):
            return
        require_not_refused(records, asked)
        saying = asyncio.create_task(_say_later(run_id, asked))
        try:
            async with asyncio.timeout(None if asked is not None else MOMENT_S):
                await _told(queue, asked)
        except TimeoutError:
            raise RunNotFound(
                f"run {run_id}: expected a run in {session.topics.namespace!r}, but nothing is known of it",
                run_id=run_id,
            ) from None
        finally:
            saying.cancel()
            with suppress(asyncio.CancelledError):
                await saying
    finally:
        session.tail.unfollow(live)


async def _told(queue: asyncio.Queue[Record | FarandoleError], asked: Asked | None) -> None:
    """Wait for what tells that it begins; that another start was refused is passed by."""
    while True:
        told = await queue.get()
        if isinstance(told, FarandoleError):
            raise told
        _require_not_refused(told, asked)
        if not isinstance(readable_event(told), facts.RunRefused):
            return


async def _say_later(run_id: str, asked: Asked | None) -> None:
    await asyncio.sleep(SAY_AFTER_S)
    if asked is not None:
        typer.echo(
            f"still waiting: {run_id} was asked for at {instant(asked.at)} ({asked.place}), and has not begun; "
            "`farandole lag` says whether a coordinator runs",
            err=True,
        )


def require_not_refused(records: Iterable[Record], asked: Asked | None) -> None:
    """Look for the refusal of a start that has begun no run.

    Raises:
        RunRefused: one of the run's records is that.
    """
    for record in records:
        _require_not_refused(record, asked)


def _require_not_refused(record: Record, asked: Asked | None) -> None:
    """A refusal names the command that it answers: it may be another start than the last one, which we know of.

    Its instant says nothing: that of the command is by its writer's clock, that of the refusal by the coordinator's.
    """
    event = readable_event(record)
    is_answer = asked is None or header(record, "ce_input") == asked.place.encode()
    if isinstance(event, facts.RunRefused) and is_answer:
        detail = f": {event.detail}" if event.detail else ""
        raise RunRefused(f"run {event.run}: it was asked for, but refused ({event.reason}{detail})", run_id=event.run)
