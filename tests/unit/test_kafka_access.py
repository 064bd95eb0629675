"""When a refusal by the cluster is told, and in which words."""

from datetime import timedelta

import pytest
from confluent_kafka import KafkaError

from farandole.clock import ManualClock
from farandole.errors import AccessDenied, NotReady
from farandole.transport.kafka.access import DENIED_AFTER, Refusals, unauthorized, words

ALERT = "ssl://h:1: Receive failed: error:0A000416:SSL routines::ssl/tls alert certificate unknown: SSL alert number 46"


def refusals(clock: ManualClock) -> Refusals:
    """Nothing was met yet."""
    return Refusals("host:1", clock.monotonic)


def test_a_first_refusal_may_be_an_accident_and_one_that_lasts_is_told() -> None:
    clock = ManualClock()
    met = refusals(clock)
    met(KafkaError(KafkaError._AUTHENTICATION, "no"))

    met.check()
    clock.advance(timedelta(seconds=DENIED_AFTER))

    with pytest.raises(AccessDenied, match="_AUTHENTICATION: no"):
        met.check()


def test_an_answer_makes_a_refusal_forgotten() -> None:
    met = refusals(ManualClock())
    met(KafkaError(KafkaError._SSL, "no"))
    met.answered()

    assert not isinstance(met.reason("nothing came"), AccessDenied)


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (KafkaError(KafkaError._AUTHENTICATION, "no"), "sasl.password"),
        (KafkaError(KafkaError._SSL, "no"), "ssl.ca.location"),
        (KafkaError(KafkaError._TRANSPORT, ALERT), "not expired"),
    ],
)
def test_each_kind_of_refusal_has_a_way_out(error: KafkaError, way_out: str) -> None:
    met = refusals(ManualClock())
    met(error)

    told = met.reason("")

    assert isinstance(told, AccessDenied)
    assert way_out in str(told)
    assert str(told).startswith("host:1: expected to be let in, but ")


def test_a_broker_that_is_away_is_no_refusal_and_the_last_error_is_told() -> None:
    met = refusals(ManualClock())
    met(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
    met(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))

    told = met.reason("timed out")

    met.check()
    assert type(told) is NotReady
    assert "Connection refused" in str(told)


def test_a_missing_right_names_the_verb_that_prints_rights() -> None:
    error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no")

    assert "farandole acls" in words(error)
    assert "farandole acls" in str(unauthorized(error, "topic t"))
    assert "acls" not in words(KafkaError(KafkaError._TRANSPORT, "away"))
