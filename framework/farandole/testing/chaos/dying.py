"""Places on the way of a commit where a process can be told to die: by `kill -9`, from inside.

A test writes the name of a place into the process's file of orders; the first to come there takes
the order away and dies. Plain processes never come here: `process.py` puts the places in.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from farandole.definition.context import Context
from farandole.testing.chaos.stepping import ClockedProducer
from farandole.testing.ledger import executing
from farandole.transport.port import Polled, Reader

HANDLER = "in the handler"
PRODUCED = "after produce"
OFFSETS = "after offsets"
ENDING = "while EndTxn is under way"
ENDED = "after EndTxn was answered"
RESTORING = "during restore"

COMMIT_PATH = (PRODUCED, OFFSETS, ENDING, ENDED)
"""In the order in which a transaction comes by."""

ENDING_MAX_S = 0.004
"""EndTxn is answered within 2 to 5 ms: death comes before it is sent, while it is on its way, or after."""

_orders: Path | None = None
_ledger: Path | None = None


def prepare(orders: Path, ledger: Path) -> None:
    """Look for orders in this file, and write calls of handlers to that one."""
    global _orders, _ledger
    _orders, _ledger = orders, ledger


def recording(ctx: Context) -> Any:
    """A context for a handler's body: writes its call to the ledger, if this process has one."""
    return nullcontext() if _ledger is None else executing(_ledger, ctx)


def order(orders: Path, place: str) -> None:
    """Tell the process that looks into `orders` to die when it comes to this place next."""
    new = orders.with_suffix(".new")
    new.write_text(place)
    new.rename(orders)


def reach(place: str) -> None:
    """Die, if that was ordered for here."""
    if _is_ordered(place):
        _die()


def _is_ordered(place: str) -> bool:
    """Whether the order names this place; it is taken away then, so that the process's heir lives."""
    try:
        if _orders is None or _orders.read_text() != place:
            return False
        _orders.unlink()
    except FileNotFoundError:
        return False
    return True


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class MortalProducer(ClockedProducer):
    """The real producer, with the places on the way of a commit."""

    def flush(self, *given: Any) -> int:
        """All is acknowledged."""
        left: int = super().flush(*given)
        reach(PRODUCED)
        return left

    def send_offsets_to_transaction(self, *given: Any) -> None:
        """The positions are in the transaction."""
        super().send_offsets_to_transaction(*given)
        reach(OFFSETS)

    def commit_transaction(self, *given: Any) -> None:
        """Its end is on the way, and then known."""
        with _dying_soon():
            super().commit_transaction(*given)
        reach(ENDED)


@contextmanager
def _dying_soon() -> Iterator[None]:
    """Die within some milliseconds from another thread, if that was ordered; the body goes on meanwhile."""
    if _is_ordered(ENDING):
        soon = random.uniform(0, ENDING_MAX_S)
        threading.Timer(soon, _die).start()
        yield
        time.sleep(ENDING_MAX_S)  # death is certain
    else:
        yield


class MortalReader:
    """A reader with a place to die at each poll: the coordinator's restore reads through one of its own."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def poll(self, timeout: float) -> list[Polled]:
        """Some records were read."""
        found = list(self._reader.poll(timeout))
        if found:
            reach(RESTORING)
        return found
