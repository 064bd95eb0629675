"""`run show`: how a run stands, what it waits for and since when, and what would release it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import typer

from farandole.cli.advice import Advice, Surroundings, advice
from farandole.cli.begun import require_not_refused
from farandole.cli.dead_letters import never_began
from farandole.cli.output import ago, as_fields, instant, print_json, print_table, shorten, visible
from farandole.client import Client
from farandole.client.asking import Asked, start_asked
from farandole.client.dead import is_start, list_dead
from farandole.client.lookup import status_of
from farandole.client.query import RunDetail, run_detail, run_records
from farandole.client.serving import coordinators, serving_of
from farandole.client.waiting import Wait
from farandole.errors import AccessDenied, RunNotFound
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM
from farandole.transport.port import Transport

WAITS_SHOWN = 12
"""What a run waits for, on a terminal; `--json` has all."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A run with everything that explains it."""

    detail: RunDetail
    around: Surroundings
    asked: Asked | None

    @property
    def advices(self) -> list[tuple[list[Wait], Advice]]:
        """What it waits for, alike things together, each with what releases it."""
        run = self.detail.status.run
        return [(found, advice(run, found, self.around)) for found in alike(self.detail.waits)]


async def look_at(client: Client, run_id: str) -> Shown:
    """Read all there is to say of a run; who serves it is asked for apart (`look_around`).

    Raises:
        RunNotFound: nothing is known of it; where its start was asked, the message says why it has not begun.
        RunRefused: its start was asked for, and refused.
    """
    asked = await start_asked(client.session, run_id)
    try:
        detail = await run_detail(client.session, run_id)
    except RunNotFound:
        if await status_of(client.session, run_id) is not None:  # it is its definition that is not on the log
            raise
        starts = [letter for letter in await list_dead(client.session, run_id=run_id) if is_start(letter)]
        if starts:
            raise RunNotFound(never_began(starts[0]), run_id=run_id) from None
        require_not_refused(await run_records(client.session, run_id), asked)
        if asked is None:
            raise
        raise RunNotFound(
            f"run {run_id}: it was asked for at {instant(asked.at)} ({asked.place}), but it has not begun: "
            "no coordinator has taken the command. `farandole lag` says whether one runs (farandole coordinator run).",
            run_id=run_id,
        ) from None
    is_dead = any(wait.kind == "dead_letter" for wait in detail.waits)
    letters = await list_dead(client.session, run_id=run_id) if is_dead else []
    return Shown(detail, Surroundings(tuple(letters), agents={row.step: row.agent for row in detail.steps}), asked)


def look_around(it: Shown, transport: Transport, topics: Topics) -> Shown:
    """With who serves what a live run waits for, and first of all whether a coordinator does. Blocking."""
    if it.detail.status.is_over:
        return it
    waiting = {wait.step for wait in it.detail.waits if wait.kind == "agent"}
    agents = {row.agent for row in it.detail.steps if row.step in waiting}
    serving = serving_of(transport, topics, agents) if agents else {}
    try:
        found: int | None = coordinators(transport, topics)
    except AccessDenied:  # who may not see their group is told the rest
        found = None
    nobody = (Wait("coordinator", "no coordinator runs"),) if found == 0 else ()
    return replace(
        it,
        detail=replace(it.detail, waits=(*nobody, *it.detail.waits)),
        around=replace(it.around, serving=serving, coordinators=found),
    )


def print_shown(it: Shown, now: datetime | None = None) -> None:
    """How a run stands, for a person."""
    now, detail = now or datetime.now(UTC), it.detail
    status = detail.status
    typer.secho(f"{status.run}  {status.status}", bold=True, nl=False)
    typer.echo(f": {shorten(status.waiting)}" if status.waiting else "")
    typer.echo(f"pipeline {status.pipeline}  definition {status.definition[:12]}")
    typer.echo(f"started {instant(status.started_at)}  changed {instant(status.updated_at)}")
    if it.asked is not None and it.asked.rerun_of:
        typer.echo(f"rerun of {it.asked.rerun_of}")
    typer.echo("")
    rows = [
        (s.step, s.agent, s.status, str(s.attempt), f"{s.done}/{s.items}" if s.items else "", ago(s.since, now))
        for s in detail.steps
    ]
    print_table(("STEP", "AGENT", "STATUS", "ATTEMPTS", "ITEMS", "SINCE"), rows)
    _print_given_up(detail)
    print_waits(it.advices, now)


def _print_given_up(detail: RunDetail) -> None:
    """Why steps were given up on that nothing is waited for at any more: the run has ended, or is stopping."""
    waited = {wait.step for wait in detail.waits if wait.kind == "dead_letter"}
    gone = [row for row in detail.steps if row.error and row.step not in waited]
    if gone:
        typer.secho("\ngiven up", bold=True)
    for row in gone:
        typer.echo("  " + "\n    ".join(visible(f"{row.step}: {row.error}", keep="\n").strip().splitlines()))


def print_waits(advices: Sequence[tuple[list[Wait], Advice]], now: datetime) -> None:
    """What a run waits for, and below each what releases it."""
    if not advices:
        return
    typer.secho("\nwaits for", bold=True)
    for found, given in advices[:WAITS_SHOWN]:
        typer.echo(f"  {wait_line(found, now, is_whole=True)}")
        if given.text:
            typer.echo(f"      {given.text}{':' if given.commands else ''}")
        for command in given.commands:
            typer.secho(f"      $ {command}", fg=typer.colors.CYAN)
    if len(advices) > WAITS_SHOWN:
        typer.echo(f"  … and {len(advices) - WAITS_SHOWN} more (--json has all)")


def print_shown_json(it: Shown) -> None:
    """The same for programs."""
    released = [
        {"kind": found[0].kind, "step": found[0].step, "text": given.text, "commands": given.commands}
        for found, given in it.advices
    ]
    rerun_of = it.asked.rerun_of if it.asked is not None else ""
    print_json({**as_fields(it.detail), "releases": released, "rerun_of": rerun_of})


def alike(waits: Iterable[Wait]) -> list[list[Wait]]:
    """Items that wait for the same thing together, in the order of the waits."""
    groups: dict[tuple[str, str, str], list[Wait]] = {}
    for each in waits:
        groups.setdefault((each.kind, each.step, each.text), []).append(each)
    return list(groups.values())


def wait_line(found: list[Wait], now: datetime, *, is_whole: bool = False) -> str:
    """One thing that a run waits for, since when, and until when.

    Its text is cut to a line, or whole: what an error advises stands at its end.
    """
    first = found[0]
    items = [each.item for each in found if each.item != NO_ITEM]
    which = f"[{items[0]}]" if len(items) == 1 else f" ({len(items)} items)" if items else ""
    since = min((each.since for each in found if each.since is not None), default=None)
    lines = visible(first.text, keep="\n").strip().splitlines()
    text = "\n    ".join(lines) if is_whole else shorten(first.text)
    told = f"{first.step}{which}: {text}" if first.step else text
    if since is not None:
        told += f", since {ago(since, now)}"
    if first.until is not None:
        told += f" (until {instant(first.until)}{f', then it ends {first.then}' if first.then else ''})"
    return told
