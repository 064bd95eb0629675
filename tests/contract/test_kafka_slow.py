"""A cluster that is slow to answer, by librdkafka's own broker in this process: it takes its time over each answer."""

from datetime import timedelta

import pytest

from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.queries import Queries


@pytest.mark.parametrize("milliseconds", [10, 400])
def test_cluster_is_reached_however_long_it_takes_within_our_patience(milliseconds: int) -> None:
    """The story: `list_topics` was tried for 250 ms each, and each try is another request to librdkafka. Over a slow
    line, or from a broker with very many topics, no command and no process ever had an answer.
    """
    slow = {"test.mock.num.brokers": "1", "test.mock.broker.rtt": str(milliseconds)}

    found = Queries(KafkaSettings("localhost:1", slow, call_timeout=timedelta(seconds=10)), "tests").metadata()

    assert list(found.brokers) == [1]
