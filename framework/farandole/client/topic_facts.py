"""Topics as operators see them: how many records, since when kept, what for, and whether as declared. Blocking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.transport.drift import faults
from farandole.transport.port import Admin, Isolation, TopicPartition, TopicSpec, Transport
from farandole.transport.topology import DECLARED, agent_topics, system_topics

OWN = "a topic of your own"


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One topic; `offsets`: how many lie between its beginnings and ends (markers and gaps included)."""

    topic: str
    partitions: int
    replication: int
    offsets: int
    cleanup: str
    retention_ms: str
    holds: str


@dataclass(frozen=True, slots=True)
class PartitionRow:
    """A partition: the first offset that still exists, and the next that will be written."""

    partition: int
    beginning: int
    end: int


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic in full; `drift` says what is not as declared."""

    row: TopicRow
    config: Mapping[str, str]
    partitions: tuple[PartitionRow, ...]
    drift: tuple[str, ...]


def topic_rows(transport: Transport, topics: Topics, *, everything: bool) -> list[TopicRow]:
    """The topics of the namespace, or all there are, by name."""
    admin = transport.admin()
    try:
        specs = admin.topics()
        inside = f"{topics.namespace}."
        wanted = [spec for name, spec in sorted(specs.items()) if everything or name.startswith(inside)]
        sizes = _sizes(admin, wanted)
        return [_row(topics, spec, sum(it.end - it.beginning for it in sizes[spec.name])) for spec in wanted]
    finally:
        admin.close()


def topic_facts(transport: Transport, topics: Topics, name: str) -> TopicFacts:
    """Everything of one topic, whose namespace may be left out.

    Raises:
        ConfigError: there is none.
    """
    admin = transport.admin()
    try:
        candidates = (name, f"{topics.namespace}.{name}")
        found = admin.topics(candidates)
        spec = next((found[each] for each in candidates if each in found), None)
        if spec is None:
            raise ConfigError(f"topic {name!r}: expected one that exists, but there is none. `farandole topics list`")
        partitions = _sizes(admin, [spec])[spec.name]
        row = _row(topics, spec, sum(it.end - it.beginning for it in partitions))
        drift = tuple(fault.line for fault in faults(admin, declared_of(topics, spec)))
        return TopicFacts(row, dict(spec.config), tuple(partitions), drift)
    finally:
        admin.close()


def declared_of(topics: Topics, spec: TopicSpec) -> tuple[TopicSpec, ...]:
    """The topic as it is declared; nothing for one of the user's own. Its number of partitions is taken as it is."""
    agents = [
        spec.name.removeprefix(prefix) for prefix in (topics.inbox(""), topics.dead("")) if spec.name.startswith(prefix)
    ]
    all_of_them = (*system_topics(topics, spec.partitions), *agent_topics(topics, agents, spec.partitions))
    return tuple(each for each in all_of_them if each.name == spec.name)


def _row(topics: Topics, spec: TopicSpec, offsets: int) -> TopicRow:
    return TopicRow(
        spec.name,
        spec.partitions,
        spec.replication,
        offsets,
        spec.config.get("cleanup.policy", ""),
        spec.config.get("retention.ms", ""),
        holds_of(topics, spec.name),
    )


def holds_of(topics: Topics, name: str) -> str:
    """What a topic holds, in a line."""
    for each in DECLARED:
        pattern = each.name.replace("<ns>", topics.namespace)
        is_agents = pattern.endswith("<agent>") and name.startswith(pattern.removesuffix("<agent>"))
        if name == pattern or is_agents:
            return each.holds
    return OWN


def _sizes(admin: Admin, specs: Sequence[TopicSpec]) -> dict[str, list[PartitionRow]]:
    places = [TopicPartition(spec.name, number) for spec in specs for number in range(spec.partitions)]
    ends = admin.ends(places, Isolation.UNCOMMITTED) if places else {}
    begins = admin.beginnings(places) if places else {}
    out: dict[str, list[PartitionRow]] = {spec.name: [] for spec in specs}
    for at in places:
        out[at.topic].append(PartitionRow(at.partition, begins.get(at, 0), ends.get(at, 0)))
    return out
