"""What an agent process counts: plain numbers, read by whoever exports metrics.

Written by the loop's thread alone; a reader may see them a moment old.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from farandole.runtime.attempts import Attempt, Failed, Outcome, Succeeded
from farandole.telemetry.catalogue import LONG, SHORT
from farandole.telemetry.measures import Distribution
from farandole.transport.port import Trouble

log = logging.getLogger("farandole.runtime")


@dataclass(slots=True)
class Counts:
    """Totals since the process began."""

    records: int = 0
    """Inbox records admitted."""

    redelivered: int = 0
    """Inbox records that an earlier owner had already answered."""

    handler_runs: int = 0
    fused: int = 0
    """Successors that ran at once, without a trigger."""

    attempts: Counter[str] = field(default_factory=Counter)
    """By outcome: `succeeded`, `cancelled`, or the kind of the failure."""

    quarantined: Counter[str] = field(default_factory=Counter)
    """By reason."""

    transactions: Counter[str] = field(default_factory=Counter)
    """By verdict."""

    judged: Counter[str] = field(default_factory=Counter)
    """Doubts by what they came to: `committed` or `without_effect`."""

    renewals: int = 0
    """Producers thrown away and made anew."""

    fenced_writers: int = 0
    """Departed members whose transactions were ended (R7)."""

    dropped: int = 0
    """Results thrown away because their partition was no longer ours (R6)."""

    handler_seconds: Distribution = field(default_factory=lambda: Distribution(LONG))
    """By agent and outcome."""

    trigger_wait_seconds: Distribution = field(default_factory=lambda: Distribution(LONG))
    """By agent: from the trigger's timestamp to the handler's start."""

    transaction_seconds: Distribution = field(default_factory=lambda: Distribution(SHORT))
    """By verdict."""

    partitions_stopped: int = 0
    signals_dropped: int = 0
    published: int = 0
    """Records that handlers published, in transactions that stand."""

    def ended(self, attempt: Attempt, outcome: Outcome, now: datetime, lasted: timedelta) -> None:
        """An attempt has its outcome `now`, `lasted` after its handler began."""
        agent, lasted_s = attempt.spec.name, lasted.total_seconds()
        word = "succeeded" if isinstance(outcome, Succeeded) else outcome.kind
        self.attempts[word] += 1
        self.handler_seconds.observe(lasted_s, (agent, word))
        if attempt.chain is not None:
            return  # it ran at once after its parent, without a trigger: the record's own wait was that of the first
        waited_s = now.timestamp() - lasted_s - attempt.record.timestamp_ms / 1000
        self.trigger_wait_seconds.observe(max(0.0, waited_s), (agent,))


TOLD_EVERY_S = 60.0
"""Least time between two log lines about the same trouble."""

TROUBLES_MAX = 1_000
"""Different troubles that are remembered; beyond that they are told anew."""


@dataclass(slots=True)
class Troubles:
    """Says what is wrong once a minute, however often it is met."""

    log: logging.Logger
    _told: dict[str, float] = field(default_factory=dict)

    def tell(self, key: str, now: float, message: str) -> None:
        """Log a warning, unless the same `key` was told less than a minute ago; `now` is monotonic."""
        if now - self._told.get(key, -TOLD_EVERY_S) < TOLD_EVERY_S:
            return
        if len(self._told) >= TROUBLES_MAX:
            self._told.clear()
        self._told[key] = now
        self.log.warning("%s", message)

    def tell_trouble(self, trouble: Trouble, now: float) -> None:
        """Say what does not deliver: one line for an outage, whoever meets it and however its error is worded."""
        where = f"{trouble.at.topic}[{trouble.at.partition}]" if trouble.at is not None else "the log"
        text = f"{where} does not deliver ({trouble.kind}): {trouble.error}; trying again"
        self.tell(f"{trouble.kind} {where}", now, text)


def log_failure(attempt: Attempt, outcome: Failed) -> None:
    """A line for a failed attempt, with the traceback that its dead letter has no room for."""
    log.warning(
        "%s/%s attempt %d failed (%s): %s",
        attempt.trigger.run,
        attempt.step.name,
        attempt.trigger.attempt,
        outcome.kind,
        outcome.error,
        extra={**attempt.call.log_fields, "fingerprint": outcome.fingerprint, "error": outcome.trace},
    )
