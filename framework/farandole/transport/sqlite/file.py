"""One connection to the file: opening, checking what it is, transactions, and whether anything has changed.

Belongs to one thread at a time. Everything that SQLite raises leaves here as an error of ours.
Waiting for the write lock is done here and not by SQLite, whose own waits are milliseconds long
at least, although a transaction of ours takes less than one.
"""

import os
import random
import sqlite3
import time
from pathlib import Path
from types import TracebackType

from farandole.errors import ConfigError, FatalTransportError
from farandole.transport.sqlite import machine, schema
from farandole.transport.sqlite.errors import DAMAGE, LogBusy, damaged, in_doubt, no_log, told
from farandole.transport.sqlite.settings import SqliteSettings

STATEMENTS_KEPT = 256
"""Prepared statements per connection: more than there are in this package."""

RETRY_MIN_S, RETRY_MAX_S = 0.0001, 0.003
"""Between two tries for the write lock; it grows while the lock is held."""

IN_PLACE_S = 1.0
"""Between two looks at whether the file is still the one at its path: a `stat`, and how long who reads is misled."""

CHECKPOINT_PAGES = 64_000
"""256 MB of WAL, at which a writer copies them into the file itself. Writers do so without the write lock, and two of
them at once: far more than where the keeper does, so that it happens only where nobody keeps the log."""

CHECKPOINT_WAIT_MS = 100
"""Of a checkpoint, for the write lock and then for who still reads from the WAL: others wait to write that long."""

WAL_BYTES_KEPT = 64 * 1024 * 1024
"""Size to which the WAL is cut when it starts anew after a burst."""


class File:
    """The log's file. `db` is for whoever is inside `reading` or `writing`; `moves` rises when there may be news."""

    def __init__(self, settings: SqliteSettings) -> None:
        self.path = settings.path
        self.moves = 0
        self.reading = _Reading(self)
        self.writing = _Writing(self)
        self._patience = settings.patience.total_seconds()
        self._version = -1
        self._in_place_until = time.monotonic() + IN_PLACE_S
        _make_folder(self.path)
        _refuse_other_file(self.path)
        try:
            self.db = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_KEPT
            )
        except sqlite3.Error as error:
            raise told(self.path, error) from None
        try:
            self._prepare(settings)
            self._inodes = {each: _inode(each) for each in (self.path, beside(self.path, "wal"))}
        except sqlite3.Error as error:
            self.db.close()
            raise told(self.path, error) from None
        except DAMAGE as error:  # SQLite's own message may quote what is no text
            self.db.close()
            raise damaged(self.path, error) from error
        except BaseException:
            self.db.close()
            raise

    def observe(self) -> None:
        """Learn whether anybody else has changed the file, and once in a while whether it is still the one at its path.

        Raises:
            FatalTransportError: it was removed or replaced; what others write is not in it.
        """
        if time.monotonic() >= self._in_place_until:
            self.require_in_place()
            self._in_place_until = time.monotonic() + IN_PLACE_S
        try:
            (version,) = self.db.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error as error:
            raise told(self.path, error) from None
        if version != self._version:
            self._version = version
            self.moves += 1

    def begin(self) -> None:
        """Take the write lock.

        Raises:
            LogBusy: it was not free for as long as we wait.
        """
        pause, until = RETRY_MIN_S, 0.0
        while True:
            try:
                self.db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.Error as error:
                refused = told(self.path, error)
                if not isinstance(refused, LogBusy):
                    raise refused from None
            now = time.monotonic()
            until = until or now + self._patience
            if now > until:
                raise refused
            # Of several who wait, not all are to come back at the same moment.
            time.sleep(pause * (0.5 + random.random()))
            pause = min(pause * 1.5, RETRY_MAX_S)

    def require_in_place(self) -> None:
        """See that the file is still the one at its path, and so the WAL, which lives as long as anybody has it open.

        Raises:
            FatalTransportError: one was removed or replaced: whoever opens the path now is on another log.
        """
        for path, inode in self._inodes.items():
            if _inode(path) != inode:
                raise FatalTransportError(
                    f"{path}: expected the log to stay where it is, but it was removed or replaced while in use. "
                    "What was written since is lost to others; start the processes anew"
                )

    def roll_back(self) -> None:
        """Forget what was begun; some errors have done so already."""
        try:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise told(self.path, error) from None

    def checkpoint(self) -> bool:
        """Copy the WAL into the file and empty it, as far as nobody is in the way; whether all of it was.

        It holds the write lock, so that nobody begins the WAL anew meanwhile: up to 3.51.2 SQLite may take what comes
        then for copied, which damages the file. Without a wait it would go on without the lock where somebody is just
        writing. Source: sqlite.org/wal.html, "The WAL-Reset Bug".
        """
        try:
            self.db.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
            try:
                is_busy, _, _ = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self.db.execute("PRAGMA busy_timeout = 0")
        except sqlite3.Error as error:
            refused = told(self.path, error)
            if not isinstance(refused, LogBusy):
                raise refused from None
            return False
        return not is_busy

    def close(self) -> None:
        """Close it; what was begun is forgotten."""
        self.db.close()

    def _prepare(self, settings: SqliteSettings) -> None:
        until = time.monotonic() + self._patience
        while True:
            try:
                self._open(settings)
                return
            except sqlite3.Error as error:
                self.roll_back()
                # Turning a new file to WAL wants it alone, and whoever makes it is gone in a moment.
                if not isinstance(told(self.path, error), LogBusy) or time.monotonic() > until:
                    raise
                time.sleep(RETRY_MAX_S)

    def _open(self, settings: SqliteSettings) -> None:
        self._refuse_strangers()
        if self.db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise ConfigError(f"{self.path}: expected a file system that WAL works on, but it does not. {_ELSEWHERE}")
        self.db.execute(f"PRAGMA synchronous = {settings.synchronous.upper()}")
        self.db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        self.db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        if settings.bytes_max is not None:
            (page_bytes,) = self.db.execute("PRAGMA page_size").fetchone()
            self.db.execute(f"PRAGMA max_page_count = {max(1, settings.bytes_max // page_bytes)}")
        if schema.is_empty(self.db):
            self.db.execute("BEGIN IMMEDIATE")
            if schema.is_empty(self.db):
                schema.create(self.db)
            self.db.execute("COMMIT")
            self._refuse_strangers()

    def _refuse_strangers(self) -> None:
        # In this order: what is not empty any more was made as a whole, and says what it is.
        if schema.is_empty(self.db):
            return
        application, version = schema.identity(self.db)
        if application != schema.APPLICATION_ID:
            raise ConfigError(
                f"{self.path}: expected a farandole log, but it is a database of another application. "
                "Nothing was changed; choose another place for the log"
            )
        if version > schema.VERSION:
            raise ConfigError(
                f"{self.path}: expected a log of version {schema.VERSION} at most, but it has version {version}, of a "
                "newer farandole. Nothing was changed; install that one, or choose another place for the log"
            )


