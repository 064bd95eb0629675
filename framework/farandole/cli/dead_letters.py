"""Dead letters for a terminal, and the replay of one."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import typer

from farandole.cli.output import ago, as_json, instant, print_table, shorten
from farandole.client import Client
from farandole.client.dead import OPEN, DeadLetter, Group, dead_record, input_of
from farandole.errors import RecordError, RunError
from farandole.ids import NO_ITEM


def where(letter: DeadLetter) -> str:
    """`step[item]`, or the agent of a quarantined record."""
    if not letter.step:
        return letter.agent
    return letter.step if letter.item == NO_ITEM else f"{letter.step}[{letter.item}]"


def print_groups(groups: Sequence[Group]) -> None:
    """One block for each cause."""
    now = datetime.now(UTC)
    if not groups:
        typer.echo("no dead letters wait for anybody")
    for group in groups:
        typer.echo(f"{len(group.letters)} of agent {group.agent}: {shorten(group.error, 160)}")
        rows = [
            (f"  {e.place}", e.state, e.run, where(e), f"attempt {e.attempt}", ago(e.at, now)) for e in group.letters
        ]
        print_table(("  PLACE", "STATE", "RUN", "STEP", "ATTEMPT", "AGE"), rows)


def print_letter(letter: DeadLetter, given: object, problem: str) -> None:
    """One dead letter with its input."""
    facts = [
        ("place", letter.place),
        ("state", letter.state),
        ("run", letter.run),
        ("step", where(letter)),
        ("attempt", str(letter.attempt)),
        ("agent", letter.agent),
        ("reason", letter.reason),
        ("error", letter.error),
        ("written", instant(letter.at)),
        ("trigger", letter.input),
    ]
    for name, value in facts:
        if value:
            typer.echo(f"{name:<9}{value}")
    typer.echo(f"{'input':<9}" + (problem or json.dumps(as_json(given), indent=2, ensure_ascii=False)))
    if letter.state == OPEN:
        typer.echo(f"\nrepair what is wrong, then: farandole dead replay {letter.place}")


async def look(client: Client, place: str) -> tuple[DeadLetter, object, str]:
    """A dead letter, its input, and why that cannot be read if it cannot."""
    letter, record = await dead_record(client.session, place)
    try:
        return letter, await input_of(client.session, letter, record), ""
    except RecordError as bad:
        return letter, None, str(bad)


async def replay_letter(client: Client, place: str, given: str | None) -> DeadLetter:
    """Ask for another attempt of an open dead letter.

    Raises:
        RunError: it is not open, so that a replay would be without effect.
    """
    letter, _ = await dead_record(client.session, place)
    if letter.state != OPEN:
        raise RunError(
            f"{place}: expected an open dead letter, but it is {letter.state}. Nothing was asked; "
            "a run that is over is repaired by starting another one.",
            run_id=letter.run,
        )
    await client.replay(place, letter.run, letter.step, letter.attempt, item=letter.item, input=given)
    return letter
