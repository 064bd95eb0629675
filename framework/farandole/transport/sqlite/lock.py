"""Whether the log can be written at all, for who only looks: readers go on while one process holds off all writers."""

from contextlib import closing

from farandole.errors import FarandoleError
from farandole.transport.sqlite.errors import LogBusy
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.settings import SqliteSettings


def is_locked(settings: SqliteSettings) -> bool:
    """Whether the write lock was not to be had within the patience of a process, and nobody wrote meanwhile.

    What else is wrong is no lock. It is let go at once, with nothing written. The log must exist: `File` makes one.
    """
    try:
        with closing(File(settings)) as log:
            log.observe()
            before = log.moves
            try:
                log.begin()
            except LogBusy:
                log.observe()
                return log.moves == before  # else it was not held, but had by others
            log.roll_back()
    except LogBusy:
        return True
    except FarandoleError:
        return False
    return False
