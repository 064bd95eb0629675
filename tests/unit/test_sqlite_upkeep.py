"""Retention and compaction of the embedded log: the file does not grow for ever, and nobody misses anything."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from farandole.transport.port import Isolation, NewRecord, Record, TopicPartition, TopicSpec, Trouble
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, upkeep
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.transactions import append, leave_open, prepare

DAY_MS = 24 * 3600 * 1000
NEVER = 1 << 60
AT = TopicPartition("t", 0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[SqliteTransport, File]]:
    """A log with one topic of two partitions, and a connection to it."""
    transport = SqliteTransport(SqliteSettings(tmp_path / "log.db"))
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(AT.topic, 2, config={"cleanup.policy": "compact"})])
    with closing(File(transport.settings)) as file:
        yield transport, file


def catalog_of(file: File) -> Catalog:
    """The topics."""
    catalog = Catalog()
    with file.reading as db:
        catalog.refresh(db)
    return catalog


def write(file: File, records: Sequence[tuple[bytes | None, bytes | None]], partition: int = 0) -> None:
    """One batch in a transaction of its own, with its marker."""
    catalog = catalog_of(file)
    rows = prepare(catalog, [NewRecord(AT.topic, key, value, (), partition) for key, value in records])
    with file.writing as db:
        append(db, rows, markers=1)


def read(transport: SqliteTransport, position: int = -2, at: TopicPartition = AT) -> list[Record]:
    """Everything from a position on."""
    found: list[Record] = []
    with closing(transport.reader("r")) as reader:
        reader.assign({at: position})
        while polled := reader.poll(0):
            found += [each for each in polled if isinstance(each, Record)]
    return found


def number_of(file: File, at: TopicPartition = AT) -> int:
    """The number of a partition."""
    return catalog_of(file).number(at)


def compact(file: File, number: int, tombstones_before_ms: int) -> int:
    """A compaction now."""
    return upkeep.compact(file, number, tombstones_before_ms, int(time.time() * 1000))


def test_old_batches_go_from_the_beginning_and_the_ends_stay(log: tuple[SqliteTransport, File]) -> None:
    transport, file = log
    for n in range(450):
        write(file, [(b"k", b"%d" % n)])
    now = int(time.time() * 1000)
    with file.writing as db:
        db.execute("UPDATE batches SET ms = ? WHERE base < 800", (now - DAY_MS,))

    removed = upkeep.expire(file, number_of(file), now - DAY_MS // 2, NEVER)

    with closing(transport.admin()) as admin:
        assert dict(admin.beginnings([AT])) == {AT: 800}
        assert dict(admin.ends([AT], Isolation.COMMITTED)) == {AT: 900}
    assert removed == 400
    assert [each.value for each in read(transport)] == [b"%d" % n for n in range(400, 450)]


@pytest.mark.parametrize("ahead", [1, upkeep.SLICE + 50])
def test_batches_of_a_clock_that_was_ahead_are_as_old_as_what_came_after_them(
    log: tuple[SqliteTransport, File], ahead: int
) -> None:
    """One such batch, and nothing behind it went any more until its time had come: for a year, the log only grew."""
    transport, file = log
    for n in range(ahead + 3):
        write(file, [(b"k", b"%d" % n)])
    now, number = int(time.time() * 1000), number_of(file)
    with file.writing as db:
        db.execute("UPDATE batches SET ms = ? WHERE base < ?", (now + 365 * DAY_MS, 2 * ahead))
        db.execute("UPDATE batches SET ms = ? WHERE base = ?", (now - DAY_MS, 2 * ahead))
        db.execute("UPDATE batches SET ms = ? WHERE base = ?", (now + DAY_MS, 2 * ahead + 4))

    upkeep.expire(file, number, now - DAY_MS // 2, now + upkeep.AHEAD_MS)
    first = [each.offset for each in read(transport)]
    upkeep.expire(file, number, now + 1, now + upkeep.AHEAD_MS)
    second = [each.offset for each in read(transport)]

    assert first == [2 * ahead + 2, 2 * ahead + 4]
    assert second == [2 * ahead + 4], "nothing came after it yet that would tell its age"


def test_a_reader_that_stands_before_the_beginning_is_told_so(log: tuple[SqliteTransport, File]) -> None:
    transport, file = log
    for n in range(5):
        write(file, [(b"k", b"%d" % n)])
    with closing(transport.reader("r")) as reader:
        reader.assign({AT: 2})
        upkeep.expire(file, number_of(file), int(time.time() * 1000) + DAY_MS, NEVER)

        (told,) = reader.poll(0)

    assert isinstance(told, Trouble)
    assert told.kind == "position_out_of_range"


def test_when_everything_is_too_old_the_partition_begins_at_its_end(log: tuple[SqliteTransport, File]) -> None:
    transport, file = log
    write(file, [(b"k", b"v")])

    upkeep.expire(file, number_of(file), int(time.time() * 1000) + DAY_MS, NEVER)

    with closing(transport.admin()) as admin:
        assert admin.beginnings([AT]) == admin.ends([AT], Isolation.COMMITTED) == {AT: 2}
    write(file, [(b"k", b"later")])
    assert [each.offset for each in read(transport)] == [2]


def test_compaction_keeps_the_last_of_each_key_at_its_offset(log: tuple[SqliteTransport, File]) -> None:
    transport, file = log
    for n in range(upkeep.COMPACTED_AFTER):
        write(file, [(b"k%d" % (n % 7), b"%d" % n), (None, b"keyless") if n == 3 else (b"once-%d" % n, b"v")])
    before = read(transport)
    other = [b"k0", b"k0"]
    write(file, [(key, b"v") for key in other], partition=1)

    changed = compact(file, number_of(file), 0)

    latest = {each.key: each.offset for each in before}
    expected = [each for each in before if each.key is None or latest[each.key] == each.offset]
    after = read(transport)
    assert changed > 0
    assert after == expected
    assert len(after) < len(before)
    assert len(read(transport, at=TopicPartition("t", 1))) == 2
    # From the middle, where records are missing, as from anywhere.
    assert read(transport, 1001) == [each for each in expected if each.offset >= 1001]


def test_compaction_drops_tombstones_only_when_they_are_old(log: tuple[SqliteTransport, File]) -> None:
    transport, file = log
    write(file, [(b"gone", b"v")])
    write(file, [(b"gone", None)])
    for n in range(upkeep.COMPACTED_AFTER):
        write(file, [(b"k", b"%d" % n)])
    now = int(time.time() * 1000)

    compact(file, number_of(file), now - DAY_MS)
    kept = [each.key for each in read(transport)]
    for n in range(upkeep.COMPACTED_AFTER):
        write(file, [(b"k", b"%d" % n)])
    compact(file, number_of(file), now + DAY_MS)
    dropped = [each.key for each in read(transport)]

    assert kept == [b"gone", b"k"]
    assert dropped == [b"k"]


def test_a_tombstone_outlives_the_compaction_that_removes_what_it_deletes(log: tuple[SqliteTransport, File]) -> None:
    """A restore that had read the record, and then found both gone, went on with a run that had ended."""
    transport, file = log
    write(file, [(b"gone", b"v")])
    restored = {each.key: each.value for each in read(transport)}
    write(file, [(b"gone", None)])
    for n in range(upkeep.COMPACTED_AFTER):
        write(file, [(b"k", b"%d" % n)])

    compact(file, number_of(file), int(time.time() * 1000) + DAY_MS)
    restored |= {each.key: each.value for each in read(transport, 2)}

    assert restored == {b"gone": None, b"k": b"%d" % (upkeep.COMPACTED_AFTER - 1)}


def test_a_tombstone_stays_for_its_retention_after_what_it_deletes_and_then_goes(
    log: tuple[SqliteTransport, File], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was old when the record went, and went itself 30 s later: a restore that was slower went on with a dead run.

    The partition is compacted each hour, as one that is written all the time.
    """
    monkeypatch.setattr(upkeep, "COMPACTED_AFTER", 5)
    transport, file = log
    hour_ms, now, number = DAY_MS // 24, int(time.time() * 1000), number_of(file)
    write(file, [(b"gone", b"v")])
    write(file, [(b"gone", None)])
    with file.writing as db:
        db.execute("UPDATE batches SET ms = ?", (now - 10 * DAY_MS,))

    there = []
    for hours in range(50):
        busy(file)
        upkeep.compact(file, number, now + hours * hour_ms - DAY_MS, now + hours * hour_ms)
        there.append(b"gone" in {each.key for each in read(transport)})

    assert there == [True] * 24 + [False] * 26


