"""What every executor needs to call a handler: payloads, clock, telemetry, and where results go."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from farandole.clock import Clock
from farandole.runtime.attempts import Attempt
from farandole.runtime.context import AttemptContext
from farandole.runtime.handlers.results import Results
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.telemetry import Signals


@dataclass(frozen=True, slots=True)
class Environment:
    """Shared by the executors of one loop; thread-safe throughout."""

    payloads: Payloads
    clock: Clock
    signals: Signals
    results: Results
    progress_every: timedelta

    def awaited(self, attempt: Attempt) -> Payloads:
        """Its payloads, for an executor whose threads may wait for the store while the attempt is wanted."""
        return replace(self.payloads, is_awaited=lambda: not attempt.is_over)

    def context(self, attempt: Attempt) -> AttemptContext:
        """The context of an attempt that begins now."""

        def tell(at: datetime, done: float, total: float | None, note: str) -> None:
            if not attempt.is_over:
                self.signals.progress(attempt.call, at, done, total, note)

        return AttemptContext(attempt.call, attempt.spec, self.clock, tell, self.progress_every)
