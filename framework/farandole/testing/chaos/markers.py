"""A person who does what `doctor` says about transactions that nobody ends any more: `farandole transactions end`.

What nobody can tell the outcome of is aborted: where it had been committed, the checker will find it torn.
"""

import contextlib
import threading
from collections.abc import Iterator

from aiokafka import errors as aio

from farandole.errors import TransportError
from farandole.transport.kafka.forgotten import Forgotten, forgotten
from farandole.transport.kafka.markers import Answer, end
from farandole.transport.kafka.settings import KafkaSettings

LOOK_S = 15.0
"""Between two looks of a person who is called when a home is not served for 30 s."""


class Janitor:
    """Looks again and again, and ends what nobody ends any more, until it is closed.

    `committed` and `aborted` count them.
    """

    def __init__(self, settings: KafkaSettings, prefix: str) -> None:
        self.committed = self.aborted = 0
        self._settings, self._prefix = settings, prefix
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="janitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Go home."""
        self._is_over.set()
        self._thread.join()

    @property
    def notes(self) -> list[str]:
        """What it did, in words; nothing if there was nothing to do."""
        count, how = self.committed + self.aborted, f"{self.committed} committed, {self.aborted} aborted"
        return [f"{count} transactions that a broker had forgotten were ended by hand: {how}"] if count else []

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK_S):
            with contextlib.suppress(TransportError, aio.KafkaError):  # the log is away: the next look is soon
                for _, answer in end_forgotten(self._settings, self._prefix):
                    self.committed += answer is Answer.COMMITTED
                    self.aborted += answer is Answer.ABORTED


def end_forgotten(settings: KafkaSettings, prefix: str) -> Iterator[tuple[Forgotten, Answer]]:
    """End each, in the partition in which it is open; what was done, one after the other."""
    for each in forgotten(settings, prefix):
        yield each, end(settings, each, abort_unknown=True)
