"""Reading again what a held run missed (DESIGN section 8).

While a kernel error holds a run its facts are passed over. When the run is released they are
read once more, from the first that was not folded up to the release, and folded then. The
home waits for it: releases are rare, and made by people or when a definition is there again. For
all releases of a home that are on the log by then it is read once. Where the log has deleted it
meanwhile, the release is given up: the run stays held, since folding past what is missing would be a guess.
"""

import logging
from collections.abc import Callable, Iterable
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
    """At most one home at a time per coordinator.

    `found` keeps what each run missed until the release is folded: another hold of the same run has missed others.
    """

    make_reader: Callable[[], Reader]
    wanted: RefoldWanted | None = None
    found: dict[str, Missed] = field(default_factory=dict)
    _reader: Reader | None = None
    _asked: dict[str, RefoldWanted] = field(default_factory=dict)
    """What is read on the way, by run: what is wanted, and what will be."""

    _collected: dict[str, list[Record]] = field(default_factory=dict)

    def want(self, request: RefoldWanted, others: Iterable[RefoldWanted] = ()) -> None:
        """Begin reading, unless this or another is being read. `others`, of the same home, are wanted behind it."""
        if self.wanted is not None:
            return
        self.wanted = request
        passed = [run for run, it in self.found.items() if it.at == request.at and it.offsets.stop <= request.stop]
        for run in passed:  # a release that came to nothing
            self.done(run)
        behind = (each for each in others if each.stop > request.stop and each.run not in self.found)
        self._asked = {request.run: request} | {each.run: each for each in behind}
        self._collected = {run: [] for run in self._asked}
        self._reader = self._reader or self.make_reader()
        self._reader.assign({request.at: min(each.start for each in self._asked.values())})

    def step(self) -> bool:
        """Take in what has come; whether anything was done."""
        if self.wanted is None or self._reader is None:
            return False
        position = self._reader.position(self.wanted.at) or 0
        for polled in self._reader.poll(0.0):
            if isinstance(polled, Record):
                position = max(position, polled.offset + 1)
                self._collect(polled)
            elif isinstance(polled, End):
                position = max(position, polled.position)
            elif _is_deleted(polled, self.wanted):
                self._deleted(polled)
                return True
        if position >= max(each.stop for each in self._asked.values()):
            for each in self._asked.values():
                self._ended(each, self._collected[each.run])
            self._let_go()
        return True

    def _collect(self, record: Record) -> None:
        told = next((value for name, value in record.headers if name == "ce_run"), b"")
        each = self._asked.get(told.decode(errors="replace"))
        if each is not None and each.start <= record.offset < each.stop:
            self._collected[each.run].append(record)

    def _deleted(self, trouble: Trouble) -> None:
        """The first that any of them missed is gone: it is told of those, and the others are asked for again."""
        first = min(each.start for each in self._asked.values())
        for each in self._asked.values():
            if each.start == first:
                _tell_deleted(each, trouble)
                self._ended(each, None)
        self._let_go()

    def _ended(self, wanted: RefoldWanted, records: list[Record] | None) -> None:
        self.found[wanted.run] = Missed(wanted.at, range(wanted.start, wanted.stop), records)

    def _let_go(self) -> None:
        self.wanted, self._asked, self._collected = None, {}, {}
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
        "it stays held until it is cancelled, or its hold_max ends it if it has one",
        *wanted.at,
        wanted.start,
        wanted.run,
        trouble.error,
        extra={"run_id": wanted.run},
    )
