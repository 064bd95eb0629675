"""What an agent process shows of itself: its metrics, its readiness, the partitions whose lag is its own.

Reads, never writes. All but `unready` may be called from another thread: what is copied is copied
in one step, and may be a moment old.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from farandole.errors import NotJoined
from farandole.runtime.intake import Intake
from farandole.runtime.ownership import Ownership
from farandole.runtime.partition import Partition, Stage
from farandole.runtime.recording import Counts
from farandole.runtime.tables import AgentTables
from farandole.runtime.working import Workplace
from farandole.telemetry import catalogue as m
from farandole.telemetry.samples import Sample, by_word, plain
from farandole.transport.port import Member, TopicPartition


@dataclass(frozen=True, slots=True)
class View:
    """The parts of a loop that there is something to say about."""

    counts: Counts
    ownership: Ownership
    tables: AgentTables
    work: Workplace
    intake: Intake
    member: Member

    def samples(self) -> Iterator[Sample]:
        """Every metric of an agent loop."""
        counts, load = self.counts, self.work.load
        yield plain(m.INBOX_RECORDS, counts.records)
        yield plain(m.REDELIVERED, counts.redelivered)
        yield m.HANDLER, counts.handler_seconds
        yield m.TRIGGER_WAIT, counts.trigger_wait_seconds
        yield plain(m.IN_FLIGHT, load.records)
        yield plain(m.IN_FLIGHT_BYTES, load.bytes)
        yield plain(m.HANDLERS, len(self.work.running))
        stages = Counter(p.stage.value for p in self._partitions())
        yield by_word(m.PARTITIONS, dict.fromkeys((stage.value for stage in Stage), 0) | stages)
        yield by_word(m.QUARANTINED, counts.quarantined)
        yield plain(m.DROPPED, counts.dropped)
        yield plain(m.PUBLISHED, counts.published)
        yield by_word(m.JUDGED, counts.judged)
        yield plain(m.RENEWALS, counts.renewals)
        yield plain(m.FENCED, counts.fenced_writers)
        yield plain(m.SIGNALS_DROPPED, counts.signals_dropped)
        yield m.TRANSACTIONS, counts.transaction_seconds

    def unready(self) -> list[str]:
        """Why it does not serve all of its partitions; belongs to the loop's thread, between two steps."""
        if not self.intake.is_open:
            return ["it was asked to stop, and finishes what has begun"]
        reasons = [] if self.tables.is_ready else ["`definitions` and `control` are not read to their end yet"]
        try:
            self.member.snapshot()
        except NotJoined:
            reasons.append("it has not joined its group yet")
        settled = (Stage.RUNNING, Stage.RELEASING, Stage.STOPPED)
        coming = sum(p.stage not in settled for p in self._partitions())
        stopped = sorted(f"{p.at.topic}[{p.at.partition}]" for p in self.ownership.at(Stage.STOPPED))
        if coming:
            reasons.append(f"{coming} inbox partitions are being taken over")
        if stopped:
            reasons.append(f"partitions are stopped and need a person, the log says why: {', '.join(stopped)}")
        return reasons

    def positions(self) -> dict[TopicPartition, int]:
        """The lowest unfinished offset of each of its partitions, as far as it is known.

        Those that stand still are among them: nobody else tells their lag, and it is what somebody is to be woken for.
        """
        return {p.at: at for p in self._partitions() if (at := p.answered_to) >= 0}

    def kept(self) -> list[TopicPartition]:
        """Inboxes and dead letters are of interest by their lag, not by their age."""
        return []

    def _partitions(self) -> list[Partition]:
        return list(self.ownership.partitions.values())
