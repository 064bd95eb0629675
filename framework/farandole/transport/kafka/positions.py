"""Committed positions of a group, asked without librdkafka.

Its `list_consumer_group_offsets` ends the process with a segmentation fault when the broker that it asks does not
coordinate the group any more (librdkafka issue 5040, open; met with 2.16.0 at each change of coordinator of three
brokers). Here such an answer is what it is: the coordinator is looked up again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka.access import UNAUTHORIZED, unauthorized
from farandole.transport.kafka.asking import ask_patiently
from farandole.transport.kafka.messages import TAGS, TEXT, message
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.witnesses import coordinator
from farandole.transport.port import Position, TopicPartition

RETRY_S = 0.1
"""Before a coordinator that is moving, or has not read its log yet, is asked for again. Kafka's `retry.backoff.ms`."""

MOVING = frozenset(
    {KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS}
)


def read_positions(
    settings: KafkaSettings,
    client_id: str,
    group: str,
    partitions: Sequence[TopicPartition] | None,
    *,
    stable: bool,
) -> Mapping[TopicPartition, Position | None]:
    """As `Queries.positions` promises.

    Raises:
        AccessDenied: we may not see the group.
        TransportError: there was no answer.
    """
    topics = None if partitions is None else _by_topic(partitions)
    answer = ask_patiently(
        settings, client_id, f"positions of {group}", lambda client: _fetch(client, group, topics, stable)
    )
    return _read(answer, group)


async def fetched(client: AIOKafkaClient, group: str, *, stable: bool) -> Mapping[TopicPartition, Position | None]:
    """All of a group, asked through a client that is there.

    Raises:
        AccessDenied: we may not see the group.
        TransportError: the answer is an error.
    """
    return _read(await _fetch(client, group, None, stable), group)


async def _fetch(client: AIOKafkaClient, group: str, topics: list[Any] | None, stable: bool) -> Any:
    """The answer of whoever coordinates the group, however often that changes meanwhile."""
    while True:
        try:
            answer = await client.send((await coordinator(client, group)).node, _OffsetFetch(group, topics, stable))
            if answer.error_code not in MOVING:
                return answer
        except (aio.KafkaError, OSError):
            # A broker that is gone, or that nobody knows yet: others may know better.
            await client.force_metadata_update()
        await asyncio.sleep(RETRY_S)


def _by_topic(partitions: Sequence[TopicPartition]) -> list[Any]:
    names = sorted({at.topic for at in partitions})
    return [(name, sorted({at.partition for at in partitions if at.topic == name}), {}) for name in names]


def _read(answer: Any, group: str) -> dict[TopicPartition, Position | None]:
    about = f"positions of {group}"
    if answer.error_code:
        error = KafkaError(answer.error_code)
        raise unauthorized(error, about) if error.code() in UNAUTHORIZED else TransportError(f"{about}: {error.str()}")
    found: dict[TopicPartition, Position | None] = {}
    for topic, partitions, _ in answer.topics:
        for number, offset, _, metadata, error_code, _ in partitions:
            if error_code == 0:
                # confluent-kafka commits the zero with which C ends a text.
                text = (metadata or "").removesuffix("\0")
                found[TopicPartition(topic, number)] = None if offset < 0 else Position(offset, text)
            elif error_code != KafkaError.UNSTABLE_OFFSET_COMMIT:
                raise TransportError(f"{about}: {topic}/{number}: {KafkaError(error_code).str()}")
    return found


_OffsetFetch = message(
    "_OffsetFetch",
    9,
    7,
    Schema(
        ("group", TEXT),
        ("topics", CompactArray(("topic", TEXT), ("partitions", CompactArray(Int32)), TAGS)),
        ("require_stable", Boolean),
        TAGS,
    ),
    Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", TEXT),
                        ("error_code", Int16),
                        TAGS,
                    ),
                ),
                TAGS,
            ),
        ),
        ("error_code", Int16),
        TAGS,
    ),
)
