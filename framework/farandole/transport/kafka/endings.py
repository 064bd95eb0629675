"""How a transaction ended that is open in a partition still, as far as its coordinator tells. Pure.

A coordinator tells the state and the start of the last transaction of a transactional id, and of no earlier one
(DescribeTransactions, KIP-664). Whether that is the one which is open in a partition is told by two things:

- Its epoch. A producer has one as long as it lives; initialised once more, it has the next. A coordinator that rolls
  back what has run out, or whom somebody takes over from, goes one epoch ahead [Kafka 4.3.1: 0 in the partition, 1 in
  `CompleteAbort`]. A commit does not, with the clients that we use; of one that changes its epoch with every
  transaction (KIP-890) a commit stays unknown, which is the safe side.
- Its time. The last record that the producer wrote to the partition is not from before the transaction began.

A producer that was initialised since has the state `Empty`: nobody can tell any more.
"""

from enum import Enum

from farandole.transport.kafka.inspection import Described

AHEAD_MS = 1_000
"""By so much a record may be older than its own transaction. It has its writer's instant, of when it was handed to the
client; the partition is made known to the coordinator after that, with which the transaction begins [1 to 11 ms before
in 5 transactions of 5: Kafka 4.3.1, librdkafka 2.16]. What was forgotten before the last transaction is older by the
outage in which it was: no broker starts within a second. So clocks may differ by as much as an outage is longer, which
is 1 to 10 s; a writer's clock that is behind by a second makes an outcome unknown."""


class Ending(Enum):
    """How its coordinator has ended it."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


def ending_of(it: Described, producer_epoch: int, last_ms: int) -> Ending:
    """How the one ended that a producer of this epoch has open where its last record is of this instant (-1: none)."""
    if it.started_ms < 0 or last_ms < it.started_ms - AHEAD_MS:
        return Ending.UNKNOWN
    ahead = it.producer_epoch - producer_epoch
    match it.state:
        case "CompleteCommit" if ahead == 0:
            return Ending.COMMITTED
        case "CompleteAbort" if ahead in (0, 1):
            return Ending.ABORTED
        case _:
            return Ending.UNKNOWN
