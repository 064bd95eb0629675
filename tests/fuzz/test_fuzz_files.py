"""Files that stand where the embedded log should be: an error with a name, whatever they are."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farandole.testing.fuzz import Answer, Verdict
from farandole.testing.fuzz.files import edit, sound_log

Fine = Callable[[str, bytes], Answer]
Cases = Callable[[int], settings]

PAGE = 4_096

COLUMNS = {
    "meta": ["name", "value"],
    "topics": ["name", "first", "partitions", "config"],
    "parts": ["number", "next", "beginning", "compacted"],
    "batches": ["key", "base", "ms", "body"],
    "writers": ["name", "epoch"],
    "positions": ["grp", "number", "next", "metadata"],
    "groups": ["name", "generation", "rebalancing", "divided"],
    "members": ["grp", "member", "seen", "session", "boot", "bell", "joined", "rejoined", "share"],
    "opened": ["writer", "key", "base"],
    "pending": ["writer", "grp", "number", "next", "metadata"],
}
VALUES = [
    "-1", "0", "1", "2", "1e300", "99999999999", "9223372036854775807", "-9223372036854775808", "'x'", "''", "x''",
    "x'ff'", "x'91c0'", "x'c0'", "x'90'", "x'81a161c0'", "x'dd7fffffff'", "zeroblob(100)", "zeroblob(100000)",
    "cast(x'ff' as text)", "NULL", "'{}'", "'[]'", "'{\"retention.ms\":\"x\"}'", "'{\"retention.ms\":\"1\"}'",
    "'{\"cleanup.policy\":\"compact\",\"max.message.bytes\":\"-1\"}'",
]  # fmt: skip
OTHER = [
    "PRAGMA user_version = 2",
    "PRAGMA user_version = 0",
    "PRAGMA application_id = 1",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA encoding = 'UTF-16'",
    "ALTER TABLE parts ADD COLUMN more",
    "CREATE TABLE more (x)",
    "CREATE TRIGGER no AFTER INSERT ON batches BEGIN SELECT RAISE(ABORT, 'no'); END",
    "INSERT INTO positions VALUES ('group', 99, 1, '')",
    "INSERT INTO members SELECT 'group', 'm', 1, 1, '', '', x'c0', 0, x'c0'",
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log as we write it."""
    path = tmp_path_factory.mktemp("sound") / "log.db"
    sound_log(path)
    return path.read_bytes()


def changes() -> st.SearchStrategy[str]:
    """What somebody may do to a log with SQLite."""
    columns = [(table, column) for table, of in COLUMNS.items() for column in of]
    update = st.builds(
        lambda place, value, some: f"UPDATE OR REPLACE {place[0]} SET {place[1]} = {value}{some}",
        st.sampled_from(columns),
        st.sampled_from(VALUES),
        st.sampled_from(["", " WHERE half()"]),
    )
    tables = st.sampled_from(sorted(COLUMNS))
    return st.one_of(
        update, update, update, tables.map("DELETE FROM {}".format), tables.map("DROP TABLE {}".format),
        st.sampled_from(OTHER),
    )  # fmt: skip


@st.composite
def broken(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with bits flipped, a page or an end lost, or bytes of something else in it."""
    out = bytearray(whole)
    match draw(st.sampled_from(["bits", "bits", "header", "page", "cut", "strange"])):
        case "bits":
            for at in draw(st.lists(st.integers(0, len(out) * 8 - 1), min_size=1, max_size=60)):
                out[at // 8] ^= 1 << at % 8
        case "header":
            for at in draw(st.lists(st.integers(0, 99), min_size=1, max_size=4)):
                out[at] = draw(st.integers(0, 255))
        case "page":
            at = PAGE * draw(st.integers(0, len(out) // PAGE - 1))
            out[at : at + PAGE] = draw(st.sampled_from([bytes(PAGE), b"\xff" * PAGE, bytes(out[:PAGE])]))
        case "cut":
            del out[draw(st.integers(0, len(out))) :]
        case "strange":
            at = draw(st.integers(0, len(out)))
            out[at:at] = draw(st.binary(min_size=1, max_size=200))
    return bytes(out)


def test_a_log_that_somebody_has_changed_is_used_or_refused(fine: Fine, cases: Cases) -> None:
    @cases(60)
    @given(st.lists(changes(), min_size=1, max_size=3))
    def check_each(statements: list[str]) -> None:
        fine("log_file", json.dumps({"sql": statements}).encode() + b"\n")

    check_each()


def test_a_log_that_is_damaged_is_used_or_refused(fine: Fine, cases: Cases, sound: bytes) -> None:
    @cases(60)
    @given(broken(sound), st.binary(max_size=300))
    def check_each(content: bytes, wal: bytes) -> None:
        fine("log_file", json.dumps({"wal": len(wal)}).encode() + b"\n" + content + wal)

    check_each()


@pytest.mark.parametrize(
    "content", [b"x", b"SQLite format 3\0", bytes(PAGE), b"\x1f\x8b" + bytes(5_000), b"\n" * 100_000]
)
def test_a_file_that_is_no_database_is_refused(content: bytes, fine: Fine) -> None:
    answer = fine("log_file", b"{}\n" + content)

    assert answer.verdict is Verdict.REFUSED
    assert answer.text.startswith(("FatalTransportError", "ConfigError"))


@pytest.mark.parametrize(
    ("statement", "why"), [("PRAGMA user_version = 2", "newer"), ("PRAGMA application_id = 5", "another application")]
)
def test_a_file_of_another_version_or_application_is_refused_unchanged(
    statement: str, why: str, fine: Fine, sound: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(sound)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement)

    answer = fine("log_file", b"{}\n" + path.read_bytes())

    assert answer.verdict is Verdict.REFUSED
    assert answer.text.startswith("ConfigError")
    assert why in answer.text


def test_an_edit_is_the_same_whenever_it_is_made_again(sound: bytes, tmp_path: Path) -> None:
    """One of 2,400 edited files was no good, once: which half of its rows had been changed was a matter of chance."""
    found = []
    for name in ("one.db", "other.db"):
        path = tmp_path / name
        path.write_bytes(sound)
        edit(path, ["UPDATE batches SET ms = 7 WHERE half()"])
        with closing(sqlite3.connect(path)) as db:
            found.append([ms == 7 for (ms,) in db.execute("SELECT ms FROM batches ORDER BY key")])

    assert found[0] == found[1]
    assert len(found[0]) // 2 <= sum(found[0]) < len(found[0])


def test_a_sound_log_is_used(fine: Fine, sound: bytes) -> None:
    assert fine("log_file", b"{}\n" + sound).verdict is Verdict.ACCEPTED
