"""Reading state back from `runs`: in slices, through a reader of its own (R12).

A home is restored when the reader's position has reached the read-uncommitted end that was
asked for after the committed positions: everything committed before is then in. Markers and
compaction leave gaps, so nothing is inferred from offsets but that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from farandole.coordinator.claimed import Claimed
from farandole.coordinator.definitions import NO_GRAPH, DefinitionGone
from farandole.coordinator.home import TRACE_HEADER
from farandole.coordinator.repair import Repair, tell_left_out
from farandole.definition.graph import Graph
from farandole.kernel.place import KEY, Place, place_in
from farandole.kernel.snapshot import StateDamaged, group_by_run, read_run
from farandole.kernel.state import Run
from farandole.transport.port import Reader, Record, TopicPartition

BEGINNING = -2
"""Kafka's logical offset for the first record."""

TAIL = 100
"""Offsets at the end of `runs` in which the last place is looked for, where the rest need not be read: a record and a
marker, and what was aborted since."""


@dataclass(slots=True)
class Restore:
    """Homes being read. `records`: the latest value by key, per home."""

    reader: Reader
    topic: str
    graph: Callable[[str], Graph]
    repair: Repair
    """Takes a home over of which some runs cannot be read."""

    reading: dict[int, Claimed] = field(default_factory=dict)
    records: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    """The last place that was read, per home."""

    traces: dict[int, dict[str, str]] = field(default_factory=dict)
    """What head records say of the traces of their runs, per home; of runs that were traced."""

    read: int = 0
    """Records read since the process began, for the metrics."""

    has_more: bool = False
    """Whether the last step ended at its bound, so that the next one finds records without waiting."""

    def begin(self, claimed: list[Claimed]) -> None:
        """Read these homes too: from the beginning, or the end alone, of one whose state we may have still."""
        for c in claimed:
            number = c.home.number
            begin = max(0, c.end - TAIL) if c.keeps_state else BEGINNING
            self.reading[number], self.records[number], self.at[number] = c, {}, begin
            self.traces[number] = {}
            self.places.pop(number, None)
        self._assign()

    def has(self, number: int) -> bool:
        """Whether a home is being read, or mended."""
        return number in self.reading or number in self.repair.waiting

    def drop(self, number: int) -> None:
        """A home is gone."""
        self.repair.drop(number)
        if self.reading.pop(number, None) is not None:
            self.records.pop(number, None)
            self.traces.pop(number, None)
            self.places.pop(number, None)
            self.at.pop(number, None)
            self._assign()

    def step(self, most: int) -> list[Claimed]:
        """Read at most about `most` records; the homes that are complete now, their runs in place."""
        left = most
        self.has_more = False
        mended = self.repair.step()
        if not self.reading:
            return mended
        while left > 0 and (polled := self.reader.poll(0.0)):
            for item in polled:
                if isinstance(item, Record):
                    self._take(item)
            left -= len(polled)
            self.read += len(polled)
        self.has_more = left <= 0
        for number in self.reading:
            position = self.reader.position(TopicPartition(self.topic, number))
            if position is not None:
                self.at[number] = position
        return mended + self._complete()

    def close(self) -> None:
        """Stop reading."""
        self.reader.close()
        self.repair.close()

    def _take(self, record: Record) -> None:
        records = self.records.get(record.partition)
        if records is None or record.key is None:
            return
        if record.value is None:
            records.pop(record.key, None)
        elif record.key != KEY:
            records[record.key] = record.value
        traces = self.traces[record.partition]
        if record.headers or traces:
            _note(traces, record)
        if record.headers and (place := place_in(record.headers)) is not None:
            self.places[record.partition] = place

    def _complete(self) -> list[Claimed]:
        read = [c for number, c in self.reading.items() if self.at[number] >= c.end or not c.end]
        done = []
        for c in read:
            number = c.home.number
            records, traces, place = self.records.pop(number), self.traces.pop(number), self.places.pop(number, None)
            del self.reading[number], self.at[number]
            if c.keeps_state:
                if _is_last(c, place):
                    done.append(c)
                else:
                    c.keeps_state = False
                continue
            c.go_on(place)
            runs, damaged, left_out = self._runs(records)
            c.home.traces.update(traces)
            if damaged:
                self.repair.begin(c, runs, frozenset(damaged), left_out)
            else:
                c.home.restore(runs, left_out)
                tell_left_out(c.home)
                done.append(c)
        if read:
            self._assign()
        return done

    def _runs(self, records: dict[bytes, bytes]) -> tuple[list[Run], list[str], dict[str, str]]:
        """The runs, the ids of those that cannot be read, and definitions that are gone by run.

        Most are a head alone, the others' parts are gathered. Runs whose definition is gone are without their graph.
        """
        runs, damaged, left_out = list[Run](), list[str](), dict[str, str]()
        parts = group_by_run((key.decode(errors="replace"), value) for key, value in records.items() if b"#" in key)
        for key, value in records.items():
            if b"#" in key:
                continue
            run_id = key.decode(errors="replace")
            whole = {**parts.get(run_id, {}), "": value}
            try:
                runs.append(read_run(self.graph, whole, run_id))
            except StateDamaged:
                damaged.append(run_id)
            except DefinitionGone as gone:
                left_out[run_id] = gone.digest
                runs.append(read_run(lambda _: NO_GRAPH, whole, run_id))
        return runs, damaged, left_out

    def _assign(self) -> None:
        self.reader.assign({TopicPartition(self.topic, number): at for number, at in self.at.items()})


def _is_last(c: Claimed, place: Place | None) -> bool:
    """Whether nobody has written state of the home since we did: a broker that lost what others committed since would
    have us take up what is in memory."""
    if place is None or c.metadata is None:
        return not c.end
    return (place.events_at, place.commands_at, place.epoch) == (*c.home.at, c.metadata.epoch)


def _note(traces: dict[str, str], record: Record) -> None:
    """The trace that the latest head record of a run tells of."""
    key = (record.key or b"").decode(errors="replace")
    told = next((value for name, value in record.headers if name == TRACE_HEADER), None)
    if told is not None and record.value is not None:
        traces[key] = told.decode(errors="replace")
    elif "#" not in key:
        traces.pop(key, None)
