"""How a member comes into its group, and stays in it once: whoever else is in it under its name is taken out.

A join waits for every member that the broker knows. A predecessor that died is known until its session is over; and a
member that could not reach the broker for a session joins as somebody new, while the broker, which has started anew
meanwhile, may keep the old one for as long as a rebalance may last: 5 min of standing still after 1 of 8 kills of an
only broker [measured], with Kafka 4.3.1. Both are told to leave.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from farandole.errors import TransportError
from farandole.transport.kafka.errors import CLIENT_ERRORS
from farandole.transport.kafka.settings import KafkaSettings

log = logging.getLogger("farandole.transport")

ARRIVAL_MAX = 3.0
"""Longest that joining waits for a look at the group, seconds: 10 to 50 ms are usual."""

LOOKS_AFTER = (1.0, 3.0, 6.0, 10.0, 15.0, 25.0, 40.0, 60.0)
"""When the group is looked at after the last sign of an outage, seconds: a session is over by then, and a broker up."""

Submit = Callable[[Callable[[], None]], None]
Members = Callable[[], Sequence[tuple[str, str]]]
"""Client id and member id of each member of the group."""


class Arrival:
    """Joining waits for the predecessor to be out of the group, and not for long."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.is_awaited = True
        """Once it is not, the member may be in the group itself, and nobody is taken out any more."""

        self._until = time.monotonic() + ARRIVAL_MAX

    def is_over(self, timeout: float) -> bool:
        """Whether to join now, waiting at most so many seconds for it."""
        late = time.monotonic() >= self._until
        over = self.done.wait(0 if late else max(0.0, timeout)) or late
        self.is_awaited = not over
        return over


class Namesakes:
    """Who else is in the group under our client id. `members` blocks, and is asked on a helper thread only."""

    def __init__(self, settings: KafkaSettings, client_id: str, group: str, members: Members) -> None:
        self._settings = settings
        self._client_id = client_id
        self._group = group
        self._members = members
        self._looks: deque[float] = deque()
        self._found: Sequence[str] = ()

    def succeed(self, arrival: Arrival) -> None:
        """Take a predecessor out, before we are in ourselves. Blocks."""
        try:
            old = self._ids()
            if old and arrival.is_awaited:
                self._leave(old)
                log.info("%s: took its predecessor out of %s", self._client_id, self._group)
        except (TransportError, *CLIENT_ERRORS) as error:
            log.info(
                "%s: a predecessor would stay in %s until its session is over: %s", self._client_id, self._group, error
            )
        finally:
            arrival.done.set()

    def disturbed(self) -> None:
        """The broker is not reached: who we are in the group is looked at for a while after that."""
        now = time.monotonic()
        self._looks = deque(now + after for after in LOOKS_AFTER)

    def step(self, own: Callable[[], str | None], submit: Submit) -> None:
        """Look when it is time; `own` tells our member id now. For the loop's thread: nothing here blocks."""
        if self._found:
            found, self._found = self._found, ()
            ours = own()  # asked after the look: what joined since then is not in it
            others = [each for each in found if each != ours]
            if ours and others:
                submit(partial(self._take_out, others))
        now = time.monotonic()
        if self._looks and self._looks[0] <= now:
            while self._looks and self._looks[0] <= now:
                self._looks.popleft()
            submit(self._look)

    # --- on a helper thread ---------------------------------------------------------------

    def _look(self) -> None:
        try:
            found = self._ids()
        except (TransportError, *CLIENT_ERRORS):
            return  # the next look may find it
        if len(found) > 1:
            self._found = found

    def _take_out(self, others: list[str]) -> None:
        try:
            self._leave(others)
            log.info("%s: was in %s %d times, and is once now", self._client_id, self._group, len(others) + 1)
        except (TransportError, *CLIENT_ERRORS) as error:
            log.info("%s: stays in %s several times for a while: %s", self._client_id, self._group, error)

    def _ids(self) -> list[str]:
        return [member for client, member in self._members() if client == self._client_id]

    def _leave(self, members: list[str]) -> None:
        from farandole.transport.kafka.succession import leave  # aiokafka, which nothing else needs here

        leave(self._settings, self._group, members)
