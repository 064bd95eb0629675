"""What the doctor asks of a cluster, by the number of its brokers."""

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource

from farandole.errors import AccessDenied, TransportError
from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.forgotten import OFFSETS
from farandole.transport.kafka.survey import Survey


class ThreeBrokers:
    """Answers as librdkafka does: it refuses a question about more than one broker, before it is sent."""

    client: "ThreeBrokers"

    def __init__(self) -> None:
        self.client = self

    def metadata(self) -> Any:
        """Who is there."""
        return SimpleNamespace(brokers={1: None, 2: None, 3: None}, topics={})

    def describe_configs(self, resources: Sequence[ConfigResource], request_timeout: float) -> dict[Any, Future[Any]]:
        """Of one broker, its settings."""
        found: dict[Any, Future[Any]] = {each: Future() for each in resources}
        for each, future in found.items():
            if len(resources) > 1:
                future.set_exception(KafkaException(KafkaError(KafkaError._CONFLICT)))
            else:
                future.set_result({"broker.id": SimpleNamespace(value=each.name)})
        return found

    def result(self, future: Future[Any], about: str) -> Any:
        """What came of it."""
        return future.result(0)


def test_settings_of_each_broker_are_asked_for_alone() -> None:
    """On three brokers the doctor said that it may not see their settings, and so found nothing wrong with them."""
    survey = Survey(KafkaSettings("127.0.0.1:1"))
    survey._queries = ThreeBrokers()  # type: ignore[assignment]

    assert survey.brokers() == {number: {"broker.id": str(number)} for number in (1, 2, 3)}


class Positions:
    """Answers about the topic of positions, which has so many replicas on so many brokers; None: it is not there."""

    client: "Positions"

    def __init__(self, brokers: int, replicas: int | None, error: Exception | None = None) -> None:
        self.client = self
        self._brokers, self._replicas, self._error = brokers, replicas, error

    def metadata(self) -> Any:
        """Who is there, and what."""
        places = {n: SimpleNamespace(replicas=list(range(self._replicas or 0))) for n in range(2)}
        topics = {} if self._replicas is None else {OFFSETS: SimpleNamespace(partitions=places)}
        return SimpleNamespace(brokers=dict.fromkeys(range(self._brokers)), topics=topics)

    def describe_configs(self, resources: Sequence[ConfigResource], request_timeout: float) -> dict[Any, Any]:
        """Its settings, with one that is not told."""
        told = {"segment.bytes": SimpleNamespace(value="1"), "hidden": SimpleNamespace(value=None)}
        return {each: told for each in resources if each.name == OFFSETS}

    def result(self, answer: Any, about: str) -> Any:
        """What came of it."""
        if self._error is not None:
            raise self._error
        return answer


def positions_log(brokers: int, replicas: int | None, error: Exception | None = None) -> Any:
    """What the survey says of it."""
    survey = Survey(KafkaSettings("127.0.0.1:1"))
    survey._queries = Positions(brokers, replicas, error)  # type: ignore[assignment]
    return survey.positions_log()


def test_settings_of_the_topic_of_positions_are_those_that_an_only_broker_tells() -> None:
    assert positions_log(1, 1) == {"segment.bytes": "1"}


@pytest.mark.parametrize(
    ("brokers", "replicas"), [(3, 3), (3, 1), (1, 3), (1, None)], ids=["three", "spread", "others_are_away", "none_yet"]
)
def test_topic_of_positions_of_several_brokers_is_no_matter(brokers: int, replicas: int | None) -> None:
    assert positions_log(brokers, replicas) == {}


def test_who_may_not_see_the_topic_of_positions_is_told_nothing() -> None:
    assert positions_log(1, 1, AccessDenied("no")) == {}


def test_broker_that_does_not_answer_for_the_topic_of_positions_is_told() -> None:
    with pytest.raises(TransportError, match="no answer"):
        positions_log(1, 1, TransportError("no answer"))
