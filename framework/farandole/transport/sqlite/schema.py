"""The tables of the log, and the version that says so.

A batch is what one transaction wrote to one partition. Its key holds the partition's number and
the offset of its last record, so that one range scan finds what stands from a position on. What
is `opened` belongs to a transaction that has not ended: committed readers stop before it. Our own
commits never leave one, for theirs is one transaction of SQLite's; see decision 0040.
"""

import sqlite3

APPLICATION_ID = 0x66617261
"""In the file's header: "fara"."""

VERSION = 1
"""Of these tables, in the header's `user_version`. An older one is migrated, a newer one refused."""

OFFSET_BITS = 40
"""Of a batch's key: 10^12 records in a partition, and 8 million partitions above them."""

OFFSETS_MAX = (1 << OFFSET_BITS) - 1
"""The highest offset that has a place in a key."""

TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('catalog', 1), ('kept', 0)",
    "CREATE TABLE topics (name TEXT PRIMARY KEY, first INTEGER NOT NULL, partitions INTEGER NOT NULL,"
    " config TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE parts (number INTEGER PRIMARY KEY, next INTEGER NOT NULL, beginning INTEGER NOT NULL,"
    " compacted INTEGER NOT NULL)",
    "CREATE TABLE batches (key INTEGER PRIMARY KEY, base INTEGER NOT NULL, ms INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE writers (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE positions (grp TEXT, number INTEGER, next INTEGER NOT NULL, metadata TEXT NOT NULL,"
    " PRIMARY KEY (grp, number)) WITHOUT ROWID",
    "CREATE TABLE groups (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, rebalancing INTEGER NOT NULL,"
    " divided BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE members (grp TEXT, member TEXT, seen REAL NOT NULL, session REAL NOT NULL, boot TEXT NOT NULL,"
    " bell TEXT NOT NULL, joined BLOB NOT NULL, rejoined INTEGER NOT NULL, share BLOB NOT NULL,"
    " PRIMARY KEY (grp, member)) WITHOUT ROWID",
    "CREATE TABLE opened (writer TEXT, key INTEGER, base INTEGER NOT NULL, PRIMARY KEY (writer, key)) WITHOUT ROWID",
    "CREATE TABLE pending (writer TEXT, grp TEXT, number INTEGER, next INTEGER NOT NULL, metadata TEXT NOT NULL,"
    " PRIMARY KEY (writer, grp, number)) WITHOUT ROWID",
)


def create(db: sqlite3.Connection) -> None:
    """Make everything; call it in a transaction, so that a process that dies here leaves nothing."""
    for statement in TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def identity(db: sqlite3.Connection) -> tuple[int, int]:
    """Application id and version of a file; zeros of one that is new."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return application, version


def is_empty(db: sqlite3.Connection) -> bool:
    """Whether nothing was ever made in it."""
    return db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
