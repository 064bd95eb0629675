"""Reading partitions from one offset to another, once, for commands that look at whole topics. Blocking.

Outside any group, committed records alone, to ends that are given: what was open before them has ended when they are
reached. Says how far it has come, and gives up where nothing comes any more. As `scan`, for who has no loop.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping

from farandole.errors import TransportError
from farandole.transport.port import Record, TopicPartition, Transport, Trouble

SILENCE_MAX_S = 30.0
"""Longest that nothing comes of a partition that has more, as for `archive run`: twice a broker's slowest answers."""

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
    reader = transport.reader(client_id)
    try:
        reader.assign({at: begin[at] for at in left})
        heard, why = time.monotonic(), ""
        while left and time.monotonic() < until:
            for polled in reader.poll(0.2):
                if isinstance(polled, Trouble):  # told again and again while the log is away
                    if polled.at is not None:
                        raise TransportError(
                            f"{polled.at.topic}/{polled.at.partition} does not deliver: {polled.error}"
                        )
                    why = f" ({polled.kind}: {polled.error})"
                    continue
                heard, why = time.monotonic(), ""
                if isinstance(polled, Record) and polled.offset < places[polled.at]:
                    yield polled
            reached = {at: reader.position(at) or 0 for at in places}
            left = {at: end for at, end in left.items() if reached[at] < end}
            read = sum(max(0, min(reached[at], end) - begin[at]) for at, end in places.items())
            told(next(iter(places)).topic, read, whole)
            if left and time.monotonic() - heard > SILENCE_MAX_S:
                at, end = next(iter(left.items()))
                raise TransportError(
                    f"{at.topic}/{at.partition}: expected records up to offset {end}, but none came for "
                    f"{SILENCE_MAX_S:.0f} s{why}. Nothing was changed; do it again"
                )
    finally:
        reader.close()
