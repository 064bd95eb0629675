"""Schemas on a compacted topic of our own (`<ns>.schemas`): for deployments without a registry.

Key: the fingerprint in hex. Value: the schema's JSON text. A row that is not that is left
out and told in `refused`: the others are still true.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from farandole.errors import RecordError, SchemaRefused, UnknownSchema
from farandole.events.avro import Schema, SchemaBook, mistaken

REFUSED_MAX = 100
"""Rows told in `refused`: a topic full of rubbish must not fill the memory as well."""


class SchemaTopic(Protocol):
    """What we need of the topic; `transport.compacted` is that over any log."""

    def news(self) -> Iterable[tuple[bytes | None, bytes | None]]:
        """Keys and values written since the last call, up to the end that the log has now.

        Raises:
            TransportError: the log cannot be reached.
        """
        ...

    def append(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Write rows and wait until they are safe; errors as `news`."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class LogRegistry:
    """A `SchemaRegistry` over a topic; what it reads, it adds to `book`."""

    def __init__(self, topic: SchemaTopic, book: SchemaBook) -> None:
        """Nothing is read before the first question."""
        self._topic = topic
        self._book = book
        self._published: dict[bytes, Schema] = {}
        self.refused: list[str] = []
        """Rows that are no schemas, as messages; the owner clears it."""

    def catch_up(self) -> None:
        """Read what was published since the last time."""
        for key, value in self._topic.news():
            if value is None:
                continue  # a tombstone: what the schema wrote may still be about, so it stays known
            try:
                self._take(key or b"", value)
            except RecordError as bad:
                if len(self.refused) < REFUSED_MAX:
                    self.refused.append(f"schemas[{(key or b'')[:40]!r}]: {bad}. The row was left out")

    def publish(self, schemas: Sequence[Schema]) -> None:
        """Write those that are not on the topic yet; none if one is refused."""
        self.catch_up()
        new: dict[bytes, Schema] = {}
        for each in schemas:
            there = self._published.get(each.fingerprint) or new.setdefault(each.fingerprint, each)
            if each.is_mistaken_for(there):
                raise SchemaRefused(mistaken(each))
        if new:
            self._topic.append([(name.hex().encode(), each.text.encode()) for name, each in new.items()])
        for each in new.values():
            self._published[each.fingerprint] = each
            self._book.add(each)

    def find(self, name: bytes | int) -> Schema:
        """The schema of a fingerprint; the topic is read to its end before one is called unknown."""
        if isinstance(name, int):
            raise UnknownSchema(f"expected a fingerprint, but found registry id {name}: no registry is configured")
        if name not in self._book:
            self.catch_up()
        return self._book.find(name)

    def outbound(self, framed: bytes) -> bytes:
        """Payloads stand on the topics as they are."""
        return framed

    def inbound(self, value: bytes) -> bytes:
        """Values are taken as they are; one in a registry's frame is refused by whoever decodes it."""
        return value

    def close(self) -> None:
        """Close the topic."""
        self._topic.close()

    def _take(self, key: bytes, value: bytes) -> None:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise RecordError("expected a schema as JSON text, but it is not UTF-8") from None
        schema = Schema.parse(text)
        if schema.fingerprint.hex().encode() != key:
            raise RecordError(f"expected the key {schema.fingerprint.hex()} of {schema.name}")
        self._published[schema.fingerprint] = schema
        self._book.add(schema)
