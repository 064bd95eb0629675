"""`dead edit`: the failed input in an editor, checked against its step's schema before anything is sent."""

import json
from collections.abc import Callable

import click
import typer

from farandole.cli.dead_bulk import check_open
from farandole.cli.output import as_json
from farandole.client import Client
from farandole.client.dead import DeadLetter, dead_record, input_of
from farandole.client.payload import definition_of, framed_input
from farandole.definition.model import Step
from farandole.errors import ConfigError, RecordError, RunError

Editor = Callable[[str], str | None]
"""Text in, text out; None if it was left as it was."""


async def edit_and_replay(client: Client, place: str, editor: Editor) -> DeadLetter:
    """Let somebody repair the input of an open dead letter, and replay it with that.

    Raises:
        RunError: it is not open, or the input was left as it was.
        RecordError: what was written does not fit and is not edited again; it is printed, so that it is not lost.
    """
    letter, record = await dead_record(client.session, place)
    check_open(letter)
    definition = await definition_of(client.session, letter.definition)
    step = definition.steps[letter.step]
    try:
        before = json.dumps(as_json(await input_of(client.session, letter, record)), indent=2, ensure_ascii=False)
    except RecordError as bad:
        typer.echo(f"the input cannot be shown: {bad}", err=True)
        before = "{}"
    after = _edited(before, step, editor)
    await client.replay(place, letter.run, letter.step, letter.attempt, item=letter.item, input=after)
    return letter


def _edited(text: str, step: Step, editor: Editor) -> str:
    given = text
    while True:
        written = editor(given)
        if written is None or written.strip() in ("", text.strip()):
            raise RunError("the input was left as it was. Nothing was asked; `dead replay` tries it unchanged.")
        try:
            framed_input(step, written)
        except RecordError as bad:
            typer.echo(f"{step.name}: {bad}", err=True)
            if not _again():
                typer.echo(written)
                raise
            given = written
            continue
        return written


def _again() -> bool:
    try:
        return typer.confirm("edit it again?", default=True, err=True)
    except click.Abort:
        return False


def in_editor(text: str) -> str | None:
    """The text as $VISUAL or $EDITOR leaves it; None if it was not saved.

    Raises:
        ConfigError: the editor cannot be started, or failed.
    """
    try:
        return click.edit(text, extension=".json")
    except click.ClickException as bad:
        raise ConfigError(f"editor: {bad.message}. Nothing was asked; set $EDITOR, or give --input.") from None
