"""A Confluent-compatible registry as a `SchemaRegistry`.

Subjects are the schemas' full names (Confluent's RecordNameStrategy): a type is one subject,
on whatever topics it stands. Agents and coordinators only look up; `publish`, which `apply`
calls, is what registers. Ids are for ever, so what was found is never asked again; what was
not found, or is of no use to us, is not asked again for `UNKNOWN_FOR`, lest a stream of bad records becomes a
stream of questions.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from urllib.parse import quote

from farandole.clock import Clock, SystemClock
from farandole.errors import RegistryError, SchemaRefused, UnknownSchema
from farandole.events.avro import Schema, SchemaBook
from farandole.events.framing import Kind, confluent, single_object, unframe
from farandole.registry.compatibility import Compatibility, problems
from farandole.registry.http import Forbidden, JsonHttp, Refused, TooLarge

UNKNOWN_FOR = timedelta(seconds=5)
"""How long an answer "not found", or an unusable one, is believed; a schema published meanwhile is seen after this."""

UNKNOWN_MAX = 10_000
"""Such ids remembered at a time; then all are forgotten."""

_INCOMPATIBLE, _NOT_FOUND, _INVALID = 409, 404, 422


class ConfluentRegistry:
    """A `SchemaRegistry` over HTTP; what it finds, it adds to `book`."""

    def __init__(
        self,
        http: JsonHttp,
        book: SchemaBook,
        clock: Clock | None = None,
        meet: Callable[[bytes], None] = lambda fingerprint: None,
    ) -> None:
        """Asks nothing before the first question. `meet` adds our schema of a fingerprint to `book`, if any."""
        self._http = http
        self._book = book
        self._meet = meet
        self._clock = clock or SystemClock()
        self._ids: dict[bytes, int] = {}
        self._unknown: dict[bytes | int, tuple[float, UnknownSchema | SchemaRefused]] = {}

    def publish(self, schemas: Sequence[Schema]) -> None:
        """Register schemas under their names; the registry ignores what it has.

        Raises:
            SchemaRefused: it finds one incompatible with an earlier version, or invalid.
        """
        for each in schemas:
            path = f"/subjects/{subject(each)}/versions"
            try:
                answer = self._http.ask("POST", path, {"schema": each.text})
            except Refused as no:
                if no.status in (_INCOMPATIBLE, _INVALID):
                    raise SchemaRefused(f"{each.name}: the registry refused it ({no})") from None
                raise _unusable(no) from None
            self._learn(each, _id(answer))

    def find(self, name: bytes | int) -> Schema:
        """The schema of an id. A registry cannot be asked for fingerprints: those are found if they were met.

        An id that it refuses to us is one that it does not have: anybody can write a record with any id in it.
        """
        if name in self._book or not isinstance(name, int):
            return self._book.find(name)
        return self._asked(name, lambda: self._fetch(name))

    def outbound(self, framed: bytes) -> bytes:
        """Swap the single-object frame for the registry's."""
        frame = unframe(framed)
        if frame.kind is not Kind.SINGLE_OBJECT or not isinstance(frame.id, bytes):
            return framed
        schema = self._book.find(frame.id)
        if frame.id not in self._ids:
            self._asked(frame.id, lambda: self._look_up(schema))
        return confluent(self._ids[frame.id], frame.body)

    def inbound(self, value: bytes) -> bytes:
        """Swap the registry's frame for the single-object one."""
        frame = unframe(value)
        if frame.kind is not Kind.CONFLUENT or not isinstance(frame.id, int):
            return value
        return single_object(self.find(frame.id).fingerprint, frame.body)

    def problems(self, schema: Schema, mode: Compatibility = Compatibility.BACKWARD) -> list[str]:
        """What keeps a schema from following the registry's latest version of it; empty if nothing does."""
        try:
            answer = self._http.ask("GET", f"/subjects/{subject(schema)}/versions/latest")
        except Refused as no:
            if no.status == _NOT_FOUND:
                return []
            raise _unusable(no) from None
        return problems(schema, _schema(answer), mode)

    def close(self) -> None:
        """Nothing is held open."""

    def _fetch(self, schema_id: int) -> Schema:
        """A schema that is told from one of ours by logical types alone is none of a payload that we could read.

        Inside, payloads name their schema by its fingerprint, which leaves logical types out (decision 0012).
        """
        try:
            schema = _schema(self._http.ask("GET", f"/schemas/ids/{schema_id}"))
        except TooLarge as bad:  # and stays so: to wait for it would stop the partition for good
            raise SchemaRefused(str(bad)) from None
        self._meet(schema.fingerprint)
        if schema.fingerprint in self._book and _mean_something_else(schema, self._book.find(schema.fingerprint)):
            raise SchemaRefused(
                f"registry id {schema_id}: expected the {schema.name} that is published here, but found one of the "
                f"same fingerprint ({schema.fingerprint.hex()}) whose values mean something else, such as another unit"
            )
        self._learn(schema, schema_id)
        return schema

    def _look_up(self, schema: Schema) -> Schema:
        self._learn(schema, _id(self._http.ask("POST", f"/subjects/{subject(schema)}", {"schema": schema.text})))
        return schema

    def _asked(self, name: bytes | int, ask: Callable[[], Schema]) -> Schema:
        told = f"registry id {name}" if isinstance(name, int) else f"{self._book.find(name).name} ({name.hex()})"
        until, known = self._unknown.get(name, (0.0, None))
        if known is not None and until > self._clock.monotonic():
            raise type(known)(str(known))
        why: UnknownSchema | SchemaRefused
        why = UnknownSchema(f"expected a published schema, but the registry has no {told}")
        try:
            return ask()
        except SchemaRefused as no:
            why = no
        except Refused as no:
            if no.status != _NOT_FOUND and not (isinstance(name, int) and 400 <= no.status < 500):
                raise _unusable(no) from None
        except Forbidden as no:
            if not isinstance(name, int):
                raise
            why = UnknownSchema(f"expected a published schema, but the registry shows us no {told}: {no}")
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[name] = self._clock.monotonic() + UNKNOWN_FOR.total_seconds(), why
        raise why

    def _learn(self, schema: Schema, schema_id: int) -> None:
        self._book.add(schema, schema_id)
        self._ids.setdefault(schema.fingerprint, schema_id)


def subject(schema: Schema) -> str:
    """The subject of a schema, ready for a path: its full name, or its fingerprint where it has no name of its own."""
    return quote(schema.name if schema.is_named else f"{schema.name}-{schema.fingerprint.hex()}", safe="")


def _id(answer: object) -> int:
    found = answer.get("id") if isinstance(answer, dict) else None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 31:
        raise RegistryError(f"registry: expected a schema id, but found {answer!r:.200}")
    return found


def _schema(answer: object) -> Schema:
    text = answer.get("schema") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(text, str):
        raise RegistryError(f"registry: expected a schema, but found {answer!r:.200}")
    if (kind := answer.get("schemaType", "AVRO")) != "AVRO":
        raise SchemaRefused(f"registry: expected an Avro schema, but found {kind!r:.40}")
    if answer.get("references"):
        raise SchemaRefused("registry: expected a schema that is whole, but found one with references to others")
    return Schema.parse(text)


def _unusable(no: Refused) -> RegistryError:
    return RegistryError(f"registry: expected an answer, but it refused the question ({no})")


def _mean_something_else(one: Schema, other: Schema) -> bool:
    """Of equal fingerprints: an instant in another unit, and not a text that is said to be a UUID as well."""
    return one.is_mistaken_for(other) and bool(one.cannot_read(other) or other.cannot_read(one))
