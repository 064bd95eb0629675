"""What `apply` would do: from what a deployment wants and what the log holds, a plan.

Pure. A plan can be shown before anything is touched, and an empty one means that all is as it
should be. Refusals come here, so that `plan` shows them too: an inbox belongs to one unit (R8),
P is fixed at the first `apply`, a pipeline has an owner.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace

from farandole.definition.model import Definition
from farandole.definition.published import read_published
from farandole.errors import ConfigError, DefinitionError, RecordError
from farandole.events.avro import Schema, mistaken
from farandole.events.topics import Topics
from farandole.transport.drift import Fault
from farandole.transport.port import TopicSpec
from farandole.transport.topology import (
    Override,
    agent_topics,
    home_topics,
    overridden,
    own_topic,
    system_topics,
)

COORDINATOR = "coordinator"
"""Unit of the coordinators: its group reads `commands` and `events`."""

PIPELINE, INBOX, GROUP = "pipeline:", "inbox:", "group:"
"""Prefixes of the keys of `definitions` that are no hashes; a group's row holds P, so that it is found again."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a unit brings. `publishes`: topics of the user's that its agents write to; `schemas` by fingerprint."""

    unit: str
    agents: tuple[str, ...] = ()
    publishes: tuple[str, ...] = ()
    definitions: tuple[Definition, ...] = ()
    schemas: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What the log holds: rows of `definitions` and `schemas` by key, and P (0: nothing was applied yet)."""

    partitions: int = 0
    rows: Mapping[str, str] | None = None
    schemas: Mapping[str, str] | None = None
    grown: frozenset[str] = frozenset()
    """Inboxes of the unit of which some partitions have a position and others have none: they were added."""


@dataclass(frozen=True, slots=True)
class Change:
    """A pipeline whose new runs will be pinned to another definition; `before` is the hash until now, if any."""

    definition: Definition
    before: str | None

    @property
    def line(self) -> str:
        """One line for a person."""
        new = self.definition.hash[:12]
        if self.before is None:
            return f"pipeline {self.definition.name}: new, {new}"
        return f"pipeline {self.definition.name}: {self.before[:12]} -> {new}; runs that are live keep theirs"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order; see the fields of `Observed` for what is not."""

    topics: Topics
    deployment: Deployment
    partitions: int
    create: tuple[TopicSpec, ...] = ()
    mend: tuple[Fault, ...] = ()
    starts: tuple[tuple[str, str], ...] = ()
    """Group and topic: a start position is to be committed for each partition that has none."""
    schemas: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    rows: tuple[tuple[str, str], ...] = ()
    """Other rows of `definitions` to write: owners of inboxes, P of the coordinators' group."""
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.create or self.mend or self.starts or self.schemas or self.changes or self.rows)

    def lines(self) -> Iterator[str]:
        """The plan for a person, one line for each thing."""
        for spec in self.create:
            config = ", ".join(f"{name}={value}" for name, value in sorted(spec.config.items()))
            yield f"create topic {spec.name}: {spec.partitions} partitions{'; ' + config if config else ''}"
        yield from (f"set {fault.topic}: {fault.what}={fault.expected} (is {fault.found})" for fault in self.mend)
        yield from (f"commit start positions of group {group} on {topic}" for group, topic in self.starts)
        if self.schemas:
            yield f"publish {len(self.schemas)} schemas"
        yield from (f"publish {change.line}" for change in self.changes)
        yield from (f"record {key} = {value}" for key, value in self.rows)
        yield from (f"note: {note}" for note in self.notes)
        yield from (f"refused: {refusal}" for refusal in self.refusals)

    def check(self) -> None:
        """Refuse a plan that must not be carried out.

        Raises:
            ConfigError: with every refusal.
        """
        if self.refusals:
            listed = "\n".join(f"  {each}" for each in self.refusals)
            raise ConfigError(f"apply: expected nothing in its way, but found:\n{listed}\nNothing was changed.")


