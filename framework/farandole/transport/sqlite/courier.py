"""A thread that writes plain records: many callers, one transaction for all that has come meanwhile.

What it cannot write it says to whoever sent it, each record for itself.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

from farandole.errors import FarandoleError, FatalTransportError, TransportError
from farandole.transport.memory.refusals import Refusal
from farandole.transport.port import NewRecord
from farandole.transport.sqlite.batches import body_of
from farandole.transport.sqlite.catalog import Catalog
from farandole.transport.sqlite.file import File
from farandole.transport.sqlite.shared import Shared
from farandole.transport.sqlite.transactions import Rows, append

BATCH_MAX = 1_000
"""Records of one transaction: 5 ms of the write lock."""

QUEUE_MAX = 50_000
"""Records that may wait: some seconds' worth."""

Placed = tuple[int, int]
Done = Callable[[Placed | TransportError], None]
"""Called in the courier's thread: partition and offset, or why not."""


class Parcel(NamedTuple):
    """A record on its way."""

    record: NewRecord
    done: Done


class Courier:
    """Takes records from any thread. `linger_s`: how long it waits for more before it writes."""

    def __init__(self, shared: Shared, name: str, linger_s: float = 0.0) -> None:
        self._shared = shared
        self._name = name
        self._linger_s = linger_s
        self._waiting: list[Parcel] = []
        self._changed = threading.Condition()
        self._hurries = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._catalog = Catalog()

    def send(self, record: NewRecord, done: Done) -> None:
        """Take a record.

        Raises:
            TransportError: it was closed, or too many wait.
        """
        with self._changed:
            if self._closed:
                raise TransportError(f"{self._name}: expected to be open, but it was closed. Nothing was sent")
            if len(self._waiting) >= QUEUE_MAX:
                raise TransportError(
                    f"{self._name}: expected at most {QUEUE_MAX} records to wait. This one was dropped"
                )
            self._waiting.append(Parcel(record, done))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"{self._name}.courier", daemon=True)
                self._thread.start()
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def hurry(self) -> None:
        """Wait for no more; go now."""
        with self._changed:
            self._hurries = True
            self._changed.notify_all()

    def close(self) -> None:
        """Write what waits, then end; doing it twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        file: File | None = None
        try:
            while parcels := self._take():
                outcomes: dict[int, Placed | TransportError] = {}
                failed = TransportError(f"{self._name}: expected an outcome of a record, but there is none")
                try:
                    file = file or self._shared.open()
                    self._deliver(file, parcels, outcomes)
                except Exception as error:  # whatever it is, somebody waits for each of these, and for what comes later
                    failed = _failed(error, len(parcels) - len(outcomes))
                for n, each in enumerate(parcels):
                    each.done(outcomes.get(n, failed))
        finally:
            if file is not None:
                file.close()
                self._shared.part_closed()

    def _take(self) -> list[Parcel]:
        """What waits, as soon as it is to be written; nothing when it is time to end."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._linger_s and not self._hurries and not self._closed:
                self._changed.wait_for(lambda: self._hurries or self._closed, self._linger_s)
            parcels, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            self._hurries = self._hurries and bool(self._waiting)
            return parcels

    def _deliver(self, file: File, parcels: list[Parcel], outcomes: dict[int, Placed | TransportError]) -> None:
        """Write a batch; what became of each parcel, by its place in the batch, as far as it is known."""
        with file.reading as db:
            self._catalog.refresh(db)
        groups: dict[int, list[int]] = {}
        for n, each in enumerate(parcels):
            try:
                groups.setdefault(self._catalog.place(each.record), []).append(n)
            except Refusal as refusal:
                outcomes[n] = TransportError(f"{refusal}. It was refused, nothing was written")
        if not groups:
            return
        rows = [Rows(at, len(group), body_of([parcels[n].record for n in group])) for at, group in groups.items()]
        with file.writing as db:
            bases = append(db, rows, markers=0)
        file.require_in_place()  # after the commit: one to a file that nobody opens any more is no acknowledgement
        names = self._catalog.by_number()
        for at, group in groups.items():
            outcomes |= {n: (names[at].partition, bases[at] + i) for i, n in enumerate(group)}
        self._shared.bells.ring()


def _failed(error: Exception, count: int) -> TransportError:
    why = error if isinstance(error, FarandoleError) else f"{type(error).__name__}: {error}"
    kind = FatalTransportError if isinstance(error, FatalTransportError) else TransportError
    return kind(f"{why}. Of {count} records none is known to be written")
