"""Where the time of a start goes, from what a process of agents logs: until it joins, and from there to its partitions.

A start is the machine's affair: most of it is Python's imports, and takes as many times longer as the machine has other
work. What it takes of the processor is the same on any day; what follows is the group's, and ours.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_LINE = re.compile(r"^(?P<at>\d\d:\d\d:\d\d\.\d{3}) INFO group: (?P<said>.*)$", re.MULTILINE)
_STARTED = re.compile(r"has started, after ([0-9.]+) s of processor time")
_JOINING, _TOOK = "joining ", "took over "

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds of the processor until its loop began; seconds of time until it joined, and until it had partitions."""

    processor_s: float
    joining_s: float
    taken_s: float

    @property
    def group_s(self) -> float:
        """From joining to the first partitions that it may work on."""
        return self.taken_s - self.joining_s


def starts(text: str, began: datetime) -> Iterator[Start]:
    """The starts that a log tells of after an instant; one that has not taken anything over yet is none."""
    processor, joining = 0.0, None
    for at, said in _told(text, began):
        if found := _STARTED.search(said):
            processor, joining = float(found[1]), None
        elif said.startswith(_JOINING):
            joining = at
        elif said.startswith(_TOOK) and joining is not None:
            yield Start(processor, joining, at)
            joining = None


def _told(text: str, began: datetime) -> Iterator[tuple[float, str]]:
    """Seconds after `began`, and the words. A log has no dates: what was half a day ahead was before it."""
    for line in _LINE.finditer(text):
        clock = datetime.strptime(line["at"], "%H:%M:%S.%f").time()
        at = datetime.combine(began.date(), clock, UTC)
        if at < began - _DAY / 2:
            at += _DAY
        elif at > began + _DAY / 2:
            at -= _DAY
        if at >= began:
            yield (at - began).total_seconds(), line["said"]
