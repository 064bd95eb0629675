"""A wall clock that a test can set wrong in a running process: seconds of error stand in a file beside its orders.

What the process itself reads is wrong, and so are the timestamps that its client gives to records. Monotonic
time goes on as it does when somebody sets a machine's clock: that is why this is no faketime, which bends both.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from farandole.clock import SystemClock

_file: Path | None = None


def prepare_clock(orders: Path) -> None:
    """Let this process's clock be wrong by what the file beside these orders says from now on."""
    global _file
    _file = file_of(orders)
    setattr(SystemClock, "now", lambda clock: datetime.now(UTC) + timedelta(seconds=error_s()))  # noqa: B010


def file_of(orders: Path) -> Path:
    """Where a process that looks into `orders` finds how wrong its clock is."""
    return orders.with_suffix(".clock")


def set_wrong(orders: Path, seconds: float) -> None:
    """Let the clock of the process that looks into `orders` go wrong by so much; 0 sets it right."""
    new = file_of(orders).with_suffix(".newclock")
    new.write_text(str(seconds))
    new.rename(file_of(orders))


def error_s() -> float:
    """How wrong the clock of this process is, seconds."""
    try:
        return 0.0 if _file is None else float(_file.read_text())
    except FileNotFoundError:
        return 0.0


class ClockedProducer(Producer):
    """The real producer; its records carry what the clock says."""

    def produce(self, *given: Any, **named: Any) -> None:
        """As the real one."""
        if wrong := error_s():
            named.setdefault("timestamp", round((time.time() + wrong) * 1000))
        super().produce(*given, **named)
