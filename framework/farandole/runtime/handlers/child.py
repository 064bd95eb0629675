"""The child process of `isolation="process"`: loads the unit, then calls one handler at a time.

Everything that a handler can do to its process it does to this one: memory, exit, endless
loops, crashes in decoding. It ends when its parent ends, whatever a handler is doing.
"""

import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from farandole.clock import SystemClock
from farandole.definition.loading import load_unit
from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Succeeded
from farandole.runtime.context import AttemptContext
from farandole.runtime.handlers.calls import failure_of, run_plain
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.handlers.wire import (
    Began,
    Failure,
    Line,
    Loaded,
    Progress,
    Result,
    Run,
    Setup,
    Word,
    encode,
    read_order,
)

_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

PARENT_LOOK_S = 1.0
"""How often a child looks whether its parent still lives, where the kernel does not tell it."""


def main(descriptor: int) -> None:
    """Serve the parent at the other end of `descriptor` until it hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    channel = Connection(descriptor)
    setup = read_order(channel.recv_bytes())
    assert isinstance(setup, Setup)
    _die_with(setup.parent)
    child = _Child(channel, timedelta(seconds=setup.progress_every_s))
    if child.load(Path(setup.unit)):
        child.serve()


class _Child:
    """One child's side of the conversation."""

    def __init__(self, channel: Connection, progress_every: timedelta) -> None:
        self._channel = channel
        self._progress_every = progress_every
        self._clock = SystemClock()
        self._agents: Mapping[str, AgentSpec] = {}
        self._saying = threading.Lock()
        logging.getLogger().addHandler(Telling(self._say))
        logging.getLogger("farandole").setLevel(logging.DEBUG)  # the parent knows which are wanted

    def load(self, unit: Path) -> bool:
        """Load the unit, and tell whether that went well."""
        try:
            self._agents = load_unit(unit).agents
        except BaseException as error:
            self._say(Loaded(failure_of(error).error))
            return False
        self._say(Loaded())
        return True

    def serve(self) -> None:
        """Call what is asked for, until the parent hangs up."""
        while True:
            try:
                order = read_order(self._channel.recv_bytes())
            except EOFError:
                return
            assert isinstance(order, Run)
            self._say(self._run(order))

    def _run(self, order: Run) -> Result | Failure:
        spec = self._agents.get(order.agent)
        if spec is None:
            return Failure(failure_of(LookupError(f"the unit has no agent {order.agent!r} any more")))
        context = AttemptContext(order.call, spec, self._clock, self._tell, self._progress_every)
        self._say(Began())
        _limit_memory(order.memory_limit)
        try:
            outcome = run_plain(spec, order.call, context, Payloads(_as_it_is, _as_it_is))
        except MemoryError as error:
            outcome = failure_of(error)
        finally:
            _limit_memory(None)
        return Result(outcome) if isinstance(outcome, Succeeded) else Failure(outcome)

    def _tell(self, at: datetime, done: float, total: float | None, note: str) -> None:
        self._say(Progress(at, done, total, note))

    def _say(self, word: Word) -> None:
        with self._saying:  # log lines come from the handler's threads too
            self._channel.send_bytes(encode(word))


class Telling(logging.Handler):
    """Hands log lines to the parent: it knows where they go, and in which form."""

    def __init__(self, say: Callable[[Word], None]) -> None:
        super().__init__()
        self._say = say
        self._text = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line; a parent that is gone needs none."""
        fields = {name: _plain(value) for name, value in vars(record).items() if name not in _STANDARD}
        with contextlib.suppress(OSError):
            self._say(Line(record.name, record.levelno, self._text.format(record), fields))


def _plain(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _as_it_is(payload: bytes) -> bytes:
    """Claims are the parent's business."""
    return payload


def _limit_memory(more: int | None) -> None:
    """Bound the address space to what is taken now and `more` bytes; None: no bound of ours."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = _address_space()
    if more is None or taken is None:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        return
    wanted = taken + more
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _address_space() -> int | None:
    """Bytes of address space taken now; None where the system does not say (then nothing is bounded)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError):
        return None


def _die_with(parent: int) -> None:
    """End when the parent ends, even in the middle of an endless loop."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_LOOK_S)
    os._exit(1)
