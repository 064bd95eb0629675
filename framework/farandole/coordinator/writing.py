"""Submitting transactions, one at a time, and drawing the consequence of how each ends (R3, R4, R11).

Knows nothing of partitions coming and going: the loop says which homes may be written.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import structs

from farandole.artifacts import ArtifactStore
from farandole.coordinator.batch import Batch, StoreAway
from farandole.coordinator.building import Builder
from farandole.coordinator.claimed import Claimed
from farandole.coordinator.definitions import DefinitionTable
from farandole.coordinator.flight import Flight, Numbers, positions_of
from farandole.coordinator.home import Home, Refused
from farandole.coordinator.patience import RETRY_S, Patience
from farandole.coordinator.reading import Definitions
from farandole.coordinator.settings import CoordinatorSettings
from farandole.coordinator.takeover import Takeover
from farandole.errors import NotJoined, TransportError
from farandole.events.outgoing import Outgoing
from farandole.events.topics import Topics
from farandole.kernel.place import KEY, Place
from farandole.kernel.state import ms
from farandole.transport.fencing import Fencings
from farandole.transport.metadata import Metadata, encode
from farandole.transport.outgoing import home_of, new_records
from farandole.transport.port import (
    Commit,
    Isolation,
    Member,
    NewRecord,
    Position,
    ReadEnds,
    Record,
    RenewProducer,
    Reply,
    Request,
    TopicPartition,
    Verdict,
)

log = logging.getLogger("farandole.coordinator")

TOLD_AFTER = 3
"""Transactions in a row that were aborted before it is told: a second after the first."""


@dataclass(slots=True)
class Writer:
    """The transactional side of a coordinator. `doubted` is told which homes must be restored."""

    settings: CoordinatorSettings
    member: Member
    ask: Callable[[Request, Callable[[Reply], None]], None]
    builder: Builder
    definitions: DefinitionTable
    artifacts: ArtifactStore
    partitions: int
    now: Callable[[], datetime]
    committed_epoch: Callable[[Flight], None]
    doubted: Callable[[frozenset[int], frozenset[int]], None]
    """Homes of which it is not known what stands, and those of which it should be, and the log is to say so."""

    flight: Flight | None = None
    renewing: bool = False
    _unsure: dict[TopicPartition, int] = field(default_factory=dict)
    """Up to where records were seen of homes that want a fresh table of definitions, as its end is asked for."""

    _certain: dict[TopicPartition, int] = field(default_factory=dict)
    """Up to where records were seen before the table was last read to its end for their home's sake."""

    _looking: set[int] = field(default_factory=set)
    _look_at: float = 0.0
    """Homes whose end of `events` is asked for, and when that may be asked again."""

    _numbers: Numbers = field(default_factory=Numbers)
    _aborts: Patience = field(default_factory=Patience)
    """While the log takes nothing from us (as when this machine's clock is wrong), we do not ask it all the time."""

    _last: frozenset[int] = frozenset()
    """Homes of the last transaction that was answered as committed."""

    _fencings: Fencings = field(init=False)
    _suspects_turn: bool = False
    _last_suspect: int = -1

    def __post_init__(self) -> None:
        self._fencings = Fencings(self.settings.client_id)

    @property
    def is_free(self) -> bool:
        """Whether another transaction may be submitted."""
        return self.flight is None and not self.renewing

    def epochs(self, takeover: Takeover, ready: Sequence[Claimed]) -> bool:
        """Commit the next epoch of homes that were just assigned, before anything of them is folded (R6)."""
        number = self._numbers.next()
        positions: dict[TopicPartition, Position] = {}
        for claimed in ready:
            positions.update(takeover.epoch_positions(claimed, lambda epoch: encode(self._stamp(number, epoch))))
        return self._send(Flight(number, (), positions, homes=[c.home for c in ready], kind="epoch"))

    def positions(self, homes: Sequence[Home], *, clean: bool = False) -> bool:
        """Commit positions alone: over consequences, markers and gaps, else lag never reaches 0 (R9).

        `clean`: the homes are let go; their next owner knows that nothing of them was under way.
        """
        number = self._numbers.next()
        positions: dict[TopicPartition, Position] = {}
        for home in homes:
            stamp = self._stamp(number, home.epoch, clean=clean)
            positions.update(positions_of(self.settings.topics, home, home.at, stamp))
        places = [(home.number, Place(*home.at, home.epoch, ms(self.now()))) for home in homes]
        kind = "clean" if clean else "positions"
        return self._send(Flight(number, (), positions, homes=homes, places=places, kind=kind))

    def batches(self, homes: Iterable[Home]) -> bool:
        """Fold what the homes have buffered, and submit it."""
        if ms(self.now()) < self._aborts.until:
            return False
        if not self.definitions.is_ready or (self._unsure and not self.definitions.is_fresh):
            return False
        self._certain.update(self._unsure)
        self._unsure.clear()
        definitions = Definitions(
            self.definitions.current, self.definitions.by_hash, self._is_certain, self.definitions.writers
        )
        batches: list[Batch] = []
        chosen = self._chosen(list(homes))
        is_time = self.is_time(chosen)
        for home in chosen:
            try:
                batch, is_full = self.builder.build(home, definitions, self.partitions)
            except StoreAway as away:
                self._wait_for_store(home, away)
                continue
            if self.builder.wanted:
                self._unsure.update(home.seen)
            if self.builder.wanted_run:
                self._look_ahead(home)
            if batch.is_empty:
                self.builder.answered(batch)
                _pass_over(home, batch)
            elif is_full or home.limit or batch.is_urgent or is_time:
                batches += self._stored(batch)
        if self._unsure:
            self.definitions.refresh()
        return bool(batches) and self._send(self._flight_of(batches))

    def _look_ahead(self, home: Home) -> None:
        """Ask where `events` ends now, for the sake of all commands that are buffered."""
        now = self.builder.monotonic()
        if home.number in self._looking or now < self._look_at:
            return
        at, seen = TopicPartition(self.settings.topics.events, home.number), home.commands[-1].offset + 1

        def answered(reply: Reply) -> None:
            self._looking.discard(home.number)
            if reply.error is None and at in reply.ends:
                home.looked = seen, reply.ends[at]
            else:
                self._look_at = self.builder.monotonic() + RETRY_S

        self._looking.add(home.number)
        self.ask(ReadEnds([at], Isolation.UNCOMMITTED), answered)

    @property
    def look_due(self) -> float | None:
        """When an end is asked for again that nobody told, on the monotonic clock; None if none is."""
        return self._look_at if self._look_at > self.builder.monotonic() else None

    def _is_certain(self, record: Record) -> bool:
        """Whether what is not in the table of definitions now was not there when the record was written (R13)."""
        return record.offset <= self._certain.get(record.at, -1)

    def _stored(self, batch: Batch) -> list[Batch]:
        """The batch, once what it refers to is where it is found (twice is once); nothing while the store is away."""
        try:
            for body in batch.values.to_store.values():
                self.artifacts.put(body)
        except TransportError as error:
            batch.abandon()
            self._wait_for_store(batch.home, StoreAway(str(error)))
            return []
        return [batch]

    def _wait_for_store(self, home: Home, away: StoreAway) -> None:
        home.store.failed(ms(self.now()))
        self.builder.words["store_away"] += 1
        if home.store.failures == 1:
            log.warning("home %d waits for the artifact store: %s; trying again", home.number, away)

    @property
    def waits_until(self) -> int:
        """When batches may be tried again, ms of the log clock; 0 while all is well."""
        return self._aborts.until

    def is_time(self, homes: Iterable[Home]) -> bool:
        """Whether one of their drafts has waited long enough for something urgent to go with: then all of them go."""
        now = self.builder.monotonic()
        return any(due <= now for home in homes if (due := self.draft_due(home)) is not None)

    def draft_due(self, home: Home) -> float | None:
        """When the home's draft goes whatever is in it, on the monotonic clock; None if there is none."""
        return None if home.draft is None else home.draft.begun + self.settings.patience.total_seconds()

    def _chosen(self, homes: Sequence[Home]) -> Sequence[Home]:
        """The homes of the next transaction: one alone that may hold what was refused, then again all the others."""
        suspects = sorted((h.number, h) for h in homes if h.limit or h.late.failures)
        sound = [h for h in homes if not (h.limit or h.late.failures)]
        self._suspects_turn = bool(suspects) and not (sound and self._suspects_turn)
        if not self._suspects_turn:
            return sound
        # In turn, so that none of them waits for another's end.
        self._last_suspect, chosen = next((each for each in suspects if each[0] > self._last_suspect), suspects[0])
        return [chosen]

    def _flight_of(self, batches: Sequence[Batch]) -> Flight:
        number, now = self._numbers.next(), self.now()
        records: list[Outgoing] = []
        places: list[tuple[int, Place]] = []
        positions: dict[TopicPartition, Position] = {}
        for batch in batches:
            records += batch.records
            records += batch.state(now)
            if not self._says(records[-1] if records else None, batch.home.number):
                places.append((batch.home.number, batch.place(now)))
            else:
                records[-1] = structs.replace(records[-1], headers=(*records[-1].headers, batch.place(now).header()))
            stamp = self._stamp(number, batch.home.epoch)
            positions.update(positions_of(self.settings.topics, batch.home, batch.at, stamp))
        return Flight(number, records, positions, batches, [b.home for b in batches], places)

    def _says(self, last: Outgoing | None, home: int) -> bool:
        """Whether the last record of a batch can say where the home stands: state of the home's, which stays."""
        if last is None or last.topic != self.settings.topics.runs or last.value is None or last.home is None:
            return False
        return home_of(last.home, self.partitions) == home  # not that of a run that somebody began in another's home

    def _stamp(self, number: int, epoch: int, *, clean: bool = False) -> Metadata:
        return Metadata(self.settings.client_id, number, epoch, clean, ms(self.now()), b"")

    def _send(self, flight: Flight) -> bool:
        try:
            snapshot = self.member.snapshot()
        except NotJoined:
            for batch in flight.batches:
                batch.abandon()
            return False
        self.flight = flight
        records = new_records(flight.records, self.partitions)
        runs = self.settings.topics.runs
        records += [NewRecord(runs, KEY, b"", (place.header(),), number) for number, place in flight.places]
        self.ask(Commit(records, flight.positions, snapshot), self._landed)
        return True

    def _landed(self, reply: Reply) -> None:
        flight, self.flight = self.flight, None
        assert flight is not None
        verdict = reply.verdict or Verdict.DOUBT
        self.builder.words[f"transaction_{verdict.value}"] += 1
        if verdict is Verdict.COMMITTED:
            self._fencings.over()
            return self._committed(flight)
        if verdict in (Verdict.DOUBT, Verdict.FENCED):
            return self._in_doubt(flight, verdict, reply.error)
        for batch in flight.batches:
            batch.abandon()
        if verdict is Verdict.REFUSED:
            self._bisect(flight, reply.error)
        elif verdict is Verdict.ABORTED:
            self._wait_for_log(reply.error)

    def _committed(self, flight: Flight) -> None:
        self._last = frozenset(home.number for home in flight.homes)
        for home in flight.homes:
            home.number_committed = flight.number
            home.committed_at = _positions_in(flight, home.number, self.settings.topics)
        now_ms = ms(self.now())
        for batch in flight.batches:
            self.builder.answered(batch)
            self.builder.measures.committed(batch, now_ms)
            batch.publish()
            batch.home.limit, batch.home.refused = 0, None
            if batch.taken:
                batch.home.late.ended()
            if not batch.errors:  # else it may be the store for which a run was held: it is as broken for the next
                batch.home.store.ended()
            for run in batch.read_again:
                self.builder.refold.done(run)
        if flight.batches:
            self._aborts.ended()
            self.builder.grow()
        if flight.kind == "epoch":
            self.committed_epoch(flight)

    def _wait_for_log(self, error: TransportError | None) -> None:
        """Once is nothing: a leader has moved. Again and again is worth a line, and a pause that grows."""
        self._aborts.failed(ms(self.now()))
        if self._aborts.failures == TOLD_AFTER:
            log.warning("the log takes no transaction of ours: %s; trying again", error)

    def _bisect(self, flight: Flight, error: TransportError | None) -> None:
        """A record of the batch cannot be produced: find its cause by halves, then hold the run it belongs to.

        Only what was read alone, under a limit of 1, is blamed: a batch without limit may hold markers of timers too,
        and a record that comes in meanwhile may stand before the one that was refused. Where not even that a record is
        given up can be written, the log takes nothing from us (a topic is gone): nobody is blamed, and we wait.
        """
        if not self._aborts.failures:
            log.error("a transaction was refused: %s", error)
        if not flight.batches:
            self._wait_for_log(error)
        for batch in flight.batches:
            home, read = batch.home, sum(batch.read)
            if home.refused is not None:
                home.limit, home.refused = 0, None
                self._wait_for_log(error)
                continue
            if not read:
                home.late.failed(ms(self.now()))
            elif len(flight.batches) > 1:
                home.limit = read  # whose batch it was comes first: each goes alone
            elif home.limit == 1:
                home.refused = Refused(home.events[0] if batch.read[0] else home.commands[0], str(error))
            else:
                home.limit = (read + 1) // 2

    def _in_doubt(self, flight: Flight, verdict: Verdict, error: TransportError | None) -> None:
        """We do not know: a new producer, and the homes are restored from what the log says (R4).

        Those of the transaction before too: a broker that left its markers out has ended it with this one (0123).
        """
        if verdict is Verdict.FENCED:
            self._fencings.fenced(self.builder.monotonic())
        if flight.batches and verdict is Verdict.DOUBT:
            self.builder.shrink()
        log.warning("a transaction is in doubt (%s): its homes are restored", error)
        last, self._last = self._last, frozenset()
        self.doubted(frozenset(at.partition for at in flight.positions), last)
        self._renew()

    def _renew(self) -> None:
        self.renewing = True

        def renewed(reply: Reply) -> None:
            if reply.error is not None:
                return self._renew()
            self.renewing = False

        self.ask(RenewProducer(), renewed)


def _pass_over(home: Home, batch: Batch) -> None:
    """Go past records and timers that lead to nothing; the timers are not given back, or they would be due for ever."""
    home.draft = None
    home.move(batch.events_at, batch.commands_at)
    home.marked.difference_update(batch.read_back)
    home.refused = None
    home.store.ended()
    if not home.events and not home.commands:
        home.limit = 0


def _positions_in(flight: Flight, number: int, topics: Topics) -> tuple[int, int]:
    events, commands = TopicPartition(topics.events, number), TopicPartition(topics.commands, number)
    return flight.positions[events].offset, flight.positions[commands].offset
