"""The page of the command line: from the commands themselves, as `--help` tells them.

Typer carries its own copy of Click, so that commands are told apart by what they have.
"""

from typing import Any

import typer.main
from markdown import NOTE, code, table

from farandole.cli.main import app


def page() -> str:
    """Every command with its arguments and options, in the order of `farandole --help`."""
    root = typer.main.get_command(app)
    parts = [NOTE, "# Command line", f"{root.help}", "Every command answers `--help`."]
    for path, command in _commands(root, ["farandole"]):
        parts.append(_section(path, command))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _commands(command: Any, path: list[str]) -> list[tuple[list[str], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        return [(path, command)]
    found = []
    for name, each in below.items():
        if not each.hidden:
            found += _commands(each, [*path, name])
    return found


def _section(path: list[str], command: Any) -> str:
    context = command.make_context(" ".join(path), [], resilient_parsing=True)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    help_text = "\n\n".join(" ".join(each.split()) for each in (command.help or "").split("\n\n"))
    told = [record for each in command.params if (record := each.get_help_record(context)) is not None]
    parts = [f"## {' '.join(path)}", help_text, f"```text\n{usage}\n```"]
    if told:
        parts.append(table(("Word", "Meaning"), [(code(words), _plain(meaning)) for words, meaning in told]))
    return "\n\n".join(part.strip() for part in parts)


def _plain(meaning: str) -> str:
    """Brackets would be links: `[required]`, `[default: 50]`."""
    return meaning.replace("[", "(").replace("]", ")")
