"""How an error reaches a person: one message with a way out, an exit code, no traceback.

Which code belongs to which error: `exit_codes` has the table. A defect of ours keeps its traceback.
"""

import sys
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperGroup

from farandole.cli.exit_codes import FAILED, INTERRUPTED, UNREACHABLE, USAGE
from farandole.cli.output import visible
from farandole.cli.overview import SECTIONS
from farandole.cli.streams import CLOSED, give_up_output, is_missed, is_of_output
from farandole.errors import (
    AccessDenied,
    ConfigError,
    DefinitionError,
    FarandoleError,
    RegistryError,
    StoreError,
    TransportError,
)

WAY_OUT = (
    "Is the log running, and is this its address? --bootstrap, FARANDOLE_BOOTSTRAP or `bootstrap` in farandole.toml "
    "say where it is looked for."
)
"""What an operator may look at when the log does not answer."""

LOG_IN_USE: ContextVar[str | None] = ContextVar("LOG_IN_USE", default="")
"""Address of the Kafka that this command works on, once its settings are known; None is the embedded log, whose errors
name its file and a way out of their own."""

GUTTER = 6
"""Columns that indentation and the gap between name and text take."""


class ReportingGroup(TyperGroup):
    """The outermost group: turns our errors into messages, and lists commands by what people do."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section for each purpose, with as much of each command's first line as the terminal has room for."""
        width = max(map(len, self.commands))
        room = formatter.width - width - GUTTER
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                rows = [(name.ljust(width), self.commands[name].get_short_help_str(room)) for name in names]
                formatter.write_dl(rows)

    def main(self, *args: Any, **more: Any) -> Any:
        """All of it, `--help` and the last flush included: there is no command yet, or no more, that could fail."""
        try:
            try:
                return super().main(*args, **more)
            finally:
                sys.stdout.flush()
        except OSError as error:
            if not is_of_output(error):
                raise
            sys.exit(give_up_output(error))
        except SystemExit as way_out:
            if way_out.code or not is_missed():
                raise
            typer.echo(CLOSED, err=True)
            sys.exit(FAILED)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what it raises of ours becomes a message and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that went away shows here, not after the last chance to say so
            return result
        except FarandoleError as error:
            report(error)
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:  # `| head` has seen enough, or the disk behind it is full
            if not is_of_output(error):
                raise
            raise typer.Exit(give_up_output(error)) from None


def exit_code(error: FarandoleError) -> int:
    """The code of an error, by who must act."""
    match error:
        case ConfigError() | DefinitionError():
            return USAGE
        case TransportError():
            return UNREACHABLE
        case _:
            return FAILED


def report(error: FarandoleError) -> None:
    """Print an error where errors belong."""
    text = visible(str(error) or type(error).__name__, keep="\n")
    typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(text, err=True)
    # A refusal, a registry and a store have ways out of their own, and say them.
    has_own = isinstance(error, AccessDenied | RegistryError | StoreError) or LOG_IN_USE.get() is None
    if isinstance(error, TransportError) and not has_own:
        typer.echo(WAY_OUT, err=True)
