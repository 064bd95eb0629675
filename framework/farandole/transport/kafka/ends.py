"""The ends of partitions, of the leaders that really lead them.

A coordinator reads its state up to such an end. The end of a leader that is cut off is one of before: what was
committed since would be missing from the state, and not from the positions. librdkafka asks whom it believes to lead:
in 5 of 12 questions while one of three brokers was cut off, the wrong one [measured].
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.types import CompactArray, Int8, Int16, Int32, Int64, Schema
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka.access import UNAUTHORIZED, unauthorized
from farandole.transport.kafka.asking import ask_patiently
from farandole.transport.kafka.messages import TAGS, TEXT, message
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.witnesses import Leader, addresses, aware, leaders
from farandole.transport.port import Isolation, TopicPartition

RETRY_S = 0.1
"""Before leaders that are being elected are looked up again. Kafka's `retry.backoff.ms`."""

LATEST = -1
"""The timestamp that asks for the end."""

_LEVEL = {Isolation.UNCOMMITTED: 0, Isolation.COMMITTED: 1}


def read_ends(
    settings: KafkaSettings, client_id: str, partitions: Sequence[TopicPartition], isolation: Isolation
) -> Mapping[TopicPartition, int]:
    """End offsets at an isolation level.

    Raises:
        AccessDenied: we may not see one of the topics.
        TransportError: one of them is unknown, or there was no answer.
    """
    about = f"ends of {', '.join(sorted({at.topic for at in partitions}))}"
    if not partitions:
        return {}
    return ask_patiently(settings, client_id, about, lambda client: _ends(client, partitions, isolation))


def find_brokers(settings: KafkaSettings, client_id: str, partitions: Sequence[TopicPartition]) -> str:
    """Addresses of the brokers that know who really leads these; none if there is not one that knows it of all.

    Raises:
        AccessDenied: we may not see one of the topics.
        TransportError: one of them is unknown, or there was no answer.
    """
    about = f"leaders of {', '.join(sorted({at.topic for at in partitions}))}"
    return ask_patiently(settings, client_id, about, lambda client: _brokers(client, partitions))


async def _brokers(client: AIOKafkaClient, partitions: Sequence[TopicPartition]) -> str:
    known = await leaders(client, {at.topic for at in partitions})
    return addresses(client, aware(known[at] for at in partitions if at in known))


async def _ends(
    client: AIOKafkaClient, partitions: Sequence[TopicPartition], isolation: Isolation
) -> Mapping[TopicPartition, int]:
    """The answers of all leaders, however often those change meanwhile."""
    while True:
        try:
            known = await leaders(client, {at.topic for at in partitions})
            if unknown := [at for at in partitions if at not in known]:
                raise TransportError(f"{unknown[0].topic}: there is no partition {unknown[0].partition}")
            by_node: dict[int, dict[TopicPartition, Leader]] = defaultdict(dict)
            for at in partitions:
                by_node[known[at].node][at] = known[at]
            found = [await _of_one(client, node, places, isolation) for node, places in by_node.items()]
            return {at: end for each in found for at, end in each.items()}
        except (aio.KafkaError, OSError):
            await client.force_metadata_update()  # a leader that is new here
        await asyncio.sleep(RETRY_S)


async def _of_one(
    client: AIOKafkaClient, node: int, places: Mapping[TopicPartition, Leader], isolation: Isolation
) -> dict[TopicPartition, int]:
    """What one leader answers; it says no if it does not lead since that election."""
    topics: dict[str, list[tuple[int, int, int, dict[int, bytes]]]] = defaultdict(list)
    for at, leader in places.items():
        topics[at.topic].append((at.partition, leader.epoch, LATEST, {}))
    answer = await client.send(node, _ListOffsets(-1, _LEVEL[isolation], [(*each, {}) for each in topics.items()]))
    return _read(answer)


def _read(answer: Any) -> dict[TopicPartition, int]:
    found: dict[TopicPartition, int] = {}
    for topic, partitions, _ in answer.topics:
        for number, code, _, offset, _, _ in partitions:
            if code in UNAUTHORIZED:
                raise unauthorized(KafkaError(code), f"topic {topic}")
            if code:
                raise aio.for_code(code)(f"{topic}/{number}")
            found[TopicPartition(topic, number)] = int(offset)
    return found


_ListOffsets = message(
    "_ListOffsets",
    2,
    6,
    Schema(
        ("replica_id", Int32),
        ("isolation_level", Int8),
        (
            "topics",
            CompactArray(
                ("name", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition_index", Int32), ("current_leader_epoch", Int32), ("timestamp", Int64), TAGS
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
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
                        ("timestamp", Int64),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        TAGS,
    ),
)
