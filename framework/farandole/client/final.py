"""Whether a run's last success is its end, before anybody has said so (direct end, DESIGN sections 8 and 9).

The agent of the last step marks its success `final`. It stands iff nothing that could have stopped
or changed the run precedes it on the log, whose order decides every race: then the coordinator can
only settle the run with it. Pure; records come in the order of the run's home partition.
"""

from dataclasses import dataclass
from datetime import timedelta

from farandole.client.scan import header, header_text
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.catalogue import decode, type_name
from farandole.events.envelope import instant_of
from farandole.ids import generated_at
from farandole.transport.port import Record

_STARTED = type_name(facts.RunStarted).encode()
_SUCCEEDED = type_name(facts.StepSucceeded).encode()

HARMLESS = frozenset(
    type_name(kind).encode()
    for kind in (
        facts.RunStarted,
        facts.StepScheduled,
        facts.StepSucceeded,
        facts.StepFailed,
        facts.RetryScheduled,
        facts.RetryDue,
    )
)
"""What may precede a final fact that stands: a chain's life in which nothing was given up and nobody interfered."""


PROMPT = timedelta(minutes=1)
"""How long after its generated id a run that is certain to stand may begin. Later the id may be outside the window in
which it is known (24 h, and nobody sets less than this), and its start be refused: then the end alone tells."""


@dataclass(slots=True)
class FinalWatch:
    """One run. `is_sure`: its beginning was seen, and nothing since that might speak against a final fact."""

    has_begun: bool = False
    is_sure: bool = True

    def take(self, record: Record) -> facts.StepSucceeded | None:
        """Take in the next event of the run; the fact that ends it, if this is one that stands."""
        kind = header(record, "ce_type")
        self.has_begun |= kind == _STARTED
        self.is_sure &= kind in HARMLESS
        self.is_sure &= kind != _STARTED or _is_prompt(record)
        if kind != _SUCCEEDED or not (self.has_begun and self.is_sure):
            return None
        try:
            fact = decode(record.value or b"")
        except RecordError:  # a newer agent's
            self.is_sure = False
            return None
        return fact if isinstance(fact, facts.StepSucceeded) and fact.final else None


def _is_prompt(started: Record) -> bool:
    made = generated_at(header_text(started, "ce_run"))
    return made is None or abs(instant_of(started.timestamp_ms) - made) <= PROMPT
