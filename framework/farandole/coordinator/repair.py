"""Runs whose state on `runs` cannot be read, folded anew from `events` (the replay law).

`runs` remembers what `events` says. One record of it that is damaged, by whatever hand, must not keep a home from its
owner: the runs in question are rebuilt from the facts before the home's position, and the others wait for as long. A
run whose beginning is not on the log any more cannot be: it is told, and left out. So is a run whose definition is not
on the log; its records stay, so that it is there again when the definition is, and the first fact that comes meanwhile
holds it, so that whoever has the definition folds what it missed.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from farandole.coordinator.claimed import Claimed
from farandole.coordinator.definitions import DefinitionGone
from farandole.coordinator.home import Home
from farandole.definition.graph import Graph
from farandole.errors import RecordError
from farandole.events.catalogue import decode
from farandole.events.facts import Event
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.state import Run
from farandole.transport.port import End, Reader, Record, TopicPartition

log = logging.getLogger("farandole.coordinator")

BEGINNING = -2
"""Kafka's logical offset for the first record."""

TOLD_RUNS = 5
"""Ids of runs in a line of the log; a definition may have thousands."""


@dataclass(slots=True)
class Damaged:
    """A home that waits for some of its runs; `intact` are the others, but for those `left_out`."""

    claimed: Claimed
    intact: list[Run]
    runs: frozenset[str]
    left_out: dict[str, str]
    logged: list[Logged] = field(default_factory=list)
    at: int = BEGINNING


@dataclass(slots=True)
class Repair:
    """One home after the other; `topic` is `events`."""

    make_reader: Callable[[], Reader]
    topic: str
    graph: Callable[[str], Graph]
    waiting: dict[int, Damaged] = field(default_factory=dict)
    _reader: Reader | None = None
    _reading: int | None = None

    def begin(self, claimed: Claimed, intact: list[Run], damaged: frozenset[str], left_out: dict[str, str]) -> None:
        """Rebuild these runs of a home whose other runs were read, or left out."""
        self.waiting[claimed.home.number] = Damaged(claimed, intact, damaged, left_out)

    def drop(self, number: int) -> None:
        """A home is gone."""
        self.waiting.pop(number, None)
        if self._reading == number:
            self._reading = None

    def step(self) -> list[Claimed]:
        """Take in what has come; the home that is complete now, its runs in place."""
        if not self.waiting:
            return []
        self._reader = self._reader or self.make_reader()
        if self._reading is None:
            self._reading = min(self.waiting)
            self._reader.assign({TopicPartition(self.topic, self._reading): BEGINNING})
        it = self.waiting[self._reading]
        for polled in self._reader.poll(0.0):
            if isinstance(polled, Record) and polled.partition == self._reading:
                it.at = max(it.at, polled.offset + 1)
                _take(it, polled)
            elif isinstance(polled, End) and polled.at.partition == self._reading:
                it.at = max(it.at, polled.position)
        it.at = max(it.at, self._reader.position(TopicPartition(self.topic, self._reading)) or BEGINNING)
        if it.at < it.claimed.home.read_first:  # consequences stand behind their facts, beyond the home's position
            return []
        self._reader.assign({})
        self.drop(self._reading)
        return [self._complete(it)]

    def close(self) -> None:
        """Stop reading."""
        if self._reader is not None:
            self._reader.close()

    def _complete(self, it: Damaged) -> Claimed:
        made, logged = dict[str, Run](), defaultdict[str, list[Logged]](list)
        for each in it.logged:
            logged[each.event.run].append(each)
        for run in sorted(it.runs):
            try:
                made |= rebuild(logged[run], self.graph)
            except DefinitionGone as gone:
                it.left_out[run] = gone.digest
                continue
            about = {"run_id": run}
            if run in made:
                log.warning("run %s: its state could not be read and was folded anew from its events", run, extra=about)
            else:
                told = "run %s: its state cannot be read, and its beginning is not on %s any more"
                log.error(told, run, self.topic, extra=about)
        it.claimed.home.restore([*it.intact, *made.values()], it.left_out, made)
        tell_left_out(it.claimed.home)
        return it.claimed


def tell_left_out(home: Home) -> None:
    """Say which runs of a home stand still for want of their definition, in a line for each definition."""
    for digest in sorted(home.missing):
        runs = sorted(run for run, pinned in home.left_out.items() if pinned == digest)
        log.error(
            "home %d: expected definition %s, to which %d runs are pinned (%s), but `definitions` does not hold it. "
            "They are left out until it is applied again from the code that they were started with",
            home.number,
            digest,
            len(runs),
            ", ".join(runs[:TOLD_RUNS]) + (", ..." if len(runs) > TOLD_RUNS else ""),
        )


def _take(it: Damaged, record: Record) -> None:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    if headers.get("ce_run", "") not in it.runs:
        return
    folded = headers.get("ce_folded", "")
    if not folded and record.offset >= it.claimed.home.events_at:
        return  # not folded yet: it is read again when the home runs
    try:
        event = decode(record.value or b"")
    except RecordError:
        return  # it was skipped when it was read first
    if isinstance(event, Event):
        at = int(folded.partition("/")[2]) if folded else None
        it.logged.append(Logged(record.offset, event, at, headers.get("ce_id", ""), headers.get("ce_cause", "")))
