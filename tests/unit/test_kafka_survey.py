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
from farandole.transport.port import TopicPartition


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
        if self._replicas is None and self._error is None:
            self._error = TransportError("no such topic")
            self._error.__cause__ = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
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


@pytest.mark.parametrize("brokers", [1, 3], ids=["only_broker", "spread_over_three"])
def test_settings_of_the_topic_of_positions_are_told_where_one_broker_alone_has_them(brokers: int) -> None:
    """Of three brokers with one replica each is the only one of its partitions, and nobody takes over."""
    assert positions_log(brokers, 1) == {"segment.bytes": "1"}


@pytest.mark.parametrize(
    ("brokers", "replicas"), [(3, 3), (1, 3), (1, None)], ids=["three", "others_are_away", "none_yet"]
)
def test_topic_of_positions_that_several_brokers_have_or_nobody_is_no_matter(
    brokers: int, replicas: int | None
) -> None:
    assert positions_log(brokers, replicas) == {}


@pytest.mark.parametrize("replicas", [1, None], ids=["settings", "topic_and_settings"])
def test_topic_of_positions_that_may_not_be_seen_is_unseen_and_no_sound_one(replicas: int | None) -> None:
    """Under the doctor's own rights it is in no list of topics, which was taken for a topic that there is not yet."""
    assert positions_log(1, replicas, AccessDenied("no")) is None


class Instants:
    """Answers where in each partition an instant is; -1 where nothing came since."""

    client: "Instants"

    def __init__(self) -> None:
        self.client = self

    def list_offsets(self, asked: Any, **given: Any) -> dict[Any, int]:
        """The instant itself, as it was asked."""
        return {at: -1 if at.partition == 2 else spec._value for at, spec in asked.items()}

    def result(self, answer: int, about: str) -> Any:
        """What came of it."""
        return SimpleNamespace(offset=answer)


def test_offsets_at_instants_are_those_of_partitions_that_have_any() -> None:
    survey = Survey(KafkaSettings("127.0.0.1:1"))
    survey._queries = Instants()  # type: ignore[assignment]

    found = survey.offsets_at({TopicPartition("t", n): 1_700_000_000_000 + n for n in range(3)})

    assert found == {TopicPartition("t", n): 1_700_000_000_000 + n for n in range(2)}


def test_broker_that_does_not_answer_for_the_topic_of_positions_is_told() -> None:
    with pytest.raises(TransportError, match="no answer"):
        positions_log(1, 1, TransportError("no answer"))
