"""Any record of any topic as a person can read it: its value decoded by the schema that it names."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from farandole.artifacts import ArtifactStore, check_out
from farandole.errors import FarandoleError, RecordError
from farandole.events.avro import SchemaBook
from farandole.events.catalogue import decode, decode_command, type_name
from farandole.events.claims import is_claim
from farandole.events.envelope import instant_of
from farandole.events.framing import Kind, unframe
from farandole.events.tables import Claim
from farandole.events.topics import Topics
from farandole.kernel.place import KEY, place_in
from farandole.transport.port import Record

_PRIVATE = frozenset({"state"})
"""Fields of ours that only a coordinator reads."""

DEPTH_MAX = 100
"""Levels of JSON that are taken apart: who prints it goes down as many, and a stranger may write 100,000 brackets."""


@dataclass(frozen=True, slots=True)
class Readable:
    """A record: `type` names its schema, `value` is what it says; `problem`: why that cannot be read."""

    place: str
    at: datetime
    key: str | None
    headers: Mapping[str, str]
    type: str
    value: object
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is needed to read records: the schemas, the topics, and the store for large payloads."""

    book: SchemaBook
    topics: Topics
    artifacts: ArtifactStore | None = None

    def readable(self, record: Record) -> Readable:
        """The record as a person can read it; never raises for what it holds."""
        headers = {name: value.decode(errors="backslashreplace") for name, value in record.headers}
        try:
            kind, value, problem = *self._value(record), ""
        except FarandoleError as bad:
            kind, value, problem = "", _text(record.value or b""), str(bad)
        at = instant_of(record.timestamp_ms)
        key = None if record.key is None else record.key.decode(errors="backslashreplace")
        return Readable(record.place, at, key, headers, kind, value, problem)

    def _value(self, record: Record) -> tuple[str, object]:
        value = record.value
        if value is None:
            return "tombstone", None
        if record.topic == self.topics.runs and record.key == KEY:
            place = place_in(record.headers)
            return "place", None if place is None else dataclasses.asdict(place)
        if record.topic == self.topics.commands:
            command = decode_command(value, record.headers)
            return type_name(type(command)), self._opened(command)
        if record.topic in (self.topics.definitions, self.topics.schemas):
            return "text", _text(value)
        return self._payload(value)

    def _payload(self, value: bytes) -> tuple[str, object]:
        frame = unframe(value)
        if frame.kind is Kind.JSON:
            return "JSON", _text(value)
        claim = is_claim(value)
        if claim is not None and self.artifacts is not None:
            return self._payload(check_out(self.artifacts, value))
        if frame.id is None:
            raise RecordError("expected a schema, but the value names none")
        schema = self.book.find(frame.id)
        try:
            ours = decode(value, self.book)
        except RecordError:
            return schema.name, self.book.decode(value)
        return type_name(type(ours)), self._opened(ours)

    def _opened(self, ours: object) -> object:
        """A record of ours with the payloads in it decoded too, where their schemas are known."""
        assert dataclasses.is_dataclass(ours)
        out: dict[str, object] = {}
        for each in dataclasses.fields(ours):
            value = getattr(ours, each.name)
            out[each.name] = self._inner(each.name, value) if isinstance(value, bytes) else value
        return out if not isinstance(ours, Claim) else {"claim": out}

    def _inner(self, name: str, value: bytes) -> object:
        if name in _PRIVATE or not value:
            return {"bytes": len(value)}
        try:
            return self._payload(value)[1]
        except FarandoleError:
            return {"bytes": len(value)}


def _text(value: bytes) -> object:
    """JSON as what it says, text as it is, anything else in hex. JSON that is too deep to print is text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex(" ") if len(value) <= 64 else f"{value[:64].hex(' ')} … {len(value)} bytes"
    try:
        parsed: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if _is_deep(parsed) else parsed


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
