"""Schemas for a terminal."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path

import typer

from farandole.cli.output import as_fields, print_json, print_table, shorten
from farandole.client import Client
from farandole.client.published import Published
from farandole.client.schema_names import published_named
from farandole.errors import ConfigError, RecordError
from farandole.events.avro import Schema
from farandole.registry.compatibility import Compatibility, problems


def print_schemas(rows: Sequence[Published]) -> None:
    """One line for each."""
    if not rows:
        typer.echo("no schemas in use: apply a pipeline, or --all for farandole's own")
        return
    cells = [(row.fingerprint, row.name, shorten(", ".join(row.uses), 80)) for row in rows]
    print_table(("FINGERPRINT", "NAME", "USED FOR"), cells)


async def named_text(client: Client, name: str) -> Published:
    """A schema by its name, or that of a file.

    Raises:
        ConfigError: there is none.
    """
    if not is_file(name):
        return await published_named(client.session, name)
    schema = schema_file(name)
    return Published(schema.fingerprint.hex(), schema.name, schema.text)


def is_file(name: str) -> bool:
    """Whether a schema is named by its file."""
    return name.endswith(".avsc")


def schema_file(name: str) -> Schema:
    """The schema of a file.

    Raises:
        ConfigError: it cannot be read, or holds none.
    """
    try:
        return Schema.parse(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecordError) as bad:
        raise ConfigError(f"{name}: expected a file that holds an Avro schema, but {bad}") from None


def pretty(text: str) -> str:
    """A schema over several lines."""
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)


def as_document(it: Published) -> dict[str, object]:
    """A schema for programs."""
    return {**as_fields(it), "text": json.loads(it.text)}


def print_diff(old: Published, new: Published, *, json: bool) -> None:
    """The lines that differ, and whether each can read the other."""
    one, other = pretty(old.text).splitlines(), pretty(new.text).splitlines()
    lines = list(difflib.unified_diff(one, other, old.fingerprint, new.fingerprint, lineterm=""))
    found = problems(Schema.parse(new.text), Schema.parse(old.text), Compatibility.FULL)
    if json:
        return print_json({"old": old.fingerprint, "new": new.fingerprint, "lines": lines, "problems": found})
    for line in lines:
        colour = {"+": typer.colors.GREEN, "-": typer.colors.RED}.get(line[:1])
        typer.secho(line, fg=colour)
    for problem in found:
        typer.secho(f"not {problem}", fg=typer.colors.RED)
    if not found:
        typer.echo("the same schema" if not lines else "each reads what the other writes")
