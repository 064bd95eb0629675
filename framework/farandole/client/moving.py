"""`agent move`: an inbox goes to another unit, with its positions and their metadata (R8). Blocking.

Both units must be stopped. Positions first, the owner last: a process of the new unit refuses to
start before the inbox is its own, one of the old unit afterwards, so that a move that broke off is
done again from the beginning.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from farandole.client.applying import FLUSH_TIMEOUT
from farandole.client.placing import check_stopped, place
from farandole.client.planning import COORDINATOR, INBOX
from farandole.client.serving import owners_of
from farandole.errors import ConfigError, TransportError
from farandole.events.topics import Topics
from farandole.ids import is_name
from farandole.transport.port import Isolation, NewRecord, Position, TopicPartition, Transport


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
        check_stopped(admin, topics, source, target)
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
        check_stopped(admin, topics, move.source, move.target)
        place(transport, topics.group(move.target), move.topic, move.positions)
        check_stopped(admin, topics, move.source, move.target)
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
