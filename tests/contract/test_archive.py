"""The archive: every record once, whatever interrupts it; files that Apache's own reader understands."""

import contextlib
import errno
import fcntl
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import avro.datafile
import avro.io
import fastavro
import pytest
from typer.testing import CliRunner

from farandole.artifacts import archive as archive_module
from farandole.artifacts import local
from farandole.artifacts.archive import SCHEMA, Archive, Archived, Span, content_of, read_file
from farandole.cli.main import app
from farandole.client import archiving
from farandole.client.archived import Files
from farandole.client.archiving import Archiver, Lost, Report
from farandole.errors import ConfigError, StoreError, TransportError
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Isolation, NewRecord, TopicPartition, TopicSpec, Transport
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, upkeep
from farandole.transport.sqlite.file import File

if TYPE_CHECKING:
    from tests.contract.conftest import Away

TOPIC = "ns.events"
LATER = datetime.now(UTC) + timedelta(days=30)
DAY = timedelta(days=1)


def log_of(count: int, partitions: int = 1) -> MemoryTransport:
    """A log with so many records in each partition."""
    transport = MemoryTransport()
    admin = transport.admin()
    admin.create([TopicSpec(TOPIC, partitions)])
    admin.close()
    for number in range(partitions):
        fill(transport, number, 0, count)
    return transport


def fill(transport: Transport, number: int, begin: int, end: int) -> None:
    producer = transport.producer("tests")
    for n in range(begin, end):
        headers = [("ce_run", b"r-%d" % n)]
        producer.send(NewRecord(TOPIC, b"k-%d" % n, None if n == 3 else b"\xc3\x01%d" % n, headers, number))
    assert producer.flush(10) == 0
    producer.close()


def run(transport: Transport, folder: Path, now: datetime = LATER) -> Report:
    archiver = Archiver(transport, Archive(folder), "tests.archive")
    try:
        return archiver.run([TOPIC], DAY, now)
    finally:
        archiver.close()


def held(folder: Path) -> dict[int, list[int]]:
    """Offsets in the archive by partition, in the order of files and records."""
    found: dict[int, list[int]] = {}
    for span in Archive(folder).all_spans():
        found.setdefault(span.partition, []).extend(record.offset for record in read_file(span.path))
    return found


def test_archive_holds_each_record_as_it_stood_on_the_log(tmp_path: Path) -> None:
    report = run(log_of(5, partitions=2), tmp_path)

    assert (report.records, report.lost) == (10, [])
    assert held(tmp_path) == {0: [0, 1, 2, 3, 4], 1: [0, 1, 2, 3, 4]}
    (first, *_, last) = read_file(Archive(tmp_path).spans(TOPIC, 0)[0].path)
    assert (first.topic, first.partition, first.key, first.value) == (TOPIC, 0, b"k-0", b"\xc3\x010")
    assert list(last.headers) == [("ce_run", b"r-4")]
    assert abs(first.timestamp_ms / 1000 - datetime.now(UTC).timestamp()) < 600


def test_files_are_read_by_apaches_own_library(tmp_path: Path) -> None:
    run(log_of(5), tmp_path)
    (span,) = Archive(tmp_path).all_spans()

    with avro.datafile.DataFileReader(span.path.open("rb"), avro.io.DatumReader()) as reader:
        rows = [dict(row) for row in reader if isinstance(row, dict)]

    assert [row["offset"] for row in rows] == [0, 1, 2, 3, 4]
    assert (rows[3]["value"], rows[4]["value"]) == (None, b"\xc3\x014")
    assert rows[0]["headers"] == [{"name": "ce_run", "value": b"r-0"}]


def test_second_run_repeats_nothing_and_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    transport = log_of(5)
    run(transport, tmp_path)

    again = run(transport, tmp_path)
    fill(transport, 0, 5, 8)
    more = run(transport, tmp_path)

    assert (again.records, more.records) == (0, 3)
    assert held(tmp_path) == {0: list(range(8))}


def test_records_that_are_not_old_enough_stay_out(tmp_path: Path) -> None:
    report = run(log_of(5), tmp_path, now=datetime.now(UTC))

    assert (report.records, Archive(tmp_path).all_spans()) == (0, [])


def test_many_records_make_several_files_without_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "FILE_RECORDS_MAX", 10)

    run(log_of(35), tmp_path)

    spans = Archive(tmp_path).spans(TOPIC, 0)
    assert [(span.first, span.end) for span in spans] == [(0, 10), (10, 20), (20, 30), (30, 35)]
    assert [content_of(span.path).records for span in spans] == [10, 10, 10, 5]


