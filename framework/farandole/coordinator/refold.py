"""Reading again what a held run missed (DESIGN section 8).

While a kernel error holds a run its facts are passed over. When the run is released they are
read once more, from the first that was not folded up to the release, and folded then. The
home waits for it: releases are rare, and made by people.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from farandole.transport.port import End, Reader, Record, TopicPartition


class RefoldWanted(Exception):  # noqa: N818 - a request to the loop, not an error
    """A run is released: its facts from `start` up to `stop` (exclusive) must be read again first."""

    def __init__(self, run: str, at: TopicPartition, start: int, stop: int) -> None:
        super().__init__(run)
        self.run, self.at, self.start, self.stop = run, at, start, stop


@dataclass(slots=True)
class Refold:
    """At most one run at a time per coordinator.

    `found` keeps the records of each run until the release is folded, with the range of `events` that they are from:
    another hold of the same run has missed others.
    """

    make_reader: Callable[[], Reader]
    wanted: RefoldWanted | None = None
    found: dict[str, tuple[range, list[Record]]] = field(default_factory=dict)
    _reader: Reader | None = None
    _collected: list[Record] = field(default_factory=list)

    def want(self, request: RefoldWanted) -> None:
        """Begin reading, unless this or another is being read."""
        if self.wanted is not None:
            return
        self.wanted, self._collected = request, []
        self._reader = self._reader or self.make_reader()
        self._reader.assign({request.at: request.start})

    def step(self) -> bool:
        """Take in what has come; whether anything was done."""
        if self.wanted is None or self._reader is None:
            return False
        position = self._reader.position(self.wanted.at) or 0
        for polled in self._reader.poll(0.0):
            if isinstance(polled, Record):
                position = max(position, polled.offset + 1)
                if polled.offset < self.wanted.stop and _is_about(polled, self.wanted.run):
                    self._collected.append(polled)
            elif isinstance(polled, End):
                position = max(position, polled.position)
        if position >= self.wanted.stop:
            self.found[self.wanted.run] = range(self.wanted.start, self.wanted.stop), self._collected
            self.wanted = None
            self._reader.assign({})
        return True

    def take(self, run: str, offsets: range) -> list[Record] | None:
        """What a run missed at these offsets; None if it must be read first. It stays until `done`."""
        read, records = self.found.get(run, (None, []))
        return records if read == offsets else None

    def done(self, run: str) -> None:
        """The release was folded, or the home is gone."""
        self.found.pop(run, None)

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.close()


def _is_about(record: Record, run: str) -> bool:
    return any(name == "ce_run" and value == run.encode() for name, value in record.headers)
