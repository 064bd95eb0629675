"""What a child says to its parent: whole words, one after the other, from whatever thread and in the midst of whatever.

A word may be said while one is being said, by the very same thread: a signal handler or a `__del__` that the collector
runs may log. And what is logged may be anything: it never fails the handler that logs.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection

from farandole.runtime.handlers.wire import Line, Word, encode
from farandole.runtime.writable import writable

_INTEGERS = range(-(2**63), 2**63)
"""Those that the wire can hold."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Teller:
    """The one way to send a word; says nothing any more once it is closed."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._is_saying = False
        self._is_closed = False

    def say(self, word: Word) -> None:
        """Send a word, or leave it to the one that this thread is sending just now.

        Raises:
            OSError: the parent is gone.
        """
        told = encode(word)
        if self._is_closed:
            return
        with self._lock:
            self._waiting.append(told)
            while self._waiting and not self._is_saying:
                self._say_all()

    def close(self) -> None:
        """Say nothing more; for a copy of this process, in which a thread that is no more may hold the lock."""
        self._is_closed = True
        self._channel.close()

    def _say_all(self) -> None:
        self._is_saying = True
        try:
            while self._waiting:
                self._channel.send_bytes(self._waiting.popleft())
        except BaseException:
            self.close()  # half a word may be out, as when a signal handler raises: the parent must not hear the rest
            raise
        finally:
            self._is_saying = False


class Telling(logging.Handler):
    """Hands log lines to the parent: it knows where they go, and in which form."""

    def __init__(self, say: Callable[[Word], None]) -> None:
        super().__init__()
        self._say = say
        self._text = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line; a parent that is gone needs none, and what cannot be told is shown as Python's handlers do."""
        try:
            fields = {
                writable(str(name)): _plain(value) for name, value in vars(record).items() if name not in _STANDARD
            }
            self._say(Line(record.name, record.levelno, writable(self._text.format(record)), fields))
        except OSError:
            pass
        except Exception:
            self.handleError(record)


def _plain(value: object) -> str | int | float | bool | None:
    match value:
        case bool() | None:
            return value
        case int() if value in _INTEGERS:
            return int(value)
        case float():
            return float(value)
        case _:
            return writable(str(value))
