"""`agent move`: an inbox goes to another unit, with its positions and their metadata (R8). Blocking.

Both units must be stopped. Positions first, the owner last: a process of the new unit refuses to
start before the inbox is its own, one of the old unit afterwards, so that a move that broke off is
done again from the beginning.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farandole.client.applying import FLUSH_TIMEOUT
from farandole.client.planning import COORDINATOR, INBOX
from farandole.client.serving import owners_of
from farandole.clock import SystemClock
from farandole.errors import ConfigError, NotJoined, TransportError
from farandole.events.topics import Topics
from farandole.ids import is_name
from farandole.transport.port import (
    Admin,
    Commit,
    Isolation,
    Member,
    MemberSettings,
    NewRecord,
    Position,
    TopicPartition,
    Transport,
    Verdict,
)

JOIN_WAIT_S = 60.0
"""Longest that joining the new unit's group and one commit may take: a broker's rebalance delay many times over."""


@dataclass(frozen=True, slots=True)
class Move:
    """What is to be done: the positions of `source` on `topic` become those of `target`."""

    topics: Topics
    agent: str
    source: str
    target: str
    positions: Mapping[TopicPartition, Position]
    waiting: int

    @property
    def topic(self) -> str:
        """The agent's inbox."""
        return self.topics.inbox(self.agent)


def plan_move(transport: Transport, topics: Topics, agent: str, target: str) -> Move:
    """Look at both units, and refuse what must not be done.

    Raises:
        ConfigError: no such agent, a wrong unit, one of the units runs, or a position is missing.
    """
    if not is_name(target) or target == COORDINATOR:
        raise ConfigError(f"--to: expected the name of a unit of agents (a-z 0-9 _ -), but found {target!r}")
    admin = transport.admin()
    try:
        owners = owners_of(transport, admin, topics)
        if agent not in owners:
            raise ConfigError(f"agent {agent!r}: expected one that was applied ({', '.join(sorted(owners)) or 'none'})")
        source = owners[agent]
        if source == target:
            raise ConfigError(f"agent {agent}: expected another unit than {target}, whose it is already")
        _check_stopped(admin, topics, source, target)
        topic = topics.inbox(agent)
        spec = admin.topics([topic]).get(topic)
        if spec is None:
            raise ConfigError(f"{topic}: expected the topic to exist, but it does not. Run `farandole apply` first.")
        places = [TopicPartition(topic, n) for n in range(spec.partitions)]
        positions = dict(admin.positions(topics.group(source), places))
        if missing := [at.partition for at in places if at not in positions]:
            raise ConfigError(
                f"{topic}: expected a position of unit {source} on each partition, but {missing} have none. "
                "Nothing was changed; run `farandole apply` on that unit first."
            )
        ends = admin.ends(places, Isolation.UNCOMMITTED)
        waiting = sum(max(0, ends[at] - position.offset) for at, position in positions.items())
        return Move(topics, agent, source, target, positions, waiting)
    finally:
        admin.close()


def carry_out(transport: Transport, move: Move) -> None:
    """Copy the positions, then record the new owner.

    Raises:
        ConfigError: a process of one of the units was started in the meantime; the owner was not changed.
        TransportError: the log does not answer; do it again.
    """
    topics, admin = move.topics, transport.admin()
    try:
        _check_stopped(admin, topics, move.source, move.target)
        _copy(transport, move)
        _check_stopped(admin, topics, move.source, move.target)
        group, places = topics.group(move.target), list(move.positions)
        if dict(admin.positions(topics.group(move.source), places)) != dict(move.positions):
            raise ConfigError(f"unit {move.source}: it ran while its inbox was moved. Its owner was not changed.")
        if dict(admin.positions(group, places)) != dict(move.positions):
            raise TransportError(f"{group}: expected the copied positions, but found others. Do it again.")
    finally:
        admin.close()
    producer = transport.producer(f"{topics.namespace}.move")
    try:
        key, value = f"{INBOX}{move.agent}".encode(), move.target.encode()
        producer.send(NewRecord(topics.definitions, key, value, partition=0))
        if producer.flush(FLUSH_TIMEOUT):
            raise TransportError(f"{topics.definitions}: the new owner is not acknowledged; do it again")
    finally:
        producer.close()


def _check_stopped(admin: Admin, topics: Topics, *units: str) -> None:
    for unit in units:
        if running := sorted(admin.members(topics.group(unit))):
            raise ConfigError(
                f"unit {unit}: expected no process of it to run, but found {', '.join(running)}. "
                "Nothing was moved; stop them first."
            )


def _copy(transport: Transport, move: Move) -> None:
    """Commit the positions as the one member of the new unit's group, in a transaction as always (R3).

    Positions that a unit had from an earlier time are overwritten, which `start_positions` must never do.
    """
    group = move.topics.group(move.target)
    member = transport.member(MemberSettings(group, f"{group}.move-{secrets.token_hex(3)}"))
    try:
        _commit(member, move, SystemClock().monotonic() + JOIN_WAIT_S)
    finally:
        member.close()


def _commit(member: Member, move: Move, until: float) -> None:
    clock = SystemClock()
    member.subscribe([move.topic], _Idle())
    ticket: int | None = None
    while clock.monotonic() < until:
        member.poll(0.1)
        if ticket is None and member.assignment() == frozenset(move.positions):
            try:
                ticket = member.call(Commit((), move.positions, member.snapshot()))
            except NotJoined:
                continue
        for reply in member.replies(0.0):
            if reply.ticket != ticket:
                continue
            if reply.verdict is Verdict.COMMITTED:
                return
            raise TransportError(
                f"{move.topic}: expected the positions to be committed, but {reply.verdict}: {reply.error}. "
                "Do it again."
            )
    raise TransportError(f"{move.topic}: the positions were not committed within {JOIN_WAIT_S:.0f} s. Do it again.")


class _Idle:
    """Takes what it is given, and reads nothing: partitions come paused."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """They stay paused."""

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """Nothing is under way."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Nothing was held."""
