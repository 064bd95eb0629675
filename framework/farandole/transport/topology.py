"""The topics of a namespace as they must exist: declared here, published as `topics/*.yaml`.

Every number says why it is what it is. Sizes fit into each other: what an inbox takes (1 MiB)
fits, with headers, into the fact and the dead letter that copy it (2 MiB). `max.message.bytes`
bounds batches, so none may be below librdkafka's `batch.size` of 1,000,000. Knows nothing of
how topics are created or compared.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from farandole.events.topics import Topics
from farandole.transport.port import TopicSpec

HOME_PARTITIONS = 12
"""P, unless `apply` is told otherwise: divisible by 1, 2, 3, 4, 6 and 12 coordinators (DESIGN section 3)."""

PARTITIONS_MAX = 1_000
"""Most home partitions: each is a consumer position, a restore and a share of every table scan."""

_DAY_MS = 24 * 60 * 60 * 1000
_MIB = 1024 * 1024

_RECORD = ("max.message.bytes", str(2 * _MIB), "twice what an inbox takes, so that a fact may copy any input")
_INPUT = (
    "max.message.bytes",
    str(_MIB),
    "four times the inline limit, and no less than a client's batch (librdkafka: 1,000,000)",
)
RECORD_BYTES_MAX = 2 * _MIB
"""What a producer of ours must be able to send: `message.max.bytes` of its client."""

_TIME = ("message.timestamp.type", "CreateTime", "the writer's instant; the log's order is the offsets'")


@dataclass(frozen=True, slots=True)
class Declared:
    """One kind of topic. `name` has `<ns>` and `<agent>` in it; `config` entries are name, value, reason.

    `partitions` is `home` (P), `agent` (P too, unless an override says otherwise) or a fixed number.
    """

    kind: str
    name: str
    partitions: str | int
    holds: str
    why_partitions: str
    config: tuple[tuple[str, str, str], ...]

    def spec(self, name: str, partitions: int, replication: int = -1) -> TopicSpec:
        """The topic of this kind under `name`; `partitions` counts unless the number is fixed."""
        count = self.partitions if isinstance(self.partitions, int) else partitions
        return TopicSpec(name, count, replication, {key: value for key, value, _ in self.config})


def _delete(days: int, why: str) -> tuple[tuple[str, str, str], ...]:
    return (
        ("cleanup.policy", "delete", "records are history, not a table"),
        ("retention.ms", str(days * _DAY_MS), f"{days} d: {why}"),
    )


_COMPACT = ("cleanup.policy", "compact", "a table: the latest record of a key counts")

DECLARED: tuple[Declared, ...] = (
    Declared(
        "commands",
        "<ns>.commands",
        "home",
        "what is asked: StartRun, CancelRun, ReplayDeadLetter, DiscardDeadLetter, ReleaseRun",
        "partition p belongs to the coordinator of home p",
        (*_delete(7, "long enough to see what was asked; an answered command is never read again"), _INPUT, _TIME),
    ),
    Declared(
        "events",
        "<ns>.events",
        "home",
        "facts; the order of this log decides every race",
        "partition p belongs to the coordinator of home p",
        (*_delete(90, "lineage and time travel read it; longer than any run lasts"), _RECORD, _TIME),
    ),
    Declared(
        "runs",
        "<ns>.runs",
        "home",
        "state of live runs, and where their home stands (`place`); head records are public",
        "partition p belongs to the coordinator of home p",
        (
            _COMPACT,
            ("segment.bytes", str(64 * _MIB), "the active segment is never compacted, and a restore reads it whole"),
            ("max.compaction.lag.ms", str(10 * 60 * 1000), "10 min: bounds what a restore reads twice"),
            (
                "delete.retention.ms",
                str(10 * 60 * 1000),
                "10 min: longer than a restore, so that no tombstone is missed",
            ),
            ("min.cleanable.dirty.ratio", "0.1", "state is rewritten often and read at every take-over"),
            _RECORD,
            _TIME,
        ),
    ),
    Declared(
        "settled",
        "<ns>.settled",
        "home",
        "final state of ended runs",
        "written with the facts of home p",
        (*_delete(90, "as long as the facts it sums up"), _RECORD, _TIME),
    ),
    Declared(
        "definitions",
        "<ns>.definitions",
        1,
        "compiled pipelines by hash; which one a pipeline's name means; which unit owns an inbox; "
        "what was read again on purpose",
        "read whole by every process; one partition keeps an `apply` in order",
        (
            _COMPACT,
            ("segment.bytes", str(64 * _MIB), "small records, read whole at every start"),
            _RECORD,
            _TIME,
        ),
    ),
    Declared(
        "schemas",
        "<ns>.schemas",
        1,
        "Avro schemas by fingerprint, where no registry is configured",
        "read whole by every process",
        (
            _COMPACT,
            ("segment.bytes", str(64 * _MIB), "small records, read whole at every start"),
            _RECORD,
            _TIME,
        ),
    ),
    Declared(
        "control",
        "<ns>.control",
        "home",
        "what agents must respect now: stopping runs",
        "a name is owned by the coordinator of its partition, its only writer",
        (
            _COMPACT,
            ("segment.bytes", str(16 * _MIB), "agents read it whole at their start"),
            ("max.compaction.lag.ms", str(60 * 60 * 1000), "1 h: bounds what an agent reads at its start"),
            ("delete.retention.ms", str(_DAY_MS), "1 d: an agent that lags sees that a run is forgotten"),
            _RECORD,
            _TIME,
        ),
    ),
    Declared(
        "telemetry",
        "<ns>.telemetry",
        "home",
        "started, progress: hints, never inside a transaction",
        "it is keyed by the run, as `events` is",
        (
            *_delete(1, "hints about attempts under way; the truth is on events"),
            ("segment.bytes", str(64 * _MIB), "retention works on whole segments"),
            _RECORD,
            _TIME,
        ),
    ),
    Declared(
        "inbox",
        "<ns>.inbox.<agent>",
        "agent",
        "triggers: the value is the step's input",
        "as many processes of a unit share the work",
        (
            *_delete(
                7,
                "Kafka's default; the record of a stopped run in `control` outlives it, so that a late trigger "
                "is answered, not run",
            ),
            _INPUT,
            _TIME,
        ),
    ),
    Declared(
        "dead",
        "<ns>.dead.<agent>",
        "agent",
        "dead letters, with error, attempts and origin in headers",
        "as its inbox",
        (*_delete(90, "as long as the facts that tell of them"), _RECORD, _TIME),
    ),
)
"""Every kind of topic that the framework writes to."""

_BY_KIND: Mapping[str, Declared] = {each.kind: each for each in DECLARED}
AGENT_KINDS = ("inbox", "dead")
ANY_AGENT = "<agent>"
HOME_KINDS = tuple(each.kind for each in DECLARED if each.partitions == "home")


def system_topics(topics: Topics, partitions: int = HOME_PARTITIONS, replication: int = -1) -> tuple[TopicSpec, ...]:
    """The topics that a namespace has whatever agents it has. `replication` -1 is the broker's default."""
    kinds = (each for each in DECLARED if each.kind not in AGENT_KINDS)
    return tuple(each.spec(f"{topics.namespace}.{each.kind}", partitions, replication) for each in kinds)


