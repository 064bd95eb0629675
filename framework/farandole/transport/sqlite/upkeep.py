"""Retention and compaction of one partition, in the sense of Kafka's topic settings.

`delete` removes whole batches once they are older than `retention.ms`; one from a clock that was ahead is as old as
what came after it. `compact` removes a record once a later one has its key, and tombstones `delete.retention.ms`
after what they delete: whoever has read that and is on the way to the tombstone must find it (Kafka's KIP-534).
Offsets stay, and the last batch is never touched. Who reads meanwhile finds either state; nothing that would be
needed is removed before what replaces it is on the log.
"""

import sqlite3
from collections.abc import Iterator

from farandole.transport.sqlite.batches import Item, body_of_items, items_of, key_of, offset_of
from farandole.transport.sqlite.catalog import Topic
from farandole.transport.sqlite.file import File

RETENTION_MS = 7 * 24 * 3600 * 1000
"""Where a topic does not set `retention.ms`. Source: Kafka's default."""

TOMBSTONE_MS = 24 * 3600 * 1000
"""Where a topic does not set `delete.retention.ms`. Source: Kafka's default."""

AHEAD_MS = 3600 * 1000
"""From now, of a time that no clock can have told rightly. Source: Kafka's `message.timestamp.after.max.ms`."""

SLICE = 200
"""Batches removed or changed in one transaction: some milliseconds of the write lock."""

COMPACTED_AFTER = 500
"""Batches since the last time from which a partition is compacted again; a table that rests is left alone."""

DIRTY_SHARE = 0.5
"""Of what was compacted before, that has to have come since: the work is in proportion to what is written. Source:
Kafka's `min.cleanable.dirty.ratio`."""


def keep(file: File, topic: Topic, number: int, now_ms: int) -> None:
    """Do what a partition's settings ask for."""
    policy = topic.config.get("cleanup.policy", "delete")
    if "compact" in policy:
        compact(file, number, now_ms - int(topic.config.get("delete.retention.ms", TOMBSTONE_MS)), now_ms)
    retention_ms = int(topic.config.get("retention.ms", RETENTION_MS))
    if "delete" in policy and retention_ms >= 0:
        expire(file, number, now_ms - retention_ms, now_ms + AHEAD_MS)


def expire(file: File, number: int, before_ms: int, wrong_after_ms: int) -> int:
    """Remove batches from before a time, from the beginning on; how many. Times after `wrong_after_ms` are nobody's."""
    removed = 0
    while True:
        with file.writing as db:
            old: list[int] = []
            for key, ms in _aged(db, number, wrong_after_ms):
                if ms >= before_ms or _is_opened(db, key):
                    break
                old.append(key)
            if old:
                db.executemany("DELETE FROM batches WHERE key = ?", [(key,) for key in old])
                rest = db.execute(
                    "SELECT base FROM batches WHERE key BETWEEN ? AND ? ORDER BY key LIMIT 1", _range(number)
                ).fetchone()
                db.execute(
                    "UPDATE parts SET beginning = coalesce(?, next) WHERE number = ?", (rest and rest[0], number)
                )
        removed += len(old)
        if len(old) < SLICE:
            return removed


