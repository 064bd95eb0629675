"""`agent reposition`: a way on for an inbox whose positions are gone, or point at records that are (R8). Blocking.

Positions expire when a unit stands still for longer than the broker keeps them; records are deleted by retention, or
with their topic. An agent never goes on by itself then: it would repeat or lose. This command goes on with the first
record that there still is. What was answered before and is read again is answered again, and counts once; a
trigger that is gone shows as a run that is held, for the watchdog finds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from farandole.client.placing import check_stopped, place
from farandole.client.serving import owners_of
from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.transport.port import Isolation, Position, TopicPartition, Transport


@dataclass(frozen=True, slots=True)
class Reposition:
    """What is to be done: `fresh` are the new positions, `stale` those that they replace (None: there is none)."""

    topics: Topics
    agent: str
    unit: str
    fresh: Mapping[TopicPartition, Position]
    stale: Mapping[TopicPartition, int | None]
    waiting: int
    """Records from the new positions on."""


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
            {at: Position(begins[at]) for at in gone},
            {at: known[at].offset if at in known else None for at in gone},
            sum(ends[at] - begins[at] for at in gone),
        )
    finally:
        admin.close()


def carry_out(transport: Transport, it: Reposition) -> None:
    """Commit the new positions.

    Raises:
        ConfigError: a process of the unit was started in the meantime.
        TransportError: the log does not answer; do it again.
    """
    admin, group = transport.admin(), it.topics.group(it.unit)
    try:
        check_stopped(admin, it.topics, it.unit)
        place(transport, group, it.topics.inbox(it.agent), it.fresh)
    finally:
        admin.close()