def agent_topics(
    topics: Topics, agents: Iterable[str], partitions: int = HOME_PARTITIONS, replication: int = -1
) -> tuple[TopicSpec, ...]:
    """Inbox and dead letters of each agent, in the order given."""
    inbox, dead = _BY_KIND["inbox"], _BY_KIND["dead"]
    return tuple(
        spec
        for agent in agents
        for spec in (
            inbox.spec(topics.inbox(agent), partitions, replication),
            dead.spec(topics.dead(agent), partitions, replication),
        )
    )


def own_topic(name: str, partitions: int = HOME_PARTITIONS, replication: int = -1) -> TopicSpec:
    """A topic of the user's that an agent publishes to, where no file declares it: the broker's own defaults."""
    return TopicSpec(name, partitions, replication)


def home_topics(topics: Topics) -> tuple[str, ...]:
    """Names of the topics that must have the same P."""
    return tuple(f"{topics.namespace}.{kind}" for kind in HOME_KINDS)


@dataclass(frozen=True, slots=True)
class Override:
    """What a file in a user's `topics/` says: only what differs from the declaration, or an own topic.

    A name that ends in `<agent>` is that of every agent's topic; one for a single agent goes before it.
    """

    name: str
    partitions: int | None = None
    replication: int | None = None
    config: Mapping[str, str] | None = None

    def over(self, spec: TopicSpec) -> TopicSpec:
        """The topic with what the override says."""
        return replace(
            spec,
            partitions=self.partitions or spec.partitions,
            replication=self.replication or spec.replication,
            config={**spec.config, **(self.config or {})},
        )


def overridden(specs: Sequence[TopicSpec], overrides: Sequence[Override]) -> tuple[TopicSpec, ...]:
    """The topics with their overrides; an override of a topic that is not among them is left out."""
    general = [each for each in overrides if each.name.endswith(ANY_AGENT)]
    by_name = {each.name: each for each in overrides}
    out: list[TopicSpec] = []
    for spec in specs:
        for each in general:
            if spec.name.startswith(each.name.removesuffix(ANY_AGENT)):
                spec = each.over(spec)
        out.append(by_name[spec.name].over(spec) if spec.name in by_name else spec)
    return tuple(out)
