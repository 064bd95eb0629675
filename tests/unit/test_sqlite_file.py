"""The file of the embedded log in bad company: each a clear error with a way out, and nothing lost."""

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.errors import ConfigError, FatalTransportError, TransportError
from farandole.transport.memory.groups import Join
from farandole.transport.port import (
    Commit,
    End,
    Isolation,
    MemberSettings,
    NewRecord,
    Position,
    Record,
    TopicPartition,
    TopicSpec,
    Trouble,
    Verdict,
)
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, machine
from farandole.transport.sqlite.admin import SqliteAdmin
from farandole.transport.sqlite.bell import Bells
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.errors import LogBusy
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.groups import SqliteMeeting
from farandole.transport.sqlite.member import SqliteMember
from farandole.transport.sqlite.reader import SqliteReader
from farandole.transport.sqlite.schema import VERSION
from farandole.transport.sqlite.view import View

AT = TopicPartition("t", 0)

DIES_IN_A_TRANSACTION = """
import os, signal, sys
from pathlib import Path
from farandole.transport.port import NewRecord
from farandole.transport.sqlite import SqliteSettings
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.transactions import append, prepare
file, catalog = File(SqliteSettings(Path(sys.argv[1]))), Catalog()
with file.writing as db:
    catalog.refresh(db)
    append(db, prepare(catalog, [NewRecord("t", None, b"x" * 900_000, (), 0)] * 8), markers=1)
    os.kill(os.getpid(), signal.SIGKILL)
"""

OPENS_AS_NOBODY = """
import os, sys
from pathlib import Path
from farandole.errors import FarandoleError
from farandole.transport.sqlite import SqliteSettings, SqliteTransport
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    SqliteTransport(SqliteSettings(Path(sys.argv[1]))).admin()
except FarandoleError as error:
    print(error)
"""

COMES_AND_GOES = """
import sys
from pathlib import Path
from farandole.transport.sqlite import SqliteSettings, SqliteTransport
SqliteTransport(SqliteSettings(Path(sys.argv[1]))).admin().close()
"""

OPENS_WITH_FEW_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from farandole.errors import TransportError
from farandole.transport.sqlite import SqliteSettings
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.transport import SqliteTransport
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for free in range(3):
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(free):
        os.close(held.pop())
    try:
        File(SqliteSettings(Path(sys.argv[1])))
    except TransportError as error:
        print(type(error).__name__, error)
    for each in held:
        os.close(each)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log of a test is."""
    return tmp_path / ".farandole" / "log.db"


def made(path: Path, values: int = 0) -> SqliteTransport:
    """A log with a topic, and some records on it."""
    transport = SqliteTransport(SqliteSettings(path))
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(AT.topic, 1)])
    write(transport, values)
    return transport


def write(transport: SqliteTransport, values: int, size: int = 1) -> None:
    """Some more records."""
    with closing(transport.producer("p")) as producer:
        for _ in range(values):
            producer.send(NewRecord(AT.topic, None, b"x" * size, (), 0))
        assert producer.flush(10) == 0


def end(transport: SqliteTransport) -> int:
    """How many records there are."""
    with closing(transport.admin()) as admin:
        return admin.ends([AT], Isolation.UNCOMMITTED)[AT]


def content(path: Path) -> Iterator[bytes]:
    """Every byte, of the WAL too."""
    for each in sorted(path.parent.glob(path.name + "*")):
        if each.is_file() and not each.name.endswith("-shm"):
            yield each.read_bytes()


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("attempt", range(8))
def test_many_who_make_the_file_at_once_make_one_log(path: Path, attempt: int) -> None:
    """One in a hundred took a log that another one was making for a stranger's database."""
    together, failures, files = threading.Barrier(12), list[Exception](), list[File]()

    def make() -> None:
        together.wait()
        try:
            files.append(File(SqliteSettings(path)))
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=make) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    versions = {each.db.execute("PRAGMA user_version").fetchone() for each in files}
    for each in files:
        each.close()
    assert not failures
    assert len(files) == 12
    assert versions == {(VERSION,)}


def test_a_file_that_was_begun_and_never_made_is_made(path: Path) -> None:
    path.parent.mkdir()
    path.touch()

    transport = made(path, 3)

    assert end(transport) == 3


