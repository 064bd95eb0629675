"""How an error reaches a person: one message with a way out, an exit code, no traceback.

2 for what the caller must change (usage, settings, a definition), 1 for everything else. A
defect of ours keeps its traceback.
"""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from farandole.errors import ConfigError, DefinitionError, FarandoleError

USAGE = 2
FAILED = 1
INTERRUPTED = 130
"""As a shell reports a process that SIGINT ended."""


class ReportingGroup(TyperGroup):
    """The outermost group: turns our errors into messages."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what it raises of ours becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except FarandoleError as error:
            report(error)
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # `| head` has seen enough
            sys.stderr.close()
            raise typer.Exit(FAILED) from None


def exit_code(error: FarandoleError) -> int:
    """2 for what the caller must change, else 1."""
    return USAGE if isinstance(error, ConfigError | DefinitionError) else FAILED


def report(error: FarandoleError) -> None:
    """Print an error where errors belong."""
    text = str(error) or type(error).__name__
    typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(text, err=True)
