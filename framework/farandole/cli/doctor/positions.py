"""From facts to findings about committed positions: those that a broker mixed up, and what makes it mix them up."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby

from farandole.cli.doctor.facts import Facts, Finding, Severity

SEGMENT_BYTES_MAX = 16 * 1024**2
"""What is in the segment that is written to is never cleaned; 100 MiB by default."""

ENDS_KEPT_MAX = timedelta(hours=1)
"""How long the end of each transaction stays; a day by default."""

SHORT = "segment.bytes=1048576,delete.retention.ms=60000"
"""Of 2.5 minutes of 540 transactions a second they leave 37,000 records (3 MB), and the defaults 323,000 [measured].

Safe for a topic that the broker alone reads, in one go.
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
            f"--bootstrap {facts.bootstrap} --namespace {facts.namespace}; done; then start it again",
        )


def long_log(facts: Facts) -> Iterator[Finding]:
    """Whether an only broker has much to read when it starts."""
    segment, kept = (facts.positions_log.get(name) for name in ("segment.bytes", "delete.retention.ms"))
    is_long = segment is not None and int(segment) > SEGMENT_BYTES_MAX
    stays = kept is not None and timedelta(milliseconds=int(kept)) > ENDS_KEPT_MAX
    if is_long or stays:
        yield Finding(
            Severity.WARNING,
            "long_positions_log",
            f"__consumer_offsets of an only broker has segment.bytes={segment} and delete.retention.ms={kept}",
            "the broker reads all of it when it starts: after an hour of work for seconds, and if it is killed again "
            "meanwhile it may give out positions of an hour ago",
            f"kafka-configs.sh --bootstrap-server {facts.bootstrap} --alter --entity-type topics "
            f"--entity-name __consumer_offsets --add-config {SHORT}",
        )
