"""What a fault did to runs, counted in the end from what is on the topics and what clients were promised.

Knows nothing of processes and of the broker: a history, the load's own record, and what the fault itself breaks.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from farandole.testing.chaos.report import Report
from farandole.testing.history import History, Span, Violation, check_history

POISON = "poison"
"""The canary's pipeline whose one step always goes wrong; the runs of all others succeed, whatever is done to them."""


class Promises(Protocol):
    """What a client saw: when runs were acknowledged, which were told twice to have ended, and how each ended."""

    acknowledged: dict[str, float]
    settled_twice: set[str]
    outcomes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Excuse:
    """What the fault itself breaks: these predicates of the checker; where topics were damaged, only on those.

    `cancelled`: runs that a person gave up for it; one may have succeeded before it heard of that.
    """

    predicates: Collection[str] = ()
    damaged: Collection[str] = ()
    cancelled: Collection[str] = ()

    def covers(self, it: Violation) -> bool:
        """Whether the fault itself broke it."""
        places = [place for place in it.evidence if place.partition("/")[0] in self.damaged]
        return it.predicate in self.predicates and bool(places or not self.damaged)

    def applied(self, history: History) -> History:
        """As if retention had taken all of the damaged topics: what belongs to a record may be missing."""
        spans = {at: _cut(span) if at[0] in self.damaged else span for at, span in history.spans.items()}
        return replace(history, spans=spans)


def _cut(span: Span) -> Span:
    return replace(span, begin=max(span.begin, span.end, 1))


def count(report: Report, history: History, load: Promises, excuse: Excuse) -> None:
    """Fill in what only the end tells; `history` has the handlers' executions."""
    executions = history.executions or ()
    judged = replace(excuse.applied(history), acknowledged=frozenset(load.acknowledged))
    violations = [each for each in check_history(judged) if not excuse.covers(each)]
    report.runs = len(load.acknowledged)
    # Not by the checker: it asks only when all is quiet, and a run of which the log knows nothing never ends.
    report.lost = len(load.acknowledged.keys() - {each.run for each in history.events})
    report.doubled = len(load.settled_twice) + sum(1 for each in violations if each.invariant in ("I2", "I5"))
    report.executions = len(executions)
    report.reruns = len(executions) - len({(e.run, e.step, e.item, e.attempt) for e in executions})
    report.violations = [*map(str, violations), *_wrong_ends(history, load, excuse)]


def _wrong_ends(history: History, load: Promises, excuse: Excuse) -> Iterator[str]:
    """Runs that ended otherwise than their pipeline does: else a fault whose poison does nothing would be as good."""
    dead = {each.run for each in history.dead}
    for run, outcome in sorted(load.outcomes.items()):
        expected = {"failed"} if run.rpartition("-")[0] == POISON else {"succeeded"}
        if run in excuse.cancelled:
            expected |= {"cancelled"}
        if outcome not in expected:
            yield f"run {run}: expected it to end {' or '.join(sorted(expected))}, but it ended {outcome}"
        elif outcome == "failed" and run not in dead:
            yield f"run {run}: expected a dead letter of its poison, but found none"
