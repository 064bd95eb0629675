"""Every record of our own by its schema: what stands on `events`, `commands` and the tables.

Payloads of users are not in it. A record of this version is read and written by code made
for its class (`codec`); one of another published version is found in a book of schemas and
resolved to this one, field by field.
"""

import dataclasses
import struct
from collections.abc import Callable, Iterator
from types import ModuleType

from farandole.errors import RecordError, UnknownSchema
from farandole.events import commands, facts, tables
from farandole.events.avro import Schema, SchemaBook
from farandole.events.codec import Reader, Writer, part_reader, reader, writer
from farandole.events.command_text import parse_command
from farandole.events.commands import Command
from farandole.events.derivation import schema_name, schema_text
from farandole.events.envelope import Headers
from farandole.events.framing import Frame, Kind, single_object, unframe


def _records(module: ModuleType) -> Iterator[type]:
    for value in vars(module).values():
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__:
            yield value


ALL: tuple[type, ...] = tuple(record for module in (facts, commands, tables) for record in _records(module))
"""Every class whose schema is published."""

_NAMES: dict[type, str] = {record: schema_name(record) for record in ALL}
_SCHEMAS: dict[type, Schema] = {record: Schema.parse(schema_text(record)) for record in ALL}
_BY_NAME: dict[str, type] = {name: record for record, name in _NAMES.items()}

_WRITERS: dict[type, Writer] = {
    record: writer(record, single_object(schema.fingerprint, b"")) for record, schema in _SCHEMAS.items()
}
_READERS: dict[bytes, Reader] = {
    single_object(schema.fingerprint, b""): reader(record) for record, schema in _SCHEMAS.items()
}
_HEAD = 10
assert len(_READERS) == len(ALL), "two records have one fingerprint"


def type_name(record: type) -> str:
    """The CloudEvents type of a record, which is also its schema's name: `farandole.StepSucceeded`."""
    return _NAMES[record]


def schema_of(record: type) -> Schema:
    """The schema of a class of ours, as of this version."""
    return _SCHEMAS[record]


def encode(thing: object) -> bytes:
    """One of our records as framed Avro.

    Raises:
        RecordError: `contract`: it is none of ours, or a field is not of its type.
    """
    try:
        return _WRITERS[type(thing)](thing)
    except KeyError:
        raise RecordError(f"expected a record of ours, but found {type(thing).__name__}", reason="contract") from None
    except (TypeError, AttributeError, OverflowError, ValueError, struct.error) as bad:
        told = f"{type(thing).__name__}: expected fields of their declared types, but {bad}"
        raise RecordError(told, reason="contract") from bad


def decode(value: bytes, book: SchemaBook | None = None) -> object:
    """The record of a framed payload; one of another version if `book` knows its schema.

    Raises:
        UnknownSchema: neither we nor the book know its schema.
        RecordError: it is not framed, not what its schema says (`undecodable`), no record of ours, or of a
            version that this one cannot read (`contract`).
    """
    read = _READERS.get(value[:_HEAD])
    if read is None:
        return _decode_other(unframe(value), book)
    return _read(read, value, _HEAD)


def part_decoder(record: type, name: str) -> Callable[[bytes], object]:
    """A function for one field of framed payloads of a class, at a fraction of the cost of all of it.

    It raises RecordError where the payload is not of this class and version, or ends before the field does.
    """
    frame, read = single_object(_SCHEMAS[record].fingerprint, b""), part_reader(record, name)

    def decode_part(value: bytes) -> object:
        if not value.startswith(frame):
            found = decode(value)
            raise RecordError(f"expected a {type_name(record)}, but found {type_name(type(found))}")
        part, end = _guarded(read, value, _HEAD)
        if end > len(value):
            raise RecordError(f"expected {type_name(record)}.{name}, but {end - len(value)} bytes are missing")
        return part

    return decode_part


def decode_command(value: bytes | None, headers: Headers, book: SchemaBook | None = None) -> Command:
    """The command of a record of `commands`: Avro, or JSON as `command_text` describes.

    Raises:
        RecordError: neither, or not a command.
    """
    frame = unframe(value)
    if frame.kind is Kind.JSON:
        return parse_command(frame.body, headers)
    command = decode(value or b"", book)
    if not isinstance(command, Command):
        raise RecordError(f"expected a command, but found {type_name(type(command))}")
    return command


def _guarded(read: Reader, data: bytes, at: int) -> tuple[object, int]:
    try:
        return read(data, at)
    except (IndexError, ValueError, TypeError, OverflowError, struct.error) as bad:
        raise RecordError(f"expected a record of ours, but its bytes are not what its schema says: {bad}") from None


def _read(read: Reader, data: bytes, at: int) -> object:
    thing, end = _guarded(read, data, at)
    if end != len(data):
        word = "left over" if end < len(data) else "missing"
        raise RecordError(f"expected a {type(thing).__name__}, but {abs(len(data) - end)} bytes are {word}")
    return thing


def _decode_other(frame: Frame, book: SchemaBook | None) -> object:
    if frame.id is None:
        raise RecordError("expected a record of ours in Avro, but found JSON")
    if book is None:
        told = frame.id.hex() if isinstance(frame.id, bytes) else f"registry id {frame.id}"
        raise UnknownSchema(f"expected a record of ours, but it was written with {told}")
    theirs = book.find(frame.id)
    record = _BY_NAME.get(theirs.name)
    if record is None:
        raise RecordError(f"expected a record of ours, but found {theirs.name}", reason="contract")
    ours = _SCHEMAS[record]
    body = ours.encode_body(ours.decode_body(frame.body, theirs))
    return _read(_READERS[single_object(ours.fingerprint, b"")], body, 0)