def test_a_clock_that_was_ahead_keeps_no_tombstones_for_ever(
    log: tuple[SqliteTransport, File], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "COMPACTED_AFTER", 5)
    transport, file = log
    now, number = int(time.time() * 1000), number_of(file)
    write(file, [(b"gone", None)])

    there = []
    for at_ms in (now + 365 * DAY_MS, now, now + 2 * DAY_MS):
        busy(file)
        upkeep.compact(file, number, at_ms - DAY_MS, at_ms)
        there.append(b"gone" in {each.key for each in read(transport)})

    assert there == [True, True, False]


class Paused:
    """A file whose write transactions are each preceded by what others do meanwhile, one thing at a time."""

    def __init__(self, file: File, *meanwhile: Callable[[], object]) -> None:
        self._file = file
        self._meanwhile = iter(meanwhile)
        self.reading = file.reading

    @property
    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """Entered when this process goes on."""
        next(self._meanwhile, lambda: None)()
        return self._file.writing


@pytest.fixture
def other(log: tuple[SqliteTransport, File]) -> Iterator[File]:
    """The connection of another process."""
    with closing(File(log[0].settings)) as made:
        yield made


def busy(file: File) -> None:
    """So many changes of one key that a partition is compacted again."""
    for n in range(upkeep.COMPACTED_AFTER):
        write(file, [(b"k", b"%d" % n)])


