"""`coordinator reposition`: a way on for homes whose positions expired (R8). Blocking.

Kafka forgets the positions of a group that stands still for longer than `offsets.retention.minutes`, 7 days by
default. Where homes stood is found on `events`: what a coordinator writes says how far it had folded (`ce_folded`) and
what it answered (`ce_input`), in the transaction of the positions that are lost.

- `runs` says where a home stood exactly, beside its state (`kernel.place`): who opens the home goes by that, so that
  no position is given behind it. A log of before 0122 has no places, and one may be of topics that were made anew.
- `events` goes on at the furthest position folded up to. From facts behind it nothing followed; folding them once
  more changes nothing.
- `commands` goes on behind the last that was answered, never at the beginning: starts are known again by what `runs`
  keeps for a day, and would run once more. Nor is a repeated start begun anew that left no answer behind.

Nothing stands twice on the log because of it, so that nothing is written down for whoever judges it (as for agents).
The new place goes to `runs`, in the transaction of the positions: the one that stands there would count before them.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from farandole.client.applying import read_rows
from farandole.client.placing import check_stopped, looked_again, place
from farandole.client.planning import COORDINATOR, GROUP
from farandole.client.repositioning import fresh_position
from farandole.client.scan import header, header_text
from farandole.client.serving import owners_of
from farandole.client.stretches import stretch
from farandole.clock import SystemClock
from farandole.errors import ConfigError, MetadataUnreadable
from farandole.events.catalogue import decode_command, type_name
from farandole.events.commands import StartRun
from farandole.events.facts import RunSettled, RunStarted
from farandole.events.topics import Topics
from farandole.ids import derived_run_id
from farandole.kernel.place import KEY, Place, place_in
from farandole.transport.metadata import Metadata, decode
from farandole.transport.port import Admin, Isolation, NewRecord, Position, Record, TopicPartition, Transport

_STARTED = type_name(RunStarted).encode()
_SETTLED = type_name(RunSettled).encode()


@dataclass(frozen=True, slots=True)
class Homes:
    """What is to be done: `fresh` are the new positions, `stale` those that they replace (None: there is none)."""

    topics: Topics
    fresh: Mapping[TopicPartition, Position]
    stale: Mapping[TopicPartition, int | None]
    waiting: int
    """Records from the new positions on."""

    places: Mapping[int, Place]
    """Where the homes stand then, which is said in `runs` too: else the place that stands there would count."""

    passed: int
    """Commands without a trace that are not read again: starts of ids that had begun, and what is about no live run."""


@dataclass(slots=True)
class _Found:
    """What the log tells of the homes: positions by place, and which of some runs have begun, and ended."""

    positions: dict[TopicPartition, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    told: dict[int, Place] = field(default_factory=dict)
    """The last place of each home on `runs`, if it is of these topics."""

    def reach(self, at: TopicPartition, position: int) -> None:
        self.positions[at] = max(position, self.positions.get(at, 0))

    def is_spent(self, command: StartRun | None, run: str) -> bool:
        """Whether a command (None: no start) cannot have an effect that it has not had, in its place among others."""
        if command is not None:
            return run in self.begun
        return run not in self.begun or run in self.ended


def plan_homes(transport: Transport, topics: Topics) -> Homes:
    """Look which positions of the coordinators do not exist on the log, and where they stood; empty if all do.

    Raises:
        ConfigError: the namespace was never applied, or a coordinator runs.
        TransportError: a partition cannot be read to its end.
    """
    admin = transport.admin()
    try:
        owners_of(transport, admin, topics)  # says so where nothing was applied
        if GROUP + COORDINATOR not in read_rows(transport, admin, topics.definitions):
            raise ConfigError(
                f"{topics.definitions}: expected the coordinators to have had positions, but they were given none. "
                "Run `farandole apply`."
            )
        check_stopped(admin, topics, COORDINATOR)
        log = _Log(transport, admin, topics)
        group, looked_at = topics.group(COORDINATOR), SystemClock().monotonic()
        known = dict(admin.positions(group, log.places))
        if missing := [at for at in log.places if at not in known]:
            known |= looked_again(transport, group, missing, looked_at)
        gone = [at for at in log.places if at not in known or not log.begins[at] <= known[at].offset <= log.ends[at]]
        found, passed = log.stood(gone) if gone else (_Found(), 0)
        now, new = SystemClock().now(), {}
        for at in gone:
            offset = min(max(found.positions.get(at, 0), log.begins[at]), log.ends[at])
            mate = TopicPartition(topics.commands if at.topic == topics.events else topics.events, at.partition)
            new[at] = Position(offset, fresh_position(known.get(at) or known.get(mate), offset, now).metadata)
        stale = {at: known[at].offset if at in known else None for at in gone}
        waiting = sum(log.ends[at] - new[at].offset for at in gone)
        return Homes(topics, new, stale, waiting, _places(topics, known, new, found.told), passed)
    finally:
        admin.close()


def carry_out(transport: Transport, it: Homes) -> None:
    """Commit the new positions.

    Raises:
        ConfigError: a coordinator was started in the meantime.
        TransportError: the log does not answer; do it again.
    """
    admin = transport.admin()
    try:
        for topic in (it.topics.commands, it.topics.events):
            if positions := {at: position for at, position in it.fresh.items() if at.topic == topic}:
                check_stopped(admin, it.topics, COORDINATOR)
                told = [
                    NewRecord(it.topics.runs, KEY, b"", (it.places[at.partition].header(),), at.partition)
                    for at in positions
                ]
                place(transport, it.topics.group(COORDINATOR), topic, positions, told)
    finally:
        admin.close()


def _places(
    topics: Topics,
    known: Mapping[TopicPartition, Position],
    new: Mapping[TopicPartition, Position],
    before: Mapping[int, Place],
) -> dict[int, Place]:
    """Where the homes stand that are given a position: nowhere behind the place that stood there."""
    found: dict[int, Place] = {}
    for number in {at.partition for at in new}:
        pair = [TopicPartition(name, number) for name in (topics.events, topics.commands)]
        events, commands = (new.get(at) or known[at] for at in pair)
        try:
            told = decode(events.metadata)
        except MetadataUnreadable:  # it will stop the home, as before
            told = Metadata()
        it = before.get(number, Place(0, 0, 0, 0))
        ats = max(events.offset, it.events_at), max(commands.offset, it.commands_at)
        found[number] = Place(*ats, max(told.epoch, it.epoch), max(told.now_ms or 0, it.now_ms))
    return found


class _Log:
    """`events`, `commands` and `runs`, from the beginnings to the ends that stood at first."""

    def __init__(self, transport: Transport, admin: Admin, topics: Topics) -> None:
        self._transport = transport
        self._topics = topics
        specs = dict(admin.topics([topics.events, topics.commands, topics.runs]))
        runs = specs.pop(topics.runs, None)
        if missing := sorted({topics.events, topics.commands} - specs.keys()):
            raise ConfigError(f"{missing[0]}: expected the topic to exist, but it does not. Run `farandole apply`.")
        self.places = [TopicPartition(name, n) for name, spec in specs.items() for n in range(spec.partitions)]
        self._runs = [TopicPartition(topics.runs, n) for n in range(0 if runs is None else runs.partitions)]
        self.begins = admin.beginnings([*self.places, *self._runs])
        self.ends = admin.ends([*self.places, *self._runs], Isolation.UNCOMMITTED)

    def stood(self, gone: Sequence[TopicPartition]) -> tuple[_Found, int]:
        """Where homes stood, as far as the log tells, and how many commands without a trace are passed over."""
        found, passed = _Found(), 0
        for record in self._read({self._events(at): 0 for at in gone}):
            self._take_traces(record, found)
        found.told = self._told({at.partition for at in gone})
        for number, it in found.told.items():
            found.reach(TopicPartition(self._topics.events, number), it.events_at)
            found.reach(TopicPartition(self._topics.commands, number), it.commands_at)
        lost = {at: found.positions.get(at, 0) for at in gone if at.topic == self._topics.commands}
        unanswered = [(record.at, record.offset, *_command(record)) for record in self._read(lost)]
        runs = {run for *_, run in unanswered}
        if runs:
            for record in self._read({at: 0 for at in self.places if at.topic == self._topics.events}):
                _take_life(record, runs, found)
        unread: set[TopicPartition] = set()
        for at, offset, command, run in unanswered:
            if at in unread or not found.is_spent(command, run):
                unread.add(at)
                continue
            found.reach(at, offset + 1)
            passed += 1
        return found, passed

    def _told(self, homes: Set[int]) -> dict[int, Place]:
        """Where these homes stand by the last place of each on `runs`, unless that is of topics that were longer."""
        found: dict[int, Place] = {}
        for record in self._read({at: 0 for at in self._runs if at.partition in homes}):
            if (told := place_in(record.headers)) is not None:
                found[record.partition] = told
        pair = (self._topics.events, self._topics.commands)
        ends = {number: [self.ends[TopicPartition(it, number)] for it in pair] for number in found}
        return {number: told for number, told in found.items() if told.is_within(*ends[number])}

    def _events(self, at: TopicPartition) -> TopicPartition:
        return TopicPartition(self._topics.events, at.partition)

    def _take_traces(self, record: Record, found: _Found) -> None:
        """What a coordinator says beside what it writes: how far it had folded, and which command it answered."""
        home, _, folded = header_text(record, "ce_folded").partition("/")
        if home == str(record.partition) and folded.isdecimal():
            found.reach(record.at, int(folded))
        for name in ("ce_input", "ce_cause"):  # a refusal of what nobody could answer names it as its cause alone
            topic, _, rest = header_text(record, name).partition("/")
            home, _, offset = rest.partition("/")
            if topic == self._topics.commands and home == str(record.partition) and offset.isdecimal():
                found.reach(TopicPartition(topic, record.partition), int(offset) + 1)

    def _read(self, begin: Mapping[TopicPartition, int]) -> Iterator[Record]:
        known = {at: max(first, self.begins[at]) for at, first in begin.items()}
        return stretch(self._transport, f"{self._topics.namespace}.reposition", known, self.ends)


def _command(record: Record) -> tuple[StartRun | None, str]:
    """The start that a record is, if it is one, and the run that it is about."""
    carried = header_text(record, "farandole_run")  # with a command that was forwarded
    derived = carried or derived_run_id(record.topic, record.partition, record.offset)
    try:
        command = decode_command(record.value or b"", record.headers)
    except Exception:  # mostly a RecordError, but these are a stranger's bytes
        return StartRun("", b""), derived  # nobody can read it: it was refused, or will be
    return command if isinstance(command, StartRun) else None, command.run_id or derived


def _take_life(record: Record, runs: set[str], found: _Found) -> None:
    run, kind = header_text(record, "ce_run"), header(record, "ce_type")
    if run in runs and kind == _STARTED:
        found.begun.add(run)
    if run in runs and kind == _SETTLED:
        found.ended.add(run)
