"""The rights that each kind of process needs on a cluster with an authorizer: no more, no less.

Pure: a table, from which come the page, the commands of `kafka-acls.sh` and what `acls --apply`
grants. Tests run each kind with exactly these rights against Kafka's own authorizer.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from farandole.events.topics import Topics

COORDINATOR, CLIENT, APPLY, DOCTOR, TRANSACTIONS = "coordinator", "client", "apply", "doctor", "transactions"
ROLES = (COORDINATOR, CLIENT, APPLY, DOCTOR, TRANSACTIONS)
"""Kinds of process besides the units of agents."""

POSITIONS = "__consumer_offsets"
"""Kafka's own topic, of the positions of all groups."""


class Resource(Enum):
    """What a right is about, as `kafka-acls.sh` calls it."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Right:
    """Operations on one resource, or on all whose names begin so, and why. Read and Write imply Describe."""

    resource: Resource
    name: str
    operations: tuple[str, ...]
    why: str
    is_prefix: bool = False

    def command(self, principal: str, bootstrap: str) -> str:
        """The call of `kafka-acls.sh` that grants it."""
        parts = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--add", "--allow-principal", principal]
        parts += [f"--{self.resource.value}"]
        if self.resource is not Resource.CLUSTER:
            parts += [self.name, "--resource-pattern-type", "prefixed" if self.is_prefix else "literal"]
        return shlex.join([*parts, *(word for each in self.operations for word in ("--operation", each))])


def rights(role: str, topics: Topics, agents: Sequence[str] = (), publishes: Sequence[str] = ()) -> tuple[Right, ...]:
    """What a process of this role needs; any name but those of `ROLES` is a unit, with its agents and own topics."""
    match role:
        case "coordinator":
            return tuple(_coordinator(topics))
        case "client":
            return tuple(_client(topics))
        case "apply":
            return tuple(_apply(topics, publishes))
        case "doctor":
            return tuple(_doctor(topics))
        case "transactions":
            return tuple(_transactions(topics))
        case _:
            return tuple(_unit(role, topics, agents, publishes))


def _topic(name: str, why: str, *operations: str) -> Right:
    return Right(Resource.TOPIC, name, operations, why)


def _topics(prefix: str, why: str, *operations: str) -> Right:
    return Right(Resource.TOPIC, prefix, operations, why, is_prefix=True)


def _looking(topics: Topics) -> Right:
    return _topics(
        f"{topics.namespace}.",
        "that topics are there and as declared, and where they end",
        "Describe",
        "DescribeConfigs",
    )


def _writing_as(group: str) -> Right:
    why = "its transactions, and ending those of a peer that died (R7)"
    return Right(Resource.TRANSACTIONAL_ID, f"{group}.", ("Write", "Describe"), why, is_prefix=True)


def _unit(unit: str, topics: Topics, agents: Sequence[str], publishes: Sequence[str]) -> Iterator[Right]:
    group = topics.group(unit)
    yield _looking(topics)
    for agent in agents:
        yield _topic(topics.inbox(agent), "the triggers that it consumes", "Read")
        yield _topic(topics.dead(agent), "what it gives up", "Write")
    yield _topics(topics.inbox(""), "triggers of successors, of any unit", "Write")
    yield _topic(topics.events, "its facts", "Write")
    yield _topic(topics.telemetry, "started, progress", "Write")
    yield _topic(topics.control, "what it must respect", "Read")
    yield _topic(topics.definitions, "what follows a step, and whose inbox it is", "Read")
    for own in publishes:
        yield _topic(own, "what its handlers publish", "Write", "Describe", "DescribeConfigs")
    yield Right(Resource.GROUP, group, ("Read",), "consuming, with positions in its transactions")
    yield _writing_as(group)


def _coordinator(topics: Topics) -> Iterator[Right]:
    group = topics.group(COORDINATOR)
    yield _looking(topics)
    yield _topic(topics.commands, "what is asked; what came to a foreign home is forwarded", "Read", "Write")
    yield _topic(topics.events, "facts", "Read", "Write")
    yield _topic(topics.runs, "state of live runs", "Read", "Write")
    yield _topic(topics.settled, "state of ended runs", "Write")
    yield _topic(topics.control, "what agents must respect", "Read", "Write")
    yield _topic(topics.definitions, "what runs are pinned to", "Read")
    yield _topics(topics.inbox(""), "triggers, of any agent", "Write")
    yield _topics(topics.dead(""), "dead letters where it refuses a retry", "Write")
    yield Right(Resource.GROUP, group, ("Read",), "consuming, with positions in its transactions")
    yield Right(
        Resource.GROUP,
        f"{topics.namespace}.",
        ("Describe",),
        "how far agents are, for the watchdog (DESIGN 6.8)",
        is_prefix=True,
    )
    yield _writing_as(group)


def _client(topics: Topics) -> Iterator[Right]:
    yield _looking(topics)
    yield _topic(topics.commands, "starting, cancelling, replaying; and lineage reads it", "Write", "Read")
    for name, why in (
        (topics.events, "following runs"),
        (topics.runs, "live runs"),
        (topics.settled, "ended runs"),
        (topics.definitions, "pipelines by name, and their types"),
    ):
        yield _topic(name, why, "Read")
    yield _topics(topics.inbox(""), "lineage", "Read")
    yield _topics(topics.dead(""), "listing and showing dead letters", "Read")


def _apply(topics: Topics, publishes: Sequence[str]) -> Iterator[Right]:
    operations = ("Create", "AlterConfigs", "Describe", "DescribeConfigs")
    yield _topics(f"{topics.namespace}.", "creating and mending topics", *operations)
    for own in publishes:
        yield _topic(own, "creating and mending the user's own topics", *operations)
    yield _topic(topics.definitions, "pipelines, owners of inboxes", "Read", "Write")
    yield _topic(topics.schemas, "schemas", "Read", "Write")
    why = "start positions (R8)"
    yield _topics(topics.inbox(""), why, "Read")
    yield _topic(topics.commands, why, "Read")
    yield _topic(topics.events, why, "Read")
    yield _topics(topics.dead(""), "`agent reposition`: what was given up", "Read")
    yield _topic(topics.runs, "`coordinator reposition`: where homes stand", "Read", "Write")
    yield Right(Resource.GROUP, f"{topics.namespace}.", ("Read",), why, is_prefix=True)
    yield Right(Resource.TRANSACTIONAL_ID, f"{topics.namespace}.", ("Write", "Describe"), why, is_prefix=True)


def _doctor(topics: Topics) -> Iterator[Right]:
    yield _looking(topics)
    yield _topics(f"{topics.namespace}.", "who owns which inbox, who has a transaction open, what was answered", "Read")
    yield Right(Resource.GROUP, f"{topics.namespace}.", ("Describe",), "members and positions", is_prefix=True)
    yield Right(
        Resource.TRANSACTIONAL_ID, f"{topics.namespace}.", ("Describe",), "transactions that hang", is_prefix=True
    )
    yield Right(Resource.CLUSTER, "kafka-cluster", ("Describe", "DescribeConfigs"), "brokers' settings and clock")


def _transactions(topics: Topics) -> Iterator[Right]:
    yield _looking(topics)
    yield _topics(f"{topics.namespace}.", "`transactions list`: what is open in them", "Read")
    why = "`transactions list`: what is open where positions are, of any group of the cluster"
    yield _topic(POSITIONS, why, "Read")
    why = "`transactions list`: what their coordinators say"
    yield Right(Resource.TRANSACTIONAL_ID, f"{topics.namespace}.", ("Describe",), why, is_prefix=True)
    why = "`transactions end`: writing markers, which else brokers alone do, in any topic of the cluster"
    yield Right(Resource.CLUSTER, "kafka-cluster", ("ClusterAction",), why)


HEAD = """\
# Rights on a cluster with ACLs