def compact(file: File, number: int, tombstones_before_ms: int, now_ms: int) -> int:
    """Remove records that a later one replaces; how many batches were to be removed or changed.

    Tombstones go that are from before a time, and that a compaction from before that time has met already.
    Another process may compact too while this one stands still. Once it has gone further, what we read is out of date:
    writing that would bring back records whose tombstones have gone already. So we give up.
    """
    with file.reading as db:
        if db.execute("SELECT 1 FROM opened LIMIT 1").fetchone():
            return 0  # a record that may yet be aborted replaces nothing
        (compacted,) = db.execute("SELECT compacted FROM parts WHERE number = ?", (number,)).fetchone()
        keys = [key for key, _ in _heads(db, number)]
        fresh = sum(offset_of(key) >= compacted for key in keys)
        if fresh < max(COMPACTED_AFTER, DIRTY_SHARE * (len(keys) - fresh)):
            return 0
        latest: dict[bytes | None, int] = {}
        for _, base, _, _, items in _batches(db, number):
            latest.update((item.key, base + item.delta) for item in items)
        met, met_ms = _horizon(db, number)
        is_due = met_ms <= tombstones_before_ms
        droppable = key_of(number, met if is_due else 0), tombstones_before_ms
        changes = list(_changes(db, number, keys[-1], latest, droppable))
    for start in range(0, len(changes), SLICE):
        slice_ = changes[start : start + SLICE]
        with file.writing as db:
            if db.execute("SELECT compacted FROM parts WHERE number = ?", (number,)).fetchone() != (compacted,):
                return start
            db.executemany("DELETE FROM batches WHERE key = ?", [(key,) for key, _, left in slice_ if left is None])
            # Bodies only ever shrink: one of the same size is the one that we read.
            shrunk = [(left, key, size) for key, size, left in slice_ if left]
            done = db.executemany("UPDATE batches SET body = ? WHERE key = ? AND length(body) = ?", shrunk)
            if done.rowcount < len(shrunk):
                return start
    with file.writing as db:
        end = offset_of(keys[-1]) + 1
        db.execute("UPDATE parts SET compacted = max(compacted, ?) WHERE number = ?", (end, number))
        if is_due or met_ms > now_ms:  # a time that is still to come was written by a clock that was wrong
            names = _horizon_names(number)
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", zip(names, (end, now_ms), strict=True))
    return len(changes)


def _changes(
    db: sqlite3.Connection, number: int, last: int, latest: dict[bytes | None, int], droppable: tuple[int, int]
) -> Iterator[tuple[int, int, bytes | None]]:
    """Batches that lose something: their keys with the bytes they have and what is left, None for nothing.

    `droppable`: tombstones go that lie before this key and are older than this time.
    """
    for key, base, ms, size, items in _batches(db, number):
        if key == last:
            return
        drops_tombstones = key < droppable[0] and ms < droppable[1]
        left = [
            item
            for item in items
            if item.key is None
            or (latest[item.key] == base + item.delta and not (item.value is None and drops_tombstones))
        ]
        if len(left) < len(items):
            yield key, size, body_of_items(left) if left else None


def _horizon(db: sqlite3.Connection, number: int) -> tuple[int, int]:
    """How far a compaction was whose tombstones have not gone yet, and when; zeros if there is none.

    The next ones leave it as it is until then: a partition that is compacted all the time has tombstones go, too.
    """
    found = dict(db.execute("SELECT name, value FROM meta WHERE name IN (?, ?)", _horizon_names(number)).fetchall())
    offset, ms = (found.get(name, 0) for name in _horizon_names(number))
    return offset, ms


def _horizon_names(number: int) -> tuple[str, str]:
    return f"horizon:{number}", f"horizon_ms:{number}"


def _batches(db: sqlite3.Connection, number: int) -> Iterator[tuple[int, int, int, int, list[Item]]]:
    rows = db.execute("SELECT key, base, ms, body FROM batches WHERE key BETWEEN ? AND ? ORDER BY key", _range(number))
    for key, base, ms, body in rows:
        yield key, base, ms, len(body), items_of(body)


def _heads(db: sqlite3.Connection, number: int, most: int = -1) -> list[tuple[int, int]]:
    """Keys and times of a partition's batches."""
    return db.execute(
        "SELECT key, ms FROM batches WHERE key BETWEEN ? AND ? ORDER BY key LIMIT ?", (*_range(number), most)
    ).fetchall()


def _aged(db: sqlite3.Connection, number: int, wrong_after_ms: int) -> Iterator[tuple[int, int]]:
    """A slice of heads, each wrong time replaced by that of the next batch which has a right one, if there is any."""
    right = -1, 0
    for key, ms in _heads(db, number, SLICE):
        if ms > wrong_after_ms:
            if key > right[0]:
                right = db.execute(
                    "SELECT key, ms FROM batches WHERE key BETWEEN ? AND ? AND ms <= ? ORDER BY key LIMIT 1",
                    (key, _range(number)[1], wrong_after_ms),
                ).fetchone() or (_range(number)[1], ms)
            ms = right[1]
        yield key, ms


def _is_opened(db: sqlite3.Connection, key: int) -> bool:
    return db.execute("SELECT 1 FROM opened WHERE key = ?", (key,)).fetchone() is not None


def _range(number: int) -> tuple[int, int]:
    return key_of(number, 0), key_of(number + 1, 0) - 1
