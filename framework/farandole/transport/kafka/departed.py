"""Ends what members that are gone have left open in their group, when positions stay pending because of it (R7).

The last writer of a partition stands in its committed metadata. Who died in the very transaction that would
have been its first there (that of its epoch, after joining) stands nowhere: stable reads wait for the broker's
time-out then, 10 s and the interval at which the broker looks. So when positions stay pending, the cluster is asked
which transactions of the group are open, and those of nobody in the group are ended.

Blocking, for the reading helper's thread.
"""

import logging
import time
from collections.abc import Callable

from farandole.errors import TransportError
from farandole.transport.kafka.settings import KafkaSettings

log = logging.getLogger("farandole.transport")

PENDING_MAX = 0.5
"""How long positions may be pending before anybody asks why, seconds: a transaction takes 5 to 50 ms."""

LOOK_EVERY = 1.0
"""Least time between two looks, seconds."""

NOT_A_MEMBER = ".-start"
"""How the ids end under which `apply` commits start positions: those are of no member."""


class Departed:
    """Watches the stable reads of one member; `members` are the client ids of its group."""

    def __init__(
        self, settings: KafkaSettings, client_id: str, group: str, members: Callable[[], frozenset[str]]
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._group = group
        self._members = members
        self._since: float | None = None
        self._looked = 0.0

    def read(self, *, is_pending: bool) -> None:
        """Positions were read; what has kept them pending for too long is ended."""
        now = time.monotonic()
        if not is_pending:
            self._since = None
            return
        self._since = self._since or now
        if now - self._since < PENDING_MAX or now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            self._end()
        except TransportError as error:
            log.info("%s: what keeps positions pending was not found: %s", self._client_id, error)

    def _end(self) -> None:
        # aiokafka: nothing to import before there is trouble.
        from farandole.transport.kafka.inspection import ongoing
        from farandole.transport.kafka.succession import fence

        found = {each.transactional_id for each in ongoing(self._settings, f"{self._group}.")}
        # Members after transactions: who has begun one since then is in.
        gone = found - self._members() - {self._client_id}
        for each in sorted(name for name in gone if not name.endswith(NOT_A_MEMBER)):
            fence(self._settings, each)
            log.info("%s: ended a transaction that %s, which is gone, had left open", self._client_id, each)
