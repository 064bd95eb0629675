"""Signals that a child process leaves to its parent: the unit's process drains, and the child finishes what it has.

They may be sent to all processes of a service at once (Ctrl-C, systemd's `KillMode=control-group`).
What a handler starts heeds them as ever: programs, because an exec gives a handled signal its
default again, and copies of the child, because they are told here. A pool ends its workers so.
"""

import os
import signal
import threading
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)

_before_fork = threading.local()
"""The signal mask of a thread that forks."""


def leave_signals_to_parent() -> None:
    """From now on; main thread only."""
    for number in _NUMBERS:
        signal.signal(number, _pass)
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_heed)


def _pass(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN: the programs that a handler starts would inherit it."""


def _block() -> None:
    # A worker may be ended before its first step; the interpreter drops what has come by then, unless it is blocked.
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _NUMBERS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


def _heed() -> None:
    for number in _NUMBERS:
        if signal.getsignal(number) is _pass:
            signal.signal(number, signal.SIG_DFL)
    _unblock()
