"""Transactions that have ended for their coordinator and are open in a partition: nobody ends them any more (KIP-664).

A broker that starts after a crash rolls back what it finds unfinished, and finishes what was being committed. For
partitions that have no leader at that moment, as those of an only broker have none for a second, it takes it that
they were deleted, and leaves their marker out [Kafka 4.3.1: "Couldn't find leader endpoint for partitions ... likely
deleted already and hence can be skipped"; in 2 of 4 kills, which the next moment mostly put right]. Readers of
committed records stand before such a transaction for ever. Only a person can say how it ends: aborted, it is torn if
its other partitions have it committed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema
from aiokafka.structs import TopicPartition as Place
from confluent_kafka import KafkaError

from farandole.errors import NotReady, TransportError
from farandole.transport.kafka.access import UNAUTHORIZED, unauthorized
from farandole.transport.kafka.asking import ask, ask_patiently
from farandole.transport.kafka.ends import RETRY_S
from farandole.transport.kafka.inspection import CLIENT_ID, Described, described, is_under_way
from farandole.transport.kafka.messages import TAGS, TEXT, UNSPOKEN, message
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.port import TopicPartition

CERTAIN_S = 1.0
"""Seconds between the two looks of which both must find it: a transaction that ends meanwhile is none of them."""

OFFSETS = "__consumer_offsets"

NAMED_MAX = 5
"""Partitions without a leader that an error names: after a broker's start they are all of them."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A transaction of ours that is open in a partition from `start` on, and what its coordinator says of its writer.

    `coordinator_epoch` is the one under which the partition took its last marker of this producer; -1: none yet.
    """

    at: TopicPartition
    start: int
    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int


def forgotten(settings: KafkaSettings, prefix: str) -> list[Forgotten]:
    """Those in partitions of topics that begin with `prefix`, and in groups' positions, where we may look. Blocking.

    Only writers whose transactional ids we may see: another's may be under way without our being told. Partitions
    without a leader are passed over: what there is in the others is to be told all the same.

    Raises:
        AccessDenied: we may not look at one of the topics.
        TransportError: the cluster cannot be reached, or does not tell.
    """
    try:
        return ask(settings, CLIENT_ID, lambda client: _certainly(client, prefix, is_whole=True))
    except UNSPOKEN as error:
        raise TransportError(f"producers: {error}") from error


def left_by(settings: KafkaSettings, transactional_id: str) -> list[TopicPartition]:
    """Where such transactions of one writer are open, in its namespace and as far as we may look, in order. Blocking.

    Asked until each partition has answered: of a topic that was just made not every broker knows the leader yet, and
    a partition without one may be what its broker has left the marker out of a moment ago.

    Raises:
        TransportError: the cluster cannot be reached or is too old, or there was no answer; with what was missing.
    """
    namespace, unit, *_ = f"{transactional_id}.".split(".")
    prefix, missing = f"{namespace}.", ""

    async def asked(client: AIOKafkaClient) -> list[Forgotten]:
        nonlocal missing
        while True:
            try:
                return await _certainly(client, prefix, is_whole=False, group=prefix + unit)
            except (TransportError, aio.KafkaError, OSError) as error:
                missing = f": {error}"
                await asyncio.sleep(RETRY_S)

    try:
        found = ask_patiently(settings, CLIENT_ID, f"producers of {prefix}*", asked)
    except TransportError as error:
        raise TransportError(f"{error}{missing}") from error
    return sorted({each.at for each in found if each.transactional_id == transactional_id})


async def open_in_positions(client: AIOKafkaClient, group: str) -> set[tuple[int, int]]:
    """Producer id and first offset of what is open where the positions of a group are, which has others' too.

    Raises:
        AccessDenied: we may not look there.
        TransportError: it has no leader, or another error.
    """
    cluster = await client.fetch_all_metadata()
    count = len(cluster.partitions_for_topic(OFFSETS) or ())
    number = _place_of(group, count) if count else 0
    leader = cluster.leader_for_partition(Place(OFFSETS, number)) if count else None
    if leader is None or leader < 0:
        raise NotReady(_unled([TopicPartition(OFFSETS, number)]))
    answer = await client.send(leader, _DescribeProducers([(OFFSETS, [number], {})]))
    ((_, ((_, error, _, producers, _),), _),) = answer.topics
    if error:
        raise _refusal(KafkaError(error), f"producers of {OFFSETS}/{number}")
    return {(producer, start) for producer, _, _, _, _, start, _ in producers if start >= 0}


async def _certainly(client: AIOKafkaClient, prefix: str, is_whole: bool, group: str = "") -> list[Forgotten]:
    """As `forgotten` if `is_whole`. Else for a writer of this group: what it may not look at is passed over, and what
    cannot be asked now is an error."""
    first = await _found(client, prefix, is_whole, group)
    if not first:
        return []
    await asyncio.sleep(CERTAIN_S)
    again = {(each.at, each.start, each.producer_id) for each in await _found(client, prefix, is_whole, group)}
    return [each for each in first if (each.at, each.start, each.producer_id) in again]


async def _found(client: AIOKafkaClient, prefix: str, is_whole: bool, group: str) -> list[Forgotten]:
    """What is open in partitions and not under way for its coordinator, which is asked afterwards."""
    opened = await _open(client, prefix, is_whole, group)
    writers: dict[int, list[Described]] = {}
    if opened:
        for each in await described(client, sorted({producer for _, producer, *_ in opened})):
            writers.setdefault(each.producer_id, []).append(each)
    return [
        Forgotten(at, start, known[0].transactional_id, known[0].state, producer, epoch, coordinator_epoch)
        for at, producer, epoch, coordinator_epoch, start in opened
        if (known := writers.get(producer)) and not any(is_under_way(each, epoch, at) for each in known)
    ]


async def _open(
    client: AIOKafkaClient, prefix: str, is_whole: bool, group: str
) -> list[tuple[TopicPartition, int, int, int, int]]:
    """Partition, producer id, its epoch, the coordinator's, first offset: of each transaction open in a partition."""
    cluster = await client.fetch_all_metadata()
    asked: dict[int, dict[str, list[int]]] = {}
    leaderless: list[TopicPartition] = []
    for topic, number in _places(cluster, prefix, group):
        leader = cluster.leader_for_partition(Place(topic, number))
        if leader is not None and leader >= 0:
            asked.setdefault(leader, {}).setdefault(topic, []).append(number)
        else:
            leaderless.append(TopicPartition(topic, number))
    if leaderless and not is_whole:
        raise NotReady(_unled(leaderless))
    found = []
    for leader, topics in asked.items():
        answer = await client.send(
            leader, _DescribeProducers([(name, numbers, {}) for name, numbers in topics.items()])
        )
        for topic, partitions, _ in answer.topics:
            for number, error, _, producers, _ in partitions:
                # The positions of all groups are what few may read.
                if error and (topic != OFFSETS if is_whole else error not in UNAUTHORIZED):
                    raise _refusal(KafkaError(error), f"producers of {topic}/{number}")
                for producer, epoch, _, _, coordinator_epoch, start, _ in producers:
                    if start >= 0:
                        found.append((TopicPartition(topic, number), producer, epoch, coordinator_epoch, start))
    return found


