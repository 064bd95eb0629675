"""What an answer says instead, when its records cannot be produced.

First, where hops were fused, the first hop alone; then a success that fires nothing: what was done
is done, and the coordinator fires the edge, or holds the run until it can. Only then the failure of
the attempt with its input, then the same without the input. One more refusal is not the record's
fault: all is said again later, as nothing is ever committed without a word on the log.
"""

from collections.abc import Callable, Sequence

import msgspec

from farandole.clock import Clock
from farandole.events.envelope import Envelope
from farandole.events.outgoing import Outgoing, Trigger
from farandole.runtime import reactions
from farandole.runtime.attempts import Attempt, Failed
from farandole.runtime.handlers.calls import fingerprint_of
from farandole.runtime.inbound import Quarantine
from farandole.runtime.reactions import Surroundings
from farandole.transport.outgoing import new_records
from farandole.transport.port import NewRecord, Record


class Retreat(msgspec.Struct, frozen=True):
    """The way back of one inbox record's answer."""

    around: Surroundings
    clock: Clock
    home_partitions: int
    record: Record
    about: Attempt | Quarantine
    milder: Sequence[Callable[[], list[Outgoing]]] = ()
    """Successes that are told in turn before it counts as failed: of hops that were fused, what the first said alone,
    so that each of the others is judged by itself; then without the triggers, which may be what is refused."""

    opening: Sequence[Outgoing] = ()
    """That the run exists, which is said whatever else is not."""

    def records(self, refused: int, error: str) -> list[NewRecord] | None:
        """Records in place of those that were refused for the `refused`-th time; None if those were the smallest."""
        if refused <= len(self.milder):
            return new_records([*self.opening, *self.milder[refused - 1]()], self.home_partitions)
        refused -= len(self.milder)
        if refused > 2:
            return None
        return new_records([*self.opening, *self._outgoing(refused, error)], self.home_partitions)

    def _outgoing(self, refused: int, error: str) -> list[Outgoing]:
        now, about = self.clock.now(), self.about
        if isinstance(about, Quarantine) and (about.trigger is None or about.envelope is None):
            agent = self.record.topic.rpartition(".")[2]
            return [reactions.stranger_without_value(self.around, self.record, agent, about, now)]
        trigger, envelope = _of(about)
        text = f"expected records that the log takes, but it refused them: {error}"
        failed = Failed("contract", text, fingerprint_of("refused", error), retryable=False)
        if refused == 1 and isinstance(about, Attempt):
            return reactions.failed(self.around, about, failed, now)
        return reactions.failed_without_input(self.around, trigger, envelope, self.record, failed, now)


def _of(about: Attempt | Quarantine) -> tuple[Trigger, Envelope]:
    assert about.trigger is not None
    assert about.envelope is not None
    return about.trigger, about.envelope
