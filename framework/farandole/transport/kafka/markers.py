"""Ending in its partition what nobody ends any more (`forgotten`), as its coordinator ended it (KIP-664).

Kafka's own tool, `kafka-transactions.sh abort`, can only abort. The request behind it can say that a transaction was
committed: aborted, one that was committed elsewhere is torn, and what it wrote here is lost.
"""

from enum import Enum
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka.access import refusal
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import Forgotten, left_by, looked_again
from farandole.transport.kafka.messages import TAGS, TEXT, UNSPOKEN, message
from farandole.transport.kafka.producers import leader_of, unled
from farandole.transport.kafka.settings import KafkaSettings

CLIENT_ID = "farandole.operator"


class Answer(Enum):
    """What was done about a forgotten transaction."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    LEFT = "left"
    """Nobody can tell how it ended, and we are not to abort it."""

    CHANGED = "changed"
    """What its coordinator tells is not what it told before: nothing was done."""

    OVER = "over"
    """It has ended there, or its writer goes on with it: nothing was done."""

    @property
    def is_done(self) -> bool:
        """Whether a marker was written."""
        return self in (Answer.COMMITTED, Answer.ABORTED)

    @property
    def is_left(self) -> bool:
        """Whether it stands there as before."""
        return self in (Answer.LEFT, Answer.CHANGED)


def end(settings: KafkaSettings, it: Forgotten, *, abort_unknown: bool) -> Answer:
    """End one where it is open, unless another look at it and then at its coordinator finds it otherwise. Blocking.

    Not safe against a writer that begins a transaction in that partition in the milliseconds between that look and
    the marker, which ends what it has written so far: ours begin to write only where nothing of theirs is forgotten.

    Raises:
        AccessDenied: we may not (`ClusterAction` on the cluster), or may not look.
        TransportError: the cluster cannot be reached or is too old, or the partition refuses the marker.
    """
    if it.ending is Ending.UNKNOWN and not abort_unknown:
        return Answer.LEFT
    return _ended(settings, it, Ending.ABORTED)


def end_own(
    settings: KafkaSettings, transactional_id: str, *, is_committed: bool = False, is_patient: bool = True
) -> list[tuple[Forgotten, Answer]]:
    """End what a writer has left open, before it is initialised: nobody could tell how it had ended after. Blocking.

    `is_committed`: the writer knows that all it has ended since it was initialised was committed, so that what its last
    epoch has open was too, if the coordinator says so of its last. Else what nobody can tell of stays. `is_patient`: as
    for `left_by`. Returns what was done about each.

    Raises:
        AccessDenied: it is known how they ended, and we may not say so (`ClusterAction`), or may not look.
        TransportError: the cluster cannot be reached or is too old, or a partition refuses the marker.
    """
    left = left_by(settings, transactional_id, is_patient=is_patient)
    return [(it, _ended(settings, it, _known(it) if is_committed else Ending.UNKNOWN)) for it in left]


def _known(it: Forgotten) -> Ending:
    """How one ended of a writer that has committed whatever it ended with this epoch."""
    is_sure = it.is_of_last_epoch and it.state == "CompleteCommit"
    return Ending.COMMITTED if is_sure else Ending.UNKNOWN


def _ended(settings: KafkaSettings, it: Forgotten, unknown: Ending) -> Answer:
    """`unknown`: what is taken for the end of one of which nobody can tell it."""
    if (it.ending if it.ending is not Ending.UNKNOWN else unknown) is Ending.UNKNOWN:
        return Answer.LEFT
    try:
        return ask(settings, CLIENT_ID, lambda client: _end(client, it, unknown))
    except UNSPOKEN as error:
        raise TransportError(f"{_about(it)}: {error}") from error


async def _end(client: AIOKafkaClient, it: Forgotten, unknown: Ending) -> Answer:
    now = await looked_again(client, it)
    if now is None:
        return Answer.OVER
    if now.ending is not it.ending:
        return Answer.CHANGED
    is_commit = (now.ending if now.ending is not Ending.UNKNOWN else unknown) is Ending.COMMITTED
    await write_marker(client, now, is_commit=is_commit)
    return Answer.COMMITTED if is_commit else Answer.ABORTED


async def write_marker(client: AIOKafkaClient, it: Forgotten, *, is_commit: bool) -> None:
    """Have the leader of its partition end it there, whatever it is: `end` looks first.

    Raises:
        AccessDenied: we may not.
        TransportError: the partition has no leader, or refuses.
    """
    leader = leader_of(await client.fetch_all_metadata(), it.at)
    if leader is None:
        raise unled([it.at])
    answer = await client.send(leader, _WriteTxnMarkers([_marker(it, is_commit)]))
    for _, topics, _ in answer.markers:
        for _, partitions, _ in topics:
            for _, error, _ in partitions:
                if error:
                    raise refusal(KafkaError(error), _about(it))


def _marker(it: Forgotten, is_commit: bool) -> tuple[Any, ...]:
    """As the request has it."""
    topics: list[Any] = [(it.at.topic, [it.at.partition], {})]
    return it.producer_id, it.producer_epoch, is_commit, topics, max(0, it.coordinator_epoch), {}


def _about(it: Forgotten) -> str:
    return f"the end of the transaction of {it.transactional_id} in {it.at.topic}/{it.at.partition}"


_WriteTxnMarkers = message(
    "_WriteTxnMarkers",
    27,
    1,
    Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("transaction_result", Boolean),
                ("topics", CompactArray(("name", TEXT), ("partition_indexes", CompactArray(Int32)), TAGS)),
                ("coordinator_epoch", Int32),
                TAGS,
            ),
        ),
        TAGS,
    ),
    Schema(
        (
            "markers",
            CompactArray(
                ("producer_id", Int64),
                (
                    "topics",
                    CompactArray(
                        ("name", TEXT),
                        ("partitions", CompactArray(("partition_index", Int32), ("error_code", Int16), TAGS)),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
)
