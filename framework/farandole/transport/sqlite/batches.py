"""Records as rows: what one transaction writes to one partition is one row with one body.

A body holds its records with their distance from the row's base, so that compaction may take
some out. Encoding is msgpack by msgspec: 1 µs a record, and nobody else reads it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from farandole.transport.port import NewRecord, Record, TopicPartition
from farandole.transport.sqlite.schema import OFFSET_BITS


class Item(NamedTuple):
    """A record in a body."""

    delta: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Item])


def key_of(number: int, offset: int) -> int:
    """The key under which a batch of a partition lies whose last record has this offset."""
    return number << OFFSET_BITS | offset


def offset_of(key: int) -> int:
    """The offset in a key."""
    return key & (1 << OFFSET_BITS) - 1


def body_of(records: Sequence[NewRecord]) -> bytes:
    """The body of these records, one after another."""
    return _encoder.encode([(n, each.key, each.value, each.headers) for n, each in enumerate(records)])


def items_of(body: bytes) -> list[Item]:
    """The records of a body."""
    return _decoder.decode(body)


def body_of_items(items: Sequence[Item]) -> bytes:
    """A body anew, of what is left of another one."""
    return _encoder.encode(items)


def records_of(at: TopicPartition, key: int, base: int, ms: int, body: bytes) -> list[Record]:
    """The records of a row, in their order.

    Raises:
        ValueError, TypeError, msgspec.MsgspecError: the row is damaged. Whoever went on from a wrong offset would read
            the same again for ever, or pass over records.
    """
    topic, partition = at
    items = _decoder.decode(body)
    found = [Record(topic, partition, base + delta, name, value, headers, ms) for delta, name, value, headers in items]
    if type(ms) is not int or not found or not base <= found[0].offset <= found[-1].offset <= offset_of(key):
        raise ValueError(f"a batch of {topic}[{partition}] whose records are not from {base} to {offset_of(key)}")
    return found
