"""What librdkafka's errors mean: verdicts and troubles."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from farandole.errors import AccessDenied, FatalTransportError, NotReady, TransportError
from farandole.transport.kafka.errors import error_of, failure, told, trouble_kind, verdict_of_abort
from farandole.transport.kafka.polling import Outage
from farandole.transport.port import TopicPartition, Verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (KafkaError.ILLEGAL_GENERATION, Verdict.STALE),
        (KafkaError.UNKNOWN_MEMBER_ID, Verdict.STALE),
        (KafkaError.REBALANCE_IN_PROGRESS, Verdict.STALE),
        (KafkaError.MSG_SIZE_TOO_LARGE, Verdict.REFUSED),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, Verdict.REFUSED),
        (KafkaError._UNKNOWN_PARTITION, Verdict.REFUSED),
        (KafkaError.OFFSET_METADATA_TOO_LARGE, Verdict.REFUSED),
        (KafkaError._MSG_TIMED_OUT, Verdict.ABORTED),
        (KafkaError.NOT_ENOUGH_REPLICAS, Verdict.ABORTED),
        (KafkaError.INVALID_TIMESTAMP, Verdict.ABORTED),  # the clock of the machine, not the record
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Verdict.ABORTED),  # a right that may be back in a minute
    ],
)
def test_abort_is_judged_by_what_led_to_it(code: int, verdict: Verdict) -> None:
    assert verdict_of_abort(KafkaError(code)) is verdict


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError._ALL_BROKERS_DOWN, "unreachable"),
        (KafkaError._AUTHENTICATION, "unreachable"),
        (KafkaError._AUTO_OFFSET_RESET, "position_out_of_range"),
        (KafkaError.OFFSET_OUT_OF_RANGE, "position_out_of_range"),
        (KafkaError._NO_OFFSET, "position_missing"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "unknown_topic"),
        (KafkaError._MAX_POLL_EXCEEDED, "other"),
    ],
)
def test_consumer_errors_have_a_word_each(code: int, kind: str) -> None:
    assert trouble_kind(KafkaError(code)) == kind


def test_error_is_found_inside_whatever_the_client_raises() -> None:
    inner = KafkaError(KafkaError._FENCED, "another has our id")
    hidden = SystemError("a report was called while an exception was set")
    hidden.__cause__ = KafkaException(inner)

    assert error_of(KafkaException(inner)) == inner
    assert error_of(hidden) == inner
    assert error_of(BufferError("Local: Queue full")).code() == KafkaError._QUEUE_FULL
    assert error_of(SystemError("something else")).code() == KafkaError._FAIL
    assert told(hidden) == "_FENCED: another has our id"


@pytest.mark.parametrize(
    ("code", "text", "at"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "ns.in-box [3]: topic does not exist", TopicPartition("ns.in-box", 3)),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "no partition is named", None),
        (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down", None),
    ],
)
def test_error_of_the_whole_client_names_the_partition_that_its_text_names(
    code: int, text: str, at: TopicPartition | None
) -> None:
    """A reader of a topic that was not there was told to be without a connection; random operations found it."""
    outage = Outage("reader")

    outage(KafkaError(code, text))

    (trouble,) = outage.troubles()
    assert (trouble.at, text in trouble.error) == (at, True)


def test_fatal_error_of_a_consumer_ends_its_process() -> None:
    outage = Outage("us")
    outage(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    outage(KafkaError(KafkaError._FATAL, "it can not go on", True))

    with pytest.raises(FatalTransportError, match="us: it can not go on"):
        list(outage.troubles())


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (TimeoutError(), NotReady),
        (KafkaException(KafkaError(KafkaError.INVALID_REPLICATION_FACTOR)), NotReady),
        (KafkaException(KafkaError(KafkaError.TOPIC_EXCEPTION)), TransportError),
        (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), AccessDenied),
        (KafkaException(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)), AccessDenied),
    ],
)
def test_failure_of_a_call_says_who_must_act(cause: Exception, kind: type[TransportError]) -> None:
    """A missing right to create was an error of no kind, without the verb that prints rights."""
    found = failure("topic t: it was not created", cause)

    assert type(found) is kind
    assert ("farandole acls" in str(found)) == (kind is AccessDenied)