def table(transport: SqliteTransport) -> dict[bytes | None, bytes | None]:
    """What a restore makes of the partition: no row where the last thing said was a tombstone."""
    rows = {each.key: each.value for each in read(transport)}
    return {key: value for key, value in rows.items() if value is not None}


def test_a_compaction_that_stood_still_brings_nothing_back_that_was_deleted_meanwhile(
    log: tuple[SqliteTransport, File], other: File
) -> None:
    """Ctrl-Z at the wrong moment: a run that had ended was running again after `fg`, its tombstone long gone."""
    transport, file = log
    write(file, [(b"run", b"running"), (b"lives", b"on"), (b"k", b"-")])
    busy(file)
    number, later = number_of(file), int(time.time() * 1000) + DAY_MS

    def end_the_run_and_compact_twice() -> None:
        write(other, [(b"run", None)])
        busy(other)
        compact(other, number, 0)
        busy(other)
        busy(other)
        compact(other, number, later)

    compact(Paused(file, end_the_run_and_compact_twice), number, 0)  # type: ignore[arg-type]

    assert table(transport) == {b"lives": b"on", b"k": b"%d" % (upkeep.COMPACTED_AFTER - 1)}
    assert b"run" not in {each.key for each in read(transport)}


def test_of_two_compactions_at_once_the_one_that_knows_less_undoes_nothing_of_the_other(
    log: tuple[SqliteTransport, File], other: File
) -> None:
    """The other one has written a slice and is not done: how far it was at its end tells nothing of it yet."""
    transport, file = log
    write(file, [(b"run", b"running"), (b"lives", b"on"), (b"k", b"-")])
    busy(file)
    number = number_of(file)
    before = compacted(file, number)

    def end_the_run_and_compact_half() -> None:
        write(other, [(b"run", None)])
        busy(other)
        halfway = Paused(other, lambda: None, stop)
        with pytest.raises(KeyboardInterrupt):
            compact(halfway, number, 0)  # type: ignore[arg-type]

    compact(Paused(file, end_the_run_and_compact_half), number, 0)  # type: ignore[arg-type]

    assert [each.value for each in read(transport) if each.key == b"run"] == [None]
    assert compacted(file, number) == before, "who gave up says nothing of how far it was"


def stop() -> None:
    """Another process ends here."""
    raise KeyboardInterrupt


def compacted(file: File, number: int) -> int:
    """Up to where a partition was compacted."""
    with file.reading as db:
        return int(db.execute("SELECT compacted FROM parts WHERE number = ?", (number,)).fetchone()[0])


def test_a_table_that_rests_is_not_compacted_again(log: tuple[SqliteTransport, File]) -> None:
    _, file = log
    for n in range(upkeep.COMPACTED_AFTER):
        write(file, [(b"k", b"%d" % n)])

    first, second = compact(file, number_of(file), 0), compact(file, number_of(file), 0)

    assert (first, second) == (upkeep.COMPACTED_AFTER - 1, 0)


def test_what_is_open_replaces_nothing_and_is_not_removed(log: tuple[SqliteTransport, File]) -> None:
    transport, file = log
    for n in range(upkeep.COMPACTED_AFTER):
        write(file, [(b"k", b"%d" % n)])
    before = read(transport)
    leave_open(file, "dead", [NewRecord(AT.topic, b"k", b"open", (), 0)], "", {})

    changed = compact(file, number_of(file), 0)

    assert changed == 0
    assert read(transport) == before


def test_a_topic_s_settings_decide(log: tuple[SqliteTransport, File]) -> None:
    transport, file = log
    with closing(transport.admin()) as admin:
        admin.create(
            [
                TopicSpec("kept", 1, config={"retention.ms": "-1"}),
                TopicSpec("short", 1, config={"retention.ms": "1000"}),
            ]
        )
    with closing(transport.producer("p")) as producer:
        for topic in ("kept", "short"):
            producer.send(NewRecord(topic, b"k", b"v"))
        producer.flush(10)
    catalog = catalog_of(file)

    for each in catalog.topics.values():
        upkeep.keep(file, each, each.first, int(time.time() * 1000) + 100 * DAY_MS)

    assert len(read(transport, at=TopicPartition("kept", 0))) == 1
    assert read(transport, at=TopicPartition("short", 0)) == []
