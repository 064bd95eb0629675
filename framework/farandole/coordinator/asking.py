"""What the log was asked and has not answered yet: each question with what follows from its answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from farandole.clock import Clock
from farandole.coordinator.measures import Measures
from farandole.transport.port import Commit, Member, Reply, Request

log = logging.getLogger("farandole.coordinator")

Then = Callable[[Reply], None]
Ask = Callable[[Request, Then], None]


@dataclass(slots=True)
class Asking:
    """Questions under way, by ticket. No more than one of them is a commit, whose time is measured."""

    member: Member
    clock: Clock
    measures: Measures
    _then: dict[int, Then] = field(default_factory=dict)
    _submitted_at: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._then)

    def ask(self, request: Request, then: Then) -> None:
        """Ask, and go on with `then` once `take` has the answer."""
        if isinstance(request, Commit):
            self._submitted_at = self.clock.monotonic()
        self._then[self.member.call(request)] = then

    def take(self, wait: float) -> bool:
        """Go on with what was answered, waiting at most `wait` seconds for the first; whether anything was."""
        replies = self.member.replies(wait)
        for reply in replies:
            self._answered(reply)
        return bool(replies)

    def _answered(self, reply: Reply) -> None:
        then = self._then.pop(reply.ticket, None)
        if reply.verdict is not None:
            took = self.clock.monotonic() - self._submitted_at
            self.measures.transactions.observe(took, (reply.verdict.value,))
        if reply.error is not None:
            log.info("%s was not answered: %s", type(reply.request).__name__, reply.error)
        if then is not None:
            then(reply)
