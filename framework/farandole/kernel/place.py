"""Where a home stands, as `runs` itself says it: beside the state, in the transaction that wrote it.

The committed positions say the same, but are the broker's to keep, and one that was killed twice in a minute gave out
positions of an hour ago (docs/decisions/0112, 0122). Who restores a home reads its place with its runs, and goes on
from there where the positions went back. Every transaction of a home says it but the one that opens it, which comes
before its runs are read: in a header of its last state record, or in a record of its own. The last one on the log
counts.
Neither the fold nor an older coordinator looks at it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

HEADER = "place"

KEY = b"#place"
"""Of the record of its own, whose value is empty: no run's."""

_NEVER_MS = 253_402_300_800_000
"""The year 10000, of which no calendar tells."""


@dataclass(frozen=True, slots=True)
class Place:
    """Next offsets to fold of `events` and `commands`, the owner's epoch, and its clock, ms."""

    events_at: int
    commands_at: int
    epoch: int
    now_ms: int

    def header(self) -> tuple[str, bytes]:
        """What the record carries: `events/commands/epoch/now`."""
        return HEADER, b"%d/%d/%d/%d" % (self.events_at, self.commands_at, self.epoch, self.now_ms)

    def is_within(self, events_end: int, commands_end: int) -> bool:
        """Whether the topics come that far; else they were made anew, and it speaks of the old ones."""
        return self.events_at <= events_end and self.commands_at <= commands_end


def place_in(headers: Iterable[tuple[str, bytes]]) -> Place | None:
    """The place that a record of `runs` carries; None if it carries none that can be read."""
    for name, value in headers:
        if name == HEADER:
            parts = value.split(b"/")
            if len(parts) == 4 and all(part.isdigit() and len(part) < 19 for part in parts):
                place = Place(*map(int, parts))
                return place if place.now_ms < _NEVER_MS else None
    return None
