"""From facts about a cluster to findings. Pure: each rule looks at facts, and says what they mean."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta

from farandole.cli.doctor.facts import Facts, Finding, Severity
from farandole.cli.doctor.forgotten import forgotten
from farandole.cli.doctor.positions import long_log, pending, went_back
from farandole.settings.production import INSYNC_MIN, REPLICATION_MIN
from farandole.transport.kafka.settings import BROKER_MIN

OFFSETS_RETENTION_MIN = timedelta(days=30)
"""A unit that is stopped for longer would lose its positions, and stop (R8)."""

METADATA_BYTES_MIN = 4_096
"""Kafka's default; the positions of an agent carry up to 1,700 characters (decision 0035)."""

TRANSACTION_MIN = timedelta(seconds=10)
"""R14: what our producers ask for."""

SKEW_WARNING, SKEW_ERROR = timedelta(seconds=1), timedelta(seconds=30)
"""Deadlines and back-offs are off by the skew; a coordinator's clock follows the wall by 10 % only."""

OPEN_GRACE = timedelta(seconds=5)
"""Beyond its own time-out: a broker ends a transaction that ran out within its clean-up interval."""

LIST_TRANSACTIONS, GROUP_HEARTBEAT = 66, 68
"""Kafka's API keys: the first (of `forgotten.py`) came with 3.0, the second with 3.7; 4.0 has version 1 of it."""

_RANDOM_SLOT = re.compile(r"\.[0-9a-f]{8}$")

E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE


def findings(facts: Facts) -> list[Finding]:
    """All of them, the worst first."""
    rules = (
        _versions,
        _brokers,
        replicas,
        _in_sync,
        _drift,
        _clock,
        _transactions,
        forgotten,
        pending,
        went_back,
        long_log,
        _members,
        _inboxes,
        _connection,
        _untold,
    )
    found = [each for rule in rules for each in rule(facts)]
    return sorted(found, key=lambda each: list(Severity).index(each.severity))


def kafka_version(versions: Mapping[int, int]) -> str:
    """The broker's version as far as its requests tell it."""
    if not versions:
        return "unknown"
    if LIST_TRANSACTIONS not in versions:
        return f"older than {BROKER_MIN}"
    heartbeat = versions.get(GROUP_HEARTBEAT, -1)
    return "4.0 or newer" if heartbeat >= 1 else "3.7 to 3.9" if heartbeat == 0 else f"{BROKER_MIN} to 3.6"


def _versions(facts: Facts) -> Iterator[Finding]:
    if kafka_version(facts.inspected.api_versions) == f"older than {BROKER_MIN}":
        yield Finding(
            E,
            "broker_too_old",
            f"{facts.bootstrap}: the brokers are older than Kafka {BROKER_MIN}",
            "they do not tell what is open under a writer's name: under load no process begins to write; before 2.8 "
            "they do not answer our question for the end of a partition either: no home is restored; and before 2.5 "
            "they cannot tell a zombie's transaction from its successor's (KIP-447, R1)",
            f"upgrade the brokers to {BROKER_MIN} or newer (4.x is what is tested)",
        )


def _brokers(facts: Facts) -> Iterator[Finding]:
    for broker, config in sorted(facts.brokers.items()):
        yield from _offsets(broker, config)
        yield from _limits(facts, broker, config)
        if config.get("auto.create.topics.enable") == "true":
            yield Finding(
                W,
                "auto_create",
                f"broker {broker}: auto.create.topics.enable=true",
                "a misspelt topic comes into being with the wrong settings, instead of an error",
                _static("auto.create.topics.enable=false"),
            )
        if config.get("unclean.leader.election.enable") == "true":
            yield Finding(
                E if facts.is_production else W,
                "unclean_election",
                f"broker {broker}: unclean.leader.election.enable=true",
                "a replica that is behind may become leader: what was acknowledged is lost",
                f"kafka-configs.sh --bootstrap-server {facts.bootstrap} --alter --entity-type brokers --entity-default "
                "--add-config unclean.leader.election.enable=false",
            )


def _offsets(broker: int, config: Mapping[str, str]) -> Iterator[Finding]:
    retention = config.get("offsets.retention.minutes")
    if retention is not None and timedelta(minutes=int(retention)) < OFFSETS_RETENTION_MIN:
        yield Finding(
            W,
            "offsets_retention",
            f"broker {broker}: offsets.retention.minutes={retention}, which is "
            f"{timedelta(minutes=int(retention)).total_seconds() / 86_400:g} d",
            "a unit that is stopped for longer loses its positions and refuses to go on (R8)",
            _static(f"offsets.retention.minutes={OFFSETS_RETENTION_MIN // timedelta(minutes=1)}"),
        )
    metadata = config.get("offset.metadata.max.bytes")
    if metadata is not None and int(metadata) < METADATA_BYTES_MIN:
        yield Finding(
            E,
            "offset_metadata",
            f"broker {broker}: offset.metadata.max.bytes={metadata}",
            "positions carry what is finished out of order (R9); the broker would refuse to commit them",
            _static(f"offset.metadata.max.bytes={METADATA_BYTES_MIN}"),
        )


