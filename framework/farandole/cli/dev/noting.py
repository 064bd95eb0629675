"""Which attempts are under way in a process of `dev`, said as they begin and end: the parent knows at its death.

A handler that ends its process (`os._exit`, a segfault) leaves no other trace of who it was.
"""

from collections.abc import Sequence

from farandole.cli.dev.stages import BEGINS, OVER, say
from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Attempt, Done, Executor


class Noting:
    """An `Executor` that says what it is given, and when it is done with it."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    def has_room(self, spec: AgentSpec) -> bool:
        """As the executor within."""
        return self._inner.has_room(spec)

    def submit(self, attempt: Attempt) -> None:
        """Say so before anything runs."""
        say(BEGINS, attempt.call.log_fields)
        self._inner.submit(attempt)

    def call_off(self, attempt: Attempt) -> None:
        """As the executor within."""
        self._inner.call_off(attempt)
        say(OVER, attempt.call.log_fields)

    def drain(self) -> Sequence[Done]:
        """As the executor within."""
        ended = self._inner.drain()
        for each in ended:
            say(OVER, each.attempt.call.log_fields)
        return ended

    @property
    def is_worn(self) -> bool:
        """As the executor within."""
        return self._inner.is_worn

    def close(self) -> None:
        """As the executor within."""
        self._inner.close()
