"""`schema check`: the types of a folder against those that are published under the same pipelines and steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import typer

from farandole.client import Client
from farandole.client.published import uses_of
from farandole.definition.model import Definition
from farandole.errors import ConfigError
from farandole.events.avro import Schema
from farandole.registry.compatibility import Compatibility, problems


@dataclass(frozen=True, slots=True)
class Compared:
    """One use. `state`: `same`, `changed`, `new` or `gone`; `problems` keep old and new from reading each other."""

    use: str
    state: str
    problems: tuple[str, ...] = ()


def mode_of(word: str) -> Compatibility:
    """The mode of a word.

    Raises:
        ConfigError: it is none.
    """
    try:
        return Compatibility(word)
    except ValueError:
        raise ConfigError(f"--mode: expected backward, forward or full, but found {word!r}") from None


async def compare(client: Client, definitions: Sequence[Definition], mode: Compatibility) -> list[Compared]:
    """Every use of the folder's pipelines in their order, then those that are published and gone from the folder."""
    applied = await client.session.book.pipelines()
    out: list[Compared] = []
    for definition in definitions:
        before = dict(uses_of(applied[definition.name])) if definition.name in applied else {}
        now = dict(uses_of(definition))
        out += [_compared(use, text, before.get(use), mode) for use, text in now.items()]
        out += [Compared(use, "gone") for use in before if use not in now]
    return out


def _compared(use: str, text: str, before: str | None, mode: Compatibility) -> Compared:
    if before is None:
        return Compared(use, "new")
    if before == text:
        return Compared(use, "same")
    return Compared(use, "changed", tuple(problems(Schema.parse(text), Schema.parse(before), mode)))


def print_compared(found: Sequence[Compared], mode: str) -> None:
    """What changed; what is the same is only counted."""
    for each in found:
        if each.state != "same":
            colour = typer.colors.RED if each.problems else None
            typer.secho(f"{each.state:<8} {each.use}", fg=colour)
        for problem in each.problems:
            typer.echo(f"         {problem}")
    same, bad = sum(each.state == "same" for each in found), sum(bool(each.problems) for each in found)
    typer.echo(f"{len(found)} types, {same} unchanged, {bad} not {mode} compatible with what is published")
    if bad:
        typer.echo("live runs keep their definition: let them end first, or give the changed fields defaults")