def test_records_that_retention_took_first_are_told(tmp_path: Path) -> None:
    """A gap is seen at the next run: its first file ends before the topic begins."""
    records = [Archived(TOPIC, 0, n, 1_000 + n, None, b"x", []) for n in range(3)]
    Archive(tmp_path).write(TOPIC, 0, 0, 3, records)
    transport = log_of(9)
    archiver = Archiver(transport, Archive(tmp_path), "tests.archive")
    archiver._admin = _Trimmed(archiver._admin, {TopicPartition(TOPIC, 0): 5})  # type: ignore[assignment]

    report = archiver.run([TOPIC], DAY, LATER)
    archiver.close()

    assert report.lost == [Lost(TOPIC, 0, 3, 5)]
    assert held(tmp_path) == {0: [0, 1, 2, 5, 6, 7, 8]}


def test_stretch_without_records_is_no_hole_when_retention_has_taken_it(tmp_path: Path) -> None:
    """An aborted transaction was all that had come: nothing was written, so that its offsets counted as lost later on,
    and every file before them was left out by who reads the archive.
    """
    transport, at = log_of(5), TopicPartition(TOPIC, 0)
    run(transport, tmp_path)
    with transport.hub as broker:
        writer = broker.init("gone", 600.0)
        broker.append_in(writer, NewRecord(TOPIC, b"k", b"aborted", (), 0))
        broker.end_transaction(writer, commit=False)
    with transport.hub as broker:
        end = broker.end(at, Isolation.COMMITTED)

    empty = run(transport, tmp_path)
    again = run(transport, tmp_path)
    with transport.hub as broker:
        broker.truncate_before(at, end)
    fill(transport, 0, 5, 6)
    later = run(transport, tmp_path)

    assert end == 7
    assert [(span.first, span.end) for span in empty.written] == [(5, end)]
    assert (empty.records, again.written) == (0, [])
    assert (later.records, later.lost) == (1, [])
    assert Files(Archive(tmp_path), transport).first(at, end) == 0
    assert held(tmp_path) == {0: [0, 1, 2, 3, 4, end]}
    table = CliRunner().invoke(app, ["archive", "list", "--into", str(tmp_path)])
    told = CliRunner().invoke(app, ["archive", "list", "--into", str(tmp_path), "--json"])
    assert table.exit_code == told.exit_code == 0
    assert [each["content"]["oldest_ms"] is None for each in json.loads(told.stdout)] == [False, True, False]


@pytest.mark.parametrize("is_same", [True, False])
def test_topic_that_was_made_anew_is_refused_also_behind_a_stretch_without_records(
    tmp_path: Path, is_same: bool
) -> None:
    transport = log_of(5)
    run(transport, tmp_path)
    Archive(tmp_path).write(TOPIC, 0, 5, 7, [])
    anew = transport if is_same else log_of(0)
    with anew.hub as broker:
        while (end := broker.end(TopicPartition(TOPIC, 0), Isolation.COMMITTED)) < 7:
            broker.append(NewRecord(TOPIC, b"other-%d" % end, b"x", (), 0))

    if is_same:
        assert run(anew, tmp_path).records == 0
    else:
        with pytest.raises(ConfigError, match="made anew"):
            run(anew, tmp_path)


