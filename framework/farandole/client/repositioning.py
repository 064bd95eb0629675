"""`agent reposition`: a way on for an inbox whose positions are gone, or point at records that are (R8). Blocking.

Positions expire when a unit stands still for longer than the broker keeps them; records are deleted by retention, or
with their topic. An agent never goes on by itself then: it would repeat or lose. This command goes on with the first
record that there still is. What was answered before and is read again is answered again, and counts once; a
trigger that is gone shows as a run that is held, for the watchdog finds it. Which records these are is written down in
the same transaction: nothing else on the log tells an answer that was repeated on purpose from one that must not be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from farandole.client.placing import check_stopped, place
from farandole.client.serving import owners_of
from farandole.clock import SystemClock
from farandole.errors import ConfigError, MetadataUnreadable
from farandole.events.acts import ReadAgain, Repositioned
from farandole.events.topics import Topics
from farandole.transport.metadata import Metadata, decode, encode
from farandole.transport.port import Isolation, NewRecord, Position, TopicPartition, Transport


@dataclass(frozen=True, slots=True)
class Reposition:
    """What is to be done: `fresh` are the new positions, `stale` those that they replace (None: there is none).

    `answered`: up to where records may have been answered that are read from the new positions on.
    """

    topics: Topics
    agent: str
    unit: str
    fresh: Mapping[TopicPartition, Position]
    stale: Mapping[TopicPartition, int | None]
    answered: Mapping[TopicPartition, int]
    waiting: int
    """Records from the new positions on."""

    def act(self, at: datetime) -> Repositioned:
        """What the log is to say of it."""
        return Repositioned(
            self.agent,
            self.unit,
            at,
            tuple(
                ReadAgain(place.partition, fresh.offset, self.answered[place], self.stale[place])
                for place, fresh in self.fresh.items()
            ),
        )


def plan_reposition(transport: Transport, topics: Topics, agent: str) -> Reposition:
    """Look which positions do not exist on the log any more; empty if all do.

    Raises:
        ConfigError: no such agent, its unit runs, or the topic is not there.
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
        places = [TopicPartition(topic, n) for n in range(spec.partitions)]
        known = admin.positions(topics.group(unit), places)
        begins, ends = admin.beginnings(places), admin.ends(places, Isolation.UNCOMMITTED)
        gone = [at for at in places if at not in known or not begins[at] <= known[at].offset <= ends[at]]
        return Reposition(
            topics,
            agent,
            unit,
            {at: fresh_position(known.get(at), begins[at], SystemClock().now()) for at in gone},
            {at: known[at].offset if at in known else None for at in gone},
            {at: _answered(known.get(at), begins[at], ends[at]) for at in gone},
            sum(ends[at] - begins[at] for at in gone),
        )
    finally:
        admin.close()


def fresh_position(stale: Position | None, begin: int, now: datetime) -> Position:
    """A position at the first record that there is; the next owner's fencing tokens are above all that were given.

    Of a position that can be read its owner's epoch is kept. Of one that is lost nothing is known, neither how many
    owners there were nor whether the last one let go in order: as many as seconds since 1970, for none had it for less
    (the kernel leaves room for so many, `EPOCH_BITS`).
    """
    lost = Metadata(epoch=int(now.timestamp()))
    try:
        known = lost if stale is None else replace(decode(stale.metadata), bitmap=b"")
    except MetadataUnreadable:
        known = lost
    return Position(begin, encode(known))


def _answered(stale: Position | None, begin: int, end: int) -> int:
    """Up to where a unit may have answered that stood at `stale`, of a log that now goes from `begin` to `end`.

    A position behind the log tells it: only what its bitmap has. One that is lost, or beyond the end, tells nothing.
    """
    if stale is None or stale.offset >= begin:
        return end
    try:
        bits = int.from_bytes(decode(stale.metadata).bitmap, "little").bit_length()
    except MetadataUnreadable:
        return end
    return min(end, max(begin, stale.offset + bits))


def carry_out(transport: Transport, it: Reposition) -> None:
    """Commit the new positions, and say so on `definitions`.

    Raises:
        ConfigError: a process of the unit was started in the meantime.
        TransportError: the log does not answer; do it again.
    """
    admin, group = transport.admin(), it.topics.group(it.unit)
    try:
        check_stopped(admin, it.topics, it.unit)
        act = it.act(SystemClock().now())
        row = NewRecord(it.topics.definitions, act.key.encode(), act.text().encode(), partition=0)
        place(transport, group, it.topics.inbox(it.agent), it.fresh, [row])
    finally:
        admin.close()
