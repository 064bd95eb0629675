"""Files in the place of the embedded log: damaged, cut short, of strangers, of a newer version.

Whoever finds such a file has a crashed disk, a wrong path or an older farandole before them: every part of
the transport must say so, or work with what is there.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from itertools import cycle
from pathlib import Path

from farandole.errors import FarandoleError, FatalTransportError, NotJoined
from farandole.transport.port import (
    Admin,
    Commit,
    FenceWriter,
    Isolation,
    ListMembers,
    MemberSettings,
    NewRecord,
    Position,
    ReadEnds,
    ReadPositions,
    RenewProducer,
    TopicPartition,
    TopicSpec,
    Transport,
)
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, upkeep
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.transactions import leave_open

TOPIC, TABLE, GROUP = "log.in", "log.table", "group"

POLLS = 6
"""Of a reader or a member: what there is comes in one."""

PATIENCE = timedelta(milliseconds=200)
"""For the write lock, which nobody else holds."""

LOOKS = (1, 5, 40)
"""Batches per partition of the log that is damaged."""


def sound_log(path: Path) -> None:
    """A log with a bit of everything: topics, batches, positions, a group, a transaction that was left open."""
    settings = SqliteSettings(path, patience=PATIENCE)
    transport = SqliteTransport(settings)
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(TOPIC, 2), TopicSpec(TABLE, 1, config={"cleanup.policy": "compact"})])
        admin.start_positions(GROUP, {TopicPartition(TOPIC, n): Position(0, "m") for n in range(2)})
    with closing(transport.producer("writer")) as producer:
        for n in range(40):
            producer.send(NewRecord(TOPIC, b"k%d" % n, b"v" * n, (("h", b"x"),), n % 2))
            producer.send(NewRecord(TABLE, b"k%d" % (n % 5), b"v" if n % 7 else None))
            if n in LOOKS:
                producer.flush(1)
        producer.flush(1)
    with closing(File(settings)) as file:
        leave_open(
            file, "gone", [NewRecord(TOPIC, b"k", b"open", (), 1)], GROUP, {TopicPartition(TOPIC, 1): Position(1)}
        )
        file.checkpoint()


def log_file(case: bytes) -> None:
    """A line of JSON, then the bytes of a file; a sound log where there are none. All of the transport is used on it.

    In the JSON: `wal`, how many of the bytes are the write-ahead log beside the file; `sql`, statements to run first.
    """
    head, _, content = case.partition(b"\n")
    told = json.loads(head)
    with _folder() as folder:
        path = folder / "log.db"
        wal = int(told.get("wal", 0))
        if content:
            path.write_bytes(content[: len(content) - wal])
            if wal:
                path.with_name("log.db-wal").write_bytes(content[len(content) - wal :])
        else:
            sound_log(path)
        edit(path, told.get("sql", ()))
        use(SqliteTransport(SqliteSettings(path, patience=PATIENCE)), path)


def edit(path: Path, statements: Sequence[str]) -> None:
    """What a person, or a broken program, may have done with SQLite itself.

    `half()` is true for every other row that it is asked of: a case is the same whenever it is run again.
    """
    turns = cycle((1, 0))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.create_function("half", 0, lambda: next(turns))
        for each in statements:
            try:
                db.executescript(each)
            except sqlite3.Error:
                return


def use(transport: Transport, path: Path) -> None:
    """Every part, each for itself: one that refuses does not spare the next.

    Raises:
        FarandoleError: the first that was met.
    """
    met: list[FarandoleError] = []
    for part in (_look, _read, _write, _work, _keep):
        try:
            part(transport, path)
        except FarandoleError as refused:
            met.append(refused)
    if met:
        raise met[0]


def _look(transport: Transport, path: Path) -> None:
    with closing(transport.admin()) as admin:
        places = _places(admin)
        for level in Isolation:
            admin.ends(places, level)
        admin.positions(GROUP)
        admin.members(GROUP)
        admin.create([TopicSpec("another", 1)])


def _places(admin: Admin) -> list[TopicPartition]:
    """Those that there are, and those that there should be; a damaged row may claim any number of them."""
    found = {name: spec.partitions for name, spec in admin.topics().items()} | {TOPIC: 2, TABLE: 1}
    return [TopicPartition(name, n) for name, count in sorted(found.items()) for n in range(min(count, 4))]


def _read(transport: Transport, path: Path) -> None:
    with closing(transport.reader("reader")) as reader:
        reader.assign({TopicPartition(TOPIC, 0): -2, TopicPartition(TOPIC, 1): 3, TopicPartition(TABLE, 0): -2})
        for _ in range(POLLS):
            reader.poll(0.0)


def _write(transport: Transport, path: Path) -> None:
    with closing(transport.producer("writer")) as producer:
        for n in range(3):
            producer.send(NewRecord(TOPIC, b"k", b"%d" % n))
        producer.flush(1)


class _Taking:
    """A loop that lets go at once."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Fine."""

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """At once."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Fine."""


def _work(transport: Transport, path: Path) -> None:
    """As a loop does: a trouble is heard of and survived, a fatal error ends the process."""
    with closing(transport.member(MemberSettings(GROUP, "worker"))) as member:
        member.subscribe([TOPIC], _Taking())
        for _ in range(POLLS):
            member.poll(0.0)
        ours = sorted(member.assignment())[:4]
        member.resume(ours)
        for at in ours:
            member.seek(at, 0)
        member.poll(0.0)
        member.call(RenewProducer())
        member.call(FenceWriter("gone"))
        member.call(ListMembers())
        member.call(ReadPositions(ours, stable=True))
        member.call(ReadEnds(ours, Isolation.COMMITTED))
        positions = {at: Position(1, "m") for at in ours or [TopicPartition(TOPIC, 0)]}
        with suppress(NotJoined):
            member.call(Commit([NewRecord(TOPIC, b"k", b"v", (), 0)], positions, member.snapshot()))
        for reply in member.replies(0.0):
            if isinstance(reply.error, FatalTransportError):
                raise reply.error


def _keep(transport: Transport, path: Path) -> None:
    """What a thread of each process does now and then, here at once and as if much had come."""
    with closing(File(SqliteSettings(path, patience=PATIENCE))) as file:
        catalog = Catalog()
        with file.reading as db:
            catalog.refresh(db)
        for topic in catalog.topics.values():
            for number in range(topic.first, topic.first + min(topic.partitions, 4)):
                upkeep.keep(file, topic, number, 2**41)


@contextmanager
def _folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="farandole-fuzz-log-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