class _Trimmed:
    """An admin of a log from which retention has taken the first records."""

    def __init__(self, admin: object, first: dict[TopicPartition, int]) -> None:
        self._admin, self._first = admin, first

    def beginnings(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {at: self._first[at] for at in partitions}

    def __getattr__(self, name: str) -> object:
        return getattr(self._admin, name)


def test_file_that_a_killed_writer_left_half_done_is_cleared_away_and_written_anew(tmp_path: Path) -> None:
    folder = tmp_path / TOPIC / "0"
    folder.mkdir(parents=True)
    half = folder / f".{0:020d}-{5:020d}.avro.0123abcd"
    half.write_bytes(b"Obj\x01")

    run(log_of(5), tmp_path)

    assert not half.exists()
    assert held(tmp_path) == {0: [0, 1, 2, 3, 4]}


def test_two_writers_at_once_are_refused(tmp_path: Path) -> None:
    with Archive(tmp_path).writing():
        with pytest.raises(ConfigError, match="only writer"):
            run(log_of(1), tmp_path)


def test_file_with_another_schema_is_refused_before_any_row_is_read(tmp_path: Path) -> None:
    """A file is read by the schema that it brings along: a stranger's may ask for any memory, or lack what ours has."""
    run(log_of(5), tmp_path)
    (span,) = Archive(tmp_path).all_spans()
    with span.path.open("rb") as file:
        reader = fastavro.reader(file)
        told, rows = reader.metadata["farandole.content"], [cast("dict[str, object]", each) for each in reader]
    other = json.loads(json.dumps(SCHEMA))
    other["fields"].append({"name": "more", "type": {"type": "array", "items": "null"}})
    with span.path.open("wb") as file:
        fastavro.writer(file, other, [{**row, "more": []} for row in rows], metadata={"farandole.content": told})

    records = read_file(span.path)

    with pytest.raises(StoreError, match="its schema is another one"):
        next(records)


def test_damaged_file_is_told_with_its_place(tmp_path: Path) -> None:
    run(log_of(5), tmp_path)
    (span,) = Archive(tmp_path).all_spans()
    span.path.write_bytes(span.path.read_bytes()[:-20])

    with pytest.raises(TransportError, match=r"cannot be read") as refused:
        list(read_file(span.path))

    assert str(span.path) in str(refused.value)


def test_no_bit_of_a_file_may_change_unseen(tmp_path: Path) -> None:
    """Most of them were read without a word, and some ended the command with an error of the library's."""
    run(log_of(40), tmp_path)
    (span,) = Archive(tmp_path).all_spans()
    whole = span.path.read_bytes()
    as_written = list(read_file(span.path))

    unseen = []
    for at in range(0, len(whole), 7):
        span.path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with contextlib.suppress(TransportError):
            if list(read_file(span.path)) != as_written:
                unseen.append(at)

    assert unseen == []


def test_file_of_an_older_version_has_no_checksum_and_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "json", _WithoutChecksum())
    run(log_of(5), tmp_path)
    monkeypatch.undo()

    (span,) = Archive(tmp_path).all_spans()
    assert b"crc32" not in span.path.read_bytes()
    assert held(tmp_path) == {0: [0, 1, 2, 3, 4]}


class _WithoutChecksum:
    """`json` as an older version used it."""

    def dumps(self, content: dict[str, int]) -> str:
        return json.dumps({name: each for name, each in content.items() if name != "crc32"})

    def loads(self, text: bytes) -> object:
        return json.loads(text)


@pytest.mark.parametrize("count", [3, 9], ids=["shorter", "longer"])
def test_topic_that_was_made_anew_is_refused(tmp_path: Path, count: int) -> None:
    """Nothing of it was archived, and its records would have been told behind those of the one before."""
    run(log_of(5), tmp_path)
    anew = log_of(0)
    producer = anew.producer("tests")
    for n in range(count):
        producer.send(NewRecord(TOPIC, b"other-%d" % n, b"x", (), 0))
    producer.flush(10)

    with pytest.raises(ConfigError, match="made anew"):
        run(anew, tmp_path)

    assert held(tmp_path) == {0: [0, 1, 2, 3, 4]}


def test_missing_topic_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    archiver = Archiver(log_of(1), Archive(tmp_path / "a"), "tests.archive")

    with pytest.raises(ConfigError, match="no nowhere"):
        archiver.run([TOPIC, "nowhere"], DAY, LATER)
    archiver.close()

    assert not (tmp_path / "a").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from typing import cast
from farandole.artifacts import archive, local
from farandole.artifacts.archive import Archive, Archived
left = int(sys.argv[2])
real = os.fsync
def fsync(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)
local.os.fsync = fsync
at = Archive(Path(sys.argv[1]))
with at.writing():
    spans = at.spans("t", 0)
    for n in range(spans[-1].end if spans else 0, 200, 10):
        at.write("t", 0, n, n + 10, [Archived("t", 0, k, k, None, b"v" * 100, []) for k in range(n, n + 10)])
"""


def test_archive_survives_kill_9_at_every_sync_and_ends_the_same(tmp_path: Path) -> None:
    """Killed ever later until a run ends well: what is there is whole at each time, and the next run goes on."""
    killed = 0
    while True:
        ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(killed)], timeout=60, check=False)
        offsets = [record.offset for span in Archive(tmp_path).spans("t", 0) for record in read_file(span.path)]
        assert offsets == list(range(len(offsets)))
        if ran.returncode != -9:
            break
        killed += 1

    assert (ran.returncode, offsets) == (0, list(range(200)))
    assert killed >= 5
    assert [path for path in (tmp_path / "t/0").iterdir() if path.suffix != ".avro"] == []


def test_archive_list_of_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It printed an empty table, as if nothing had ever been archived."""
    ran = CliRunner().invoke(app, ["archive", "list", "--into", str(tmp_path / "nowhere")])

    assert ran.exit_code == 2
    assert "archive run" in ran.output


