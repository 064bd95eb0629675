"""The child process of `isolation="process"`: loads the unit, then calls one handler at a time.

Everything that a handler can do to its process it does to this one: memory, exit, endless
loops, crashes in decoding. It ends when its parent ends, whatever a handler is doing. A copy
of it (`os.fork`, a pool of `multiprocessing`) says nothing: the channel is this process's alone. It
ends with its handler, and with the status that it would have without us.
"""

import contextlib
import ctypes
import io
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from farandole.clock import SystemClock
from farandole.definition.loading import load_unit
from farandole.definition.spec import AgentSpec, Handler
from farandole.runtime.attempts import Succeeded
from farandole.runtime.context import AttemptContext
from farandole.runtime.handlers.calls import failure_of, run_plain
from farandole.runtime.handlers.memory import AddressSpace
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.handlers.telling import Teller, Telling
from farandole.runtime.handlers.unheeded import leave_signals_to_parent
from farandole.runtime.handlers.wire import (
    Began,
    Failure,
    Loaded,
    Progress,
    Result,
    Run,
    Setup,
    read_order,
)

_PR_SET_PDEATHSIG = 1
"""Source: linux/prctl.h."""

PARENT_LOOK_S = 1.0
"""How often a child looks whether its parent still lives, where the kernel does not tell it."""


def main(descriptor: int) -> None:
    """Serve the parent at the other end of `descriptor` until it hangs up."""
    leave_signals_to_parent()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a child that is killed says nothing more
    os.set_inheritable(descriptor, False)
    channel = Connection(descriptor)
    setup = read_order(channel.recv_bytes())
    assert isinstance(setup, Setup)
    _die_with(setup.parent)
    child = _Child(channel, timedelta(seconds=setup.progress_every_s))
    os.register_at_fork(after_in_child=child.become_copy)
    if child.load(Path(setup.unit)):
        child.serve()
    child.leave()


class _Child:
    """One child's side of the conversation."""

    def __init__(self, channel: Connection, progress_every: timedelta) -> None:
        self._channel = channel
        self._progress_every = progress_every
        self._clock = SystemClock()
        self._agents: Mapping[str, AgentSpec] = {}
        self._is_copy = False
        self._memory = AddressSpace()
        self._teller = Teller(channel)
        self._telling = Telling(self._teller.say)
        logging.getLogger().addHandler(self._telling)
        logging.getLogger("farandole").setLevel(logging.DEBUG)  # the parent knows which are wanted

    def load(self, unit: Path) -> bool:
        """Load the unit, and tell whether that went well."""
        try:
            self._agents = load_unit(unit).agents
        except BaseException as error:
            self._teller.say(Loaded(failure_of(error).error))
            return False
        self._teller.say(Loaded())
        return True

    def serve(self) -> None:
        """Call what is asked for, until the parent hangs up."""
        while True:
            try:
                order = read_order(self._channel.recv_bytes())
            except (EOFError, OSError):
                return
            assert isinstance(order, Run)
            self._teller.say(self._run(order))

    def become_copy(self) -> None:
        """What a fork of this process does first: let go of the channel, and of what spoke through it.

        Its answers would be taken for ours, and the parent could not see our end while a copy holds the channel. What
        it logs goes to standard error, from warnings on.
        """
        self._is_copy = True
        logging.getLogger().removeHandler(self._telling)
        self._teller.close()

    def leave(self) -> None:
        """The way out. A copy that a handler forked and forgot ends here."""
        if self._is_copy:
            _end_copy(0)

    def _run(self, order: Run) -> Result | Failure:
        spec = self._agents.get(order.agent)
        if spec is None:
            return Failure(order.number, failure_of(LookupError(f"the unit has no agent {order.agent!r} any more")))
        spec = replace(spec, handler=partial(self._handle, spec.handler))
        tell = partial(self._tell, order.number)
        context = AttemptContext(order.call, spec, self._clock, tell, self._progress_every)
        self._teller.say(Began(order.number))
        self._memory.limit(order.memory_limit)
        try:
            outcome = run_plain(spec, order.call, context, Payloads(_as_it_is, _as_it_is))
        except MemoryError as error:
            outcome = failure_of(error)
        finally:
            self._memory.limit(None)
        if isinstance(outcome, Succeeded):
            return Result(order.number, outcome)
        return Failure(order.number, outcome)

    def _handle(self, handler: Handler, /, **given: object) -> object:
        """What the handler returns or raises; a copy that it forked ends of what it raises there."""
        try:
            return handler(**given)
        except BaseException as error:
            if self._is_copy:
                _end_copy(_status_of(error))
            raise

    def _tell(self, number: int, at: datetime, done: float, total: float | None, note: str) -> None:
        self._teller.say(Progress(number, at, done, total, note))


def _end_copy(status: int) -> NoReturn:
    """End a copy of this process without ending what is not its own."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status)


def _status_of(error: BaseException) -> int:
    """What Python ends with where nobody catches it; what it would print is printed."""
    match error:
        case SystemExit(code=None):
            return 0
        case SystemExit(code=int(code)):
            return code & 0xFF
        case _:
            with contextlib.suppress(Exception):
                traceback.print_exception(error)
            return 1


def _as_it_is(payload: bytes) -> bytes:
    """Claims are the parent's business."""
    return payload


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
