"""Avro schemas as the framework uses them: admitted, immutable, and strict in both directions.

A `Schema` writes and reads plain values (dict, list, text, numbers, and the plain forms of
logical types); a `SchemaBook` finds the one that wrote a payload. Nothing here fetches
anything: who meets an unknown schema asks the registry and adds it to the book.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import cast

from fastavro.schema import to_parsing_canonical_form
from fastavro.types import Schema as FastSchema

from farandole.errors import RecordError, SchemaRefused, UnknownSchema
from farandole.events.admission import admit
from farandole.events.encoding import Encoders
from farandole.events.fingerprint import crc64_avro
from farandole.events.framing import Frame, Kind, single_object, unframe
from farandole.events.jsonform import JsonForm
from farandole.events.jsontext import parse_json
from farandole.events.misfit import Misfit
from farandole.events.reading import Read
from farandole.events.resolution import Resolver, Unresolvable
from farandole.events.schema_tree import Node, Record, children, kind_of, tree_json

SCHEMAS_MAX = 4_096
"""Parsed schemas and compiled pairs that are remembered; a deployment has some hundreds."""


class Schema:
    """An admitted schema; make one with `Schema.parse`. Equal texts are equal schemas."""

    __slots__ = ("_default", "_head", "_json", "_own", "_tree", "_write", "fingerprint", "name", "text")

    def __init__(self, text: str) -> None:
        """Use `parse`, which remembers.

        Raises:
            SchemaRefused: the text is no schema, or not an admissible one.
        """
        self.text = text
        self._tree = admit(text)
        self.name = str(getattr(self._tree, "name", None) or kind_of(self._tree))
        fast = cast(FastSchema, tree_json(self._tree))
        try:
            self.fingerprint = crc64_avro(to_parsing_canonical_form(fast).encode())
        except Exception as bad:  # whatever fastavro has against a schema that is admitted
            told = f"{type(bad).__name__}: {bad!s:.200}"
            raise SchemaRefused(f"{self.name}: expected an Avro schema, but {told}. The schema was refused") from None
        self._head = single_object(self.fingerprint, b"")
        defaults = JsonForm()
        defaults.compile(self._tree)
        self._default = defaults.default
        self._json = JsonForm(defaults).compile(self._tree)
        self._own: Read = Resolver(self._default).compile(self._tree, self._tree, self.name)
        try:
            self._write = Encoders(self._default).compile(self._tree)
        except Misfit as bad:
            raise SchemaRefused(f"{bad.told('default')}. The schema was refused") from None

    @staticmethod
    def parse(text: str) -> "Schema":
        """The schema of a JSON text; the same object for the same text, while it is remembered.

        Raises:
            SchemaRefused: the text is no schema, or not an admissible one (`admission`).
        """
        return _parse(text)

    @property
    def is_named(self) -> bool:
        """Whether `name` is the schema's own, and not only the word for its type."""
        return hasattr(self._tree, "name")

    @property
    def frame(self) -> bytes:
        """The head of its payloads, by which they name it."""
        return self._head

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"<Schema {self.name} {self.fingerprint.hex()}>"

    def encode(self, plain: object) -> bytes:
        """A plain value as a framed payload.

        Raises:
            RecordError: `contract`: it does not fit; the message names the field.
        """
        return self._head + self.encode_body(plain)

    def encode_body(self, plain: object) -> bytes:
        """As `encode`, without the frame: where the schema is known from elsewhere."""
        out: list[bytes] = []
        try:
            self._write(out.append, plain)
        except Misfit as bad:
            raise RecordError(bad.told(self.name), reason="contract") from None
        return b"".join(out)

    def decode(self, framed: bytes, writer: "Schema | None" = None) -> object:
        """The plain value of a payload framed by this schema or by `writer`.

        Raises:
            UnknownSchema: it is framed by another schema.
            RecordError: it is not framed (`undecodable`), not what its schema says (`undecodable`), or
                this schema cannot read what `writer` wrote (`contract`).
        """
        if framed.startswith(self._head):
            return self.decode_body(framed[len(self._head) :])
        frame = unframe(framed)
        if writer is not None and frame.id == writer.fingerprint:
            return self.decode_body(frame.body, writer)
        if frame.kind is Kind.JSON:
            raise RecordError(f"expected framed Avro of {self.name}, but found JSON")
        raise _unknown(frame, f"{self.name} ({self.fingerprint.hex()})")

    def decode_or_json(self, value: bytes) -> object:
        """The plain value of a payload framed by this schema, or of the JSON text of somebody who repaired one.

        Raises:
            UnknownSchema: it is framed by another schema.
            RecordError: it cannot be read (`undecodable`), or does not fit (`contract`).
        """
        is_json = not value.startswith(self._head) and unframe(value).kind is Kind.JSON
        return self.from_json(value) if is_json else self.decode(value)

    def decode_body(self, body: bytes, writer: "Schema | None" = None) -> object:
        """As `decode`, of a payload without frame that was written by `writer`, or by this schema."""
        if writer is None or writer.fingerprint == self.fingerprint:
            return _read_whole(self._own, body, self)
        return _read_whole(_resolved(writer, self, is_strict=False), body, writer)

    def decode_version(self, body: bytes, writer: "Schema") -> object:
        """As `decode_body`, where `writer` is another version of this type, and not a stranger's.

        Then a number is no instant, though Avro's rules let it pass for one and their fingerprints may be equal.
        """
        return _read_whole(_resolved(writer, self, is_strict=True), body, writer)

    def cannot_read(self, writer: "Schema") -> str | None:
        """Why not all that `writer`, another version, writes can be read by this one and by agents; None if it can."""
        found = _resolved(writer, self, is_strict=True, is_whole=True)
        return str(found) if isinstance(found, Unresolvable) else None

    def is_mistaken_for(self, other: "Schema") -> bool:
        """Whether payloads of the one pass for the other's and are misread: a long as an instant, or the reverse.

        A fingerprint leaves logical types out (Avro 1.12, "Parsing Canonical Form"). Only of types with a record in
        them: those without a name are told apart by where they are used.
        """
        if self.fingerprint != other.fingerprint or tree_json(self._tree) == tree_json(other._tree):
            return False
        return any(isinstance(node, Record) for node in _nodes(self._tree))

    def from_json(self, text: bytes) -> object:
        """The plain value of a JSON text (`jsonform`).

        Raises:
            RecordError: it is no strict JSON (`undecodable`), or does not fit (`contract`).
        """
        value = parse_json(text)
        try:
            return self._json(value)
        except Misfit as bad:
            raise RecordError(bad.told(self.name), reason="contract") from None


