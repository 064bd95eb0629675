"""Reading again what a held run missed (DESIGN section 8).

While a kernel error holds a run its facts are passed over. When the run is released they are
read once more, from the first that was not folded up to the release, and folded then. The
home waits for it: releases are rare, and made by people. Where the log has deleted it meanwhile,
the release is given up: the run stays held, since folding past what is missing would be a guess.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from farandole.transport.port import End, Reader, Record, TopicPartition, Trouble

log = logging.getLogger("farandole.coordinator")


class RefoldWanted(Exception):  # noqa: N818 - a request to the loop, not an error
    """A run is released: its facts from `start` up to `stop` (exclusive) must be read again first."""

    def __init__(self, run: str, at: TopicPartition, start: int, stop: int) -> None:
        super().__init__(run)
        self.run, self.at, self.start, self.stop = run, at, start, stop


@dataclass(frozen=True, slots=True)
class Missed:
    """What a run missed at these offsets of `at`; `records` is None if that is not on the log any more."""

    at: TopicPartition
    offsets: range
    records: list[Record] | None


@dataclass(slots=True)
class Refold:
    """At most one run at a time per coordinator.

    `found` keeps what each run missed until the release is folded: another hold of the same run has missed others.
    """

    make_reader: Callable[[], Reader]
    wanted: RefoldWanted | None = None
    found: dict[str, Missed] = field(default_factory=dict)
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
            elif _is_deleted(polled, self.wanted):
                _tell_deleted(self.wanted, polled)
                self._ended(self.wanted, None)
                return True
        if position >= self.wanted.stop:
            self._ended(self.wanted, self._collected)
        return True

    def _ended(self, wanted: RefoldWanted, records: list[Record] | None) -> None:
        self.found[wanted.run] = Missed(wanted.at, range(wanted.start, wanted.stop), records)
        self._let_go()

    def _let_go(self) -> None:
        self.wanted = None
        if self._reader is not None:
            self._reader.assign({})

    def take(self, run: str, offsets: range) -> Missed | None:
        """What a run missed at these offsets; None if it must be read first. It stays until `done`, if there is any."""
        found = self.found.get(run)
        if found is None or found.offsets != offsets:
            return None
        if found.records is None:
            self.done(run)  # the release is given up: nobody will have folded it
        return found

    def done(self, run: str) -> None:
        """The release was folded."""
        self.found.pop(run, None)

    def drop(self, number: int) -> None:
        """A home is gone: nobody folds what was read for it, and other homes do not wait for the rest."""
        if self.wanted is not None and self.wanted.at.partition == number:
            self._let_go()
        self.found = {run: missed for run, missed in self.found.items() if missed.at.partition != number}

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.close()


def _is_deleted(trouble: Trouble, wanted: RefoldWanted) -> bool:
    return trouble.at == wanted.at and trouble.kind == "position_out_of_range"


def _tell_deleted(wanted: RefoldWanted, trouble: Trouble) -> None:
    log.error(
        "%s/%d/%d: expected what run %s missed while it was held, but it was deleted (%s). The run cannot be released: "
        "it stays held until it is cancelled or its hold_max ends it",
        *wanted.at,
        wanted.start,
        wanted.run,
        trouble.error,
        extra={"run_id": wanted.run},
    )


def _is_about(record: Record, run: str) -> bool:
    return any(name == "ce_run" and value == run.encode() for name, value in record.headers)
