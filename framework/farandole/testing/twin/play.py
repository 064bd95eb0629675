"""Playing a script on a stage: one answer for each operation, and one for what is then seen.

On a real log markers follow a commit by some milliseconds. So what is seen is looked at until
it is what the other log has shown, or until there is no hope: an answer is never taken from
the other log, only the moment at which one's own is taken. Verdicts are told once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from farandole.errors import NotReady, TransportError
from farandole.testing.conformance.driven import Driven
from farandole.testing.conformance.kit import BEGINNING, Kit
from farandole.testing.twin import operations as do
from farandole.testing.twin.stages import Open, Stage, kit_of
from farandole.transport.port import (
    Commit,
    FenceWriter,
    GroupSnapshot,
    Isolation,
    NewRecord,
    Position,
    ReadEnds,
    ReadPositions,
    RenewProducer,
    Reply,
    TopicPartition,
    Verdict,
)

OPEN_FOR: Final = timedelta(minutes=5)
"""Time-out of a transaction that hangs: longer than any script takes."""

LAPSE: Final = timedelta(seconds=3)
"""Time-out of one that lapses: longer than a busy machine takes to begin it."""

HOPE: Final = 5.0
"""Seconds after which what is seen will not become what it should be; markers take milliseconds."""

LARGE: Final = b"x" * 1_100_000
TOO_LONG: Final = "x" * 5_000

ASTRAY: Final = {
    "beyond": ("in", 0, 1_000_000),
    "nowhere": ("nowhere", 0, BEGINNING),
    "no_partition": ("in", 9, BEGINNING),
}

Answer = tuple[str, object]
"""What was done or looked at, and what came of it; names and values alone, so that two logs can be compared."""


@dataclass(slots=True)
class Played:
    """What a stage answered, as far as the script was played, and its slowest transaction in seconds."""

    answers: list[Answer] = field(default_factory=list)
    slowest: float = 0.0


def play(
    script: Sequence[do.Operation], stage: Stage, expected: Sequence[Answer] = (), scope: do.Scope | None = None
) -> Played:
    """The answers of a stage. `expected`: those of another, which say how long to look.

    `scope`: of the stage that it is compared with, its own by default.
    Ends early at the first answer that is not the expected one: what follows from it says nothing.
    """
    with kit_of(stage) as kit:
        player = _Player(stage, kit)
        answers: list[Answer] = []
        for what, ask in player.steps(script, scope or stage.scope):
            at = len(answers)
            wanted = expected[at] if at < len(expected) else None
            answers.append((what, player.look(ask, wanted[1] if wanted and what.startswith("see ") else None)))
            if wanted is not None and answers[at] != wanted:
                break
        return Played(answers, player.slowest)


class _Player:
    """A script's names, made real on one stage."""

    def __init__(self, stage: Stage, kit: Kit) -> None:
        self._stage, self._kit = stage, kit
        for topic in (*do.LOGS, do.ROUGH):
            kit.topic(topic, do.PARTITIONS)
        self._places = [self._at((topic, n)) for topic in do.LOGS for n in range(do.PARTITIONS)]
        self._members = {name: self._join(name, group) for name, group in do.MEMBERS.items()}
        self._old: dict[str, GroupSnapshot] = {}
        self._open: dict[str, list[Open]] = {}
        self._producer = kit.producer()
        self._written = 0
        self._lost: set[str] = set()
        self.slowest = 0.0
        """Longest that a transaction of a member took, seconds of the stage's clock."""

        for name, member in self._members.items():
            self._await_everything(name, member)
            self._old[name] = member.member.snapshot()
            # When a member takes its transactional id, at the latest by its first request, is its own affair.
            member.ask(RenewProducer())

    def _await_everything(self, name: str, member: Driven) -> None:
        self._kit.until(lambda: len(member.owned) == do.PARTITIONS, f"{name} to be assigned")

    def steps(self, script: Sequence[do.Operation], scope: do.Scope) -> Sequence[tuple[str, Callable[[], object]]]:
        """What is to be answered, in order."""
        out: list[tuple[str, Callable[[], object]]] = []
        for each in script:
            out.append((str(each)[:160], lambda each=each: self._do(each)))  # type: ignore[misc]
            out.append((f"see the state after {str(each)[:160]}", self._state))
        out.append(("see what a committed reader reads", self._read))
        out.append(("see what the members have read", self._heard))
        if scope.keeps_aborted:
            out.append(("see what stands on the log", self._stands))
        return out

    def look(self, ask: Callable[[], object], wanted: object | None) -> object:
        """An answer; looked for until it is the wanted one, if there is one."""
        until = self._kit.now + HOPE
        while (found := ask()) != wanted and wanted is not None and self._kit.now < until:
            self._kit.pump()
        return found

    # --- doing ----------------------------------------------------------------------------

    def _do(self, it: do.Operation) -> object:
        match it:
            case do.Write():
                return self._write(it)
            case do.Transact():
                return self._transact(it)
            case do.Renew():
                self._lost.discard(it.member)
                return _word(self._members[it.member].ask(RenewProducer()))
            case do.Fence():
                return _word(self._members[it.member].ask(FenceWriter(self._kit.name(it.writer))))
            case do.Hang():
                self._hang(it, OPEN_FOR)
                return "open"
            case do.Lapse():
                return self._lapse(it)
            case do.Late():
                left = self._open.get(it.writer)
                return left.pop().end(commit=it.commit) if left else "nothing is open"
            case do.Shake():
                return self._shake(it)
            case do.Begin():
                return self._begin(it)
            case do.Wrong():
                return self._wrong(it)
            case do.Astray():
                return self._astray(it)

    def _write(self, it: do.Write) -> object:
        for record in self._records(it.places):
            self._producer.send(record)
        self._kit.until(lambda: self._producer.flush(1.0) == 0, "plain records to be acknowledged")
        return "written"

    def _transact(self, it: do.Transact) -> object:
        member = self._members[it.member]
        # Refused before it is sent, or while it is: no claim about the offsets of the rest.
        places = it.places if it.flaw in ("", "metadata", do.RARE) else tuple((do.ROUGH, n) for _, n in it.places)
        records, positions = self._records(places), self._positions(it.promises)
        first = next(iter(positions))
        match it.flaw:
            case "large":
                records.append(NewRecord(self._kit.name(do.ROUGH), b"k", LARGE, (), 0))
            case "topic":
                records.append(NewRecord(self._kit.name("nowhere"), b"k", b"v", (), 0))
            case "partition":
                records.append(NewRecord(self._kit.name(do.ROUGH), b"k", b"v", (), 99))
            case "metadata":
                positions[first] = Position(positions[first].offset, TOO_LONG)
            case do.RARE:
                positions[TopicPartition(self._kit.name("nowhere"), 0)] = Position(0)
        if it.member in self._lost:  # as every loop does: nothing else is allowed after a fencing
            self._lost.discard(it.member)
            member.ask(RenewProducer())
        began = self._kit.now
        reply = member.commit(records, positions, self._old[it.member] if it.is_old else None)
        self.slowest = max(self.slowest, self._kit.now - began)
        if reply.verdict in (Verdict.FENCED, Verdict.DOUBT):
            self._lost.add(it.member)
        return reply.verdict.value if reply.verdict is not None else "no verdict"

    def _hang(self, it: do.Hang | do.Lapse, timeout: timedelta) -> None:
        name, group = self._kit.name(it.writer), self._kit.name(it.group)
        left = self._stage.leave_open(name, timeout, self._records(it.places), group, self._positions(it.promises))
        # Kept for good: a client that is destroyed says so to the broker.
        self._open.setdefault(it.writer, []).append(left)

    def _lapse(self, it: do.Lapse) -> object:
        touched = {self._at(place) for place in it.places}
        self._kit.admin.ends(self._places, Isolation.UNCOMMITTED)
        # What its id had open before ends with its start; the markers of that come first.
        self._members["a" if it.writer != "a" else "b"].ask(FenceWriter(self._kit.name(it.writer)))
        before = self._settled_ends(touched)
        self._hang(it, LAPSE)
        wanted = {at: before[at] + sum(self._at(p) == at for p in it.places) + 1 for at in touched}
        self._kit.until(lambda: self._uncommitted(touched) == wanted, f"{it} to be ended by the log")
        return "ended"

    def _settled_ends(self, touched: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends that have not moved for a while: nothing is being marked."""
        found, quiet = self._uncommitted(touched), self._kit.now
        while self._kit.now < quiet + 0.1:
            self._kit.pump()
            if (now := self._uncommitted(touched)) != found:
                found, quiet = now, self._kit.now
        return found

    def _uncommitted(self, touched: set[TopicPartition]) -> dict[TopicPartition, int]:
        return dict(self._kit.admin.ends(sorted(touched), Isolation.UNCOMMITTED))

    def _shake(self, it: do.Shake) -> object:
        member = self._members[it.member]
        everything = member.owned
        other = self._join(f"{it.member}-other", do.MEMBERS[it.member])
        self._kit.until(lambda: other.owned and member.owned | other.owned == everything, "two to share a group")
        other.close()
        self._kit.until(lambda: member.owned == everything, f"{it.member} to be alone again")
        return "shaken"

    def _begin(self, it: do.Begin) -> object:
        try:
            self._kit.admin.start_positions(self._kit.name(it.group), self._positions(it.promises))
        except TransportError as refused:
            return _class_of(refused)
        return "begun"

    def _wrong(self, it: do.Wrong) -> object:
        member = self._members[it.member].member
        positions = {} if it.what == "empty" else {self._at(("in", 0)): Position(-1)}
        try:
            member.call(Commit([], positions, member.snapshot()))
        except (ValueError, TransportError) as refused:
            return _class_of(refused)
        return "taken"

    def _astray(self, it: do.Astray) -> object:
        topic, number, position = ASTRAY[it.what]
        reading = self._kit.reading({self._at((topic, number)): position})
        trouble = self._kit.until(lambda: reading.troubles[:1], "a trouble")[0]
        reading.close()
        at = trouble.at
        return trouble.kind, at and (at.topic == self._kit.name(topic), at.partition)

    # --- seeing ---------------------------------------------------------------------------

    def _state(self) -> object:
        """Both ends of every partition, asked in two ways, and every position, in three."""
        asked, told = self._members["a"], dict[str, object]()
        wanted = [self._at(("in", n)) for n in range(do.PARTITIONS)]
        ends = {level: asked.member.call(ReadEnds(self._places, level)) for level in Isolation}
        positions = {
            (group, stable): asked.member.call(ReadPositions(wanted, stable=stable, group=self._kit.name(group)))
            for group in do.GROUPS
            for stable in (True, False)
        }
        for level, ticket in ends.items():
            known = self._kit.admin.ends(self._places, level)
            told[level.value] = tuple(known[at] for at in self._places)
            found = asked.reply_to(ticket).ends
            told[f"{level.value}, by a member"] = tuple(found.get(at) for at in self._places)
        for (group, stable), ticket in positions.items():
            found_positions = asked.reply_to(ticket).positions
            told[f"{group}, stable={stable}"] = tuple(found_positions.get(at, "pending") for at in wanted)
        for group in do.GROUPS:
            committed = self._kit.admin.positions(self._kit.name(group))
            told[f"{group}, admin"] = tuple(committed.get(at) for at in wanted)
        return told

    def _read(self) -> object:
        """What a committed reader sees, and up to where."""
        ends = self._kit.admin.ends(self._places, Isolation.COMMITTED)
        reading = self._kit.reading(dict.fromkeys(self._places, BEGINNING))
        for at in self._places:
            reading.reaches(at, ends[at])
        reading.close()
        return [
            (n, [(r.offset, r.value) for r in reading.records if r.at == at], reading.ends[at])
            for n, at in enumerate(self._places)
        ]

    def _heard(self) -> object:
        """As sets: a member that was assigned a partition anew reads it anew."""
        return {
            name: sorted({(r.partition, r.offset, r.value or b"") for r in member.records})
            for name, member in self._members.items()
        }

    def _stands(self) -> object:
        found = self._stage.rows(self._places)
        return [(n, found[at]) for n, at in enumerate(self._places)]

    # --- names ----------------------------------------------------------------------------

    def _join(self, name: str, group: str) -> Driven:
        return self._kit.member([self._kit.name("in")], group, name, assignor="range")

    def _at(self, place: do.Place) -> TopicPartition:
        return TopicPartition(self._kit.name(place[0]), place[1])

    def _records(self, places: Sequence[do.Place]) -> list[NewRecord]:
        out = []
        for topic, number in places:
            self._written += 1
            out.append(NewRecord(self._kit.name(topic), b"k", b"%d" % self._written, (), number))
        return out

    def _positions(self, promises: Sequence[do.Promise]) -> dict[TopicPartition, Position]:
        return {self._at(("in", number)): Position(offset, metadata) for number, offset, metadata in promises}


def _class_of(error: Exception) -> str:
    """The class of an error. That a call may be repeated is not compared: nothing in memory is ever worth a wait."""
    return TransportError.__name__ if isinstance(error, NotReady) else type(error).__name__


def _word(reply: Reply) -> str:
    if reply.verdict not in (None, Verdict.COMMITTED):
        return str(reply.verdict)
    return "done" if reply.error is None else _class_of(reply.error)
