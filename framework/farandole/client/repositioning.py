"""`agent reposition`: a way on for an inbox whose positions are gone, point at records that are, or went back (R8).
Blocking.

- *Gone.* Positions expire when a unit stands still for longer than the broker keeps them; records are deleted by
  retention, or with their topic. An agent never goes on by itself then: it would repeat or lose.
- *Gone back.* A broker that lost the end of its log of positions gives out older ones, and none of who began later.

Where they stood is found on `events`; nothing that is answered there is read again. Where it tells nothing, the command
goes on with the first record that there still is: what was answered before and is read again is answered again, and
counts once; a trigger that is gone shows as a run that is held, for the watchdog finds it. Records farther below the
last answer than an agent ever works are passed over; those of them that should have an answer are counted.

What may have been answered and is read again is written down in the same transaction: nothing else on the log tells an
answer that was repeated on purpose from one that must not be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from farandole.client.answered import Answers, Done, Stand, done_of
from farandole.client.placing import JOIN_WAIT_S, check_stopped, looked_again, place, seen_settled, settled
from farandole.client.serving import owners_of
from farandole.client.stretches import Told, unheard
from farandole.clock import SystemClock
from farandole.errors import ConfigError, MetadataUnreadable
from farandole.events.acts import ReadAgain, Repositioned
from farandole.events.topics import Topics
from farandole.transport.metadata import Metadata, decode, encode
from farandole.transport.port import Admin, Isolation, NewRecord, Position, TopicPartition, Transport


@dataclass(frozen=True, slots=True)
class Reposition:
    """What is to be done: `fresh` are the new positions, `before` those that they replace (None: there is none).

    `answered`: up to where records may have been answered that are read from the new positions on; absent where that
    is none. `back`: where `events` tells where it stood, the last offset that was answered. `unanswered`: how many
    records have no answer and are passed over; absent where that is none.
    """

    topics: Topics
    agent: str
    unit: str
    fresh: Mapping[TopicPartition, Position]
    before: Mapping[TopicPartition, Position | None]
    answered: Mapping[TopicPartition, int]
    back: Mapping[TopicPartition, int]
    unanswered: Mapping[TopicPartition, int]
    waiting: int
    """Offsets that are read from the new positions on."""

    is_running: bool = False
    """Whether the unit was at work, so that it is an indication only."""

    @property
    def stale(self) -> dict[TopicPartition, int | None]:
        """The offsets of `before`."""
        return {at: None if position is None else position.offset for at, position in self.before.items()}

    def act(self, at: datetime) -> Repositioned:
        """What the log is to say of it."""
        stale = self.stale
        again = [(place, self.fresh[place].offset, end) for place, end in self.answered.items()]
        partitions = tuple(ReadAgain(place.partition, begin, end, stale[place]) for place, begin, end in again)
        return Repositioned(self.agent, self.unit, at, partitions)


def plan_reposition(
    transport: Transport, topics: Topics, agent: str, told: Told = unheard, *, is_rehearsal: bool = False
) -> Reposition:
    """Look which positions do not exist on the log any more, and which went back; empty if none.

    `told` hears how far `events` is read. `is_rehearsal`: the unit may run, for nothing will be done.

    Raises:
        ConfigError: no such agent, its unit runs, or the topic is not there.
        TransportError: a partition cannot be read to its end, or a transaction does not end.
    """
    admin = transport.admin()
    try:
        owners = owners_of(transport, admin, topics)
        if agent not in owners:
            raise ConfigError(f"agent {agent!r}: expected one that was applied ({', '.join(sorted(owners)) or 'none'})")
        unit, topic = owners[agent], topics.inbox(agent)
        if not is_rehearsal:
            check_stopped(admin, topics, unit)
        spec = admin.topics([topic]).get(topic)
        if spec is None:
            raise ConfigError(f"{topic}: expected the topic to exist, but it does not. Run `farandole apply` first.")
        places = [TopicPartition(topic, n) for n in range(spec.partitions)]
        inbox = _Inbox(transport, admin, topics.group(unit), places)
        stands = inbox.stood(Answers(transport, admin, topics, agent, told))
        return inbox.reposition(topics, agent, unit, stands)
    finally:
        admin.close()


class _Inbox:
    """Positions of a unit on an inbox, and what there is of it on the log."""

    def __init__(self, transport: Transport, admin: Admin, group: str, places: Sequence[TopicPartition]) -> None:
        self._transport, self._group, self._places = transport, group, places
        self._looked_at, self._is_running = SystemClock().monotonic(), bool(admin.members(group))
        self._known = dict(admin.positions(group, places))
        self._begins, self._ends = admin.beginnings(places), admin.ends(places, Isolation.UNCOMMITTED)

    def stood(self, answers: Answers) -> dict[TopicPartition, Stand]:
        """Where the partitions stood whose positions went back, or are lost.

        Looked at once more before anything is concluded: a transaction that had just ended may have been read on
        `events` before its positions were there, and a broker that has just started may say that there are none.
        """
        named = answers.named({at: self._done(at) for at in self._places})
        if missing := [at for at in self._places if at not in self._known]:
            self._known |= looked_again(self._transport, self._group, missing, self._looked_at)
        if named and self._is_running:
            self._known |= seen_settled(self._transport, self._group, list(named), JOIN_WAIT_S)
        elif named:
            self._known |= settled(self._transport, self._group, list(named))
        return answers.stood({at: self._done(at) for at in self._places}, named)

    def _done(self, at: TopicPartition) -> Done:
        """What a position says that can be held against the log; one that is lost says that nothing is done."""
        begin, end, position = self._begins[at], self._ends[at], self._known.get(at)
        done = None if position is None or self._is_gone(at) else done_of(position, begin, end)
        return Done(begin, b"", begin, end) if done is None else done

    def _is_gone(self, at: TopicPartition) -> bool:
        position = self._known.get(at)
        return position is None or not self._begins[at] <= position.offset <= self._ends[at]

    def reposition(self, topics: Topics, agent: str, unit: str, stands: Mapping[TopicPartition, Stand]) -> Reposition:
        """The new positions of what went back, and of what is gone."""
        begins, ends, known, now = self._begins, self._ends, self._known, SystemClock().now()
        gone = [at for at in self._places if self._is_gone(at) and at not in stands]
        fresh = {at: fresh_position(known.get(at), begins[at], now) for at in gone}
        fresh |= {at: _regained(known.get(at), stand, now) for at, stand in stands.items()}
        answered = {at: _answered(known.get(at), begins[at], ends[at]) for at in gone}
        answered |= {at: stand.doubted for at, stand in stands.items() if stand.doubted is not None}
        done = sum(int.from_bytes(stand.bitmap, "little").bit_count() for stand in stands.values())
        return Reposition(
            topics,
            agent,
            unit,
            fresh={at: fresh[at] for at in self._places if at in fresh},
            before={at: known.get(at) for at in self._places if at in fresh},
            answered=answered,
            back={at: stand.last for at, stand in stands.items()},
            unanswered={at: stand.unanswered for at, stand in stands.items() if stand.unanswered},
            is_running=self._is_running,
            waiting=sum(max(0, ends[at] - position.offset) for at, position in fresh.items()) - done,
        )


def fresh_position(stale: Position | None, begin: int, now: datetime) -> Position:
    """A position at the first record that there is; the next owner's fencing tokens are above all that were given.

    Of a position that can be read it has the owner's epoch and one more, so that the two are told apart. Of one that is
    lost nothing is known, neither how many owners there were nor whether the last one let go in order: as many as
    seconds since 1970, for none had it for less (the kernel leaves room for so many, `EPOCH_BITS`).
    """
    known = None if stale is None else _readable(stale)
    if known is None:
        return Position(begin, encode(Metadata(epoch=int(now.timestamp()))))
    return Position(begin, encode(replace(known, epoch=known.epoch + 1, bitmap=b"")))


def _regained(stale: Position | None, stand: Stand, now: datetime) -> Position:
    """The position of a partition that had gone back from there, or was lost.

    Its epoch went back too, and facts do not tell it. So it counts as lost; and nobody knows of the last owner that it
    let go in order.
    """
    known = (None if stale is None else _readable(stale)) or Metadata()
    epoch = max(known.epoch + 1, int(now.timestamp()))
    return Position(stand.position, encode(replace(known, epoch=epoch, clean=False, bitmap=stand.bitmap)))


def _readable(position: Position) -> Metadata | None:
    try:
        return decode(position.metadata)
    except MetadataUnreadable:
        return None


def _answered(stale: Position | None, begin: int, end: int) -> int:
    """Up to where a unit may have answered that stood at `stale`, of a log that now goes from `begin` to `end`.

    A position behind the log tells it: only what its bitmap has. One that is lost, or beyond the end, tells nothing.
    """
    known = None if stale is None or stale.offset >= begin else _readable(stale)
    if stale is None or known is None:
        return end
    bits = int.from_bytes(known.bitmap, "little").bit_length()
    return min(end, max(begin, stale.offset + bits))


def carry_out(transport: Transport, it: Reposition) -> None:
    """Commit the new positions, and say on `definitions` what may be answered again.

    Raises:
        ConfigError: a process of the unit was started in the meantime, or ran.
        TransportError: the log does not answer; do it again.
    """
    admin, group = transport.admin(), it.topics.group(it.unit)
    try:
        check_stopped(admin, it.topics, it.unit)
        known = admin.positions(group, list(it.fresh))
        if {at: known.get(at) for at in it.fresh} != it.before:  # what is done above them too
            raise ConfigError(
                f"unit {it.unit}: it ran while its positions were looked at. Nothing was done; do it again."
            )
        act = it.act(SystemClock().now())
        row = NewRecord(it.topics.definitions, act.key.encode(), act.text().encode(), partition=0)
        place(transport, group, it.topics.inbox(it.agent), it.fresh, [row] if act.partitions else [])
    finally:
        admin.close()