def _limits(facts: Facts, broker: int, config: Mapping[str, str]) -> Iterator[Finding]:
    longest = config.get("transaction.max.timeout.ms")
    if longest is not None and timedelta(milliseconds=int(longest)) < TRANSACTION_MIN:
        yield Finding(
            E,
            "transaction_timeout",
            f"broker {broker}: transaction.max.timeout.ms={longest}",
            "our producers ask for 10 s (R14); the broker refuses to initialise them",
            _static("transaction.max.timeout.ms=900000"),
        )
    least, most = (config.get(f"group.{end}.session.timeout.ms") for end in ("min", "max"))
    for section, timeout in sorted(facts.session_timeouts.items()):
        ms = timeout // timedelta(milliseconds=1)
        if (least is not None and ms < int(least)) or (most is not None and ms > int(most)):
            yield Finding(
                E,
                "session_timeout",
                f"broker {broker}: takes sessions of {least} to {most} ms, and {section}.session_timeout is {ms} ms",
                "the broker refuses to let such a member join: nothing is consumed",
                f"set session_timeout in [{section}] of farandole.toml within both bounds (and 6 to 15 s, R14)",
            )


def _static(setting: str) -> str:
    return f"set {setting} in server.properties of every broker, and restart them one after the other"


def replicas(facts: Facts) -> Iterator[Finding]:
    """Whether the loss of one broker would be felt; what stops a process from starting in production."""
    severity = E if facts.is_production else N
    few = {name: fact.replication for name, fact in facts.topics.items() if 0 < fact.replication < REPLICATION_MIN}
    if few:
        yield Finding(
            severity,
            "replication",
            f"{len(few)} topics have fewer than {REPLICATION_MIN} replicas: {_some(few)}",
            "the loss of one broker stops writes, or loses what was acknowledged (R14)",
            f"kafka-reassign-partitions.sh --bootstrap-server {facts.bootstrap} --execute --reassignment-json-file "
            "FILE (one that lists three replicas for each partition)",
        )
    loose = {name: fact.min_insync for name, fact in facts.topics.items() if fact.min_insync < INSYNC_MIN}
    if loose:
        alter = (
            f"for topic in {' '.join(sorted(loose))}; do kafka-configs.sh --bootstrap-server {facts.bootstrap} --alter "
            f"--entity-type topics --entity-name $topic --add-config min.insync.replicas={INSYNC_MIN}; done"
        )
        yield Finding(
            severity,
            "min_insync",
            f"{len(loose)} topics have min.insync.replicas below {INSYNC_MIN}: {_some(loose)}",
            "an acknowledged record may exist once, and is lost with that broker (R14)",
            alter,
        )


def _in_sync(facts: Facts) -> Iterator[Finding]:
    """Whether a broker is away, or behind: the cluster leaves it out of its list, its partitions tell."""
    describe = f"start the broker that is away; kafka-topics.sh --bootstrap-server {facts.bootstrap} --describe"
    silent = {name: fact.leaderless for name, fact in facts.topics.items() if fact.leaderless}
    if silent:
        yield Finding(
            E,
            "no_leader",
            f"{len(silent)} topics have partitions without a leader: {_some(silent)}",
            "nobody can read or write them: what needs them stands still, and no process of the namespace begins to "
            "write, not knowing what it left open there; both go on by themselves afterwards",
            f"{describe} --unavailable-partitions names them",
        )
    behind = {name: fact for name, fact in facts.topics.items() if 0 <= fact.in_sync < fact.replication}
    refused = {name: fact.in_sync for name, fact in behind.items() if fact.in_sync < fact.min_insync}
    if behind:
        shown = refused or {name: fact.in_sync for name, fact in behind.items()}
        yield Finding(
            E if refused else W,
            "under_replicated",
            f"{len(shown)} topics have fewer replicas in sync than "
            f"{'min.insync.replicas, which writes need' if refused else 'replicas'}: {_some(shown)}",
            "writes are refused until enough brokers are back" if refused else "the loss of one more broker is felt",
            f"{describe} --under-replicated-partitions names its number",
        )


def _some(values: Mapping[str, int]) -> str:
    shown = [f"{name} ({value})" for name, value in sorted(values.items())]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _drift(facts: Facts) -> Iterator[Finding]:
    if not facts.is_applied:
        yield Finding(
            E,
            "not_applied",
            f"namespace {facts.namespace}: there are no topics",
            "no process can start, and no run either",
            f"farandole apply PATH --bootstrap {facts.bootstrap} --namespace {facts.namespace}",
        )
        return
    for fault in facts.drift:
        yield Finding(
            E if fault.what in ("missing", "partitions") else W,
            "drift",
            fault.line.partition(";")[0],
            "processes were made for topics as declared"
            if fault.is_mendable
            else "a run's home is its key modulo this number: it cannot be changed (DESIGN section 3)",
            "farandole apply PATH" if fault.is_mendable else "apply under a new namespace, and let the old one drain",
        )


