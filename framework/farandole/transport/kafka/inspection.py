"""What no Python client can ask a cluster: versions, the controller's clock, transactions under way.

Three requests of Kafka's protocol. Read only.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.types import (
    CompactArray,
    Int16,
    Int32,
    Int64,
    Schema,
)

from farandole.errors import TransportError
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.messages import TAGS, TEXT, UNSPOKEN, message
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import TopicPartition

CLIENT_ID = "farandole.doctor"

_QUORUM_TOPIC = "__cluster_metadata"
_ONGOING = ("Ongoing", "PrepareCommit", "PrepareAbort")


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that has not ended: since when by its coordinator's clock, and how long it may take."""

    transactional_id: str
    state: str
    started_ms: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """What the cluster told. `api_versions` is the highest version of each request; the clock is the controller's."""

    api_versions: Mapping[int, int] = field(default_factory=dict)
    clock_ms: int = 0
    asked_ms: int = 0
    """Ours, halfway through the question."""

    transactions: tuple[OpenTransaction, ...] = ()
    untold: tuple[str, ...] = ()
    """What was not told, and why: a missing right, an older broker."""


def inspect(settings: KafkaSettings, prefix: str) -> Inspected:
    """Ask all of it; transactions whose ids begin with `prefix`.

    Raises:
        TransportError: the cluster cannot be reached.
    """
    return ask(settings, CLIENT_ID, lambda client: _ask(client, prefix))


def ongoing(settings: KafkaSettings, prefix: str) -> list[OpenTransaction]:
    """Transactions that have not ended, of ids that begin with `prefix`, on all brokers.

    Raises:
        TransportError: the cluster cannot be reached, or does not tell.
    """
    return ask(settings, CLIENT_ID, lambda client: _ongoing(client, prefix))


async def _ongoing(client: AIOKafkaClient, prefix: str) -> list[OpenTransaction]:
    found: list[OpenTransaction] = []
    try:
        for each in client.cluster.brokers():
            found += await _transactions(client, each.nodeId, prefix)
    except UNSPOKEN as error:
        raise TransportError(f"transactions: {error}") from error
    return found


async def _ask(client: AIOKafkaClient, prefix: str) -> Inspected:
    nodes = [each.nodeId for each in client.cluster.brokers()]
    answer = await client.send(nodes[0], ApiVersionRequest())
    versions = {key: highest for key, _, highest in answer.api_versions}
    untold: list[str] = []
    clock_ms = asked_ms = 0
    try:
        clock_ms, asked_ms = await _clock(client, nodes[0])
    except (aio.KafkaError, *UNSPOKEN) as error:
        untold.append(f"the controller's clock: {error}")
    found: list[OpenTransaction] = []
    try:
        for node in nodes:
            found += await _transactions(client, node, prefix)
    except (aio.KafkaError, *UNSPOKEN) as error:
        untold.append(f"transactions: {error}")
    return Inspected(versions, clock_ms, asked_ms, tuple(found), tuple(untold))


async def _clock(client: AIOKafkaClient, node: int) -> tuple[int, int]:
    """The active controller tells its own instant as the last one at which it fetched from itself."""
    began = time.time()
    answer = await client.send(node, _DescribeQuorum([(_QUORUM_TOPIC, [(0, {})], {})]))
    asked_ms = round((began + time.time()) * 500)
    _check(answer.error_code)
    ((_, ((_, error, leader, _, _, voters, _, _),), _),) = answer.topics
    _check(error)
    return next(at for replica, _, at, _, _ in voters if replica == leader), asked_ms


@dataclass(frozen=True, slots=True)
class Described:
    """What a coordinator knows of a transactional id; `places` are the partitions of the transaction under way."""

    transactional_id: str
    state: str
    timeout_ms: int
    started_ms: int
    producer_id: int
    producer_epoch: int
    places: frozenset[TopicPartition]


async def described(client: AIOKafkaClient, producers: Sequence[int]) -> list[Described]:
    """The transactional ids that these producer ids serve, of those that we may see, on all brokers."""
    found: list[Described] = []
    for node in [each.nodeId for each in client.cluster.brokers()]:
        found += await _described(client, node, _ListTransactions([], list(producers)), "")
    return found


def is_under_way(it: Described, producer_epoch: int, at: TopicPartition) -> bool:
    """Whether its coordinator will end what a producer of this epoch has open in a partition."""
    return it.state in _ONGOING and it.producer_epoch == producer_epoch and at in it.places


async def _transactions(client: AIOKafkaClient, node: int, prefix: str) -> list[OpenTransaction]:
    return [
        OpenTransaction(each.transactional_id, each.state, each.started_ms, each.timeout_ms)
        for each in await _described(client, node, _ListTransactions(list(_ONGOING), []), prefix)
        if each.state in _ONGOING
    ]


async def _described(client: AIOKafkaClient, node: int, listing: Any, prefix: str) -> list[Described]:
    listed = await client.send(node, listing)
    _check(listed.error_code)
    ids = [name for name, _, _, _ in listed.transaction_states if name.startswith(prefix)]
    if not ids:
        return []
    answer = await client.send(node, _DescribeTransactions(ids))
    return [
        Described(name, state, timeout, started, producer, epoch, _places(topics))
        for error, name, state, timeout, started, producer, epoch, topics, _ in answer.transaction_states
        if error == 0
    ]


def _places(topics: Iterable[tuple[str, Sequence[int], object]]) -> frozenset[TopicPartition]:
    return frozenset(TopicPartition(name, number) for name, numbers, _ in topics for number in numbers)


def _check(error_code: int) -> None:
    if error_code:
        raise aio.for_code(error_code)()


_ListTransactions = message(
    "_ListTransactions",
    66,
    0,
    Schema(("state_filters", CompactArray(TEXT)), ("producer_id_filters", CompactArray(Int64)), TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("unknown_state_filters", CompactArray(TEXT)),
        (
            "transaction_states",
            CompactArray(("transactional_id", TEXT), ("producer_id", Int64), ("state", TEXT), TAGS),
        ),
        TAGS,
    ),
)


_DescribeTransactions = message(
    "_DescribeTransactions",
    65,
    0,
    Schema(("transactional_ids", CompactArray(TEXT)), TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "transaction_states",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", TEXT),
                ("state", TEXT),
                ("timeout_ms", Int32),
                ("start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                ("topics", CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)),
                TAGS,
            ),
        ),
        TAGS,
    ),
)


_REPLICAS = CompactArray(
    ("replica_id", Int32),
    ("log_end_offset", Int64),
    ("last_fetch_timestamp", Int64),
    ("last_caught_up_timestamp", Int64),
    TAGS,
)


_DescribeQuorum = message(
    "_DescribeQuorum",
    55,
    1,
    Schema(
        (
            "topics",
            CompactArray(("topic_name", TEXT), ("partitions", CompactArray(("partition_index", Int32), TAGS)), TAGS),
        ),
        TAGS,
    ),
    Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic_name", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", _REPLICAS),
                        ("observers", _REPLICAS),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
)
