"""Committed positions of groups, as they are read."""

import sqlite3
from collections.abc import Iterable

from farandole.transport.port import Position, TopicPartition
from farandole.transport.sqlite.catalog import Catalog


def read(
    db: sqlite3.Connection, catalog: Catalog, group: str, partitions: Iterable[TopicPartition], *, stable: bool
) -> dict[TopicPartition, Position | None]:
    """Last committed positions, None where none was ever; `stable` leaves out what is pending.

    A partition that does not exist has none either, as on a broker.
    """
    found: dict[TopicPartition, Position | None] = {}
    pending = {number for (number,) in db.execute("SELECT number FROM pending WHERE grp = ?", (group,))}
    for at in partitions:
        topic = catalog.topics.get(at.topic)
        number = topic.first + at.partition if topic is not None and at.partition < topic.partitions else 0
        if stable and number in pending:
            continue
        row = db.execute(
            "SELECT next, metadata FROM positions WHERE grp = ? AND number = ?", (group, number)
        ).fetchone()
        found[at] = None if row is None else _position(*row)
    return found


def read_all(db: sqlite3.Connection, catalog: Catalog, group: str) -> dict[TopicPartition, Position]:
    """Every committed position of a group."""
    names = catalog.by_number()
    rows = db.execute("SELECT number, next, metadata FROM positions WHERE grp = ?", (group,))
    return {names[number]: _position(offset, metadata) for number, offset, metadata in rows}


def _position(offset: object, metadata: object) -> Position:
    if not isinstance(offset, int) or not isinstance(metadata, str):
        raise TypeError(f"a position {offset!r} with metadata {str(metadata)[:50]!r}")
    return Position(offset, metadata)
