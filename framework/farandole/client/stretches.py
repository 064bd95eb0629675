"""Reading partitions from one offset to another, once, for commands that look at whole topics. Blocking.

Outside any group, committed records alone, to ends that are given: what was open before them has ended when they are
reached. Says how far it has come, and gives up where nothing comes any more of what is left: what others write behind
an end is no sign of life. As `scan`, for who has no loop.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping

from farandole.errors import TransportError
from farandole.transport.port import Record, TopicPartition, Transport, Trouble

SILENCE_MAX_S = 30.0
"""Longest that nothing comes of partitions that have more, as for `archive run`: twice a broker's slowest answers."""

Told = Callable[[str, int, int], None]
"""Hears while it is read of a topic, how many offsets were read, and of how many."""


def unheard(topic: str, read: int, of: int) -> None:
    """Nobody wants to know how far it has come."""


def stretch(
    transport: Transport,
    client_id: str,
    begin: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    told: Told = unheard,
    until: float = math.inf,
) -> Iterator[Record]:
    """Every committed record of the partitions in `begin`, from there on and before its end.

    On the monotonic clock nothing is read after `until`, for whom a part will do.

    Raises:
        TransportError: a partition cannot be read to its end.
    """
    left = {at: ends[at] for at, first in begin.items() if ends[at] > first}
    if not left:
        return
    places, whole = dict(left), sum(end - begin[at] for at, end in left.items())
    reached = {at: begin[at] for at in left}
    reader = transport.reader(client_id)
    try:
        reader.assign(reached)
        heard, why = time.monotonic(), ""
        while left and time.monotonic() < until:
            for polled in reader.poll(0.2):
                if isinstance(polled, Trouble):  # told again and again while the log is away
                    if polled.at is not None:
                        raise TransportError(
                            f"{polled.at.topic}/{polled.at.partition} does not deliver: {polled.error}"
                        )
                    why = f" ({polled.kind}: {polled.error})"
                elif isinstance(polled, Record) and polled.offset < left.get(polled.at, 0):
                    yield polled
            moved = {at: reader.position(at) or 0 for at in left}
            if any(moved[at] > reached[at] for at in left):
                heard, why = time.monotonic(), ""
            reached |= {at: max(moved[at], reached[at]) for at in left}
            read = sum(min(reached[at], end) - begin[at] for at, end in places.items())
            told(next(iter(places)).topic, read, whole)
            before, left = left, {at: end for at, end in left.items() if reached[at] < end}
            if left and len(left) < len(before):  # nobody needs what stands behind an end
                reader.assign({at: reached[at] for at in left})
            if left and time.monotonic() - heard > SILENCE_MAX_S:
                raise _silent(*next(iter(left.items())), why)
    finally:
        reader.close()


def _silent(at: TopicPartition, end: int, why: str) -> TransportError:
    """Nothing came of a partition: mostly a transaction stands before the end that nobody ends."""
    return TransportError(
        f"{at.topic}/{at.partition}: expected records up to offset {end}, but none came for {SILENCE_MAX_S:.0f} s"
        f"{why}. `farandole doctor` finds transactions that nobody ends. Nothing was changed; do it again"
    )
