"""Dead letters for a terminal and as lines of JSON."""

import base64
import json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

import typer

from farandole.cli.dead_filter import PAYLOAD
from farandole.cli.output import ago, as_fields, instant, is_narrow, json_text, print_table, shorten, visible
from farandole.client import Client
from farandole.client.dead import OPEN, QUARANTINED, DeadLetter, Group, dead_record, input_of, is_start
from farandole.errors import RecordError
from farandole.ids import NO_ITEM
from farandole.transport.port import Record

LETTERS_SHOWN = 20
"""Of one cause on a terminal; `--json` and `--full` have all."""

NAME_WIDTH = len("fingerprint") + 2


def where(letter: DeadLetter) -> str:
    """`step[item]`, or the agent of a quarantined record."""
    if not letter.step:
        return letter.agent
    return letter.step if letter.item == NO_ITEM else f"{letter.step}[{letter.item}]"


def print_groups(
    groups: Sequence[Group],
    *,
    full: bool = False,
    empty: str = "no dead letters wait for anybody",
    now: datetime | None = None,
) -> None:
    """One block for each cause."""
    now = now or datetime.now(UTC)
    if not groups:
        typer.echo(empty)
    for n, group in enumerate(groups):
        if n:
            typer.echo("")
        typer.secho(f"{len(group.letters)} × {group.agent}: {shorten(group.error, 160)}", bold=True)
        shown = group.letters if full else group.letters[:LETTERS_SHOWN]
        rows = [(f"  {e.place}", e.state, e.run, where(e), f"{e.attempt}", ago(e.at, now)) for e in shown]
        print_table(("  PLACE", "STATE", "RUN", "STEP", "ATTEMPT", "AGE"), rows)
        if len(shown) < len(group.letters):
            typer.echo(f"  … and {len(group.letters) - len(shown)} more (--full)")


def print_next_steps(groups: Sequence[Group], *, run: str = "", where: str = "") -> None:
    """What may be done about the largest group, and no more than that: a list without a way on is half an answer.

    `run`, `where`: what the list was of; a cause may have letters in other runs, and its fingerprint with other agents.
    """
    opened = next((group for group in groups if any(each.state == OPEN for each in group.letters)), None)
    if opened is None:
        return
    first = next(each for each in opened.letters if each.state == OPEN)
    typer.echo(f"\nlook into one:    farandole dead show {first.place}")
    if len(opened.letters) > 1:
        cause = f"fingerprint == {json.dumps(opened.fingerprint)}" + (f" && ({where})" if where else "")
        words = ["--where", cause, *(("--run", run) if run else ()), "--agent", opened.agent]
        typer.echo(visible(f"replay one cause: farandole dead replay {shlex.join(words)}"))
    else:
        typer.echo(f"try it again:     farandole dead replay {first.place}")


def print_letter(letter: DeadLetter, given: object, problem: str) -> None:
    """One dead letter with its input, and what may be done about it; each thing under its name in `--where`."""
    facts = [
        ("place", letter.place),
        ("state", letter.state),
        ("run", letter.run),
        ("pipeline", letter.pipeline),
        ("step", where(letter)),
        ("attempt", str(letter.attempt)),
        ("agent", letter.agent),
        ("reason", letter.reason),
        ("error", letter.error),
        ("fingerprint", letter.fingerprint),
        ("written", instant(letter.at)),
        ("input", letter.input),
    ]
    for name, value in facts:
        if value:
            typer.echo(f"{name:<{NAME_WIDTH}}{visible(value)}")
    told = problem or json_text(given, is_ascii=is_narrow())
    typer.echo(f"{PAYLOAD:<{NAME_WIDTH}}" + visible(told, keep="\n"))
    if letter.state == OPEN:
        typer.echo(f"\ntry it again:              farandole dead replay {letter.place}")
        typer.echo(f"repair its input first:    farandole dead edit {letter.place}")
        typer.echo(f"go on without this step:   farandole dead discard {letter.place}")
    elif is_start(letter):
        typer.echo(visible(f"\n{never_began(letter)}", keep="\n"))
    elif letter.state == QUARANTINED:
        typer.echo("\nit belongs to no run: nothing waits for it; it goes when its topic's retention ends")


def never_began(letter: DeadLetter) -> str:
    """What became of a run whose direct start was quarantined, and what to do."""
    return (
        f"run {letter.run} has not begun: no agent could take its start ({letter.place}): {letter.error} "
        "`farandole apply` the folder that defines its pipeline, then start it again; `farandole dead show "
        f"{letter.place}` has what it was to begin with"
    )


async def look(client: Client, place: str) -> tuple[DeadLetter, object, str]:
    """A dead letter, its input, and why that cannot be read if it cannot."""
    letter, record = await dead_record(client.session, place)
    return letter, *(await decoded(client, letter, record))


async def decoded(client: Client, letter: DeadLetter, record: Record) -> tuple[object, str]:
    """The input of a letter, or why it cannot be read."""
    try:
        return await input_of(client.session, letter, record), ""
    except RecordError as bad:
        return None, str(bad)


async def exported(client: Client, letter: DeadLetter, record: Record) -> str:
    """A letter as one line of JSON: its fields, its input decoded, and the record as it stands, in base64."""
    given, problem = await decoded(client, letter, record)
    return json_text(
        {
            **as_fields(letter),
            PAYLOAD: given,
            "problem": problem,
            "key": _base64(record.key),
            "value": _base64(record.value),
            "headers": [[name, _base64(value)] for name, value in record.headers],
        },
        indent=None,
        is_ascii=is_narrow(),
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