def wanted_topics(
    topics: Topics,
    deployment: Deployment,
    partitions: int,
    overrides: Sequence[Override] = (),
    replication: int = -1,
    config: Mapping[str, str] | None = None,
) -> tuple[TopicSpec, ...]:
    """Every topic that must exist for a deployment, overrides included; `config` is set on each that does not say else.

    An override outside the namespace is a topic of the user's own; inside, it counts only for what is declared.
    """
    files = [each.name for each in overrides if not each.name.startswith(f"{topics.namespace}.")]
    declared = (
        *system_topics(topics, partitions, replication),
        *agent_topics(topics, deployment.agents, partitions, replication),
        *(own_topic(name, partitions, replication) for name in dict.fromkeys([*deployment.publishes, *files])),
    )
    plain = overridden(declared, overrides)
    return tuple(replace(spec, config={**config, **spec.config}) for spec in plain) if config else plain


def make_plan(
    topics: Topics,
    deployment: Deployment,
    observed: Observed,
    wanted: Sequence[TopicSpec],
    found: Sequence[Fault],
) -> Plan:
    """The plan that brings the log from what was observed to what is wanted; `found` compares the topics.

    Raises:
        DefinitionError: a pipeline has no owner.
    """
    rows = observed.rows or {}
    ours = {spec.name for spec in system_topics(topics)}
    found = [fault for fault in found if fault.topic in ours or not _is_grown(fault)]
    missing = {fault.topic for fault in found if fault.what == "missing"}
    partitions = _home_partitions(topics, wanted)
    uneven = dict(_uneven(topics, wanted, partitions))
    return Plan(
        topics,
        deployment,
        partitions,
        create=tuple(spec for spec in wanted if spec.name in missing),
        mend=tuple(fault for fault in found if fault.what != "missing" and fault.is_mendable),
        starts=tuple(_starts(topics, deployment, rows, missing | observed.grown)),
        schemas=tuple(each for each in deployment.schemas or {} if each not in (observed.schemas or {})),
        changes=tuple(_changes(deployment, rows)),
        rows=tuple(_new_rows(topics, deployment, rows, partitions)),
        refusals=(
            *uneven.values(),
            *_not_ours(deployment, rows),
            *_misread(deployment, observed),
            *(fault.line for fault in found if not fault.is_mendable and fault.topic not in uneven),
        ),
        notes=tuple(_notes(deployment, rows)),
    )


def _home_partitions(topics: Topics, wanted: Sequence[TopicSpec]) -> int:
    """P: what most home topics are to have, as a process finds it (`partitions_of_homes`)."""
    homes = set(home_topics(topics))
    counts = Counter(spec.partitions for spec in wanted if spec.name in homes)
    return min(counts, key=lambda count: (-counts[count], count))


def _uneven(topics: Topics, wanted: Sequence[TopicSpec], partitions: int) -> Iterator[tuple[str, str]]:
    """Topics with numbers on which no process would start, nor could any `apply` mend it: a topic keeps its partitions.

    With the refusal of each.
    """
    declared = {spec.name: spec.partitions for spec in system_topics(topics, partitions)}
    homes = set(home_topics(topics))
    for spec in wanted:
        expected = declared.get(spec.name, spec.partitions)
        if spec.partitions == expected:
            continue
        why = "every process reads all of it"
        if spec.name in homes:
            why = "all home topics have the same number, which is the setting `partitions` at the first `apply`"
        yield (
            spec.name,
            f"{spec.name}: expected {expected} partitions, but {spec.partitions} are asked for; {why}. "
            "Leave `partitions` out of its topic file",
        )


def _is_grown(fault: Fault) -> bool:
    """Whether a topic has more partitions than declared: agents share what there is, so an operator may add some."""
    return fault.what == "partitions" and int(fault.found) > int(fault.expected)


