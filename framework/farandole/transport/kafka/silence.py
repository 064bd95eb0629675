"""Partitions of which nothing is heard although something has to come: whoever reads them tells the client once more.

Wherever reading begins, a record comes, and after the last one the end. After a broker had been away one home of four
was not fetched any more, for as long as anybody looked, while the others of the same consumer were [measured]: the
client told nothing. Waiting longer each time: a fetch that is only slow must not be begun anew for ever.
"""

from collections.abc import Iterable

from farandole.transport.port import TopicPartition

PATIENCE = 5.0
"""Seconds of silence before it is told once more, the first time: fetches are answered within 0.1 s."""

PATIENCE_MAX = 60.0


class Silence:
    """What is waited for, by partition: since when, and how long it may last."""

    def __init__(self) -> None:
        self._waiting: dict[TopicPartition, tuple[float, float]] = {}

    def expect(self, partitions: Iterable[TopicPartition], now: float) -> None:
        """Something has to come of these; what was waited for already is waited for since then."""
        for at in partitions:
            self._waiting.setdefault(at, (now, PATIENCE))

    def heard(self, at: TopicPartition, now: float) -> None:
        """A record: another one has to come, or the end."""
        self._waiting[at] = now, PATIENCE

    def ended(self, at: TopicPartition) -> None:
        """Its end was told, or it is not read any more: nothing has to come."""
        self._waiting.pop(at, None)

    def clear(self) -> None:
        """Nothing is read any more."""
        self._waiting.clear()

    def overdue(self, now: float) -> list[TopicPartition]:
        """Those that have been silent for too long; each is told once, until as long again has passed twice over."""
        found = [at for at, (since, patience) in self._waiting.items() if now - since >= patience]
        for at in found:
            self._waiting[at] = now, min(PATIENCE_MAX, 2 * self._waiting[at][1])
        return found
