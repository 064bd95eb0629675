"""What an agent process says of troubles: each once a minute."""

import logging

import pytest

from farandole.runtime.recording import Troubles
from farandole.transport.port import TopicPartition, Trouble


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_outage_of_minutes_is_told_once_a_minute_however_it_is_worded(caplog: pytest.LogCaptureFixture) -> None:
    """A reader's outage was told anew for each wording of its error, beside the member's."""
    troubles = Troubles(logging.getLogger("farandole.test"))

    for second in range(300):
        troubles.tell_trouble(Trouble("unreachable", f"refused after {second} ms"), float(second))
        troubles.tell_trouble(Trouble("unreachable", "1/1 brokers are down"), second + 0.5)

    assert len(told(caplog)) == 5
    assert told(caplog)[0] == "the log does not deliver (unreachable): refused after 0 ms; trying again"


def test_troubles_of_two_partitions_are_told_both(caplog: pytest.LogCaptureFixture) -> None:
    troubles = Troubles(logging.getLogger("farandole.test"))

    for number in (0, 1, 0, 1):
        troubles.tell_trouble(Trouble("other", "why", TopicPartition("t", number)), 1.0)

    assert told(caplog) == [
        "t[0] does not deliver (other): why; trying again",
        "t[1] does not deliver (other): why; trying again",
    ]