def _clock(facts: Facts) -> Iterator[Finding]:
    told, ours = facts.inspected.clock_ms, facts.inspected.asked_ms
    skew = timedelta(milliseconds=ours - told)
    if told and abs(skew) > SKEW_WARNING:
        side = "ahead of" if skew > timedelta() else "behind"
        yield Finding(
            E if abs(skew) > SKEW_ERROR else W,
            "clock_skew",
            f"this machine's clock is {abs(skew).total_seconds():.1f} s {side} the cluster's",
            "deadlines, back-offs and retention are off by as much",
            "chronyc makestep (and see on both machines that chronyd or ntpd runs)",
        )


def _transactions(facts: Facts) -> Iterator[Finding]:
    now = facts.inspected.clock_ms or facts.inspected.asked_ms
    for each in facts.inspected.transactions:
        age = timedelta(milliseconds=now - each.started_ms)
        if age > timedelta(milliseconds=each.timeout_ms) + OPEN_GRACE:
            unit = each.transactional_id.removeprefix(f"{facts.namespace}.").partition(".")[0]
            yield Finding(
                E,
                "hanging_transaction",
                f"transaction of {each.transactional_id}: {each.state} for {age.total_seconds():.0f} s, "
                f"and it may take {each.timeout_ms / 1000:g} s",
                "every reader of the partitions that it has touched waits for its end",
                f"start a process of {unit} (it ends what a dead peer left open, R7); else kafka-transactions.sh "
                f"--bootstrap-server {facts.bootstrap} find-hanging",
            )


def _members(facts: Facts) -> Iterator[Finding]:
    for group, clients in sorted(facts.groups.items()):
        for client, count in sorted(Counter(clients).items()):
            slot = client.removeprefix(f"{group}.")
            if not client.startswith(f"{group}."):
                yield Finding(
                    E,
                    "foreign_member",
                    f"group {group}: has the member {client!r}, which is none of its unit's",
                    "it takes partitions, and nobody handles what is in them",
                    f"end the process {client!r}; its group id must be another",
                )
            elif count > 1:
                yield Finding(
                    E,
                    "slot_clash",
                    f"group {group}: {count} processes have the slot {slot!r}",
                    "they fence each other's transactions and neither gets on (R7)",
                    "give each process a --slot of its own, such as the ordinal of a StatefulSet",
                )
        random = [each for each in clients if _RANDOM_SLOT.search(each)]
        if random:
            yield Finding(
                W if facts.is_production else N,
                "random_slot",
                f"group {group}: {len(random)} of {len(clients)} processes have a random slot",
                "after a crash its successor has another, so that an open transaction ends only when it is taken over",
                "start them with --slot NAME, such as the ordinal of a StatefulSet",
            )


def _inboxes(facts: Facts) -> Iterator[Finding]:
    for agent, unit in sorted(facts.owners.items()):  # of an inbox whose owner nobody told us, no group is foreign
        inbox, owner = f"{facts.namespace}.inbox.{agent}", f"{facts.namespace}.{unit}"
        taking = facts.assigned.get(agent, ())
        for group in sorted({*taking, *facts.readers.get(agent, ())} - {owner}):
            forget = (
                f"kafka-consumer-groups.sh --bootstrap-server {facts.bootstrap} "
                f"--delete-offsets --group {group} --topic {inbox}"
            )
            if group in taking:
                yield Finding(
                    E,
                    "foreign_group",
                    f"{inbox}: belongs to {owner}, and group {group} reads it too",
                    "two groups would each run every trigger (R8)",
                    f"end the processes of {group}, then {forget}",
                )
            else:
                yield Finding(
                    N,
                    "left_positions",
                    f"{inbox}: belongs to {owner}, and group {group}, which does not read it now, has positions on it",
                    "`agent move` leaves those of the unit that had it; nobody uses them",
                    f"nothing needs to be done; they go with: {forget}",
                )


def _connection(facts: Facts) -> Iterator[Finding]:
    hosts = [_host(each.strip()) for each in facts.bootstrap.split(",")]
    if not facts.is_encrypted and not all(host in ("localhost", "::1") or host.startswith("127.") for host in hosts):
        yield Finding(
            W,
            "plaintext",
            f"{facts.bootstrap}: the connection is not encrypted",
            "passwords and payloads are readable on the wire",
            "set security.protocol in [kafka] of farandole.toml to SSL or SASL_SSL",
        )


def _host(address: str) -> str:
    """The host of `host`, `host:port`, `[::1]` or `[::1]:port`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _untold(facts: Facts) -> Iterator[Finding]:
    for each in (*facts.untold, *facts.inspected.untold):
        yield Finding(
            N,
            "not_seen",
            each,
            "what cannot be seen was not checked",
            "farandole acls doctor --principal User:NAME prints the rights that it takes",
        )
    for each in facts.unanswered:
        yield Finding(
            W,
            "not_answered",
            each,
            "what was not answered was not checked",
            f"farandole doctor --bootstrap {facts.bootstrap} once more; if it stays so, see the brokers' logs",
        )
