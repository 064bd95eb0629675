"""Schemas on a topic of our own."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import pytest

from farandole.definition.types import Member, record_text, schema_text
from farandole.errors import SchemaRefused, UnknownSchema
from farandole.events.avro import Schema, SchemaBook
from farandole.registry import SchemaRegistry
from farandole.registry.log import LogRegistry

TEXT, NUMBER = Schema.parse('"string"'), Schema.parse('"int"')


class Rows:
    """The topic: rows that all processes share, and how far this one has read."""

    def __init__(self, shared: list[tuple[bytes | None, bytes | None]]) -> None:
        self.shared = shared
        self.read = 0

    def news(self) -> Iterable[tuple[bytes | None, bytes | None]]:
        """What came since the last call."""
        new = self.shared[self.read :]
        self.read = len(self.shared)
        return new

    def append(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Write rows."""
        self.shared.extend(rows)

    def close(self) -> None:
        """Nothing is held."""


def registry(shared: list[tuple[bytes | None, bytes | None]], book: SchemaBook | None = None) -> LogRegistry:
    """A process's view."""
    return LogRegistry(Rows(shared), book or SchemaBook())


def test_schema_published_by_one_process_is_found_by_another() -> None:
    shared: list[tuple[bytes | None, bytes | None]] = []
    book = SchemaBook()
    ours: SchemaRegistry = registry(shared)
    theirs: SchemaRegistry = registry(shared, book)
    with pytest.raises(UnknownSchema):
        theirs.find(TEXT.fingerprint)

    ours.publish([TEXT, NUMBER])

    assert theirs.find(TEXT.fingerprint) == TEXT
    assert book.decode(NUMBER.encode(7)) == 7


def test_publishing_again_writes_nothing_whoever_published() -> None:
    shared: list[tuple[bytes | None, bytes | None]] = []
    registry(shared).publish([TEXT])

    registry(shared, SchemaBook([NUMBER])).publish([TEXT, NUMBER, NUMBER])

    assert [key for key, _ in shared] == [TEXT.fingerprint.hex().encode(), NUMBER.fingerprint.hex().encode()]


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (b"00" * 8, b'"string"', "expected the key"),
        (None, b'"string"', "expected the key"),
        (b"00" * 8, b"{", "expected JSON"),
        (b"00" * 8, b"\xff", "not UTF-8"),
        (b"00" * 8, b'{"type":"array","items":"null"}', "at least one byte"),
    ],
)
def test_row_that_is_no_schema_is_left_out_and_told(key: bytes | None, value: bytes, why: str) -> None:
    shared: list[tuple[bytes | None, bytes | None]] = [(key, value)]
    ours = registry(shared)

    ours.publish([NUMBER])

    assert len(ours.refused) == 1
    assert why in ours.refused[0]
    assert ours.find(NUMBER.fingerprint) == NUMBER


def of_field(name: str, tp: object) -> Schema:
    """The params of a pipeline with one parameter."""
    return Schema.parse(record_text("orders_params", [Member(name, tp)]))


def test_schema_that_passes_for_a_published_one_is_refused_and_its_payloads_are_not_misread() -> None:
    """`since: int` became `since: datetime`: the fingerprint stays, so nothing new was published.

    Whoever then read a payload by what stands on the topic took an instant for a number; and what had been written
    as seconds was read as microseconds of 1970. No error told of it.
    """
    shared: list[tuple[bytes | None, bytes | None]] = []
    before, after = of_field("since", int), of_field("since", datetime)
    registry(shared).publish([before])

    for ours in (registry(shared), registry([])):
        with pytest.raises(SchemaRefused, match=r"orders_params.*Rename the field"):
            ours.publish([NUMBER, before, after])

    assert before.fingerprint == after.fingerprint
    assert len(shared) == 1
    registry(shared).publish([of_field("since_at", datetime)])  # the way out
    assert len(shared) == 2


def test_types_without_a_name_may_share_a_fingerprint() -> None:
    """An agent that returns an int and another that returns a datetime: each reader knows which step it reads."""
    shared: list[tuple[bytes | None, bytes | None]] = []

    registry(shared).publish([Schema.parse(schema_text(tp)) for tp in (int, datetime)])

    assert len(shared) == 1


def test_schema_whose_row_was_removed_stays_known() -> None:
    shared: list[tuple[bytes | None, bytes | None]] = []
    ours = registry(shared)
    ours.publish([TEXT])
    shared.append((TEXT.fingerprint.hex().encode(), None))

    ours.catch_up()

    assert ours.find(TEXT.fingerprint) == TEXT


def test_payloads_pass_the_edge_unchanged_and_registry_ids_are_unknown() -> None:
    ours = registry([])

    assert ours.outbound(TEXT.encode("x")) == ours.inbound(TEXT.encode("x")) == TEXT.encode("x")
    with pytest.raises(UnknownSchema, match="no registry is configured"):
        ours.find(12)
