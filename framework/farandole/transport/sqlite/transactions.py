"""Epochs, transactions of members, and what a transaction may have left open.

A commit is one transaction of SQLite: rows that were encoded before it began, the checks, the
offsets, one marker for each partition. There is nothing between open and committed, so a member
never leaves anything behind. `leave_open` makes by hand what a Kafka writer leaves that was
killed, so that everything above is tested against it here too (decision 0040).
"""

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from farandole.transport.memory.groups import require_generation
from farandole.transport.memory.membership import Snapshot
from farandole.transport.memory.positions import METADATA_CHARACTERS_MAX
from farandole.transport.memory.refusals import MetadataTooLong, ProducerFenced, Refusal
from farandole.transport.port import NewRecord, Position, TopicPartition
from farandole.transport.sqlite.batches import body_of, key_of
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.schema import OFFSET_BITS


class Rows(NamedTuple):
    """What is to be written to one partition."""

    number: int
    records: int
    body: bytes


class Writer(NamedTuple):
    """A producer: its transactional id, and which of its epochs."""

    name: str
    epoch: int


_STATE = (
    "SELECT (SELECT value FROM meta WHERE name = 'catalog'), (SELECT epoch FROM writers WHERE name = ?), "
    "(SELECT generation FROM groups WHERE name = ?), EXISTS (SELECT 1 FROM members WHERE grp = ? AND member = ?)"
)


def prepare(catalog: Catalog, records: Iterable[NewRecord]) -> list[Rows]:
    """Records as rows, by partition, in their order.

    Raises:
        UnknownTopic, RecordTooLarge: one of them cannot be written.
    """
    by_number: dict[int, list[NewRecord]] = {}
    for record in records:
        by_number.setdefault(catalog.place(record), []).append(record)
    return [Rows(number, len(each), body_of(each)) for number, each in by_number.items()]


def append(db: sqlite3.Connection, rows: Sequence[Rows], *, markers: int) -> dict[int, int]:
    """Write rows at the ends of their partitions, with so many markers behind each; first offsets by partition."""
    ms = int(time.time() * 1000)
    bases: dict[int, int] = {}
    for row in rows:
        (bases[row.number],) = db.execute("SELECT next FROM parts WHERE number = ?", (row.number,)).fetchone()
    db.executemany(
        "INSERT INTO batches VALUES (?, ?, ?, ?)",
        [(key_of(n, bases[n] + count - 1), bases[n], ms, body) for n, count, body in rows],
    )
    db.executemany(
        "UPDATE parts SET next = ? WHERE number = ?", [(bases[n] + count + markers, n) for n, count, _ in rows]
    )
    return bases


def commit(
    file: File,
    catalog: Catalog,
    writer: Writer,
    snapshot: Snapshot,
    records: Sequence[NewRecord],
    positions: Mapping[TopicPartition, Position],
) -> None:
    """One transaction, whole or not at all.

    Raises:
        Refusal: which says why not. As on a broker, a fenced producer hears that before anything else, and a stale
            generation before the positions are looked at.
        CommitInDoubt: nobody knows.
        TransportError: certainly not.
    """
    try:
        rows = prepare(catalog, records)
        check_metadata(snapshot.group, positions)
    except Refusal as refusal:
        with file.reading as db:
            _standing(db, writer, snapshot, of_group=isinstance(refusal, MetadataTooLong))
        raise
    with file.writing as db:
        version = _standing(db, writer, snapshot)
        if version != catalog.version:
            catalog.load(db, version)
            rows = prepare(catalog, records)
        if rows:
            append(db, rows, markers=1)
        put_positions(db, catalog, snapshot.group, positions)


