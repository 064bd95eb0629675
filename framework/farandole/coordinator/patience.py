"""Waiting longer after each failure: what a home does while a store is away or its timers cannot be written.

Instants are milliseconds of the log clock, and arguments: nothing here reads a clock.
"""

from dataclasses import dataclass

from farandole.definition.policy import Retry

RETRY_S = 0.1
"""Wait before a question is asked again that the log did not answer, or not yet: it may refuse in a millisecond. The
agents' own; Kafka's `retry.backoff.ms`."""

_SHAPE = Retry(base="100ms", cap="5s")
"""Kafka's `retry.backoff.ms`; the cap is what a person who has mended the store is willing to wait."""


@dataclass(slots=True)
class Patience:
    """How one thing fails again and again. `until`: nothing is tried before; 0 while all is well."""

    failures: int = 0
    since: int = 0
    until: int = 0

    def failed(self, now: int) -> None:
        """It failed, once more."""
        self.failures += 1
        if self.failures == 1:
            self.since = now
        self.until = now + round(_SHAPE.delay(self.failures).total_seconds() * 1000)

    def ended(self) -> None:
        """It went well."""
        self.failures = self.since = self.until = 0

    def lasts(self, now: int) -> int:
        """For how long it has been failing, ms; 0 while all is well."""
        return now - self.since if self.failures else 0
