"""What the admin client makes of a cluster that is not quite there yet."""

from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from farandole.transport.kafka.admin import WAKE_TRIES, KafkaAdmin
from farandole.transport.kafka.settings import KafkaSettings


class _Stranger:
    """A consumer whose group has no coordinator yet, for so many questions."""

    def __init__(self, silent: int) -> None:
        self.silent, self.asked = silent, 0

    def committed(self, partitions: object, timeout: float) -> list[object]:
        self.asked += 1
        if self.asked <= self.silent:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return []


@pytest.mark.parametrize(("silent", "asked"), [(0, 1), (2, 3), (WAKE_TRIES + 5, WAKE_TRIES)])
def test_new_cluster_is_asked_for_a_coordinator_until_it_has_one_and_not_for_ever(silent: int, asked: int) -> None:
    """`apply` on three fresh brokers gave up after 10 s: they were creating `__consumer_offsets` for its question."""
    stranger = _Stranger(silent)

    KafkaAdmin(KafkaSettings("127.0.0.1:1"), "tests")._wake_coordinator(cast(Consumer, stranger))

    assert stranger.asked == asked
