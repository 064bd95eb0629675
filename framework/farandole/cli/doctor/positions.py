"""From facts to findings about committed positions: those that a broker mixed up, and what makes it mix them up."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby

from farandole.cli.doctor.facts import Facts, Finding, Severity
from farandole.transport.kafka.forgotten import OFFSETS

SEGMENT_BYTES_MAX = 16 * 1024**2
"""What is in the segment that is written to is never cleaned; 100 MiB by default."""

ENDS_KEPT_MAX = timedelta(hours=1)
"""How long the end of each transaction stays; a day by default."""

SHORT = "segment.bytes=1048576,delete.retention.ms=60000"
"""Of 81,000 commits in 150 s they left 37,000 records (3.0 MB, read in 0.12 s), and of 90,000 the defaults 359,000
(42 MB, 2.6 s) [Kafka 4.3.1].

Safe while the only broker alone reads it, in one go: a replica that was away for longer would miss ends.
"""

SHOWN_MAX = 5


def pending(facts: Facts) -> Iterator[Finding]:
    """Positions that wait for a transaction which has ended."""
    for each in facts.pending:
        first, more = each.places[0], len(each.places) - 1
        yield Finding(
            Severity.ERROR,
            "pending_positions",
            f"positions of {each.group} on {first.topic}[{first.partition}]{f' and {more} more' if more else ''} wait "
            f"for a transaction that has ended",
            f"broker {each.broker} may have mixed up what it read when it started; who takes these partitions waits",
            f"restart broker {each.broker} in order: it reads the positions of its groups anew",
        )


def went_back(facts: Facts) -> Iterator[Finding]:
    """Positions that are behind what was answered. Those of a group go back together: all agents of it are mended."""
    for unit, its in groupby(sorted(facts.back, key=lambda each: (each.unit, each.at)), lambda each: each.unit):
        told = [
            f"{each.at.topic}[{each.at.partition}] to {each.position:,}, and {each.answered:,} was answered"
            for each in its
        ]
        more = f"; and {len(told) - SHOWN_MAX} partitions more" if len(told) > SHOWN_MAX else ""
        agents = " ".join(sorted(agent for agent, owner in facts.owners.items() if owner == unit))
        yield Finding(
            Severity.ERROR,
            "positions_went_back",
            f"positions of unit {unit} went back: {'; '.join(told[:SHOWN_MAX])}{more}",
            "a broker that was killed twice in a minute gave out old ones, or somebody set them: a process that starts "
            "does once more what was answered since",
            f"stop every process of unit {unit}; for agent in {agents}; do farandole agent reposition $agent "
            f"--bootstrap {facts.bootstrap} --namespace {facts.namespace}; done; then start it again. If somebody set "
            "them, look first, with --dry-run: the agent goes on behind what was answered, and records that were "
            "skipped by hand are passed over too",
        )


def long_log(facts: Facts) -> Iterator[Finding]:
    """Whether a broker that alone has positions has much to read when it starts; or that we may not look."""
    if facts.positions_log is None:
        yield Finding(
            Severity.NOTE,
            "not_seen",
            f"{OFFSETS}: how many brokers have it, and its settings (long_positions_log)",
            "what cannot be seen was not checked",
            f"beside what farandole acls doctor prints: kafka-acls.sh --bootstrap-server {facts.bootstrap} --add "
            f"--allow-principal User:NAME --operation Describe --operation DescribeConfigs --topic {OFFSETS}",
        )
        return
    segment, kept = (facts.positions_log.get(name) for name in ("segment.bytes", "delete.retention.ms"))
    is_long = segment is not None and int(segment) > SEGMENT_BYTES_MAX
    stays = kept is not None and timedelta(milliseconds=int(kept)) > ENDS_KEPT_MAX
    if is_long or stays:
        yield Finding(
            Severity.WARNING,
            "long_positions_log",
            f"{OFFSETS} has partitions that one broker alone has, segment.bytes={segment} and "
            f"delete.retention.ms={kept}",
            "that broker reads all of them when it starts: after an hour of work for seconds, and if it is killed "
            "again meanwhile it may give out positions of an hour ago. With three replicas another one takes over",
            f"kafka-configs.sh --bootstrap-server {facts.bootstrap} --alter --entity-type topics "
            f"--entity-name {OFFSETS} --add-config {SHORT}",
        )
