"""Every schema that payloads on the topics are framed with, and what for."""

from collections.abc import Iterator
from dataclasses import dataclass

from farandole.client.scan import existing_places, table
from farandole.client.session import Session
from farandole.definition.model import Definition
from farandole.errors import RecordError
from farandole.events.avro import Schema, SchemaBook
from farandole.events.catalogue import ALL, schema_of, type_name

OURS = "farandole"
"""The use of a schema of our own records."""


@dataclass(frozen=True, slots=True)
class Published:
    """A schema by its fingerprint (hex); `uses` are as `uses_of` names them, none if nothing that is applied has it."""

    fingerprint: str
    name: str
    text: str
    uses: tuple[str, ...] = ()


def uses_of(definition: Definition) -> Iterator[tuple[str, str]]:
    """What a pipeline frames with which schema: `orders/params`, `orders/result`, `orders/ship/input`, …"""
    yield f"{definition.name}/params", definition.params_schema
    if definition.output_schema:
        yield f"{definition.name}/result", definition.output_schema
    for step in definition.steps.values():
        yield f"{definition.name}/{step.name}/input", step.input_schema
        yield f"{definition.name}/{step.name}/output", step.output_schema


async def published(session: Session) -> list[Published]:
    """All of them, by name; those of pipelines as they are applied now have their uses.

    Raises:
        ConfigError: the namespace was never applied.
    """
    uses: dict[str, list[str]] = {}
    schemas: dict[str, Schema] = {}
    for record in ALL:
        _add(schemas, uses, schema_of(record), OURS)
    for definition in (await session.book.pipelines()).values():
        for use, text in uses_of(definition):
            _add(schemas, uses, Schema.parse(text), use)
    for schema in await _others(session):
        schemas.setdefault(schema.fingerprint.hex(), schema)
    found = [Published(key, each.name, each.text, tuple(uses.get(key, ()))) for key, each in schemas.items()]
    return sorted(found, key=lambda each: (each.name, each.fingerprint))


def _add(schemas: dict[str, Schema], uses: dict[str, list[str]], schema: Schema, use: str) -> None:
    key = schema.fingerprint.hex()
    schemas.setdefault(key, schema)
    uses.setdefault(key, []).append(use)


async def book_of(session: Session) -> SchemaBook:
    """The same as a book, to decode whatever stands on a topic."""
    book = SchemaBook(schema_of(record) for record in ALL)
    for schema in await _others(session):
        book.add(schema)
    return book


async def _others(session: Session) -> list[Schema]:
    """Those on `schemas` and of every definition that is kept; what is no schema is left out."""
    rows = await table(session.edge, await existing_places(session.edge, session.topics.schemas))
    texts = [(record.value or b"").decode(errors="replace") for record in rows.values()]
    for definition in (await session.book.every()).values():
        texts.extend(text for _, text in uses_of(definition))
    out = []
    for text in dict.fromkeys(texts):
        try:
            out.append(Schema.parse(text))
        except RecordError:
            continue
    return out


def ours_by_name(name: str) -> Schema | None:
    """The schema of one of our own records, by `StepSucceeded` or `farandole.StepSucceeded`."""
    return next((schema_of(record) for record in ALL if name in (record.__name__, type_name(record))), None)
