"""`dead export`: letters to a file or to standard output."""

from collections.abc import Sequence
from pathlib import Path

import typer

from farandole.cli.dead_filter import Choice, filtered
from farandole.cli.dead_letters import exported
from farandole.client import Client
from farandole.errors import ConfigError


async def export_letters(client: Client, choice: Choice, output: Path | None) -> int:
    """Write the letters that are meant; how many there are.

    Raises:
        ConfigError: the file cannot be written.
    """
    lines = [await exported(client, letter, record) for letter, record in await filtered(client.session, choice)]
    if output is None:
        for line in lines:
            typer.echo(line)
        return len(lines)
    _write(output, lines)
    return len(lines)


def _write(output: Path, lines: Sequence[str]) -> None:
    try:
        output.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as bad:
        raise ConfigError(f"--output: expected a file that can be written, but {bad}") from None