def test_something_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, today I met a pipeline. " * 200)

    with pytest.raises(FatalTransportError, match=r"log\.db: expected a farandole log, but .* move log\.db"):
        SqliteTransport(SqliteSettings(path)).admin()

    assert list(content(path)) == [b"Dear diary, today I met a pipeline. " * 200]


def test_another_application_s_database_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    before = list(content(path))

    with pytest.raises(ConfigError, match="database of another application"):
        SqliteTransport(SqliteSettings(path)).admin()

    assert list(content(path)) == before


def test_a_newer_log_is_refused_and_left_alone(path: Path) -> None:
    made(path, 2)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = list(content(path))

    with pytest.raises(
        ConfigError, match=f"version {VERSION} at most, but it has version {VERSION + 1}.*newer farandole"
    ):
        SqliteTransport(SqliteSettings(path)).member(MemberSettings("g", "c"))

    assert list(content(path)) == before


def test_a_damaged_log_is_told_as_one_by_whoever_reads_the_damage(path: Path) -> None:
    transport = made(path)
    write(transport, 200, 3_000)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 3 // 4096 * 4096)
        file.write(os.urandom(size // 3))

    with closing(transport.reader("r")) as reader:
        reader.assign({AT: 0})
        with pytest.raises(FatalTransportError, match=r"damaged.*\.recover"):
            reader.poll(0)


def test_what_could_not_be_read_once_is_read_although_nothing_is_written_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failed read had noted that the file was read as it is: a reader saw nothing until somebody wrote again."""
    transport = made(path)
    with closing(transport.reader("r")) as reader:
        reader.assign({AT: 0})
        while reader.poll(0):
            pass
        write(transport, 1)
        with monkeypatch.context() as patch:
            patch.setattr(View, "read", fail)
            (trouble,) = reader.poll(0)

        found = reader.poll(0)

    assert isinstance(trouble, Trouble)
    assert [each.value for each in found if isinstance(each, Record)] == [b"x"]


def fail(*_: object) -> None:
    """As a disk does."""
    raise sqlite3.OperationalError("disk I/O error")


def test_a_full_log_refuses_transactions_whole_and_goes_on_when_there_is_room(path: Path) -> None:
    made(path, 1)
    small = SqliteTransport(SqliteSettings(path, bytes_max=300_000))
    member = small.member(MemberSettings("g", "c"))
    member.subscribe([AT.topic], Still())
    while not member.assignment():
        member.poll(1.0)
    large = [NewRecord(AT.topic, None, b"x" * 100_000, (), 0)] * 8

    member.call(Commit(large, {AT: Position(1)}, member.snapshot()))
    (refused,) = member.replies(5.0)
    before = end(small)
    with closing(small.producer("p")) as producer:
        for each in large:
            producer.send(each)
        with pytest.raises(TransportError, match="make room"):
            producer.flush(10)
    member.call(Commit([NewRecord(AT.topic, None, b"small", (), 0)], {AT: Position(1)}, member.snapshot()))
    (committed,) = member.replies(5.0)
    member.close()

    assert refused.verdict is Verdict.ABORTED
    assert "full" in str(refused.error)
    assert before == 1
    assert committed.verdict is Verdict.COMMITTED
    assert end(made(path)) == 3  # the first, the small one, its marker


class Still:
    """Has partitions and reads nothing."""

    def assigned(self, partitions: object) -> None:
        """Good."""

    def releasing(self, partitions: object) -> bool:
        """At once."""
        return True

    def gone(self, partitions: object, *, lost: bool) -> None:
        """Good."""


def test_a_write_lock_that_is_never_free_is_told_and_nothing_is_written(path: Path) -> None:
    transport = made(path, 1)
    holder = File(SqliteSettings(path))
    impatient = SqliteTransport(SqliteSettings(path, patience=timedelta(milliseconds=50)))

    with holder.writing, closing(impatient.admin()) as admin, pytest.raises(LogBusy, match="SIGSTOP"):
        admin.create([TopicSpec("other", 1)])

    with closing(transport.admin()) as admin:
        assert set(admin.topics()) == {AT.topic}
    holder.close()


def test_a_process_killed_in_the_middle_of_a_transaction_has_written_nothing(path: Path) -> None:
    transport = made(path, 3)

    died = run(DIES_IN_A_TRANSACTION, path)

    assert died.returncode == -signal.SIGKILL, died.stderr
    assert end(transport) == 3
    write(transport, 1)
    assert end(transport) == 4


def test_a_folder_that_may_not_be_written_is_refused_with_a_way_out(tmp_path: Path) -> None:
    # Pytest's own folder is closed to others: a road to ours, for who is nobody.
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.getuid() and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o011)
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)

    told = run(OPENS_AS_NOBODY, folder / "log.db")
    told_below = run(OPENS_AS_NOBODY, folder / ".farandole" / "log.db")

    folder.chmod(0o755)
    assert "choose another place for the log" in told.stdout, told.stderr
    assert "choose another place for the log" in told_below.stdout, told_below.stderr
    assert "Traceback" not in told.stderr + told_below.stderr
    assert list(folder.iterdir()) == []


def test_a_log_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="expected a folder for the log"):
        File(SqliteSettings(tmp_path / "file" / "log.db"))


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /srv rw - nfs4 server:/srv rw", "nfs4"),
        ("1 0 0:1 / / rw - nfs server:/ rw\n2 1 0:2 / /srv rw - ext4 /dev/sda rw", ""),
        ("1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /srv2 rw - cifs //server/x rw", ""),
        ("1 0 0:1 / / rw - overlay overlay rw", ""),
        ("nonsense", ""),
    ],
    ids=["on a share", "on a disk below a share", "beside a share", "without a share", "unreadable"],
)
def test_a_file_system_of_another_machine_is_known_by_the_longest_mount_point(mounts: str, kind: str) -> None:
    assert machine.remote_kind(Path("/srv/project/.farandole"), mounts) == kind


def test_a_file_system_of_another_machine_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "remote_kind", lambda folder: "nfs4")

    with pytest.raises(ConfigError, match=r"expected a file system of this machine, but it is nfs4\. .*Kafka"):
        File(SqliteSettings(path))


def test_a_log_that_is_removed_under_a_member_ends_it_with_the_reason(path: Path) -> None:
    transport = made(path)
    member = transport.member(MemberSettings("g", "c", session_timeout=timedelta(milliseconds=100)))
    member.subscribe([AT.topic], Still())
    while not member.assignment():
        member.poll(1.0)

    for each in path.parent.glob("log.db*"):
        if each.is_file():
            each.unlink()

    with pytest.raises(FatalTransportError, match="removed or replaced"):
        poll_on(member)
    member.close()


def poll_on(member: SqliteMember | SqliteReader) -> None:
    """Poll for longer than a sign of life may take."""
    for _ in range(20):
        member.poll(0.1)


@pytest.fixture
def replaced(path: Path) -> Callable[[], None]:
    """A way to remove the log and make it anew, as `rm -r .farandole` and another process do."""

    def replace() -> None:
        shutil.rmtree(path.parent)
        made(path)

    return replace


def test_what_is_sent_to_a_log_that_is_another_one_now_is_not_acknowledged(
    path: Path, replaced: Callable[[], None]
) -> None:
    """A web server went on for days with (partition, offset) for each command, in a file without a name."""
    transport = made(path)

    async def send() -> None:
        edge = transport.edge("web")
        await edge.send(NewRecord(AT.topic, b"k", b"v", (), 0))
        replaced()
        for _ in range(2):
            with pytest.raises(FatalTransportError, match=r"removed or replaced.*start the processes anew"):
                await edge.send(NewRecord(AT.topic, b"k", b"v", (), 0))
        await edge.close()

    asyncio.run(send())

    with closing(transport.producer("p")) as producer:
        producer.send(NewRecord(AT.topic, b"k", b"v", (), 0))
        assert producer.flush(10) == 0
        replaced()
        producer.send(NewRecord(AT.topic, b"k", b"v", (), 0))
        with pytest.raises(FatalTransportError, match="start the processes anew"):
            producer.flush(10)


def test_what_is_sent_to_a_log_whose_wal_was_removed_is_not_acknowledged(path: Path) -> None:
    """Somebody made room: of what was acknowledged from then on, and a while before, others found nothing."""
    transport = made(path, 1)
    with closing(transport.producer("p")) as producer, closing(transport.reader("r")) as reader:
        producer.send(NewRecord(AT.topic, b"k", b"v", (), 0))
        assert producer.flush(10) == 0
        reader.assign({AT: 0})
        path.with_name("log.db-wal").unlink()

        producer.send(NewRecord(AT.topic, b"k", b"v", (), 0))
        with pytest.raises(FatalTransportError, match=r"log\.db-wal: .*removed or replaced.*start the processes anew"):
            producer.flush(10)
        with pytest.raises(FatalTransportError, match=r"log\.db-wal: .*removed or replaced.*start the processes anew"):
            poll_on(reader)


def test_wal_stays_the_same_for_who_has_it_open_whoever_comes_and_goes(path: Path) -> None:
    transport = made(path, 1)
    with closing(transport.admin()) as admin, closing(File(transport.settings)) as file:
        for _ in range(3):
            write(transport, 1)
            assert run(COMES_AND_GOES, path).returncode == 0
            file.checkpoint()
            file.require_in_place()

        assert admin.ends([AT], Isolation.COMMITTED) == {AT: 4}


@pytest.mark.parametrize(
    "write_to",
    [
        lambda admin: admin.create([TopicSpec("another", 1)]),
        lambda admin: admin.configure(AT.topic, {"retention.ms": "5"}),
        lambda admin: admin.start_positions("g", {AT: Position(0, "")}),
    ],
    ids=["a topic", "a setting", "a position"],
)
def test_what_is_made_on_a_log_that_is_another_one_now_is_not_acknowledged(
    path: Path, replaced: Callable[[], None], write_to: Callable[[SqliteAdmin], object]
) -> None:
    """Topics were said to be made that nobody else could find."""
    with closing(made(path).admin()) as admin:
        replaced()

        with pytest.raises(FatalTransportError, match=r"removed or replaced.*start the processes anew"):
            write_to(admin)


def test_who_reads_a_log_that_is_another_one_now_is_told_so(path: Path, replaced: Callable[[], None]) -> None:
    transport = made(path, 1)

    async def follow() -> None:
        edge = transport.edge("web")
        tail = edge.tail({AT: 0})
        await anext(tail)  # the record
        await anext(tail)  # the end
        replaced()
        with pytest.raises(FatalTransportError, match="start the processes anew"):
            await asyncio.wait_for(anext(tail), 20)
        await edge.close()

    asyncio.run(follow())

    with closing(transport.reader("r")) as reader:
        reader.assign({AT: 0})
        replaced()
        with pytest.raises(FatalTransportError, match="start the processes anew"):
            poll_on(reader)


@pytest.mark.parametrize(
    ("lease", "is_over"),
    [
        ((100.0, 10.0, machine.boot()), False),
        ((90.0, 10.0, machine.boot()), True),
        ((100.5, 10.0, machine.boot()), True),
        ((100.0, 10.0, "another boot"), True),
    ],
    ids=["under way", "ended", "from the future", "of another boot"],
)
def test_a_lease_ends_with_its_time_or_its_boot(lease: tuple[float, float, str], is_over: bool) -> None:
    assert machine.is_over(lease, 100.0) is is_over


def test_a_member_that_is_seen_while_another_one_waits_to_write_is_not_from_the_future(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that had waited took it for silent, and wrote the whole group anew: at each sign of life under load."""
    made(path)
    bells, changed = Bells(path.with_name("log.db-bells")), list[str]()
    with closing(File(SqliteSettings(path))) as file, closing(File(SqliteSettings(path))) as other_file:
        mine, other = (SqliteMeeting(each, Catalog(), bells, "") for each in (file, other_file))
        ids = [
            each.join("g", Join(name, frozenset({AT.topic}), "range", 30.0))
            for each, name in ((mine, "a"), (other, "b"))
        ]
        begin = file.begin

        def wait_for_the_other() -> None:
            other._beat("g", ids[1])
            begin()

        monkeypatch.setattr(file, "begin", wait_for_the_other)
        monkeypatch.setattr(SqliteMeeting, "_change", lambda *_: changed.append("the group"))
        mine._beat("g", ids[0])

    assert changed == []


def test_full_synchrony_is_set_where_it_is_asked_for(path: Path) -> None:
    normal, full = File(SqliteSettings(path)), File(SqliteSettings(path, "full"))

    levels = [each.db.execute("PRAGMA synchronous").fetchone()[0] for each in (normal, full)]

    assert levels == [1, 2]
    normal.close()
    full.close()


# --- rows that are not as we write them: SQLite looks after its pages and not after what is in them ---


def flaw(path: Path, statement: str) -> SqliteTransport:
    """A log with a topic and a record, of which somebody has changed a row; and a new process's view of it."""
    transport = SqliteTransport(SqliteSettings(path, patience=timedelta(seconds=1)))
    with closing(transport.admin()) as admin, closing(transport.producer("p")) as producer:
        admin.create([TopicSpec("t", 1)])
        producer.send(NewRecord("t", b"k", b"v"))
        assert producer.flush(5) == 0
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
    return SqliteTransport(SqliteSettings(path, patience=timedelta(seconds=1)))


def read_all(transport: SqliteTransport) -> None:
    """What there is of the topic."""
    with closing(transport.reader("r")) as reader:
        reader.assign({AT: 0})
        reader.poll(0.0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE batches SET body = x'91c0'",
        "UPDATE batches SET body = x'90'",
        "UPDATE batches SET base = 7",
        "UPDATE batches SET ms = 'noon'",
        "UPDATE parts SET next = 'x'",
        "UPDATE parts SET beginning = -1",
        "DELETE FROM parts",
        "UPDATE topics SET config = 'x'",
        'UPDATE topics SET config = \'{"retention.ms": "soon"}\'',
        "DELETE FROM meta",
    ],
)
def test_damaged_row_is_an_error_with_a_way_out_and_no_traceback(statement: str, tmp_path: Path) -> None:
    """Found by `make fuzz`: a flipped bit in a body ended a loop with msgspec's ValidationError, an edited table with a
    TypeError; nothing said which file it was, nor what to do."""
    transport = flaw(tmp_path / "log.db", statement)

    with pytest.raises(FatalTransportError, match=r"log\.db: expected rows as farandole writes them.*start anew"):
        read_all(transport)


def test_topic_that_claims_more_partitions_than_there_can_be_is_damage_and_not_endless_work(tmp_path: Path) -> None:
    """Found by `make fuzz`: every partition is counted through now and then, which took for ever."""
    transport = flaw(tmp_path / "log.db", "UPDATE topics SET partitions = 9223372036854775807")

    with pytest.raises(FatalTransportError, match="Expected `int` <= 10000"), closing(transport.admin()) as admin:
        admin.positions("g")


def test_position_of_a_partition_that_does_not_exist_is_damage(tmp_path: Path) -> None:
    """Found by `make fuzz`: it was a KeyError."""
    transport = flaw(tmp_path / "log.db", "INSERT INTO positions VALUES ('g', 99, 1, '')")

    with pytest.raises(FatalTransportError, match="KeyError: 99"), closing(transport.admin()) as admin:
        admin.positions("g")


def test_plain_record_for_a_damaged_log_is_told_to_be_unwritten(tmp_path: Path) -> None:
    """Found by `make fuzz`: the thread that writes plain records died, and what was sent after that waited for ever."""
    transport = flaw(tmp_path / "log.db", "DELETE FROM meta")

    with closing(transport.producer("p")) as producer:
        for _ in range(2):
            producer.send(NewRecord("t", b"k", b"v"))
            with pytest.raises(TransportError, match="expected rows as farandole writes them"):
                producer.flush(5)


def test_schema_that_is_no_text_is_a_damaged_file(tmp_path: Path) -> None:
    """Found by `make fuzz`: SQLite's own message quoted it, which made a UnicodeDecodeError of a damaged file."""
    path = tmp_path / "log.db"
    SqliteTransport(SqliteSettings(path)).admin().close()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"CREATE TABLE meta", b"CREATE TABLE \xc1\xc1\xc1\xc1"))

    with pytest.raises(FatalTransportError, match="damaged"):
        SqliteTransport(SqliteSettings(path)).admin()


