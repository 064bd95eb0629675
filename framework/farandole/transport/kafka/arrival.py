"""How a member comes into its group, and stays in it once: whoever else is in it under its name is taken out.

A join waits for every member that the broker knows. A predecessor that died is known until its session is over; and a
member that could not reach the broker for a session joins as somebody new, while the broker, which has started anew
meanwhile, has the old one on its disk. Both are told to leave.

A broker that starts (Kafka 4.3.1) may load a group twice, and forget who joined between. It waits for the old member,
and the client for an answer to its join, as long as a rebalance may last: 5 min after 1 of 8 kills of an only broker
[measured, with the broker's log]. Such a join is made anew, by another client. Where both loads run into each other the
broker tells of members whom it does not know, and waits for others until a rebalance has lasted its time (0112).
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from farandole.errors import TransportError
from farandole.transport.kafka.errors import CLIENT_ERRORS
from farandole.transport.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from farandole.transport.kafka.membership import Members

log = logging.getLogger("farandole.transport")

ARRIVAL_MAX = 3.0
"""Longest that joining waits for a look at the group, seconds: 10 to 50 ms are usual."""

LOOKS_AFTER = (1.0, 3.0, 6.0, 10.0, 15.0, 25.0, 40.0, 60.0)
"""When the group is looked at after the last sign of an outage, seconds: a session is over by then, and a broker up."""

LOOK_EVERY = 60.0
"""Seconds between two looks without any sign: a coordinator that is cut off answers as ever, and serves no longer."""

LOOK_AGAIN = 10.0
"""Seconds between two looks after that, for as long as the member is not in its group."""

LOST_LOOKS, LOST_AFTER = 3, 12.0
"""A join is lost of which so many looks in a row see nothing, so many seconds after the last sign of an outage."""

OUT_MAX = 30.0
"""Or if so many seconds after the last sign it has led to nothing, whatever is seen: a rebalance takes a session."""

TIMES_MAX = 8
"""Each join that is lost in a row makes both twice as long, up to so many times: a broker may be long about it."""

Submit = Callable[[Callable[[], None]], None]
Look = Callable[[str], "Members"]
"""Who is in a group; blocks."""


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
    """Who else is in the group under our client id. `look` is asked on a helper thread only."""

    def __init__(self, settings: KafkaSettings, client_id: str, group: str, look: Look) -> None:
        self.bootstrap = ""
        """The brokers that agreed at the last look on who coordinates the group."""

        self._settings = settings
        self._client_id = client_id
        self._group = group
        self._ask = look
        self._looks: deque[float] = deque()
        self._sign: float | None = None
        """When the last sign of an outage came."""

        self._looked = time.monotonic()
        self._is_looking = False
        """A look takes as long as our patience where packets are dropped, and others wait for the same helper."""

        self._found: Sequence[str] | None = None
        """What the last look saw, until it is looked at."""

        self._missing = 0
        """Looks in a row that did not see us."""

        self._times = 1

    def succeed(self, arrival: Arrival) -> None:
        """Take a predecessor out, before we are in ourselves. Blocks."""
        try:
            old = self._ids()
            if old and arrival.is_awaited and self._leave(old):
                log.info("%s: took its predecessor out of %s", self._client_id, self._group)
        except (TransportError, *CLIENT_ERRORS) as error:
            log.info(
                "%s: a predecessor would stay in %s until its session is over: %s", self._client_id, self._group, error
            )
        finally:
            arrival.done.set()

    def disturbed(self) -> None:
        """The broker is not reached: who we are in the group is looked at for a while after that."""
        self._sign = now = time.monotonic()
        self._looks = deque(now + after for after in LOOKS_AFTER)
        self._missing = 0

    def suspected(self) -> None:
        """Something else went wrong: as `disturbed`, unless that is looked into already. It may happen all the time."""
        if not self._missing and (self._sign is None or time.monotonic() - self._sign > LOOKS_AFTER[-1]):
            self.disturbed()

    def step(self, own: Callable[[], str | None], submit: Submit, *, is_in: bool = True) -> bool:
        """Look when it is time; `own` tells our member id now, `is_in` whether we have been given our share.

        For the loop's thread: nothing here blocks. Whether our join is lost, so that it has to be made anew.
        """
        now, is_lost = time.monotonic(), False
        if self._found is not None:
            found, self._found = self._found, None
            ours = own()  # asked after the look: what joined since then is not in it
            others = [each for each in found if each != ours]
            if ours and others:
                submit(partial(self._take_out, others))
            is_lost = self._is_lost(now, is_seen=ours in found, is_in=is_in)
        if not self._looks:
            again = LOOK_EVERY if is_in or self._sign is None else LOOK_AGAIN
            self._looks.append(max(now, self._looked + again))
        if self._looks[0] <= now and not self._is_looking:
            while self._looks and self._looks[0] <= now:
                self._looks.popleft()
            self._looked, self._is_looking = now, True
            submit(self._look)
        return is_lost

    def _is_lost(self, now: float, *, is_seen: bool, is_in: bool) -> bool:
        """Judge by one look more; the first that does not see us, long after any sign, is one itself."""
        if not is_seen:
            self.suspected()
        self._missing = 0 if is_seen else self._missing + 1
        if self._sign is None:
            return False
        since = (now - self._sign) / self._times
        is_lost = (self._missing >= LOST_LOOKS and since >= LOST_AFTER) or (not is_in and since >= OUT_MAX)
        self._times = min(TIMES_MAX, 2 * self._times) if is_lost else 1 if is_in else self._times
        return is_lost

    # --- on a helper thread ---------------------------------------------------------------

    def _look(self) -> None:
        try:
            with contextlib.suppress(TransportError, *CLIENT_ERRORS):  # the next look may be answered
                self._found = self._ids()
        finally:
            self._is_looking = False

    def _take_out(self, others: list[str]) -> None:
        try:
            left = self._leave(others)
            what = "took what was left of itself out of" if left else "is told of members of its name who are not in"
            log.info("%s: %s %s", self._client_id, what, self._group)
        except (TransportError, *CLIENT_ERRORS) as error:
            log.info("%s: something of it stays in %s for a while: %s", self._client_id, self._group, error)

    def _ids(self) -> list[str]:
        members = self._ask(self._group)
        self.bootstrap = members.bootstrap
        return [member for client, member in members.ids if client == self._client_id]

    def _leave(self, members: list[str]) -> list[str]:
        from farandole.transport.kafka.succession import leave  # aiokafka, which nothing else needs here

        return leave(self._settings, self._group, members)
