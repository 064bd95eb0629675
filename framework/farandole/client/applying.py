"""Carrying out a plan: topics, start positions, schemas, definitions, owners, in this order.

Each part is idempotent and comes after what it relies on: a start finds a pipeline's name only
when its definition is there, and an inbox has an owner only when its positions are. So an
`apply` that broke off is finished by the next one. Blocking; for the command line and tests.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from farandole.client.planning import (
    COORDINATOR,
    GROUP,
    INBOX,
    PIPELINE,
    Deployment,
    Observed,
    Plan,
    make_plan,
    wanted_topics,
)
from farandole.errors import ConfigError, NotReady
from farandole.events.topics import Topics
from farandole.transport.drift import faults, partitions_of_homes
from farandole.transport.port import (
    Admin,
    Isolation,
    NewRecord,
    Position,
    Producer,
    Record,
    TopicPartition,
    TopicSpec,
    Transport,
)
from farandole.transport.tables import Follower, Table
from farandole.transport.topology import HOME_PARTITIONS, Override, system_topics

READ_TIMEOUT = 30.0
"""Longest that reading a table may take, seconds: longer than an open transaction of a dead writer holds it up."""

FLUSH_TIMEOUT = 30.0
"""Longest that published records may stay unacknowledged, seconds."""


def plan(
    transport: Transport,
    topics: Topics,
    deployment: Deployment,
    *,
    partitions: int | None = None,
    overrides: Sequence[Override] = (),
    replication: int = -1,
    config: Mapping[str, str] | None = None,
) -> Plan:
    """What `apply` would do. `partitions` (P) counts at the first `apply`; later it must be the same, or None.
    `config` is set on every topic that does not say else.

    Raises:
        DefinitionError: a pipeline has no owner.
        TransportError: the log cannot be read.
    """
    with _admin(transport) as admin:
        observed = observe(transport, admin, topics)
        observed = replace(observed, grown=_grown(admin, topics, deployment, observed.rows or {}))
        wanted = wanted_topics(
            topics, deployment, partitions or observed.partitions or HOME_PARTITIONS, overrides, replication, config
        )
        return make_plan(topics, deployment, observed, wanted, faults(admin, wanted))


def apply(transport: Transport, it: Plan) -> None:
    """Carry out a plan.

    Raises:
        ConfigError: something is in its way, and nothing was changed; or another unit took an inbox meanwhile, or made
            the namespace with another P.
        TransportError: it broke off; do it again.
        NotReady: it broke off because the brokers cannot do it yet.
    """
    it.check()
    with _admin(transport) as admin:
        fresh = _create(admin, it)
        for topic in dict.fromkeys(fault.topic for fault in it.mend):
            admin.configure(topic, {fault.what: fault.expected for fault in it.mend if fault.topic == topic})
        for group, topic in it.starts:
            _start(admin, group, topic, fresh.get(topic))
    producer = transport.producer(f"{it.topics.namespace}.apply")
    try:
        _publish(producer, it)
        if lost := _lost(transport, it):
            _send(producer, it.topics.definitions, sorted(lost.items()))  # as they were
            raise _refusal(it, lost)
    finally:
        producer.close()


def _create(admin: Admin, it: Plan) -> dict[str, int]:
    """Make what is missing, and say how many partitions each of these topics has now.

    Those of the namespace come first, so that an `apply` which comes second with another P leaves nothing behind: not
    even an inbox with fewer partitions than its next plan would want.

    Raises:
        ConfigError: so it is.
        NotReady: what another one has just made is not known to every broker yet.
    """
    ours = {spec.name for spec in system_topics(it.topics)}
    first = [spec for spec in it.create if spec.name in ours]
    made = _made(admin, first)
    for spec in first:
        if made[spec.name] != spec.partitions:
            raise _late(it, f"made {spec.name} with {made[spec.name]} partitions instead of {spec.partitions}")
    return made | _made(admin, [spec for spec in it.create if spec.name not in ours])


def _made(admin: Admin, specs: Sequence[TopicSpec]) -> dict[str, int]:
    """Partitions of these topics by name: of what we make as we want them, of what somebody else made as they are."""
    ours = set(admin.create(specs)) if specs else set()
    others = [spec.name for spec in specs if spec.name not in ours]
    found = admin.topics(others) if others else {}
    for name in others:
        if name not in found:
            raise NotReady(f"{name}: another `apply` has just made it, but not every broker knows of it yet; try again")
    return {spec.name: found[spec.name].partitions if spec.name in found else spec.partitions for spec in specs}


def _late(it: Plan, fact: str) -> ConfigError:
    return ConfigError(
        f"{it.topics.namespace}: expected P to be {it.partitions}, but another `apply` has {fact} since this plan was "
        "made: P is fixed at the first one. Leave the setting `partitions` out, or give it that number, and apply again"
    )


def _refusal(it: Plan, lost: Mapping[str, str]) -> ConfigError:
    if homes := lost.get(GROUP + COORDINATOR):
        return _late(it, f"recorded {homes}")
    told = ", ".join(f"{key.removeprefix(INBOX)} to {unit}" for key, unit in sorted(lost.items()))
    return ConfigError(
        f"unit {it.deployment.unit}: expected the inboxes of its agents to be its own, but another `apply` "
        f"gave them away meanwhile: {told}. Do not start it: rename the agents, or deploy them with that unit"
    )


def _lost(transport: Transport, it: Plan) -> dict[str, str]:
    """Owners and P that we wrote, and somebody else had written since we looked: the first on the log stands."""
    ours = dict(it.rows)
    if not ours:
        return {}
    claims = _Claims(it.topics.definitions)
    with _admin(transport) as admin:
        _follow_to_end(transport, admin, claims)
    return {key: value for key, value in claims.first.items() if value != ours.get(key, value)}


class _Claims(Table[str]):
    """The first row of each key, since the key was last deleted: the table itself has the latest."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic, 1, _text)
        self.first: dict[str, str] = {}

    def apply(self, record: Record) -> None:
        """Take in one record."""
        key = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self.first.pop(key, None)
        else:
            self.first.setdefault(key, _text(record))

    def clear(self) -> None:
        """Forget every row."""
        super().clear()
        self.first.clear()


