"""The way out of a process that the command line owns: it ends, whatever threads users' code left in it.

The interpreter waits for all threads that are no daemons, such as those of `asyncio.to_thread`; one that
is stuck kept a drained process until it was killed, long after its supervisor had counted on its place. And once it
tears itself down, a destructor that waits for what a daemon thread held waits for ever: a watchdog in C comes then.
"""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LEAVE_S = 5.0
"""How long threads and `atexit` functions may take once all is done: with the drain's 20 s, within Kubernetes' 30 s."""

FLUSH_S = 1.0
"""How long the last words may take: who holds a stream may be stuck too."""

TEARDOWN_S = 2.0
"""How long the interpreter may take to tear itself down after that, when no thread of Python's runs any more."""

log = logging.getLogger("farandole.group")


@contextmanager
def leaving() -> Iterator[None]:
    """Around all that a process is for: a few seconds after it the process has ended."""
    status = 1
    try:
        yield
        status = 0
    except SystemExit as way_out:
        code = way_out.code
        status = code if isinstance(code, int) else int(code is not None)
        raise
    finally:
        with suppress(RuntimeError, ValueError, AttributeError):  # a standard error that is no file
            faulthandler.dump_traceback_later(LEAVE_S + FLUSH_S + TEARDOWN_S, exit=True)
        with suppress(RuntimeError):  # no thread can be begun any more
            threading.Thread(target=_leave, args=(status,), name="farandole-leaving", daemon=True).start()


def _leave(status: int) -> None:
    time.sleep(LEAVE_S)
    last_words = threading.Thread(target=_say, daemon=True)
    last_words.start()
    last_words.join(FLUSH_S)
    os._exit(status)


def _say() -> None:
    held_by = [each.name for each in threading.enumerate() if not each.daemon and each is not threading.main_thread()]
    log.warning("all is done, but threads of handlers have not ended: the process ends without them: %s", held_by)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    logging.shutdown()
