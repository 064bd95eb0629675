"""What librdkafka's errors mean to us: verdicts of transactions, troubles of partitions."""

from confluent_kafka import KafkaError, KafkaException

from farandole.transport.port import Verdict

STALE = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)
"""The group has moved on: re-produce with a fresh snapshot (R11)."""

FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
    }
)

REFUSED = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError._INVALID_ARG,
    }
)
"""A record (or its position) can never be written as it is."""

UNREACHABLE = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._AUTHENTICATION,
        KafkaError._TIMED_OUT,
    }
)


def error_of(exception: KafkaException | KafkaError | BaseException) -> KafkaError | None:
    """The client's error inside an exception."""
    if isinstance(exception, KafkaError):
        return exception
    if isinstance(exception, KafkaException) and exception.args and isinstance(exception.args[0], KafkaError):
        return exception.args[0]
    return None


def verdict_of_abort(error: KafkaError) -> Verdict:
    """The verdict of a transaction that was certainly aborted because of `error`."""
    if error.code() in STALE:
        return Verdict.STALE
    return Verdict.REFUSED if error.code() in REFUSED else Verdict.ABORTED


def trouble_kind(error: KafkaError) -> str:
    """The word for a consumer's error."""
    code = error.code()
    if code in UNREACHABLE:
        return "unreachable"
    if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return "unknown_topic"
    if code == KafkaError.OFFSET_OUT_OF_RANGE:
        return "position_out_of_range"
    if code in (KafkaError._AUTO_OFFSET_RESET, KafkaError._NO_OFFSET):
        return "position_missing" if "no previously committed" in error.str().lower() else "position_out_of_range"
    return "other"
