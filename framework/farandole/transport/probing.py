"""How far behind a process is, and how old what a topic holds: asked of the log itself, now and then.

Blocking, with clients of its own: it belongs to a thread beside the loop, which never waits for it.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from farandole.transport.port import Admin, End, Isolation, Reader, Record, TopicPartition, Transport, Trouble

READ_WITHIN_S = 5.0
"""How long one look may read. What was not reached then is told by the next one."""

BEGINNING = -2
"""Kafka's logical offset for the first record."""

KEPT_EVERY = 20
"""How many looks pass between two at the oldest records: they are read from the beginning, and change slowly."""


@dataclass(frozen=True, slots=True)
class Look:
    """By topic, over the partitions asked about; ages in seconds."""

    lag_records: Mapping[str, float] = field(default_factory=dict)
    lag_seconds: Mapping[str, float] = field(default_factory=dict)
    records: Mapping[str, float] = field(default_factory=dict)
    oldest_seconds: Mapping[str, float] = field(default_factory=dict)


class Probe:
    """Looks at the log for one process. `wall` gives seconds since the epoch."""

    def __init__(self, transport: Transport, client_id: str, wall: Callable[[], float]) -> None:
        self._admin: Admin = transport.admin()
        self._reader: Reader = transport.reader(f"{client_id}.probe")
        self._wall = wall
        self._looks = 0
        self._told: dict[TopicPartition, int] = {}
        self._oldest: dict[TopicPartition, int] = {}
        self._oldest_asked: set[TopicPartition] = set()
        """Where the oldest record has been looked for since the last look at all of them."""

    def look(self, positions: Mapping[TopicPartition, int], kept: Sequence[TopicPartition]) -> Look:
        """One look: `positions` are the next offsets to be answered.

        Raises:
            TransportError: the log does not answer.
        """
        ends = self._admin.ends([*positions, *kept], Isolation.COMMITTED)
        behind = {at: ends[at] - position for at, position in positions.items() if at in ends}
        waiting, unreached = self._waiting({at: positions[at] for at, lag in behind.items() if lag > 0})
        beginnings = self._admin.beginnings(list(kept)) if kept else {}
        self._look_at_oldest({at: b for at, b in beginnings.items() if b < ends.get(at, 0)})
        self._looks += 1
        return Look(
            _summed({at: max(0, lag) for at, lag in behind.items()}),
            {**{at.topic: 0.0 for at in behind if at.topic not in unreached}, **self._ages(waiting)},
            _summed({at: ends[at] - first for at, first in beginnings.items() if at in ends}),
            self._ages(self._oldest),
        )

    def close(self) -> None:
        """Free its clients."""
        self._reader.close()
        self._admin.close()

    def _waiting(self, firsts: Mapping[TopicPartition, int]) -> tuple[dict[TopicPartition, int], set[str]]:
        """The instants of the first records that wait, and the topics with a partition that was not reached.

        Of such a one the instant told last stands, which is no later. Of a topic of which none was told nothing is:
        0 would say that nothing waits, just when the log is slow.
        """
        found, unreached = self._timestamps(firsts)
        self._told = found | {at: self._told[at] for at in unreached if at in self._told}
        return self._told, {at.topic for at in unreached}

    def _look_at_oldest(self, firsts: Mapping[TopicPartition, int]) -> None:
        """All of them now and then; at once those that have just come, by a first record or from another process."""
        if self._looks % KEPT_EVERY == 0:
            self._oldest_asked = set()
        asked = {at: first for at, first in firsts.items() if at not in self._oldest_asked}
        found, unreached = self._timestamps(asked)
        kept = {at: instant for at, instant in self._oldest.items() if at in firsts and at in self._oldest_asked}
        self._oldest = kept | found
        self._oldest_asked = {at for at in (*self._oldest_asked, *asked) if at in firsts and at not in unreached}

    def _timestamps(
        self, places: Mapping[TopicPartition, int]
    ) -> tuple[dict[TopicPartition, int], set[TopicPartition]]:
        """The instants (ms) of the first records at or after these places, where any are; what was not reached."""
        found: dict[TopicPartition, int] = {}
        if not places:
            return found, set()
        self._reader.assign(places)
        begun, open_, until = dict(places), set(places), time.monotonic() + READ_WITHIN_S
        while open_ and time.monotonic() < until:
            for item in self._reader.poll(0.2):
                if isinstance(item, Record) and item.at in open_:
                    found[item.at] = item.timestamp_ms
                    open_.discard(item.at)
                elif isinstance(item, End):
                    open_.discard(item.at)
                elif isinstance(item, Trouble) and item.at in open_ and item.kind == "position_out_of_range":
                    # Of one that stands still because its records were deleted: the first that are there wait.
                    begun[item.at] = BEGINNING
                    self._reader.assign({at: begun[at] for at in open_})
                    break
        self._reader.assign({})
        return found, open_

    def _ages(self, instants: Mapping[TopicPartition, int]) -> dict[str, float]:
        now, oldest = self._wall(), dict[str, float]()
        for at, instant in instants.items():
            oldest[at.topic] = max(oldest.get(at.topic, 0.0), now - instant / 1000)
        return oldest


def _summed(values: Mapping[TopicPartition, int]) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for at, value in values.items():
        total[at.topic] += value
    return dict(total)
