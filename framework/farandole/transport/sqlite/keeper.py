"""A thread that keeps the log in order while somebody works on it: retention, compaction, checkpoints.

Each process that has members has one; one at a time does the work of the whole log, for it takes
its turn in the log itself (`kept`), and one alone makes checkpoints as long as it lives (`Turn`).
What it writes, it writes in slices, so that nobody waits long for the write lock.
"""

import fcntl
import logging
import os
import threading
import time
from pathlib import Path

from farandole.errors import FarandoleError
from farandole.transport.sqlite import upkeep
from farandole.transport.sqlite.bell import Bells
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File, beside
from farandole.transport.sqlite.settings import SqliteSettings

LOOK_EVERY_S = 1.0
"""How often the size of the WAL is looked at: a `stat`."""

CHECKPOINT_BYTES = 8 * 1024 * 1024
"""Of WAL from which it is copied into the file: writers wait for 20 ms and two flushes of the disk."""

KEEP_EVERY_S = 30.0
"""Between two rounds of retention and compaction of the whole log."""

log = logging.getLogger("farandole.transport.sqlite")


class Turn:
    """To make checkpoints: who takes it first has it until it ends, and no second one begins right behind the first.

    A lock of the kernel's, which goes with its process. It is on the folder of bells, for the log's own locks are
    SQLite's. Where there are none, nobody has the turn, and writers copy the WAL when it is large.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = -1

    def take(self) -> bool:
        """Whether it is ours."""
        if self._held >= 0 and not self._is_in_place():
            self.leave()  # somebody has removed the folder: on the one that is there now others take theirs
        if self._held >= 0:
            return True
        try:
            self._folder.mkdir(exist_ok=True)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(folder)
            return False
        self._held = folder
        return True

    def leave(self) -> None:
        """Let another one have it; doing it twice is harmless."""
        if self._held >= 0:
            fcntl.flock(self._held, fcntl.LOCK_UN)  # a copy of the process may hold the descriptor, too
            os.close(self._held)
            self._held = -1

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._held), os.stat(self._folder))
        except OSError:
            return False


class Keeper:
    """The thread; errors are logged once a minute, and tried again."""

    def __init__(self, settings: SqliteSettings, bells: Bells) -> None:
        self._settings = settings
        self._bells = bells
        self._wal = beside(settings.path, "wal")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="farandole.keeper", daemon=True)
        self._told_at = -60.0
        self._turn = Turn(bells.folder)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the slice that is under way."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        file: File | None = None
        due = time.monotonic() + LOOK_EVERY_S
        try:
            while not self._stop.wait(LOOK_EVERY_S):
                try:
                    file = file or File(self._settings)
                    self._checkpoint(file)
                    if time.monotonic() >= due:
                        due = time.monotonic() + KEEP_EVERY_S
                        self._keep(file)
                except FarandoleError as error:
                    self._tell(error)
        finally:
            self._turn.leave()
            if file is not None:
                file.close()

    def _checkpoint(self, file: File) -> None:
        try:
            size = os.stat(self._wal).st_size
        except OSError:
            return
        # A checkpoint that has copied all of it leaves it empty: its size is what has come since.
        if size > CHECKPOINT_BYTES and self._turn.take():
            file.checkpoint()

    def _keep(self, file: File) -> None:
        now_s = int(time.time())
        with file.writing as db:
            (kept,) = db.execute("SELECT value FROM meta WHERE name = 'kept'").fetchone()
            # A time that is still to come was written by a clock that was wrong: nobody waits for it.
            if 0 <= now_s - kept < KEEP_EVERY_S / 2:
                return
            db.execute("UPDATE meta SET value = ? WHERE name = 'kept'", (now_s,))
        self._bells.bury()
        catalog = Catalog()
        with file.reading as db:
            catalog.refresh(db)
        for topic in catalog.topics.values():
            for number in range(topic.first, topic.first + topic.partitions):
                if self._stop.is_set():
                    return
                upkeep.keep(file, topic, number, now_s * 1000)

    def _tell(self, error: FarandoleError) -> None:
        if time.monotonic() - self._told_at >= 60:
            self._told_at = time.monotonic()
            log.warning("the log is not kept in order: %s; trying again", error)
