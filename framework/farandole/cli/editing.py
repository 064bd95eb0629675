"""`dead edit`: the failed input in an editor, checked against its step's schema before anything is sent."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from farandole.cli.dead_bulk import check_open
from farandole.cli.output import STDERR, json_text
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
        before = json_text(await input_of(client.session, letter, record))
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
    except typer.Abort:
        return False


def in_editor(text: str) -> str | None:
    """The text as $VISUAL or $EDITOR (else vi) leaves it; None if it was left as it was.

    Raises:
        ConfigError: the editor cannot be started, or failed; or there is none, and no terminal for vi either.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        if not sys.stdin.isatty():
            raise ConfigError(f"expected a terminal for an editor, but standard input is none. {_WAY_OUT}")
        editor = "vi"
    with tempfile.TemporaryDirectory(prefix="farandole-") as folder:
        path = Path(folder) / "input.json"
        path.write_text(text + "\n", encoding="utf-8", errors="surrogateescape")
        try:
            with _screen() as screen:
                ended = subprocess.run([*shlex.split(editor), str(path)], check=False, stdout=screen)
        except (OSError, ValueError) as bad:
            raise ConfigError(f"{editor}: expected an editor that starts, but {bad}. {_WAY_OUT}") from None
        if ended.returncode:
            raise ConfigError(f"{editor}: expected it to end with 0, but it gave {ended.returncode}. {_WAY_OUT}")
        # What an editor saves in another encoding is refused, and shown to it again; `replace` would change texts.
        written = path.read_text(encoding="utf-8", errors="surrogateescape").removesuffix("\n")
    return None if written == text else written


@contextmanager
def _screen() -> Iterator[int | None]:
    """Where an editor draws: standard output if that is a terminal, which it need not be told, else the terminal that
    there is, or standard error. What the command prints may be JSON for a program."""
    if sys.stdout.isatty():
        yield None
        return
    try:
        terminal = os.open("/dev/tty", os.O_WRONLY)
    except OSError:
        yield STDERR
        return
    try:
        yield terminal
    finally:
        os.close(terminal)


_WAY_OUT = "Nothing was asked; set $EDITOR, or give the input to `dead replay --input`."
