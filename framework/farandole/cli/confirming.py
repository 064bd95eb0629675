"""Asking before what destroys, or is much."""

import sys

import typer

from farandole.errors import RunError


def confirmed(question: str, yes: bool) -> None:
    """Go on if somebody says so.

    Raises:
        RunError: nobody can be asked, or the answer is no; nothing was done.
    """
    if yes:
        return
    try:
        said = typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        raise RunError("expected an answer or --yes, but there is nobody to ask. Nothing was done.") from None
    if not said:
        raise RunError("not confirmed. Nothing was done.")
