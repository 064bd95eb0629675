"""From records that know nothing of partitions to records that can be written.

Whatever belongs to a run's home gets its partition here, explicitly: a key such as
`run#chunk` would hash elsewhere (DESIGN section 4). All else is placed by its key.
"""

from collections.abc import Iterable
from functools import lru_cache

from farandole.events.outgoing import Outgoing
from farandole.ids import partition_of
from farandole.transport.port import NewRecord


@lru_cache(maxsize=16_384)
def home_of(run: str, home_partitions: int) -> int:
    """Home partition of a run; remembered, because a run has many records."""
    return partition_of(run, home_partitions)


def new_record(it: Outgoing, home_partitions: int) -> NewRecord:
    """One record, on the home partition of its run if it has one."""
    partition = None if it.home is None else home_of(it.home, home_partitions)
    return NewRecord(it.topic, it.key.encode(), it.value, it.headers, partition)


def new_records(outgoing: Iterable[Outgoing], home_partitions: int) -> list[NewRecord]:
    """Several, in order."""
    return [new_record(each, home_partitions) for each in outgoing]


def size_of(it: NewRecord) -> int:
    """Bytes that a record takes on the log, headers included, framing not."""
    return len(it.key or b"") + len(it.value or b"") + sum([len(name) + len(value) for name, value in it.headers])
