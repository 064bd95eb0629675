"""How long the client has been in a call that it promised to come back from, and what to do if it does not.

librdkafka forgets the time-out of `send_offsets_to_transaction` when the group's coordinator goes away
in the midst of it (librdkafka issue 5456, open; in 1 of 3 kills of an only broker [measured]): the call
never returns, and the process stood still for ever. So nobody waits for a call beyond its time: the thread that is in
it is given up with its producer, and how the transaction ended is in doubt, as it is after any time-out.
"""

import time
from types import TracebackType

from farandole.errors import TransportError

OVERDUE_S = 3.0
"""A call is given up so many seconds after its own time-out: late is not yet lost on a busy machine."""


class GivenUpError(TransportError):
    """The call came back after it was given up: whoever made it does nothing more."""


class CallWatch:
    """A context around each call of one thread; another thread asks how long it takes."""

    def __init__(self, patience: float) -> None:
        self._limit = patience + OVERDUE_S
        self._began: float | None = None
        self._is_given_up = False

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._began = None
        if self._is_given_up:
            raise GivenUpError("the client came back from a call that was given up. Nothing more is sent") from error

    @property
    def overdue(self) -> float:
        """For how many seconds the call under way has lasted, if that is too long; else 0."""
        began = self._began
        lasted = 0.0 if began is None else time.monotonic() - began
        return lasted if lasted > self._limit else 0.0

    def give_up(self) -> None:
        """Should the call ever come back, its thread stops there."""
        self._is_given_up = True
