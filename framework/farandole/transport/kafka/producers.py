"""What producers have open in partitions, as their leaders tell it (DescribeProducers, KIP-664). Read only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema
from aiokafka.structs import TopicPartition as Place

from farandole.errors import NotReady, TransportError
from farandole.transport.kafka.access import UNAUTHORIZED
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.messages import TAGS, TEXT, UNSPOKEN, message
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import TopicPartition

NAMED_MAX = 5
"""Partitions without a leader that are named: after a broker's start they are all of them."""


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction that is open in a partition from `start` on.

    `coordinator_epoch` is the one under which the partition took its last marker of this producer; -1: none yet.
    `last_ms` is the instant of the producer's last record in it: its writer's, or where positions are the broker's.
    """

    at: TopicPartition
    start: int
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    last_ms: int


async def open_in(
    client: AIOKafkaClient, leader: int, topics: Mapping[str, Sequence[int]]
) -> list[tuple[TopicPartition, int, list[Open]]]:
    """Of each partition of these topics that the broker leads: Kafka's error code (0: none), and what is open."""
    asked = [(name, list(numbers), {}) for name, numbers in topics.items()]  # type: ignore[var-annotated]
    answer = await client.send(leader, _DescribeProducers(asked))
    told = []
    for topic, partitions, _ in answer.topics:
        for number, error, _, producers, _ in partitions:
            at = TopicPartition(topic, number)
            found = [
                Open(at, start, producer, epoch, coordinator_epoch, last_ms)
                for producer, epoch, _, last_ms, coordinator_epoch, start, _ in producers
                if start >= 0
            ]
            told.append((at, error, found))
    return told


def leader_of(cluster: ClusterMetadata, at: TopicPartition) -> int | None:
    """The broker that leads a partition; None: nobody does, or it is not known."""
    leader: int | None = cluster.leader_for_partition(Place(at.topic, at.partition))
    return None if leader is None or leader < 0 else leader


def unled(partitions: Sequence[TopicPartition]) -> NotReady:
    """The error of a question that these partitions have nobody to answer."""
    return NotReady(
        f"expected a leader of each partition to ask, but there is none of {named(partitions)}; `farandole doctor` "
        "says more"
    )


def named(partitions: Sequence[TopicPartition]) -> str:
    """Some of them by name, and the number of the others."""
    more = f" and {len(partitions) - NAMED_MAX} more" if len(partitions) > NAMED_MAX else ""
    return ", ".join(f"{at.topic}/{at.partition}" for at in partitions[:NAMED_MAX]) + more


def unasked(settings: KafkaSettings, client_id: str, prefix: str, shared: str) -> tuple[list[TopicPartition], bool]:
    """Partitions that cannot be asked now, and whether `shared` may be asked at all. Blocking.

    Those without a leader, of topics that begin with `prefix` and of the topic `shared`, and what of that one its
    leader does not answer for. It is asked about where no metadata tells of it too: who may not see it is told of no
    such topic.

    Raises:
        TransportError: the cluster cannot be reached, or does not tell.
    """
    try:
        return ask(settings, client_id, lambda client: _unasked(client, prefix, shared))
    except UNSPOKEN as error:
        raise TransportError(f"producers: {error}") from error


async def _unasked(client: AIOKafkaClient, prefix: str, shared: str) -> tuple[list[TopicPartition], bool]:
    cluster = await client.fetch_all_metadata()
    missing: list[TopicPartition] = []
    asked: dict[int, list[int]] = {}
    topics = [each for each in cluster.topics(exclude_internal_topics=False) if each.startswith(prefix)]
    for at in (TopicPartition(each, n) for each in {*topics, shared} for n in cluster.partitions_for_topic(each) or ()):
        leader = leader_of(cluster, at)
        if leader is None:
            missing.append(at)
        elif at.topic == shared:
            asked.setdefault(leader, []).append(at.partition)
    if is_untold := not cluster.partitions_for_topic(shared):
        asked = {each.nodeId: [0] for each in list(cluster.brokers())[:1]}
    for broker, numbers in asked.items():
        for at, error, _ in await open_in(client, broker, {shared: numbers}):
            if error in UNAUTHORIZED:  # the same for each partition
                return sorted(each for each in missing if each.topic != shared), False
            if error and not is_untold:
                missing.append(at)
    return sorted(missing), True


_DescribeProducers = message(
    "_DescribeProducers",
    61,
    0,
    Schema(("topics", CompactArray(("name", TEXT), ("partition_indexes", CompactArray(Int32)), TAGS)), TAGS),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32),
                        ("error_code", Int16),
                        ("error_message", TEXT),
                        (
                            "active_producers",
                            CompactArray(
                                ("producer_id", Int64),
                                ("producer_epoch", Int32),
                                ("last_sequence", Int32),
                                ("last_timestamp", Int64),
                                ("coordinator_epoch", Int32),
                                ("current_txn_start_offset", Int64),
                                TAGS,
                            ),
                        ),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
)
