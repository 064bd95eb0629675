"""What a person does about transactions that nobody ends any more: `kafka-transactions.sh abort`, without that tool.

Aborts, as its broker meant to: where it had been committed, the checker will find it torn.
"""

import contextlib
import threading
from typing import Any

from aiokafka import errors as aio
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.types import Boolean, CompactArray, Int16, Int32, Int64, Schema
from aiokafka.structs import TopicPartition as Place

from farandole.errors import TransportError
from farandole.transport.kafka.asking import ask
from farandole.transport.kafka.forgotten import Forgotten, forgotten
from farandole.transport.kafka.messages import TAGS, TEXT, message
from farandole.transport.kafka.settings import KafkaSettings

LOOK_S = 15.0
"""Between two looks of a person who is called when a home is not served for 30 s."""


class Janitor:
    """Looks again and again, and aborts what nobody ends any more, until it is closed; `aborted` counts them."""

    def __init__(self, settings: KafkaSettings, prefix: str) -> None:
        self.aborted = 0
        self._settings, self._prefix = settings, prefix
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="janitor", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Go home."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(LOOK_S):
            with contextlib.suppress(TransportError, aio.KafkaError):  # the log is away: the next look is soon
                self.aborted += len(abort_forgotten(self._settings, self._prefix))


def abort_forgotten(settings: KafkaSettings, prefix: str) -> list[Forgotten]:
    """Abort each, in the partition in which it is open; those that were."""
    found = forgotten(settings, prefix)
    for each in found:
        ask(settings, "farandole.operator", lambda client, it=each: _abort(client, it))  # type: ignore[misc]
    return found


def _abortion(it: Forgotten) -> tuple[Any, ...]:
    """Its marker, as the request has it."""
    topics: list[Any] = [(it.at.topic, [it.at.partition], {})]
    return it.producer_id, it.producer_epoch, False, topics, max(0, it.coordinator_epoch), {}


async def _abort(client: AIOKafkaClient, it: Forgotten) -> None:
    cluster = await client.fetch_all_metadata()
    leader = cluster.leader_for_partition(Place(it.at.topic, it.at.partition))
    answer = await client.send(leader, _WriteTxnMarkers([_abortion(it)]))
    for _, topics, _ in answer.markers:
        for _, partitions, _ in topics:
            for _, error, _ in partitions:
                if error:
                    raise aio.for_code(error)()


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
