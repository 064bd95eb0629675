"""Which partition a record goes to: the one it names, else its key's by murmur2, else any.

librdkafka's `murmur2_random` places keys alike; computing it here lets a transaction know its
partitions before it is sent, and serves aiokafka too.
"""

import random

from farandole.transport.port import NewRecord

ANY = -1
"""librdkafka's word for: place it yourself (`murmur2_random`)."""


class Placing:
    """Places records for confluent-kafka: its own partitioner is ours."""

    def partition(self, record: NewRecord) -> int:
        """The partition to hand to `produce`."""
        return ANY if record.partition is None else record.partition


def drawn(partitions: int) -> int:
    """A partition for a record without key."""
    return random.randrange(partitions)