def _starts(
    topics: Topics, deployment: Deployment, rows: Mapping[str, str], fresh: Set[str]
) -> Iterator[tuple[str, str]]:
    """Until an owner is recorded nobody has consumed the topic, so a position may still be given (R8).

    Nor has anybody consumed what is `fresh`: a topic that was deleted and is made anew, partitions that were added.
    """
    for topic in (topics.commands, topics.events):
        if GROUP + COORDINATOR not in rows or topic in fresh:
            yield topics.group(COORDINATOR), topic
    for agent in deployment.agents:
        if INBOX + agent not in rows or topics.inbox(agent) in fresh:
            yield topics.group(deployment.unit), topics.inbox(agent)


def _new_rows(
    topics: Topics, deployment: Deployment, rows: Mapping[str, str], partitions: int
) -> Iterator[tuple[str, str]]:
    if GROUP + COORDINATOR not in rows:
        yield GROUP + COORDINATOR, str(partitions)
    for agent in deployment.agents:
        if INBOX + agent not in rows:
            yield INBOX + agent, deployment.unit


def _changes(deployment: Deployment, rows: Mapping[str, str]) -> Iterator[Change]:
    for definition in deployment.definitions:
        if not definition.owner:
            raise DefinitionError(
                "expected an owner, who is asked when it fails, but found none; "
                'add @pipeline(owner="you@example.org"), in YAML `owner: you@example.org`',
                place=definition.name,
            )
        before = rows.get(PIPELINE + definition.name)
        if before != definition.hash or rows.get(definition.hash) != definition.to_json():
            yield Change(definition, before)


def _not_ours(deployment: Deployment, rows: Mapping[str, str]) -> Iterator[str]:
    if deployment.unit == COORDINATOR:
        yield f"unit {COORDINATOR}: expected another name, for this is the coordinators' own; pass --unit"
    for agent in deployment.agents:
        owner = rows.get(INBOX + agent, deployment.unit)
        if owner != deployment.unit:
            yield (
                f"agent {agent}: expected its inbox to belong to unit {deployment.unit}, but it belongs to {owner}; "
                "rename the agent, deploy it with that unit, or hand the inbox over: "
                f"farandole agent move {agent} --to {deployment.unit}"
            )


def _misread(deployment: Deployment, observed: Observed) -> Iterator[str]:
    """A row of `schemas` is never written twice, and whoever finds the first one reads our payloads by it."""
    published = observed.schemas or {}
    for key, text in (deployment.schemas or {}).items():
        if published.get(key, text) == text:
            continue
        with suppress(RecordError):  # whoever wrote that row wrote no schema: nobody reads by it
            schema = Schema.parse(text)
            if schema.is_mistaken_for(Schema.parse(published[key])):
                yield mistaken(schema)


def _notes(deployment: Deployment, rows: Mapping[str, str]) -> Iterator[str]:
    for definition in deployment.definitions:
        strangers = {step.agent for step in definition.steps.values()} - set(deployment.agents)
        homeless = sorted(agent for agent in strangers if INBOX + agent not in rows)
        if homeless:
            yield f"pipeline {definition.name}: no unit consumes the inbox of {', '.join(homeless)} yet"
    for name in sorted(_left_over(deployment, rows)):
        yield f"pipeline {name}: on the log, and no longer in unit {deployment.unit}: it can still be started"


def _left_over(deployment: Deployment, rows: Mapping[str, str]) -> Iterator[str]:
    """Pipelines whose agents are all of this unit, which has them no more."""
    names = {definition.name for definition in deployment.definitions}
    for key, digest in rows.items():
        name = key.removeprefix(PIPELINE)
        if key.startswith(PIPELINE) and name not in names:
            with suppress(DefinitionError):  # whoever wrote that row wrote no definition
                steps = read_published(digest, rows.get(digest, "")).steps.values()
                if all(rows.get(INBOX + step.agent) == deployment.unit for step in steps):
                    yield name