def _standing(db: sqlite3.Connection, writer: Writer, snapshot: Snapshot, *, of_group: bool = True) -> object:
    """Refuse a producer that was fenced, and one whose generation is over; else the version of the topics."""
    group = snapshot.group
    version, epoch, generation, is_member = db.execute(
        _STATE, (writer.name, group, group, snapshot.member_id)
    ).fetchone()
    require_epoch(writer, epoch)
    if of_group:
        require_generation(snapshot.member_id, snapshot.generation, generation or 0, is_member=bool(is_member))
    return version


def put_positions(
    db: sqlite3.Connection, catalog: Catalog, group: str, positions: Mapping[TopicPartition, Position]
) -> None:
    """Commit positions, inside a write transaction.

    Raises:
        UnknownTopic: of a partition that does not exist.
    """
    db.executemany(
        "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
        [(group, catalog.number(at), position.offset, position.metadata) for at, position in positions.items()],
    )


def initialise(db: sqlite3.Connection, name: str) -> Writer:
    """A new epoch of a transactional id; who had it before is fenced, and what they left open aborted."""
    end(db, name, commit=False)
    db.execute(
        "INSERT INTO writers VALUES (?, 0) ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1",
        (name,),
    )
    (epoch,) = db.execute("SELECT epoch FROM writers WHERE name = ?", (name,)).fetchone()
    return Writer(name, epoch)


def require_epoch(writer: Writer, epoch: int) -> None:
    """Refuse a producer that somebody has initialised anew.

    Raises:
        ProducerFenced: `epoch`, the latest of its id, is another one.
    """
    if epoch != writer.epoch:
        raise ProducerFenced(
            f"{writer.name}: expected the latest epoch, but {writer.epoch} was followed by {epoch}. "
            "Somebody else has initialised this id, as another process with the same --slot does"
        )


def leave_open(
    file: File, name: str, records: Sequence[NewRecord], group: str, positions: Mapping[TopicPartition, Position]
) -> Writer:
    """Begin a transaction under a transactional id, write in it, and let it stand; who may end it."""
    catalog = Catalog()
    with file.writing as db:
        catalog.refresh(db)
        writer = initialise(db, name)
        rows = prepare(catalog, records)
        bases = append(db, rows, markers=0)
        db.executemany(
            "INSERT INTO opened VALUES (?, ?, ?)",
            [(name, key_of(n, bases[n] + count - 1), bases[n]) for n, count, _ in rows],
        )
        db.executemany(
            "INSERT INTO pending VALUES (?, ?, ?, ?, ?)",
            [(name, group, catalog.number(at), each.offset, each.metadata) for at, each in positions.items()],
        )
    return writer


def end(db: sqlite3.Connection, name: str, *, commit: bool) -> None:
    """End what is open under a transactional id, if anything is; burns a marker in each of its partitions."""
    keys = [key for (key,) in db.execute("SELECT key FROM opened WHERE writer = ?", (name,))]
    if not commit:
        db.executemany("DELETE FROM batches WHERE key = ?", [(key,) for key in keys])
    else:
        db.execute(
            "INSERT OR REPLACE INTO positions SELECT grp, number, next, metadata FROM pending WHERE writer = ?", (name,)
        )
    touched = {key >> OFFSET_BITS for key in keys}
    db.executemany("UPDATE parts SET next = next + 1 WHERE number = ?", [(number,) for number in touched])
    if keys:
        db.execute("DELETE FROM opened WHERE writer = ?", (name,))
    db.execute("DELETE FROM pending WHERE writer = ?", (name,))


def check_metadata(group: str, positions: Mapping[TopicPartition, Position]) -> None:
    """Refuse commit metadata that no broker would take.

    Raises:
        MetadataTooLong: of at least one position.
    """
    refused = [at for at, position in positions.items() if len(position.metadata) > METADATA_CHARACTERS_MAX]
    if refused:
        raise MetadataTooLong(
            f"{group}: expected at most {METADATA_CHARACTERS_MAX} characters of commit metadata, "
            f"but {', '.join(f'{at.topic}[{at.partition}]' for at in refused)} have more"
        )