def test_archive_list_tells_what_each_file_covers(tmp_path: Path) -> None:
    run(log_of(5), tmp_path)

    told = subprocess.run(
        [sys.executable, "-m", "farandole.cli", "archive", "list", "--into", str(tmp_path), "--json"],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip
    table = subprocess.run(
        [sys.executable, "-m", "farandole.cli", "archive", "list", "--into", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path,
    )  # fmt: skip

    (only,) = json.loads(told.stdout)
    assert (only["span"]["first"], only["span"]["end"], only["content"]["records"]) == (0, 5, 5)
    assert table.stdout.splitlines()[1].split()[:5] == [TOPIC, "0", "0", "4", "5"]


def test_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    records = [Archived("t", 0, n, n, b"k", random.Random(n).randbytes(50), []) for n in range(20)]

    one, other = (Archive(tmp_path / name).write("t", 0, 0, 20, records) for name in "ab")

    assert isinstance(one, Span)
    assert one.path.read_bytes() == other.path.read_bytes()


def test_archive_on_a_full_or_broken_disk_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("farandole.artifacts.archive.write_whole", full)

    with pytest.raises(TransportError, match=r"No space left.*stay on the topic"):
        run(log_of(2), tmp_path)


@pytest.mark.parametrize("timestamp_ms", [1_700_000_000_000_000, 1 << 62, -(1 << 62), -1])
def test_time_that_no_calendar_has_is_kept_and_read(tmp_path: Path, timestamp_ms: int) -> None:
    """A producer wrote microseconds. The file was written and could not be read: its records were lost with the topic,
    and each later run ended at it.
    """
    records = [Archived(TOPIC, 0, 0, timestamp_ms, b"k", b"v", [])]
    span = Archive(tmp_path).write(TOPIC, 0, 0, 1, records)

    assert list(read_file(span.path)) == records


def test_record_of_a_clock_that_was_ahead_keeps_nothing_out_that_retention_takes(tmp_path: Path) -> None:
    """The archive waited a year for it, and what followed expired meanwhile."""
    transport = SqliteTransport(SqliteSettings(tmp_path / "log.db"))
    with contextlib.closing(transport.admin()) as admin:
        admin.create([TopicSpec(TOPIC, 1)])
    for n in range(4):  # each a batch of its own
        fill(transport, 0, n, n + 1)
    now = datetime.now(UTC)
    now_ms = round(now.timestamp() * 1000)
    year_ms, day_ms = 365 * 24 * 3600 * 1000, 24 * 3600 * 1000
    times = [now_ms - 8 * day_ms, now_ms + year_ms, now_ms - 8 * day_ms, now_ms - 1]

    with contextlib.closing(File(transport.settings)) as file:
        with file.writing as db:
            db.executemany("UPDATE batches SET ms = ? WHERE base = ?", [(ms, n) for n, ms in enumerate(times)])
        first = run(transport, tmp_path / "archive", now)
        gone = upkeep.expire(file, 1, now_ms - 7 * day_ms, now_ms + upkeep.AHEAD_MS)
    second = run(transport, tmp_path / "archive", now)

    assert (first.records, gone) == (3, 3)
    assert (second.records, second.lost) == (0, [])
    assert held(tmp_path / "archive") == {0: [0, 1, 2]}


def test_log_that_goes_away_meanwhile_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: "Away"
) -> None:
    """Each time that it said so counted as a sign of life: a run from cron waited for ever, with the archive locked."""
    archiver = Archiver(log_of(3), Archive(tmp_path), "tests.archive")
    archiver.close()
    archiver._reader = away
    monkeypatch.setattr(archiving, "time", away)

    with pytest.raises(TransportError, match=r"up to offset 3, .* \(unreachable: no broker answers\)\..*run it again"):
        archiver.run([TOPIC], DAY, LATER)

    assert archiving.SILENCE_MAX_S < away.now < archiving.SILENCE_MAX_S + 1


def test_folder_that_knows_no_locks_is_not_said_to_be_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted bucket without locks: nobody else was at work, and nobody could find who was."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)

    with pytest.raises(ConfigError, match=r"expected a folder that can be locked, but .*not supported"):
        run(log_of(1), tmp_path)


def test_names_of_all_folders_that_a_file_is_in_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic's was not, and after a loss of power all that had been archived of it might have gone with it."""
    synced, root = set[Path](), tmp_path / "archive"
    monkeypatch.setattr(local, "_sync", synced.add)

    run(log_of(1), root)

    assert synced >= {tmp_path, root, root / TOPIC, root / TOPIC / "0"}