<!-- Made by `farandole config reference access`; equal to it by test. -->

What each kind of process needs, and no more: tests run each with exactly these rights against Kafka's own authorizer.
`<ns>` is the namespace. Read and Write imply Describe.

```sh
farandole acls agents/orders --principal User:orders            # the commands of kafka-acls.sh for a unit of agents
farandole acls coordinator --principal User:coordinator --apply # or grant them at once, as a user who may
farandole acls apply --for agents/orders --principal User:deployer
```

`apply` creates the topics, so its rights come first; the user who grants needs `Alter` on the cluster.

Topics are believed: who may write an inbox, or `events`, can forge the results of any run of it. Grant that to
processes of yours alone.

`transactions` reads Kafka's own `__consumer_offsets` too, which has the positions of every group of the cluster: a
transaction may have been forgotten there, and `ClusterAction`, which it has besides, reaches further than that.
Without this right `transactions list` and `end` look at the topics of the namespace alone, and say so (`not_allowed`
with `--json`). `doctor` does not get it: what is forgotten in positions, `transactions list` tells.
"""


def page() -> str:
    """The reference page: the rights of every role; agents and own topics as placeholders."""
    topics, parts = Topics("<ns>"), [HEAD]
    for role in ("<unit>", *ROLES):
        parts.append(f"\n## `{role}`\n\n| Resource | Name | Pattern | Operations | Why |\n|---|---|---|---|---|\n")
        for each in rights(role, topics, ("<agent>",), ("<own topic>",)):
            pattern = "prefixed" if each.is_prefix else "literal"
            operations = ", ".join(each.operations)
            parts.append(f"| {each.resource.value} | `{each.name}` | {pattern} | {operations} | {each.why} |\n")
    return "".join(parts)
