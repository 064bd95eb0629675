"""A thread that keeps the log in order while somebody works on it: retention, compaction, checkpoints.

Each process that has members has one; one at a time does the work of the whole log, for it takes
its turn in the log itself (`kept`). What it writes, it writes in slices, so that nobody waits
long for the write lock.
"""

import logging
import os
import threading
import time

from farandole.errors import FarandoleError
from farandole.transport.sqlite import upkeep
from farandole.transport.sqlite.bell import Bells
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.settings import SqliteSettings

LOOK_EVERY_S = 1.0
"""How often the size of the WAL is looked at: a `stat`."""

CHECKPOINT_BYTES = 8 * 1024 * 1024
"""Of WAL from which it is copied into the file: 20 ms of a thread that nobody waits for."""

RESTART_BYTES = 48 * 1024 * 1024
"""From which writers are made to wait for the copying to catch up: before one of them would do it by itself."""

KEEP_EVERY_S = 30.0
"""Between two rounds of retention and compaction of the whole log."""

log = logging.getLogger("farandole.transport.sqlite")


class Keeper:
    """The thread; errors are logged once a minute, and tried again."""

    def __init__(self, settings: SqliteSettings, bells: Bells) -> None:
        self._settings = settings
        self._bells = bells
        self._wal = settings.path.with_name(settings.path.name + "-wal")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="farandole.keeper", daemon=True)
        self._told_at = -60.0
        self._copied_ns = -1  # when the WAL was last written to before all of it was copied

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
            if file is not None:
                file.close()

    def _checkpoint(self, file: File) -> None:
        try:
            wal = os.stat(self._wal)
        except OSError:
            return
        # It does not shrink when it was copied: only what was written since is a reason to do so again.
        if wal.st_size <= CHECKPOINT_BYTES or wal.st_mtime_ns == self._copied_ns:
            return
        is_whole = file.checkpoint("RESTART" if wal.st_size > RESTART_BYTES else "PASSIVE")
        self._copied_ns = wal.st_mtime_ns if is_whole else -1

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
