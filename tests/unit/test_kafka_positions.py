"""Committed positions as they stand in an answer of the broker, and what is done while its coordinator moves."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.client import AIOKafkaClient
from confluent_kafka import KafkaError

from farandole.errors import TransportError
from farandole.transport.kafka.positions import _by_topic, _fetch, _read
from farandole.transport.port import Position, TopicPartition


def answered(*partitions: tuple[int, int, str | None, int], error: int = 0) -> Any:
    """An answer about one topic: number, offset, metadata and error of each partition."""
    rows: list[Any] = [(number, offset, -1, metadata, code, {}) for number, offset, metadata, code in partitions]
    return SimpleNamespace(error_code=error, topics=[("inbox", rows, {})])


def test_positions_are_read_with_what_is_missing_and_without_what_is_pending() -> None:
    answer = answered(
        (0, 7, "read\0", 0), (1, -1, "", 0), (2, 9, None, 0), (3, -1, "", KafkaError.UNSTABLE_OFFSET_COMMIT)
    )

    assert _read(answer, "positions") == {
        TopicPartition("inbox", 0): Position(7, "read"),
        TopicPartition("inbox", 1): None,
        TopicPartition("inbox", 2): Position(9),
    }


def test_partition_that_is_refused_is_an_error_with_its_place() -> None:
    answer = answered((3, -1, "", KafkaError.TOPIC_AUTHORIZATION_FAILED))

    with pytest.raises(TransportError, match="positions: inbox/3"):
        _read(answer, "positions")


def test_partitions_are_asked_for_by_topic() -> None:
    asked = _by_topic([TopicPartition("b", 2), TopicPartition("a", 0), TopicPartition("b", 1)])

    assert asked == [("a", [0], {}), ("b", [1, 2], {})]


class Cluster:
    """A client whose group is coordinated by another node at each look."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, str]] = []
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=9)])
        self._node = 0

    async def force_metadata_update(self) -> None:
        return None

    async def send(self, node: int, request: object) -> Any:
        self.asked.append((node, type(request).__name__))
        if node == 9:
            self._node += 1
            return SimpleNamespace(error_code=0, coordinator_id=self._node)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_coordinator_that_has_moved_is_looked_up_again() -> None:
    # The story: librdkafka met this answer with a segmentation fault (its issue 5040). Two agents ended within four
    # seconds when one of three brokers was cut off, and `apply` with them.
    good = answered((0, 7, "", 0))
    cluster = Cluster(answered(error=KafkaError.NOT_COORDINATOR), ConnectionError("gone"), good)

    found = asyncio.run(_fetch(cast(AIOKafkaClient, cluster), "g", None, True))

    assert found is good
    assert [node for node, name in cluster.asked if name == "_OffsetFetch"] == [1, 2, 3]
