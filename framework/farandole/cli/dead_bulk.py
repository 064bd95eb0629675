"""Replaying and discarding many dead letters: choose, show, ask, then send at a rate.

Each is a command on its run's home, taken once and only while its letter is open; so a bulk that
broke off is finished by doing it again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import typer

from farandole.cli.confirming import confirmed
from farandole.cli.dead_filter import Choice, filtered
from farandole.cli.dead_letters import LETTERS_SHOWN, print_groups, where
from farandole.cli.output import print_json
from farandole.client import Client
from farandole.client.dead import OPEN, DeadLetter, dead_record, grouped
from farandole.errors import ConfigError, RunError


@dataclass(frozen=True, slots=True)
class Manner:
    """How it is done: `verb` for messages, `asks` whether even a single letter needs a confirmation."""

    verb: str
    asks: bool
    yes: bool
    dry_run: bool
    rate: float
    json: bool
    single: str = ""
    """The option that is for exactly one letter, if it was given."""


async def chosen(client: Client, choice: Choice) -> list[DeadLetter]:
    """The open letters that are meant.

    Raises:
        ConfigError: nothing says which.
        RunError: a letter named by its place is not open.
    """
    if choice.is_everything:
        raise ConfigError("expected places, --agent, --run or --where to say which dead letters, but found none")
    if not choice.places:
        return [letter for letter, _ in await filtered(client.session, choice) if letter.state == OPEN]
    if choice.agent or choice.run or choice.where:
        raise ConfigError("expected either places or --agent, --run and --where, but found both. Nothing was done.")
    found = [(await dead_record(client.session, place))[0] for place in choice.places]
    for letter in found:
        check_open(letter)
    return found


def check_open(letter: DeadLetter) -> None:
    """Refuse a letter of which nothing would come.

    Raises:
        RunError: it is not open.
    """
    if letter.state != OPEN:
        raise RunError(
            f"{letter.place}: expected an open dead letter, but it is {letter.state}. Nothing was asked; "
            "a run that is over is repaired by `farandole run rerun`.",
            run_id=letter.run,
        )


async def ask_all(
    client: Client, choice: Choice, manner: Manner, ask: Callable[[DeadLetter], Awaitable[None]]
) -> Sequence[DeadLetter]:
    """Carry it out for every letter that is meant; those asked for."""
    letters = await chosen(client, choice)
    if manner.single:
        _require_one(letters, manner.single)
    if not manner.json and (manner.dry_run or manner.asks or len(letters) != 1):
        print_groups(grouped(letters), empty="no open dead letter is meant")
    if not letters or manner.dry_run:
        _told(letters, manner, asked=False)
        return letters
    if manner.asks or len(letters) > 1:
        confirmed(f"{manner.verb} {_count(letters)}?", manner.yes)
    await _paced(letters, manner.rate, ask)
    _told(letters, manner, asked=True)
    return letters


def _require_one(letters: Sequence[DeadLetter], option: str) -> None:
    if len(letters) == 1:
        return
    if not letters:
        raise RunError(
            f"{option}: expected exactly one open dead letter that it is for, but none is meant. Nothing was asked; "
            "`farandole dead list --all` has those that are closed too."
        )
    places = "".join(f"\n  {each.place}  {each.run}  {where(each)}" for each in letters[:LETTERS_SHOWN])
    raise ConfigError(
        f"{option}: expected exactly one open dead letter that it is for, but {len(letters)} are meant. "
        f"Nothing was asked; name one of them:{places}"
    )


async def _paced(letters: Sequence[DeadLetter], rate: float, ask: Callable[[DeadLetter], Awaitable[None]]) -> None:
    """At most `rate` a second; 0: as fast as the log takes them."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n, letter in enumerate(letters):
        if rate:
            await asyncio.sleep(max(0.0, began + n / rate - loop.time()))
        await ask(letter)


def _told(letters: Sequence[DeadLetter], manner: Manner, *, asked: bool) -> None:
    if manner.json:
        print_json({"asked": manner.verb if asked else "nothing", "letters": letters})
    elif asked and len(letters) == 1:
        run = letters[0].run
        typer.echo(f"asked: {manner.verb} {letters[0].place}; `farandole run watch {run}` shows what comes of it")
    elif asked:
        typer.echo(f"asked: {manner.verb} {_count(letters)}; `farandole dead list` shows what is left")
    elif letters:
        typer.echo(f"--dry-run: would {manner.verb} {_count(letters)}; nothing was asked")


def _count(letters: Sequence[DeadLetter]) -> str:
    return "1 dead letter" if len(letters) == 1 else f"{len(letters)} dead letters"
