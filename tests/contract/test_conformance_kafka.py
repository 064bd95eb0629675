"""The conformance suite on a real broker, unchanged."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from farandole.testing.conformance import CASES, Case, Hang, Kit
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import Transport


@pytest.fixture
def make(kafka: str) -> Callable[[], Transport]:
    """Transports of the real broker."""
    return lambda: KafkaTransport(KafkaSettings(bootstrap=kafka, strict=False))


def check_case(case: Case, kit: Kit) -> None:
    """The case asserts by itself."""
    case.run(kit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kafka_conforms(case: Case, kafka: str, make: Callable[[], Transport], hang_at: Callable[[str], Hang]) -> None:
    kit = Kit(make, hang=hang_at(kafka), settle=timedelta(seconds=40), session=timedelta(seconds=6))

    check_case(case, kit)
