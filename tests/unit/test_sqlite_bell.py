"""Bells: who is woken, what a dead process leaves, and what happens where there are none."""

import errno
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from farandole.errors import TransportError
from farandole.transport.port import MemberSettings, TopicPartition, TopicSpec, Trouble
from farandole.transport.sqlite import SqliteSettings, SqliteTransport, bell
from farandole.transport.sqlite.bell import Bell, Bells

HANGS_A_BELL_AND_DIES = """
import os, sys
from pathlib import Path
from farandole.transport.sqlite.bell import Bell
print(Bell(Path(sys.argv[1])).name, flush=True)
os._exit(9)
"""


def dead_bell(folder: Path) -> str:
    """The name of a bell that a process left as it died."""
    died = subprocess.run(
        [sys.executable, "-c", HANGS_A_BELL_AND_DIES, str(folder)], capture_output=True, text=True, check=False
    )
    return died.stdout.strip()


def test_a_ring_is_heard_by_everybody_but_the_ringer(tmp_path: Path) -> None:
    mine, other, bells = Bell(tmp_path), Bell(tmp_path), Bells(tmp_path)

    bells.ring(mine.name)

    assert other.wait(0)
    assert not mine.wait(0)
    for each in (mine, other, bells):
        each.close()


def test_a_bell_that_was_hung_up_after_the_first_ring_is_rung_by_the_next(tmp_path: Path) -> None:
    first, bells = Bell(tmp_path), Bells(tmp_path)
    bells.ring()
    second = Bell(tmp_path)

    bells.ring()

    assert second.wait(0)
    for each in (first, second, bells):
        each.close()


def test_many_rings_nobody_hears_are_one_and_block_nobody(tmp_path: Path) -> None:
    deaf, bells = Bell(tmp_path), Bells(tmp_path)

    for _ in range(100_000):
        bells.ring()

    assert deaf.wait(0)
    deaf.close()
    bells.close()


def test_a_wait_ends_with_a_ring_from_another_thread(tmp_path: Path) -> None:
    heard = Bell(tmp_path)
    ringer = threading.Timer(0.02, heard.ring)
    ringer.start()

    rang = [heard.wait(5.0) for _ in range(2)]

    ringer.join()
    assert any(rang)
    heard.close()


def test_a_member_that_is_woken_after_it_was_closed_writes_into_nobody_elses_file(tmp_path: Path) -> None:
    """A handler that ended late wrote `!` over the first byte of a database that had the descriptor by then."""
    member = SqliteTransport(SqliteSettings(tmp_path / "log.db")).member(MemberSettings("g", "c"))
    before = descriptors()
    member.close()
    own = [(tmp_path / f"own{n}").open("wb", buffering=0) for n in range(before)]

    member.wake()

    assert [Path(file.name).read_bytes() for file in own] == [b""] * before
    assert member.replies(60.0) == []
    for file in own:
        file.close()


def test_a_bell_is_taken_down_only_between_two_rings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed between the look at its descriptor and the write, it rang in what was opened just then."""
    rung, write = Bell(tmp_path), os.write
    closer = threading.Thread(target=rung.close)
    found = []

    def close_meanwhile(to: int, what: bytes) -> int:
        closer.start()
        closer.join(0.05)
        found.append(closer.is_alive())
        return write(to, what)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", close_meanwhile)
        rung.ring()
    closer.join()

    assert found == [True]


def test_a_signal_handler_may_ring_a_bell_that_its_own_thread_takes_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung, close = Bell(tmp_path), os.close
    before = descriptors()

    def interrupted(what: int) -> None:
        rung.ring()
        close(what)

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", interrupted)
        rung.close()

    assert descriptors() == before - 1


def test_a_bell_beyond_the_first_thousand_descriptors_is_heard(tmp_path: Path) -> None:
    """`select` knows no more than that: a web server with many connections could not read its log any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1_400:
        pytest.skip("this machine allows fewer descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_400, hard))
    held: list[int] = []
    try:
        while len(held) < 1_100:
            held.append(os.open(os.devnull, os.O_RDONLY))
        heard = Bell(tmp_path)
        heard.ring()
        rang = [heard.wait(0.01) for _ in range(2)]
        heard.close()
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert rang == [True, False]


def test_only_the_bell_of_a_dead_process_says_so(tmp_path: Path) -> None:
    living, bells, dead = Bell(tmp_path), Bells(tmp_path), dead_bell(tmp_path)

    told = {name: bells.is_dead(name) for name in (living.name, dead, "never-was", "")}

    assert told == {living.name: False, dead: True, "never-was": False, "": False}
    bells.ring()
    assert living.wait(0)
    assert bells.is_dead(dead)
    living.close()
    bells.close()


def test_bells_of_the_dead_are_taken_down_when_they_are_old(tmp_path: Path) -> None:
    living, bells, old, fresh = Bell(tmp_path), Bells(tmp_path), dead_bell(tmp_path), dead_bell(tmp_path)
    past = time.time() - bell.BURIED_AFTER_S - 1
    for name in (living.name, old):
        os.utime(tmp_path / name, (past, past))

    bells.bury()

    assert {path.name for path in tmp_path.iterdir()} == {living.name, fresh}
    living.close()


def test_where_no_pipe_can_be_made_waits_are_short_and_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "mkfifo")

    lonely = Bell(tmp_path)
    began = time.monotonic()
    rang = [lonely.wait(60.0) for _ in range(5)]
    took = time.monotonic() - began
    lonely.ring()

    assert lonely.name == ""
    assert rang == [False] * 5
    assert took < 5
    assert lonely.wait(0)
    lonely.close()


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/dev/fd"))


def refuse(*_: object) -> None:
    """As the system does that allows no more descriptors."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_member_that_gets_no_descriptor_is_told_so_and_keeps_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was a bare OSError, and each try left a connection to the log behind: there were fewer at the next."""
    transport = SqliteTransport(SqliteSettings(tmp_path / "log.db"))
    at = TopicPartition("t", 0)
    with closing(transport.admin()) as admin:
        admin.create([TopicSpec(at.topic, 1)])
        reader = transport.reader("r")
        reader.assign({at: 0})
        while reader.poll(0):
            pass
        transport.member(MemberSettings("g", "c")).close()  # SQLite keeps one of its descriptors for the next to come
        before = descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(os, "mkfifo", refuse)
            patch.setattr(os, "pipe", refuse)
            for _ in range(3):
                with pytest.raises(TransportError, match=r"Too many open files.*ulimit -n"):
                    transport.member(MemberSettings("g", "c"))
            (trouble,) = reader.poll(0.01)

        assert descriptors() == before
        assert isinstance(trouble, Trouble)
        reader.close()
        transport.member(MemberSettings("g", "c")).close()


def test_a_bell_that_cannot_be_hung_up_leaves_no_descriptor_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        Bell(tmp_path).close()

    assert descriptors() == before
    assert list(tmp_path.iterdir()) == []


def test_member_is_closed_although_its_bell_cannot_be_taken_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk went read-only: the end of a process was a bare OSError, with its connection and its keeper left open."""
    transport = SqliteTransport(SqliteSettings(tmp_path / "log.db"))
    member = transport.member(MemberSettings("g", "c"))
    bell, shared = member._bell, transport._shared

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: refuse())
        member.close()

    assert (bell.fileno(), shared._keeper, shared._parts) == (-1, None, 0)
