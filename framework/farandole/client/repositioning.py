"""`agent reposition`: a way on for an inbox whose positions are gone, point at records that are, or went back (R8).
Blocking.

- *Gone.* Positions expire when a unit stands still for longer than the broker keeps them; records are deleted by
  retention, or with their topic. An agent never goes on by itself then: it would repeat or lose. This command goes on
  with the first record that there still is. What was answered before and is read again is answered again, and counts
  once; a trigger that is gone shows as a run that is held, for the watchdog finds it.
- *Gone back.* A broker that lost the end of its log of positions gives out older ones. Where they stood is found on
  `events`; nothing that is answered there is read again, and nothing else is passed over.

What may have been answered and is read again is written down in the same transaction: nothing else on the log tells an
answer that was repeated on purpose from one that must not be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from farandole.client.answered import Answers, Done, Stand, done_of
from farandole.client.placing import check_stopped, place, settled
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
    """What is to be done: `fresh` are the new positions, `stale` those that they replace (None: there is none).

    `answered`: up to where records may have been answered that are read from the new positions on; absent where that
    is none. `back`: of positions that went back, the last offset that was answered.
    """

    topics: Topics
    agent: str
    unit: str
    fresh: Mapping[TopicPartition, Position]
    stale: Mapping[TopicPartition, int | None]
    answered: Mapping[TopicPartition, int]
    back: Mapping[TopicPartition, int]
    waiting: int
    """Offsets that are read from the new positions on."""

    def act(self, at: datetime) -> Repositioned:
        """What the log is to say of it."""
        return Repositioned(
            self.agent,
            self.unit,
            at,
            tuple(
                ReadAgain(place.partition, self.fresh[place].offset, end, self.stale[place])
                for place, end in self.answered.items()
            ),
        )


def plan_reposition(transport: Transport, topics: Topics, agent: str, told: Told = unheard) -> Reposition:
    """Look which positions do not exist on the log any more, and which went back; empty if none.

    `told` hears how far `events` is read.

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
        check_stopped(admin, topics, unit)
        spec = admin.topics([topic]).get(topic)
        if spec is None:
            raise ConfigError(f"{topic}: expected the topic to exist, but it does not. Run `farandole apply` first.")
        inbox = _Inbox(admin, topics.group(unit), [TopicPartition(topic, n) for n in range(spec.partitions)])
        stands = inbox.stood(transport, Answers(transport, admin, topics, agent, told))
        return inbox.reposition(topics, agent, unit, stands)
    finally:
        admin.close()


class _Inbox:
    """Positions of a unit on an inbox, and what there is of it on the log."""

    def __init__(self, admin: Admin, group: str, places: Sequence[TopicPartition]) -> None:
        self._group, self._places = group, places
        self._known = dict(admin.positions(group, places))
        self._begins, self._ends = admin.beginnings(places), admin.ends(places, Isolation.UNCOMMITTED)

    def stood(self, transport: Transport, answers: Answers) -> dict[TopicPartition, Stand]:
        """Where the partitions stood whose positions went back.

        Looked at once more before anything is concluded: a transaction that had just ended may have been read on
        `events` before its positions were there.
        """
        named = answers.named(self._done())
        if not named:
            return {}
        self._known |= settled(transport, self._group, list(named))
        return answers.stood(self._done(), named)

    def _done(self) -> dict[TopicPartition, Done]:
        """What positions say that can be held against the log; those that are lost tell nothing."""
        found: dict[TopicPartition, Done] = {}
        for at, position in self._known.items():
            done = done_of(position, self._begins[at], self._ends[at])
            if done is not None:
                found[at] = done
        return found

    def reposition(self, topics: Topics, agent: str, unit: str, stands: Mapping[TopicPartition, Stand]) -> Reposition:
        """The new positions of what went back, and of what is gone."""
        begins, ends, known, now = self._begins, self._ends, self._known, SystemClock().now()
        gone = [at for at in self._places if at not in known or not begins[at] <= known[at].offset <= ends[at]]
        gone = [at for at in gone if at not in stands]
        fresh = {at: fresh_position(known.get(at), begins[at], now) for at in gone}
        fresh |= {at: _regained(known[at], stand, now) for at, stand in stands.items()}
        answered = {at: _answered(known.get(at), begins[at], ends[at]) for at in gone}
        answered |= {at: stand.doubted for at, stand in stands.items() if stand.doubted is not None}
        done = sum(int.from_bytes(stand.bitmap, "little").bit_count() for stand in stands.values())
        return Reposition(
            topics,
            agent,
            unit,
            fresh={at: fresh[at] for at in self._places if at in fresh},
            stale={at: known[at].offset if at in known else None for at in self._places if at in fresh},
            answered=answered,
            back={at: stand.last for at, stand in stands.items()},
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


def _regained(stale: Position, stand: Stand, now: datetime) -> Position:
    """The position of a partition that had gone back from there.

    Its epoch went back too, and facts do not tell it. So it counts as lost; and nobody knows of the last owner that it
    let go in order.
    """
    known = decode(stale.metadata)
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
        if {at: known[at].offset if at in known else None for at in it.fresh} != it.stale:
            raise ConfigError(
                f"unit {it.unit}: it ran while its positions were looked at. Nothing was done; do it again."
            )
        act = it.act(SystemClock().now())
        row = NewRecord(it.topics.definitions, act.key.encode(), act.text().encode(), partition=0)
        place(transport, group, it.topics.inbox(it.agent), it.fresh, [row] if act.partitions else [])
    finally:
        admin.close()
