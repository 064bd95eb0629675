"""Positions of a unit that stands still, committed by an operator's command (R8). Blocking.

As the one member of the unit's group, in a transaction as always (R3). Positions that it has are overwritten,
which `start_positions` must never do: so nobody of the unit may run, and that is looked at, before and after.
"""

import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing

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
    ReadPositions,
    Reply,
    TopicPartition,
    Transport,
    Verdict,
)

JOIN_WAIT_S = 60.0
"""Longest that joining the unit's group and one commit may take: a broker's rebalance delay many times over."""

CERTAIN_S = 5.0
"""Between two looks that must both find no position: longer than an only broker was seen to load those of an hour (3.7
s), while which it may say that there are none (decision 0112)."""

PENDING_RETRY_S = 0.1
"""Wait before positions that are pending are asked for again, as of an agent."""


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


def looked_again(
    transport: Transport, group: str, places: Sequence[TopicPartition], since: float
) -> dict[TopicPartition, Position]:
    """As `settled`, of partitions that had no position at `since`, on the monotonic clock: long enough after that.

    Raises:
        TransportError: one is still pending after a minute, or there is no answer.
    """
    time.sleep(max(0.0, since + CERTAIN_S - SystemClock().monotonic()))
    return settled(transport, group, places)


def settled(transport: Transport, group: str, places: Sequence[TopicPartition]) -> dict[TopicPartition, Position]:
    """The group's positions once no transaction is pending on them; partitions without one are absent.

    What a transaction wrote is read as soon as it has ended, its positions a moment later.

    Raises:
        TransportError: one is still pending after a minute, or there is no answer.
    """
    why = "a transaction is pending on one"
    with closing(_looks(transport, group, places, JOIN_WAIT_S)) as replies:
        for reply in replies:
            if reply.error is None and reply.positions.keys() >= set(places):
                return {at: position for at, position in reply.positions.items() if position is not None}
            why = why if reply.error is None else str(reply.error)
    raise TransportError(f"{group}: its positions could not be read within {JOIN_WAIT_S:.0f} s: {why}. Do it again.")


def seen_settled(
    transport: Transport, group: str, places: Sequence[TopicPartition], seconds: float
) -> dict[TopicPartition, Position]:
    """As `settled`, of a group that may be at work: those on which no transaction was pending at one of many looks.

    Raises:
        TransportError: there is no answer.
    """
    found: dict[TopicPartition, Position | None] = {}
    error: TransportError | None = TransportError(f"{group}: its positions were not told within {seconds:.0f} s")
    with closing(_looks(transport, group, places, seconds)) as replies:
        for reply in replies:
            error = reply.error
            found = {**reply.positions, **found}
            if found.keys() >= set(places):
                break
    if error is not None:
        raise error
    return {at: position for at, position in found.items() if position is not None}


def _looks(
    transport: Transport, group: str, places: Sequence[TopicPartition], seconds: float
) -> Generator[Reply, None, None]:
    """The group's positions on which nothing is pending, again and again for so long."""
    clock = SystemClock()
    until = clock.monotonic() + seconds
    member = transport.member(MemberSettings(group, f"{group}.move-{secrets.token_hex(3)}"))
    try:
        while clock.monotonic() < until:
            ticket, reply = member.call(ReadPositions(places, stable=True, group=group)), None
            while reply is None and clock.monotonic() < until:
                reply = next((each for each in member.replies(0.2) if each.ticket == ticket), None)
            if reply is not None:
                yield reply
            member.replies(PENDING_RETRY_S)  # a wait: nothing is asked
    finally:
        member.close()


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