class SchemaBook:
    """Schemas by fingerprint, and by a registry's id where there is one. Grows, never changes."""

    __slots__ = ("_by_fingerprint", "_by_id")

    def __init__(self, schemas: Iterable[Schema] = ()) -> None:
        """`schemas` are known from the beginning."""
        self._by_fingerprint = {schema.fingerprint: schema for schema in schemas}
        self._by_id: dict[int, Schema] = {}

    def add(self, schema: Schema, registry_id: int | None = None) -> None:
        """Make a schema known. Of two that differ only in what a fingerprint leaves out, the first is kept."""
        self._by_fingerprint.setdefault(schema.fingerprint, schema)
        if registry_id is not None:
            self._by_id.setdefault(registry_id, schema)

    def __contains__(self, name: bytes | int) -> bool:
        return name in self._by_id if isinstance(name, int) else name in self._by_fingerprint

    def __iter__(self) -> Iterator[Schema]:
        return iter(self._by_fingerprint.values())

    def find(self, name: bytes | int) -> Schema:
        """The schema of a fingerprint, or of a registry's id.

        Raises:
            UnknownSchema: it was never added.
        """
        found = self._by_id.get(name) if isinstance(name, int) else self._by_fingerprint.get(name)
        if found is None:
            told = f"id {name}" if isinstance(name, int) else f"fingerprint {name.hex()}"
            raise UnknownSchema(f"expected a published schema, but none of {told} is known")
        return found

    def decode(self, framed: bytes) -> object:
        """The plain value of a framed payload, as its own schema describes it.

        Raises:
            UnknownSchema: its schema was never added.
            RecordError: it is not framed, or not what its schema says.
        """
        frame = unframe(framed)
        if frame.id is None:
            raise RecordError("expected framed Avro, but found JSON, which needs a schema that is known from elsewhere")
        return self.find(frame.id).decode_body(frame.body)

    def decode_as(self, schema: Schema, value: bytes) -> object:
        """The plain value that `schema` makes of a payload framed by any schema of the book, or of JSON text.

        Raises:
            UnknownSchema: it is framed by a schema that was never added.
            RecordError: it cannot be read (`undecodable`), or does not fit `schema` (`contract`).
        """
        frame = unframe(value)
        if frame.id is None:
            return schema.from_json(value)
        if frame.id == schema.fingerprint:
            return schema.decode_body(frame.body)
        return schema.decode_version(frame.body, self.find(frame.id))


def mistaken(schema: Schema) -> str:
    """Why a schema must not be published that is mistaken for one which is, and the way out."""
    return (
        f"schema {schema.name}: expected another fingerprint than that of a published schema whose payloads mean "
        f"something else ({schema.fingerprint.hex()}): only the kind of a value was changed, such as int to datetime, "
        "which a fingerprint does not tell. Rename the field or the type"
    )


@lru_cache(maxsize=SCHEMAS_MAX)
def _parse(text: str) -> Schema:
    return Schema(text)


@lru_cache(maxsize=SCHEMAS_MAX)
def _resolved(writer: Schema, reader: Schema, *, is_strict: bool, is_whole: bool = False) -> Read | Unresolvable:
    try:
        return Resolver(reader._default, is_strict, is_whole).compile(writer._tree, reader._tree, reader.name)
    except Unresolvable as bad:
        return bad


def _read_whole(read: Read | Unresolvable, body: bytes, writer: Schema) -> object:
    try:
        if isinstance(read, Unresolvable):
            raise Unresolvable(str(read))
        plain, end = read(body, 0)
    except Unresolvable as bad:
        raise RecordError(f"expected a payload that {bad}", reason="contract") from None
    except (IndexError, ValueError, OverflowError) as bad:
        raise _undecodable(writer, bad) from None
    if end != len(body):
        raise _undecodable(writer, f"{len(body) - end} bytes are left over")
    return plain


def _undecodable(schema: Schema, bad: object) -> RecordError:
    told = str(bad) or type(bad).__name__
    return RecordError(f"expected Avro of {schema.name} ({schema.fingerprint.hex()}), but {told[:200]}")


def _unknown(frame: Frame, expected: str) -> UnknownSchema:
    found = frame.id.hex() if isinstance(frame.id, bytes) else f"registry id {frame.id}"
    return UnknownSchema(f"expected a payload of {expected}, but it was written with {found}")


def _nodes(tree: Node) -> Iterator[Node]:
    pending, seen = [tree], {id(tree)}
    while pending:
        node = pending.pop()
        yield node
        fresh = [child for child in children(node) if id(child) not in seen]
        seen.update(id(child) for child in fresh)
        pending.extend(fresh)
