"""What SQLite says, in the grammar of our errors, with a way out; a traceback helps nobody here."""

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from farandole.errors import FatalTransportError, TransportError

DAMAGE: Final = (msgspec.MsgspecError, TypeError, ValueError, LookupError, ArithmeticError)
"""What reading rows raises that are not as we write them. SQLite looks after its pages and not after what is in them: a
flipped bit in a body, or a table that somebody has edited, is a sound file to it."""


FILES_OF_A_LOG: Final = 3
"""That a connection opens: the log, its WAL, and the index of that."""


class LogBusy(TransportError):
    """Others have held the write lock for longer than we wait; nothing was written."""


class CommitInDoubt(TransportError):
    """SQLite failed in the very commit: only what is on the log tells whether it took effect (R4)."""


def told(path: Path, error: sqlite3.Error) -> TransportError:
    """The error of ours for one of SQLite's."""
    # The primary result code is the lower byte of an extended one; Python's own misuse errors have none.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_FULL:
            return TransportError(
                f"{path}: expected room to write, but the disk, or the largest size allowed, is full. "
                "Nothing was written; make room, and it goes on by itself"
            )
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LogBusy(
                f"{path}: expected the write lock, but another process has held it for the whole time. "
                "Nothing was written; find a process that is stopped (SIGSTOP, a debugger) and end it"
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return no_log(path, str(error))
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return FatalTransportError(
                f"{path}: expected to be allowed to write it and beside it, but it is read-only ({error}). "
                "Change its owner or mode, or choose another place for the log"
            )
        case sqlite3.SQLITE_CANTOPEN if lack := _lack_of_descriptors():
            return TransportError(
                f"{path}: expected to open the log, but {lack}. Raise the limit of open files (`ulimit -n`), or let "
                "the process hold fewer"
            )
        case sqlite3.SQLITE_CANTOPEN:
            return FatalTransportError(
                f"{path}: expected a file that can be opened or made, but it cannot ({error}). "
                "See whether its folder exists and may be written, or choose another place for the log"
            )
        case _:
            return TransportError(f"{path}: expected the log to answer, but {_name(error)}: {error}")


def _lack_of_descriptors() -> str:
    """Why the process can open nothing more, if it cannot: SQLite keeps that to itself."""
    held: list[int] = []
    try:
        for _ in range(FILES_OF_A_LOG):
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as bad:
        return os.strerror(bad.errno) if bad.errno in (errno.EMFILE, errno.ENFILE) else ""
    finally:
        for each in held:
            os.close(each)
    return ""


def no_log(path: Path, why: str) -> FatalTransportError:
    """The error of ours for a file that SQLite cannot read, or must not."""
    return FatalTransportError(
        f"{path}: expected a farandole log, but the file is damaged or something else ({why}). Nothing was "
        f"changed; stop all processes, then save what can be read with `sqlite3 {path.name} .recover`, or move "
        f"{path.name}, {path.name}-wal and {path.name}-shm away and start anew"
    )


def damaged(path: Path, error: Exception) -> FatalTransportError:
    """The error of ours for rows that are not as we write them."""
    return FatalTransportError(
        f"{path}: expected rows as farandole writes them, but one gave {type(error).__name__}: {error}. The file is "
        f"damaged, or something else has written to it. Nothing was changed; stop all processes, then move "
        f"{path.name}, {path.name}-wal and {path.name}-shm away and start anew, or with an earlier copy"
    )


def in_doubt(path: Path, error: sqlite3.Error) -> CommitInDoubt:
    """The error of ours for one that SQLite raised in a commit."""
    remedy = "; make room, and it goes on by itself" if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL else ""
    return CommitInDoubt(
        f"{path}: expected a commit to be written, but {_name(error)}: {error}. "
        f"What became of it is judged by what is on the log{remedy}"
    )


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
