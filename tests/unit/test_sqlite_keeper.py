"""The keeper: while somebody works on the log, it is kept in order; and it ends with the last of them."""

import shutil
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.testing.cluster.waiting import wait_until
from farandole.transport.port import MemberSettings, NewRecord, TopicPartition, TopicSpec
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, keeper
from farandole.transport.sqlite.bell import Bells
from farandole.transport.sqlite.file import File

AT = TopicPartition("t", 0)
WITHIN = timedelta(seconds=20)


@pytest.fixture
def transport(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteTransport:
    """A log whose keeper is in a hurry, with a topic."""
    monkeypatch.setattr(keeper, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(keeper, "KEEP_EVERY_S", 0.0)
    monkeypatch.setattr(keeper, "CHECKPOINT_BYTES", 0)
    made = SqliteTransport(SqliteSettings(tmp_path / "log.db"))
    with closing(made.admin()) as admin:
        admin.create([TopicSpec(AT.topic, 1)])
    return made


def threads() -> list[str]:
    """Keepers that live."""
    return [each.name for each in threading.enumerate() if each.name == "farandole.keeper"]


def test_while_a_member_is_there_the_wal_is_copied_and_old_records_go(transport: SqliteTransport) -> None:
    path = transport.settings.path
    with closing(transport.admin()) as admin, closing(transport.producer("p")) as producer:
        for _ in range(300):
            producer.send(NewRecord(AT.topic, None, b"x" * 1_000, (), 0))
        assert producer.flush(10) == 0
        assert path.stat().st_size < 300_000  # all of it is in the WAL

        with closing(transport.member(MemberSettings("g", "c"))):
            wait_until(lambda: path.stat().st_size >= 300_000, WITHIN, "the WAL to be copied into the file")
            admin.configure(AT.topic, {"retention.ms": "1"})
            wait_until(lambda: admin.beginnings([AT]) == {AT: 300}, WITHIN, "records to be removed")


def test_a_clock_that_was_once_ahead_ends_neither_retention_nor_compaction(transport: SqliteTransport) -> None:
    """One round under a clock that was a year ahead: for a year nobody took a turn again, and the log only grew."""
    with closing(transport.admin()) as admin, closing(transport.producer("p")) as producer:
        producer.send(NewRecord(AT.topic, None, b"old", (), 0))
        assert producer.flush(10) == 0
        admin.configure(AT.topic, {"retention.ms": "1"})
        with closing(File(transport.settings)) as file, file.writing as db:
            db.execute("UPDATE meta SET value = ? WHERE name = 'kept'", (int(time.time()) + 365 * 24 * 3600,))

        with closing(transport.member(MemberSettings("g", "c"))):
            wait_until(lambda: admin.beginnings([AT]) == {AT: 1}, WITHIN, "records to be removed")


def test_a_wal_is_copied_again_only_when_there_is_something_new_in_it_or_somebody_was_in_the_way(
    transport: SqliteTransport,
) -> None:
    """A WAL never shrank: after one of 8 MB, every process copied nothing at all once a second for its whole life."""
    copies, kept = list[bool](), keeper.Keeper(transport.settings, Bells(transport.settings.path.parent / "bells"))
    with closing(File(transport.settings)) as file, closing(transport.producer("p")) as producer:
        copy = file.checkpoint

        def noted() -> bool:
            copies.append(copy())
            return copies[-1]

        file.checkpoint = noted  # type: ignore[method-assign]
        counts = []
        with closing(File(transport.settings)) as reader:
            for in_the_way in (True, False, False):
                producer.send(NewRecord(AT.topic, None, b"x", (), 0))
                producer.flush(10)
                if in_the_way:
                    reader.db.execute("BEGIN")
                    reader.db.execute("SELECT count(*) FROM batches").fetchone()
                    producer.send(NewRecord(AT.topic, None, b"x", (), 0))
                    producer.flush(10)
                time.sleep(0.02)  # a tick of the file system's clock
                for _ in range(5):
                    kept._checkpoint(file)
                counts.append(len(copies))
                if in_the_way:
                    reader.db.execute("ROLLBACK")
    kept._turn.leave()

    assert counts == [5, 6, 7]


def filled(transport: SqliteTransport) -> None:
    """A WAL of some 300 kB."""
    with closing(transport.producer("p")) as producer:
        for _ in range(300):
            producer.send(NewRecord(AT.topic, None, b"x" * 1_000, (), 0))
        assert producer.flush(10) == 0


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[File]:
    """The file of each checkpoint that is made."""
    found, copy = list[File](), File.checkpoint

    def noted(file: File) -> bool:
        found.append(file)
        return copy(file)

    monkeypatch.setattr(File, "checkpoint", noted)
    return found


def test_after_a_burst_the_wal_is_small_again_and_signs_of_life_are_no_reason_to_copy_it(
    transport: SqliteTransport, copied: list[File], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the WAL was the highest that it ever had, and each member writes once a second: after a burst of
    48 MB every process made all writers wait for two flushes of the disk, each second of its whole life.
    """
    monkeypatch.setattr(keeper, "CHECKPOINT_BYTES", 200_000)
    kept, wal = keeper.Keeper(transport.settings, Bells(transport.settings.path.parent / "bells")), []
    with closing(File(transport.settings)) as file, closing(File(transport.settings)) as member:
        filled(transport)
        for _ in range(5):
            kept._checkpoint(file)
            with member.writing as db:
                db.execute("UPDATE members SET seen = 1")
                db.execute("UPDATE meta SET value = value + 1 WHERE name = 'catalog'")
            wal.append(transport.settings.path.with_name("log.db-wal").stat().st_size)
    kept._turn.leave()

    assert len(copied) == 1
    assert 0 < wal[0] <= wal[-1] < 200_000


def test_of_all_keepers_one_makes_checkpoints_until_it_ends(transport: SqliteTransport, copied: list[File]) -> None:
    """Two of them right behind each other, and a commit meanwhile, is what damages a log up to SQLite 3.51.2."""
    bells = Bells(transport.settings.path.parent / "bells")
    first, second = (keeper.Keeper(transport.settings, bells) for _ in range(2))
    with (
        closing(File(transport.settings)) as one,
        closing(File(transport.settings)) as other,
        closing(File(transport.settings)) as reader,
        reader.reading as db,
    ):
        db.execute("SELECT count(*) FROM batches").fetchone()
        filled(transport)  # a WAL that cannot be emptied yet: each of them sees that there is something to do
        first._checkpoint(one)
        second._checkpoint(other)
        before = list(copied)
        first._turn.leave()
        second._checkpoint(other)
    second._turn.leave()

    assert before == [one]
    assert copied == [one, other]


def test_a_checkpoint_holds_the_write_lock_or_does_not_count_as_one(transport: SqliteTransport) -> None:
    wal = transport.settings.path.with_name("log.db-wal")
    with closing(File(transport.settings)) as file, closing(File(transport.settings)) as writer:
        filled(transport)
        with writer.writing:
            beside = file.checkpoint()
        size = wal.stat().st_size
        alone = file.checkpoint()

        assert (beside, alone) == (False, True)
        assert (size > 0, wal.stat().st_size) == (True, 0)


def test_members_of_a_transport_share_one_keeper_and_it_ends_with_the_last(transport: SqliteTransport) -> None:
    members = [transport.member(MemberSettings("g", name)) for name in ("a", "b")]
    counts = [len(threads())]

    for each in members:
        each.close()
        counts.append(len(threads()))

    assert counts == [1, 1, 0]


def test_members_leave_no_thread_no_bell_and_no_descriptor_behind(transport: SqliteTransport) -> None:
    member = transport.member(MemberSettings("g", "c"))
    bells = transport.settings.path.with_name("log.db-bells")
    assert len(list(bells.iterdir())) == 1

    member.close()

    assert not threads()
    assert list(bells.iterdir()) == []
    held = [str(each.resolve()) for each in Path("/proc/self/fd").glob("*")] if Path("/proc/self/fd").exists() else []
    assert not [each for each in held if str(transport.settings.path) in each]


def test_a_log_that_was_opened_by_a_link_is_kept_in_order_as_one_with_that_by_its_name(
    transport: SqliteTransport, tmp_path: Path
) -> None:
    """SQLite keeps the WAL beside the file itself. Whoever came by the link looked for it beside the link, copied
    nothing, rang nobody who had come by the name, and had a turn of its own beside theirs.
    """
    (tmp_path / "linked").mkdir()
    link = tmp_path / "linked" / "log.db"
    link.symlink_to(transport.settings.path)
    by_link = SqliteTransport(SqliteSettings(link))
    keepers = []
    with closing(transport.member(MemberSettings("g", "a"))), closing(by_link.member(MemberSettings("g", "b"))):
        for each in (transport, by_link):
            keepers.append(keeper.Keeper(each.settings, each._shared.bells))
        wals = {each._wal for each in keepers}
        bells = {each._shared.bells.folder for each in (transport, by_link)}

    assert [each.name for each in link.parent.iterdir()] == ["log.db"]
    assert wals == {transport.settings.path.with_name("log.db-wal")}
    assert bells == {transport.settings.path.with_name("log.db-bells")}


def test_a_turn_on_a_folder_that_was_removed_is_none(tmp_path: Path) -> None:
    """Who still held it made checkpoints beside the one who had taken the turn on the new folder."""
    first, second = keeper.Turn(tmp_path / "bells"), keeper.Turn(tmp_path / "bells")
    had = first.take()
    shutil.rmtree(tmp_path / "bells")

    taken = second.take(), first.take()
    second.leave()
    later = first.take()
    first.leave()

    assert (had, taken, later) == (True, (True, False), True)