def test_topic_with_a_retention_that_is_no_number_is_refused_when_it_is_made(tmp_path: Path) -> None:
    """It was taken, and the thread that keeps the log in order died of it: nothing was compacted any more."""
    transport = SqliteTransport(SqliteSettings(tmp_path / "log.db"))

    with closing(transport.admin()) as admin:
        for name in ("retention.ms", "delete.retention.ms", "max.message.bytes"):
            with pytest.raises(TransportError, match=rf"t: expected a number for {name}, but it is 'soon'"):
                admin.create([TopicSpec("t", 1, config={name: "soon"})])
        admin.create([TopicSpec("t", 1, config={"retention.ms": "-1", "cleanup.policy": "compact"})])
        with pytest.raises(TransportError, match=r"expected a number for retention\.ms"):
            admin.configure("t", {"retention.ms": "soon"})
        found = admin.topics(["t"])["t"].config

    assert found == {"retention.ms": "-1", "cleanup.policy": "compact"}


@pytest.mark.parametrize("content", [b"x", b"a text of somebody's\n", b"SQLite format 2\0" + bytes(4_080)])
def test_file_of_something_else_is_refused_and_left_as_it_was(content: bytes, tmp_path: Path) -> None:
    """Found by `make fuzz`: SQLite takes a file of a few bytes for an empty one; the log was written over it."""
    path = tmp_path / "log.db"
    path.write_bytes(content)

    with pytest.raises(FatalTransportError, match="expected a farandole log"):
        SqliteTransport(SqliteSettings(path)).admin()

    assert path.read_bytes() == content


