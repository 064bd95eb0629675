"""`run cancel` and `run release`: asked only where something comes of it, since nobody would hear of a refusal."""

from farandole.cli.begun import require_not_refused
from farandole.cli.showing import Shown, look_at
from farandole.client import Client
from farandole.client.asking import start_asked
from farandole.client.lookup import RunStatus, status_of
from farandole.client.query import goes_on, run_records
from farandole.errors import RunError

RELEASED = frozenset({"kernel_error", "suspected"})
"""Kinds of waits that a release answers; see `client.waiting`."""


async def ask_cancel(client: Client, run_id: str, reason: str) -> None:
    """Ask that a run stop, also one that has not begun: its start stands before what we ask, on the same home.

    Raises:
        RunNotFound: nothing is known of it, and nobody asked for it.
        RunRefused: it was asked for, and refused.
        RunError: it has ended.
    """
    status = await status_of(client.session, run_id)
    if status is None:
        await _require_asked(client, run_id)
    else:
        _require_going_on(status)
    await (await client.run(run_id)).cancel(reason)


async def ask_release(client: Client, run_id: str) -> None:
    """Ask that a run go on which an error or a suspected trigger holds.

    Raises:
        RunNotFound: nothing is known of it, or it has not begun.
        RunRefused: it was asked for, and refused.
        RunError: it has ended, or nothing holds it that a release answers; with what does, where something holds it.
    """
    shown = await look_at(client, run_id)
    _require_going_on(shown.detail.status)
    if not any(wait.kind in RELEASED for wait in shown.detail.waits):
        raise RunError(_unanswered(shown), run_id=run_id)
    await client.release(run_id)


async def _require_asked(client: Client, run_id: str) -> None:
    """A run that the tables do not know may have been begun by its agents, or wait for a coordinator to begin it."""
    records = await run_records(client.session, run_id)
    if goes_on(records):
        return
    asked = await start_asked(client.session, run_id)
    require_not_refused(records, asked)
    if asked is None:
        await look_at(client, run_id)  # which says why there is none


def _require_going_on(status: RunStatus) -> None:
    if status.is_over:
        raise RunError(
            f"run {status.run}: expected a run that goes on, but it ended {status.status}. Nothing was asked.",
            run_id=status.run,
        )


def _unanswered(shown: Shown) -> str:
    """Why a release would change nothing, and the commands that would."""
    status = shown.detail.status
    why = f": {status.waiting}" if status.waiting else ""
    expected = (
        f"run {status.run}: expected a run that is held by an error or by a trigger that seems lost, "
        f"but it is {status.status}{why}. Nothing was asked"
    )
    letters = [given for found, given in shown.advices if found[0].kind == "dead_letter"]
    if not letters:
        return f"{expected}; `farandole run show {status.run}` says what it waits for."
    commands = "".join(f"\n  {command}" for given in letters for command in given.commands)
    return f"{expected}; {letters[0].text}:{commands}"
