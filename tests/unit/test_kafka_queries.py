"""How long a cluster is waited for, try by try."""

from types import SimpleNamespace
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from farandole.errors import NotReady
from farandole.transport.kafka import KafkaSettings, queries
from farandole.transport.kafka.queries import Queries


class _Silent:
    """A cluster that answers nothing; each question takes all the time that it may."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tries: list[float] = []
        self.looks = 0

    def list_topics(self, timeout: float) -> object:
        self.tries.append(timeout)
        self.now += timeout
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def poll(self, timeout: float) -> None:
        self.looks += 1


def test_tries_for_metadata_grow_from_a_short_one_to_all_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was given up after 250 ms and made anew: a cluster that took longer to answer was not reached by anybody."""
    silent = _Silent()
    monkeypatch.setattr(queries, "time", SimpleNamespace(monotonic=lambda: silent.now))
    asked = Queries(KafkaSettings("localhost:1"), "tests")
    assert asked.client is not None
    asked._client = cast(AdminClient, silent)

    with pytest.raises(NotReady, match="cannot be reached"):
        asked.metadata()

    assert silent.tries == [0.25, 0.5, 1.0, 2.0, 6.25]
    assert silent.looks == len(silent.tries)