def test_log_is_held_however_often_its_process_opens_it(tmp_path: Path) -> None:
    """A look at the file's first bytes, at each opening, let go of the locks of all connections before (POSIX).

    Another process that came and went took itself for the last one and removed the WAL under them: the next to
    write damaged the log. Seen in the smoke run of the benchmarks, minutes after that look had come in.
    """
    path = tmp_path / "log.db"
    comes_and_goes = f"import sqlite3; sqlite3.connect({str(path)!r}).execute('SELECT * FROM meta').fetchall()"
    with closing(SqliteTransport(SqliteSettings(path)).admin()), closing(SqliteTransport(SqliteSettings(path)).admin()):
        wal = path.with_name("log.db-wal").stat().st_ino

        subprocess.run([sys.executable, "-c", comes_and_goes], check=True)

        assert path.with_name("log.db-wal").stat().st_ino == wal


def test_log_of_a_relative_path_stays_where_it_was_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an `os.chdir` in a handler members took their log for removed, and what was sent went to one made anew."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    transport = SqliteTransport(SqliteSettings(Path("log.db")))
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(AT.topic, 1)])

    monkeypatch.chdir("elsewhere")
    write(transport, 1)

    assert end(transport) == 1
    assert not list((tmp_path / "elsewhere").iterdir())


