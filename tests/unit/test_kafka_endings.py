"""How a transaction ended that is open in a partition still: what its coordinator tells, and of which it tells that."""

import pytest

from farandole.transport.kafka.endings import AHEAD_MS, Ending, ending_of
from farandole.transport.kafka.inspection import Described
from farandole.transport.port import TopicPartition

STARTED_MS = 1_800_000_000_000
EPOCH = 3


def told(state: str, epoch: int = EPOCH, started_ms: int = STARTED_MS) -> Described:
    """What a coordinator says of the last transaction of a writer."""
    return Described("ns.orders.0", state, 10_000, started_ms, 7, epoch, frozenset[TopicPartition]())


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        ("CompleteCommit", Ending.COMMITTED),
        ("CompleteAbort", Ending.ABORTED),
        ("Empty", Ending.UNKNOWN),
        ("Ongoing", Ending.UNKNOWN),
        ("PrepareCommit", Ending.UNKNOWN),
        ("PrepareAbort", Ending.UNKNOWN),
        ("PrepareEpochFence", Ending.UNKNOWN),
        ("Dead", Ending.UNKNOWN),
    ],
)
def test_only_a_complete_transaction_tells_how_the_open_one_ended(state: str, ending: Ending) -> None:
    assert ending_of(told(state), EPOCH, STARTED_MS + 5) is ending


@pytest.mark.parametrize(
    ("state", "ahead", "ending"),
    [
        ("CompleteCommit", -1, Ending.UNKNOWN),
        ("CompleteCommit", 1, Ending.UNKNOWN),
        ("CompleteAbort", 1, Ending.ABORTED),  # its time had passed: the broker fenced its producer
        ("CompleteAbort", 2, Ending.UNKNOWN),
        ("CompleteAbort", -1, Ending.UNKNOWN),
    ],
)
def test_a_coordinator_speaks_of_the_open_one_only_if_the_epochs_agree(state: str, ahead: int, ending: Ending) -> None:
    assert ending_of(told(state, EPOCH + ahead), EPOCH, STARTED_MS + 5) is ending


@pytest.mark.parametrize(
    ("since_start_ms", "ending"),
    [
        (60_000, Ending.COMMITTED),
        (0, Ending.COMMITTED),
        (-11, Ending.COMMITTED),  # a record is dated before its partition is made known, with which it begins
        (-AHEAD_MS, Ending.COMMITTED),
        (-AHEAD_MS - 1, Ending.UNKNOWN),
        (-60_000, Ending.UNKNOWN),
    ],
)
def test_a_record_from_before_the_last_transaction_is_of_another_of_which_nobody_tells(
    since_start_ms: int, ending: Ending
) -> None:
    """The writer has begun another transaction since, elsewhere, and with the same epoch."""
    assert ending_of(told("CompleteCommit"), EPOCH, STARTED_MS + since_start_ms) is ending


def test_nothing_is_told_without_both_instants() -> None:
    assert ending_of(told("CompleteCommit", started_ms=-1), EPOCH, STARTED_MS) is Ending.UNKNOWN
    assert ending_of(told("CompleteCommit", started_ms=-1), EPOCH, -1) is Ending.UNKNOWN
    assert ending_of(told("CompleteCommit"), EPOCH, -1) is Ending.UNKNOWN
