"""`topics produce`: one record, checked before it is written.

To a user's own topic, or a command to `commands`. What the framework writes in transactions
is not to be written by hand: an inbox record without its run would only be quarantined.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from farandole.cli.consuming import topic_named
from farandole.cli.schema_texts import is_file, schema_file
from farandole.cli.texts import encodable
from farandole.client import Client
from farandole.client.client import RUN_ID_SHAPE
from farandole.client.schema_names import schema_named
from farandole.client.session import Session
from farandole.errors import ConfigError, RecordError, RunRefused
from farandole.events.catalogue import decode_command
from farandole.ids import is_run_id
from farandole.transport.port import NewRecord


@dataclass(frozen=True, slots=True)
class Given:
    """What was typed; see the options of `topics produce`."""

    topic: str
    text: str
    key: str | None
    schema: str | None
    headers: tuple[str, ...]
    partition: int | None


async def produce_record(client: Client, given: Given) -> str:
    """Write it; the place where it stands.

    Raises:
        ConfigError: there is no such topic, partition or schema, it is not to be written by hand, or a header or the
            key is malformed.
        RunRefused: the value, or the id in it, does not fit. Nothing was written.
        TransportError: it was not acknowledged.
    """
    session = client.session
    topic = await topic_named(session, given.topic)
    headers = list(_headers(given.headers))
    encodable(given.key or "", "--key")
    if topic == session.topics.commands:
        record = await _command(session, given, headers)
    elif topic.startswith(f"{session.topics.namespace}."):
        raise ConfigError(
            f"{topic}: expected a topic of your own or {session.topics.commands}, but only farandole writes to this "
            "one. Nothing was written; a run is started by `farandole run start`."
        )
    else:
        await _check_partition(session, topic, given.partition)
        value = await _value(session, given)
        key = given.key.encode() if given.key is not None else None
        record = NewRecord(topic, key, value, headers, given.partition)
    partition, offset = await session.edge.send(record)
    return f"{topic}/{partition}/{offset}"


def _headers(given: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    for each in given:
        name, found, value = each.partition("=")
        if not found or not name:
            raise ConfigError(f"--header: expected NAME=VALUE, but found {each!r}. Nothing was written.")
        encodable(each, "--header")
        yield name, value.encode()


async def _command(session: Session, given: Given, headers: list[tuple[str, bytes]]) -> NewRecord:
    """A command is placed by the run that it names, wherever its key would have put it."""
    value = given.text.strip().encode()
    try:
        command = decode_command(value, headers)
    except RecordError as bad:
        raise RunRefused(f"{session.topics.commands}: {bad}. Nothing was written.") from None
    run = command.run_id or ""
    if run and not is_run_id(run):
        raise RunRefused(f"run_id: expected {RUN_ID_SHAPE}, but found {run[:140]!r}. Nothing was written.")
    await _check_partition(session, session.topics.commands, given.partition)
    home = await session.home(run) if run else given.partition
    if given.partition not in (None, home):
        raise ConfigError(
            f"--partition: expected {home}, the home of run {run}, or none, but found {given.partition}. "
            "Nothing was written; a command stands where its run lives."
        )
    key = run or given.key
    return NewRecord(session.topics.commands, key.encode() if key else None, value, headers, home)


async def _check_partition(session: Session, topic: str, partition: int | None) -> None:
    """Refuse a partition that the topic does not have, which a log would only not find.

    Raises:
        ConfigError: it has none of that number.
    """
    there = await session.edge.partitions(topic)
    if partition is not None and partition >= there:
        raise ConfigError(
            f"--partition: expected 0 to {there - 1}, as {topic} has them, but found {partition}. Nothing was written."
        )


async def _value(session: Session, given: Given) -> bytes:
    text = given.text.strip()
    if given.schema is None:
        try:
            json.loads(text)
        except ValueError as bad:
            raise RunRefused(f"--value: expected JSON, but {bad}. Nothing was written.") from None
        return text.encode()
    schema = schema_file(given.schema) if is_file(given.schema) else await schema_named(session, given.schema)
    try:
        return schema.encode(schema.from_json(text.encode()))
    except RecordError as bad:
        raise RunRefused(f"--value: {bad}. Nothing was written.") from None