def observe(transport: Transport, admin: Admin, topics: Topics) -> Observed:
    """What the log holds of a namespace.

    Raises:
        NotReady: a table could not be read in time.
    """
    rows = read_rows(transport, admin, topics.definitions)
    schemas = read_rows(transport, admin, topics.schemas)
    recorded = rows.get(GROUP + COORDINATOR, "")
    partitions = int(recorded) if recorded.isdecimal() else partitions_of_homes(admin, topics)
    return Observed(partitions, rows, schemas)


def _grown(admin: Admin, topics: Topics, deployment: Deployment, rows: Mapping[str, str]) -> frozenset[str]:
    """Inboxes that the unit has positions on, though not on every partition.

    Kafka forgets the positions of a group all together, so these partitions never had any.
    """
    inboxes = [topics.inbox(agent) for agent in deployment.agents if rows.get(INBOX + agent) == deployment.unit]
    if not inboxes:
        return frozenset()  # nor is a group asked about that nobody has met: a fresh cluster has no answer to that
    placed = Counter(at.topic for at in admin.positions(topics.group(deployment.unit)))
    return frozenset(spec.name for spec in admin.topics(inboxes).values() if 0 < placed[spec.name] < spec.partitions)


def _text(record: Record) -> str:
    return (record.value or b"").decode(errors="replace")


def read_rows(transport: Transport, admin: Admin, topic: str) -> dict[str, str]:
    """A compacted topic as texts by key, to the end that stands now; empty if it does not exist.

    Raises:
        NotReady: the end was not reached in time.
    """
    found = admin.topics([topic]).get(topic)
    if found is None:
        return {}
    table = Table(topic, found.partitions, _text)
    _follow_to_end(transport, admin, table)
    return dict(table.rows)


def _follow_to_end(transport: Transport, admin: Admin, table: Table[str]) -> None:
    topic = table.topic
    follower = Follower(transport.reader(f"{topic}.apply"), [table])
    try:
        ends = admin.ends(table.places, Isolation.UNCOMMITTED)
        deadline = time.monotonic() + READ_TIMEOUT
        while not follower.has_reached(ends):
            if time.monotonic() > deadline:
                raise NotReady(f"{topic}: expected to reach its end in {READ_TIMEOUT:.0f} s, but did not; try again")
            follower.follow(0.2)
    finally:
        follower.close()


def _start(admin: Admin, group: str, topic: str, created: int | None) -> None:
    """Start positions for every partition without one: what is in the topic was written for this group.

    `created`: partitions of a topic made since the plan, which begins at 0 though it may have no leader to say so yet.
    """
    count = created or admin.topics([topic])[topic].partitions
    places = [TopicPartition(topic, number) for number in range(count)]
    begin = {} if created else admin.beginnings(places)
    admin.start_positions(group, {at: Position(begin.get(at, 0)) for at in places})


def _publish(producer: Producer, it: Plan) -> None:
    topics, schemas = it.topics, it.deployment.schemas or {}
    _send(producer, topics.schemas, [(name, schemas[name]) for name in it.schemas])
    _send(
        producer, topics.definitions, [(change.definition.hash, change.definition.to_json()) for change in it.changes]
    )
    names = [(PIPELINE + change.definition.name, str(change.definition.hash)) for change in it.changes]
    _send(producer, topics.definitions, [*names, *it.rows])


def _send(producer: Producer, topic: str, rows: Sequence[tuple[str, str]]) -> None:
    for key, value in rows:
        producer.send(NewRecord(topic, key.encode(), value.encode(), partition=0))
    left = producer.flush(FLUSH_TIMEOUT)
    if left:
        raise NotReady(f"{topic}: expected {len(rows)} rows to be written, but {left} are not acknowledged; try again")


@contextmanager
def _admin(transport: Transport) -> Iterator[Admin]:
    admin = transport.admin()
    try:
        yield admin
    finally:
        admin.close()