def test_link_to_a_log_on_another_machine_is_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "share"
    for folder in (share, path.parent):
        folder.mkdir()
    path.symlink_to(share / "log.db")
    monkeypatch.setattr(machine, "remote_kind", lambda folder: "nfs4" if folder == share else "")

    with pytest.raises(ConfigError, match="expected a file system of this machine, but it is nfs4"):
        File(SqliteSettings(path))


def test_mounts_whose_names_are_no_utf_8_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stick with a name in Latin-1 was enough: every command ended with a UnicodeDecodeError."""
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(b"1 0 0:1 / /media/Caf\xe9 rw - vfat /dev/sdb rw\n2 1 0:2 / /srv rw - nfs4 server:/srv rw\n")
    monkeypatch.setattr(machine, "MOUNTS", mounts)

    assert machine.remote_kind(Path("/srv/project")) == "nfs4"


def test_tail_outlives_a_moment_in_which_the_log_is_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says so to the very first question after a crash of somebody else, while the log is being recovered."""
    transport, busy = made(path, 1), [LogBusy("recovering")]
    observe = File.observe

    def observed(file: File) -> None:
        if busy:
            raise busy.pop()
        observe(file)

    async def follow() -> Record | End:
        edge = transport.edge("web")
        tail = edge.tail({AT: 0})
        monkeypatch.setattr(File, "observe", observed)
        try:
            return await asyncio.wait_for(anext(tail), 20)
        finally:
            await edge.close()

    first = asyncio.run(follow())

    assert isinstance(first, Record)
    assert busy == []


def test_process_without_a_free_descriptor_is_told_so_and_may_try_again(path: Path) -> None:
    """It was told for good, with the advice to look at folders that were as they should be."""
    made(path)

    told = run(OPENS_WITH_FEW_DESCRIPTORS, path)

    lines = told.stdout.splitlines()
    assert (len(lines), told.stderr) == (3, "")
    assert {line.partition(" ")[0] for line in lines} == {"TransportError"}
    assert all("Too many open files" in line and "ulimit -n" in line for line in lines)
