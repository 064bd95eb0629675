"""Positions of a unit that stands still, committed by an operator's command (R8). Blocking.

As the one member of the unit's group, in a transaction as always (R3). Positions that it has are overwritten,
which `start_positions` must never do: so nobody of the unit may run, and that is looked at, before and after.
"""

import secrets
from collections.abc import Mapping, Sequence

from farandole.clock import SystemClock
from farandole.errors import ConfigError, NotJoined, TransportError
from farandole.events.topics import Topics
from farandole.transport.port import (
    Admin,
    Commit,
    Member,
    MemberSettings,
    NewRecord,
    Position,
    TopicPartition,
    Transport,
    Verdict,
)

JOIN_WAIT_S = 60.0
"""Longest that joining the unit's group and one commit may take: a broker's rebalance delay many times over."""


def check_stopped(admin: Admin, topics: Topics, *units: str) -> None:
    """Refuse while a process of these units runs.

    Raises:
        ConfigError: one does.
    """
    for unit in units:
        if running := sorted(admin.members(topics.group(unit))):
            raise ConfigError(
                f"unit {unit}: expected no process of it to run, but found {', '.join(running)}. "
                "Nothing was moved; stop them first."
            )


def place(
    transport: Transport,
    group: str,
    topic: str,
    positions: Mapping[TopicPartition, Position],
    told: Sequence[NewRecord] = (),
) -> None:
    """Commit positions on partitions of one topic; those of its other partitions stay. `told` stands iff they do.

    Raises:
        TransportError: they were not committed, as far as we know; do it again.
    """
    member = transport.member(MemberSettings(group, f"{group}.move-{secrets.token_hex(3)}"))
    try:
        _commit(member, topic, positions, told, SystemClock().monotonic() + JOIN_WAIT_S)
    finally:
        member.close()


def _commit(
    member: Member, topic: str, positions: Mapping[TopicPartition, Position], told: Sequence[NewRecord], until: float
) -> None:
    clock = SystemClock()
    member.subscribe([topic], _Idle())
    ticket: int | None = None
    while clock.monotonic() < until:
        member.poll(0.1)
        if ticket is None and member.assignment() >= positions.keys():
            try:
                ticket = member.call(Commit(told, positions, member.snapshot()))
            except NotJoined:
                continue
        for reply in member.replies(0.0):
            if reply.ticket != ticket:
                continue
            if reply.verdict is Verdict.COMMITTED:
                return
            raise TransportError(
                f"{topic}: expected the positions to be committed, but {reply.verdict}: {reply.error}. Do it again."
            )
    raise TransportError(f"{topic}: the positions were not committed within {JOIN_WAIT_S:.0f} s. Do it again.")


class _Idle:
    """Takes what it is given, and reads nothing: partitions come paused."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """They stay paused."""

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """Nothing is under way."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Nothing was held."""
