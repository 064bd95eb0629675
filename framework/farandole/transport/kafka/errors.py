"""What librdkafka's errors mean to us: verdicts of transactions, troubles of partitions."""

from confluent_kafka import KafkaError, KafkaException

from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka.access import RIGHTS, UNAUTHORIZED
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

FENCED = frozenset({KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED})
"""Another producer has our id, or the broker gave up our transaction, which looks the same."""

REFUSED = frozenset(
    {
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_RECORD,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.OFFSET_METADATA_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    }
)
"""A record (or a position's metadata) can never be written as it is.

`INVALID_TIMESTAMP` is none of them: the clock of this machine is ahead of the broker's by more than that takes (1 h).
Whoever writes now is refused, whatever it is; no run is to blame, and all of it is good once the clock is right.
Nor is `TOPIC_AUTHORIZATION_FAILED`: the right may be back in a minute (docs/decisions/0061).
"""

UNREACHABLE = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._AUTHENTICATION,
        KafkaError._RESOLVE,
        KafkaError._SSL,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
    }
)

AWAITED = UNREACHABLE | {
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.INVALID_REPLICATION_FACTOR,  # more than the brokers that have registered so far
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_CONTROLLER,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._WAIT_COORD,
}
"""What brokers answer that were started a moment ago, or one of which is being started anew."""

_UNKNOWN_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
_OUT_OF_RANGE = frozenset({KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION})


CLIENT_ERRORS = (KafkaException, BufferError, SystemError)
"""What a call of a producer raises; SystemError where a report is called after the client has raised already."""


def error_of(exception: BaseException) -> KafkaError:
    """The client's error inside one of `CLIENT_ERRORS`."""
    cause = exception.__cause__ if isinstance(exception, SystemError) and exception.__cause__ else exception
    inner = cause.args[0] if cause.args else None
    if isinstance(inner, KafkaError):
        return inner
    code = KafkaError._QUEUE_FULL if isinstance(exception, BufferError) else KafkaError._FAIL
    return KafkaError(code, str(exception))


def told(exception: BaseException) -> str:
    """The error in words: its stable name, then librdkafka's text."""
    error = error_of(exception)
    return f"{error.name()}: {error.str()}"


def failure(message: str, cause: BaseException) -> TransportError:
    """The error of a call that failed because of `cause`: one of the client's, or its own time being over."""
    return NotReady(message) if isinstance(cause, TimeoutError) else because(error_of(cause), message)


def because(error: KafkaError, message: str) -> TransportError:
    """The error of a call that failed because of `error`, of the kind that says who must act."""
    if error.code() in UNAUTHORIZED:
        return AccessDenied(f"{message.rstrip('.')}. {RIGHTS}")
    return NotReady(message) if error.code() in AWAITED else TransportError(message)


def verdict_of_abort(error: KafkaError) -> Verdict:
    """The verdict of a transaction that was certainly aborted because of `error`."""
    if error.code() in STALE:
        return Verdict.STALE
    return Verdict.REFUSED if error.code() in REFUSED else Verdict.ABORTED


def trouble_kind(error: KafkaError) -> str:
    """The word for a consumer's error; positions are always ours, so that a reset means one out of range."""
    code = error.code()
    if code in UNREACHABLE:
        return "unreachable"
    if code in _UNKNOWN_TOPIC:
        return "unknown_topic"
    if code in _OUT_OF_RANGE:
        return "position_out_of_range"
    return "position_missing" if code == KafkaError._NO_OFFSET else "other"