class _Reading:
    """A context in which everything that is read is of one moment."""

    __slots__ = ("_file",)

    def __init__(self, file: File) -> None:
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._file.db.execute("BEGIN")
        except sqlite3.Error as error:
            raise told(self._file.path, error) from None
        return self._file.db

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.roll_back()
        _tell(self._file.path, error)


class _Writing:
    """A context with the write lock: what is done in it is done as a whole, or, if it raises, not at all."""

    __slots__ = ("_file",)

    def __init__(self, file: File) -> None:
        self._file = file

    def __enter__(self) -> sqlite3.Connection:
        self._file.begin()
        return self._file.db

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file = self._file
        if error is not None:
            file.roll_back()
            _tell(file.path, error)
            return
        try:
            file.db.execute("COMMIT")
        except sqlite3.Error as failed:
            file.roll_back()
            raise in_doubt(file.path, failed) from None
        file.moves += 1


def _tell(path: Path, error: BaseException | None) -> None:
    """Raise the error of ours for what SQLite, or the reading of rows, has raised; nothing else is our affair."""
    if isinstance(error, sqlite3.Error):
        raise told(path, error) from None
    if isinstance(error, DAMAGE):
        raise damaged(path, error) from error


_ELSEWHERE = "Put the log on a disk of this machine, or use Kafka (`bootstrap`)"


def _refuse_other_file(path: Path) -> None:
    """SQLite takes a file of a few bytes for a new one, and writes over it; a longer one it refuses by itself.

    Nothing but SQLite may open the file of a log in use: closing it again lets go of all locks of this process, and
    another one that then takes itself for the last removes the WAL. Source: sqlite.org/howtocorrupt.html, 2.2.
    """
    try:
        size = path.stat().st_size
    except OSError:
        return  # there is none, or SQLite will say what is wrong with it
    if 0 < size < SMALLEST:
        raise no_log(path, f"it has {size} bytes")


SMALLEST = 512
"""Bytes of the smallest page, and so of the smallest database. Source: sqlite.org/fileformat.html, 1.3.2."""


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return -1


def beside(path: Path, what: str) -> Path:
    """The place of what belongs to a log: beside the file itself, where SQLite looks, also for who came by a link."""
    file = Path(os.path.realpath(path))
    return file.with_name(f"{file.name}-{what}")


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as bad:
        raise ConfigError(
            f"{path}: expected a folder for the log that exists or can be made, but {bad.strerror or bad}. "
            "Change its owner or mode, or choose another place for the log"
        ) from None
    kind = machine.remote_kind(Path(os.path.realpath(path)).parent)
    if kind:
        raise ConfigError(f"{path}: expected a file system of this machine, but it is {kind}. {_ELSEWHERE}")