def _places(cluster: ClusterMetadata, prefix: str, group: str) -> list[TopicPartition]:
    """Partitions of topics that begin with `prefix`, and those of the positions: of this group, or of all."""
    found = []
    for topic in sorted(cluster.topics(exclude_internal_topics=False)):
        numbers = sorted(cluster.partitions_for_topic(topic) or ())
        if topic == OFFSETS and group and numbers:
            numbers = [_place_of(group, len(numbers))]
        if topic == OFFSETS or topic.startswith(prefix):
            found += [TopicPartition(topic, number) for number in numbers]
    return found


def _place_of(group: str, partitions: int) -> int:
    """The partition of `OFFSETS` that has a group's positions.

    Source: Kafka's `GroupCoordinatorService.partitionFor`, `Utils.abs(groupId.hashCode()) % partitions`.
    """
    hashed = 0
    for letter in group:  # ASCII, so that these are Java's letters too
        hashed = (31 * hashed + ord(letter)) % 2**32
    return min(hashed, 2**32 - hashed) % 2**31 % partitions


def _unled(partitions: Sequence[TopicPartition]) -> str:
    named = ", ".join(f"{at.topic}/{at.partition}" for at in partitions[:NAMED_MAX])
    more = f" and {len(partitions) - NAMED_MAX} more" if len(partitions) > NAMED_MAX else ""
    return (
        f"expected a leader of each partition to ask, but there is none of {named}{more}; `farandole doctor` says more"
    )


def _refusal(error: KafkaError, about: str) -> TransportError:
    return unauthorized(error, about) if error.code() in UNAUTHORIZED else TransportError(f"{about}: {error.str()}")


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
