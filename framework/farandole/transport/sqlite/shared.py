"""What the parts of one process share: where the log is, its bells, and the keeper while anybody is there."""

import threading
from dataclasses import replace

from farandole.transport.sqlite.bell import Bell, Bells
from farandole.transport.sqlite.file import File, beside
from farandole.transport.sqlite.keeper import Keeper
from farandole.transport.sqlite.settings import SqliteSettings

BELLS = "bells"
"""Folder of the bells, beside the log: `log.db-bells`."""


class Shared:
    """Counts the parts, so that what is shared is let go of with the last one. Thread-safe."""

    def __init__(self, settings: SqliteSettings) -> None:
        # From where the process is now: files are opened later, and a handler may go elsewhere (`os.chdir`).
        self.settings = replace(settings, path=settings.path.absolute())
        self.bells = Bells(beside(self.settings.path, BELLS))
        self._lock = threading.Lock()
        self._parts = 0
        self._members = 0
        self._keeper: Keeper | None = None

    def open(self) -> File:
        """A connection of one's own; `part_closed` when it is closed."""
        file = File(self.settings)
        with self._lock:
            self._parts += 1
        return file

    def bell(self) -> Bell:
        """A bell of one's own."""
        return Bell(self.bells.folder)

    def part_closed(self) -> None:
        """One that was opened is closed."""
        with self._lock:
            self._parts -= 1
            is_last = self._parts == 0
        if is_last:
            self.bells.close()

    def member_opened(self) -> None:
        """Somebody works here: keep the log in order meanwhile."""
        with self._lock:
            self._members += 1
            if self._keeper is None:
                self._keeper = Keeper(self.settings, self.bells)
                self._keeper.start()

    def member_closed(self) -> None:
        """One less works here."""
        with self._lock:
            self._members -= 1
            keeper = None if self._members else self._keeper
            if keeper is not None:
                self._keeper = None
        if keeper is not None:
            keeper.stop()
