"""Values in a registry's frame, and records that wait: the registry is away, or their partition is paused."""

import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import structs

from farandole.errors import RecordError, RegistryError, TransportError
from farandole.transport.port import NewRecord, Polled, Record, TopicPartition, Trouble

ASK_S = 2.0
"""Of one poll or commit, after which no more is asked of a registry, whether it answers or not: well below any session.
"""


class Framing(Protocol):
    """Exchanges frames; thread-safe, and may block when it meets a schema for the first time."""

    def meet(self, values: Iterable[bytes]) -> None:
        """Look for the schemas of values that are to go out, at once: `outbound` looks for that of each.

        Raises:
            TransportError: the log cannot be reached.
        """
        ...

    def outbound(self, framed: bytes) -> bytes:
        """A value as it stands on the topics.

        Raises:
            TransportError: the registry cannot be reached.
            RecordError: it does not know the schema.
        """
        ...

    def inbound(self, value: bytes) -> bytes:
        """A value as everybody inside sees it; errors as `outbound`."""
        ...


def outbound(record: NewRecord, framing: Framing) -> NewRecord:
    """A record as it stands on the topics.

    Raises:
        TransportError: the registry cannot be reached.
    """
    if not record.value:
        return record
    try:
        return structs.replace(record, value=framing.outbound(record.value))
    except RecordError:
        return record


def outbound_all(records: Sequence[NewRecord], framing: Framing) -> list[NewRecord]:
    """Records that are written together, as they stand on the topics.

    Raises:
        TransportError: the registry cannot be reached, or takes long. What it has told by then is known the next time.
    """
    framing.meet(each.value for each in records if each.value)
    until, out = time.monotonic() + ASK_S, list[NewRecord]()
    for each in records:
        if time.monotonic() >= until:
            raise RegistryError(
                f"registry: expected the ids of schemas within {ASK_S:g} s, but {len(records) - len(out)} of "
                f"{len(records)} records still wait for theirs. Nothing was written; it is asked for the rest next"
            )
        out.append(outbound(each, framing))
    return out


def inbound(record: Record, framing: Framing) -> Record:
    """A record as everybody inside sees it; errors as `outbound`."""
    if not record.value:
        return record
    try:
        value = framing.inbound(record.value)
    except RecordError:
        return record
    return record if value is record.value else structs.replace(record, value=value)


class Waiting:
    """What was polled and is not told yet, because the registry was away or its partition is paused."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._held: list[Polled] = []
        self.paused: set[TopicPartition] = set()
        self.stuck: set[TopicPartition | None] = set()
        """Partitions whose next record the registry did not answer for, as of the last `tell`."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def is_ready(self) -> bool:
        """Whether something may be told without asking the log."""
        return any(each.at not in self.paused and each.at not in self.stuck for each in self._held)

    def has(self, at: TopicPartition) -> bool:
        """Whether something of a partition waits."""
        return any(each.at == at for each in self._held)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self.stuck.clear()

    def take(self, polled: Sequence[Polled]) -> None:
        """Put what was polled at the end."""
        self._held.extend(polled)

    def drop(self, places: Sequence[TopicPartition]) -> None:
        """Forget what came from these: it is stale."""
        self._held = [each for each in self._held if each.at not in places]
        self.stuck.difference_update(places)

    def tell(self) -> list[Polled]:
        """What can be told now, in order within each partition; the last is a trouble if the registry is away.

        A partition whose record waits holds up no other: those that wait come last the next time.
        """
        out: list[Polled] = []
        kept: list[Polled] = []
        self.stuck &= self.paused
        trouble: Trouble | None = None
        until = time.monotonic() + ASK_S
        for each in self._held:
            if each.at in self.paused or each.at in self.stuck or time.monotonic() >= until:
                kept.append(each)
                continue
            try:
                out.append(inbound(each, self._framing) if isinstance(each, Record) else each)
            except TransportError as error:
                self.stuck.add(each.at)
                kept.append(each)
                trouble = trouble or Trouble("unreachable", str(error))
        self._held = sorted(kept, key=lambda each: each.at in self.stuck)
        return out if trouble is None else [*out, trouble]
