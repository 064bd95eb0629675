"""Reading partitions from one offset to another, once: how tables and histories are looked up.

Unless told otherwise the end is the read-uncommitted one that stands at the call, and committed
records are read until the position has passed it (DESIGN R12): what was committed before the
call is in, and so is what was under way and then committed.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import cast

from farandole.errors import ConfigError, TransportError
from farandole.transport.port import Edge, End, Isolation, Record, TopicPartition

BEGINNING = -2
"""Kafka's logical offset for the first record that still exists."""


async def scan(edge: Edge, places: Iterable[TopicPartition]) -> AsyncGenerator[Record, None]:
    """Every committed record of these partitions, up to the ends that stand now."""
    wanted = list(places)
    ends = await edge.ends(wanted, Isolation.UNCOMMITTED) if wanted else {}
    async with aclosing(span(edge, dict.fromkeys(wanted, BEGINNING), ends)) as records:
        async for record in records:
            yield record


async def span(
    edge: Edge, begin: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> AsyncGenerator[Record, None]:
    """Every committed record from `begin` on and before `ends`.

    Raises:
        TransportError: the edge was closed before all of them were read.
    """
    left = {at: end for at, end in ends.items() if end > max(begin[at], 0)}
    if not left:
        return
    async with closing(edge.tail({at: begin[at] for at in left})) as tail:
        async for item in tail:
            at = item.at
            if at not in left:
                continue
            if isinstance(item, Record) and item.offset < left[at]:
                yield item
            if _position(item) >= left[at]:
                del left[at]
            if not left:
                return
    places = ", ".join(f"{at.topic}/{at.partition}" for at in sorted(left))
    raise TransportError(f"{places}: expected to read on to the end, but the client was closed")


def _position(item: Record | End) -> int:
    return item.offset + 1 if isinstance(item, Record) else item.position


def closing(tail: AsyncIterator[Record | End]) -> aclosing[AsyncGenerator[Record | End, None]]:
    """A tail as a context that ends it: `Edge.tail` promises an iterator that can be closed."""
    return aclosing(cast(AsyncGenerator[Record | End, None], tail))


async def places_of(edge: Edge, topic: str) -> list[TopicPartition]:
    """All partitions of a topic; none if it does not exist."""
    return [TopicPartition(topic, number) for number in range(await edge.partitions(topic))]


async def existing_places(edge: Edge, topic: str) -> list[TopicPartition]:
    """All partitions of a topic that must exist.

    Raises:
        ConfigError: it does not.
    """
    places = await places_of(edge, topic)
    if not places:
        raise ConfigError(
            f"{topic}: expected the topic to exist, but it does not. Run `farandole apply` (or `farandole dev`) first."
        )
    return places


async def table(
    edge: Edge, places: Iterable[TopicPartition], wants: Callable[[bytes], bool] = lambda key: True
) -> dict[bytes, Record]:
    """The latest record of each key that `wants` names, without removed ones."""
    rows: dict[bytes, Record] = {}
    async with aclosing(scan(edge, places)) as records:
        async for record in records:
            if record.key is None or not wants(record.key):
                continue
            if record.value is None:
                rows.pop(record.key, None)
            else:
                rows[record.key] = record
    return rows


def header(record: Record, name: str) -> bytes:
    """The first header of that name; empty if there is none. Far cheaper than parsing the envelope."""
    for found, value in record.headers:
        if found == name:
            return value
    return b""


def header_text(record: Record, name: str) -> str:
    """As `header`, as text: whoever may write the topic writes what they like, and what is no UTF-8 is replaced."""
    return header(record, name).decode(errors="replace")
