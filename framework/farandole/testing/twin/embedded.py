"""The embedded log under comparison: a file of its own for each play."""

import shutil
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

from farandole.clock import Clock
from farandole.testing.twin.operations import Scope
from farandole.testing.twin.stages import Open, Row
from farandole.transport.memory.refusals import ProducerFenced
from farandole.transport.port import NewRecord, Position, TopicPartition, Transport
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, transactions
from farandole.transport.sqlite.batches import key_of, records_of
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File


class SqliteStage:
    """What does not exist there follows from decision 0040.

    A commit is one transaction of SQLite, so that nothing is left open but by hand, no time ends it and nobody comes
    back to commit it; of what was aborted or refused nothing is kept; every flaw is seen before anything is written.
    """

    scope = Scope(times_out=False, ends_late=False, keeps_aborted=False, doubts=False)

    def __init__(self, _: str = "") -> None:
        self.clock: Clock | None = None
        folder = mkdtemp(prefix="farandole-twin-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._settings = SqliteSettings(Path(folder) / "log.db")
        self._transport = SqliteTransport(self._settings)

    def make(self) -> Transport:
        """Always the same one."""
        return self._transport

    def leave_open(
        self,
        client_id: str,
        timeout: timedelta,
        records: Sequence[NewRecord],
        group: str,
        positions: Mapping[TopicPartition, Position],
    ) -> Open:
        """Rows of a transaction that has not ended."""
        with closing(File(self._settings)) as file:
            writer = transactions.leave_open(file, client_id, records, group, positions)
        return _SqliteOpen(self._settings, writer)

    def rows(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, list[Row]]:
        """As the table of batches has them."""
        catalog = Catalog()
        with closing(File(self._settings)) as file, file.reading as db:
            catalog.refresh(db)
            return {at: list(_rows(db, at, catalog.number(at))) for at in places}


def _rows(db: sqlite3.Connection, at: TopicPartition, number: int) -> Iterator[Row]:
    keys = key_of(number, 0), key_of(number + 1, 0) - 1
    for row in db.execute("SELECT key, base, ms, body FROM batches WHERE key BETWEEN ? AND ? ORDER BY key", keys):
        yield from ((each.offset, each.value) for each in records_of(at, *row))


class _SqliteOpen:
    def __init__(self, settings: SqliteSettings, writer: transactions.Writer) -> None:
        self._settings, self._writer = settings, writer

    def end(self, *, commit: bool) -> str:
        with closing(File(self._settings)) as file, file.writing as db:
            (epoch,) = db.execute("SELECT epoch FROM writers WHERE name = ?", (self._writer.name,)).fetchone()
            try:
                transactions.require_epoch(self._writer, epoch)
            except ProducerFenced:
                return "fenced"
            transactions.end(db, self._writer.name, commit=commit)
        return "done"
