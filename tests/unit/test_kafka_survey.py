"""What the doctor asks of a cluster of several brokers."""

from collections.abc import Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource

from farandole.transport.kafka import KafkaSettings
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
