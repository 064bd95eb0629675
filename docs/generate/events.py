"""The page of facts and commands: from the dataclasses, their docstrings and their Avro schemas."""

import json
from dataclasses import MISSING, fields
from types import UnionType
from typing import get_args

from markdown import NOTE, code, rest, sentence, table

from farandole.events import commands, facts
from farandole.events.catalogue import schema_of, type_name

GROUPS: tuple[tuple[str, str, UnionType], ...] = (
    (
        "Reported by agents",
        "Written by the agent that ran the attempt, in the transaction that takes its trigger.",
        facts.AgentFact,
    ),
    (
        "Markers",
        "What comes from elsewhere (a command, a timer, the watchdog), brought into the log's order by the "
        "coordinator and folded when it is read back, after everything before it.",
        facts.Marker,
    ),
    (
        "Consequences",
        "What the coordinator decided; folded at once by the transaction that writes it, and marked `ce_folded`.",
        facts.Consequence,
    ),
)


def page() -> str:
    """All facts of `events`, then all commands."""
    parts = [
        NOTE,
        "# Events and commands",
        "Every record is a CloudEvent in binary mode: its value is Avro, everything about the run is in headers. The "
        "schemas are files under `schemas/`, and may be read with any Avro library.",
    ]
    for title, text, union in GROUPS:
        parts += [f"## {title}", text, *(_record(kind) for kind in get_args(union))]
    parts += ["## Commands", sentence(commands.__doc__), *(_record(kind) for kind in get_args(commands.Command))]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _record(kind: type) -> str:
    types = {field["name"]: _type(field["type"]) for field in json.loads(schema_of(kind).text)["fields"]}
    rows = [
        (code(field.name), types[field.name], "" if field.default is MISSING else code(repr(field.default)))
        for field in fields(kind)
    ]
    text = [f"### {type_name(kind).removeprefix('farandole.')}", sentence(kind.__doc__), rest(kind.__doc__)]
    return "\n\n".join(filter(None, [*text, table(("Field", "Avro", "Default"), rows)]))


def _type(given: object) -> str:
    """An Avro type in a word."""
    match given:
        case str():
            return given.split(".")[-1]
        case list():
            return " or ".join(_type(each) for each in given)
        case {"logicalType": str(logical)}:
            return logical
        case {"type": "array", "items": items}:
            return f"array of {_type(items)}"
        case {"type": "map", "values": values}:
            return f"map of {_type(values)}"
        case {"type": str(name)}:
            return str(name)
        case _:
            raise TypeError(f"no word for the Avro type {given!r}")
