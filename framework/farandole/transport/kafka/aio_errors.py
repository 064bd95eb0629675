"""What aiokafka's errors mean to us, in the words that librdkafka's have (`errors.py`, `access.py`).

Apart from those, because agents and coordinators need no aiokafka, and it takes a while to import.
"""

from aiokafka import errors as aio
from confluent_kafka import KafkaError

from farandole.errors import AccessDenied, NotReady, TransportError
from farandole.transport.kafka.access import SASL_WAY_OUT, UNAUTHORIZED, unauthorized
from farandole.transport.kafka.errors import AWAITED

AWAY = (aio.KafkaError, OSError, TimeoutError)
"""What a client raises that does not reach the cluster, or to which it says no."""

_NOT_LET_IN = (
    aio.AuthenticationFailedError,
    aio.AuthenticationMethodNotSupported,
    aio.IllegalSaslStateError,
    aio.SaslAuthenticationFailed,
    aio.UnsupportedSaslMechanismError,
)
"""Rarely seen: a client that looks for its cluster logs these, and raises that there is no connection."""

_SILENT = (OSError, TimeoutError, aio.KafkaTimeoutError, aio.KafkaUnavailableError)


def denied(error: BaseException, about: str) -> AccessDenied | None:
    """The error of a cluster that refuses who we are, or does not allow us this; None if it is another."""
    if isinstance(error, _NOT_LET_IN):
        return AccessDenied(f"{about}: expected to be let in, but {error!r}. In [kafka], {SASL_WAY_OUT}")
    code = _code(error)
    return unauthorized(KafkaError(code), about) if code in UNAUTHORIZED else None


def unreached(error: BaseException, where: str) -> TransportError:
    """The error of a cluster that was not reached, or did not answer; `NotReady` if it may in a while (0108)."""
    if (refused := denied(error, where)) is not None:
        return refused
    is_awaited = isinstance(error, _SILENT) or getattr(error, "retriable", False) or _code(error) in AWAITED
    told = f"{where}: cannot be reached: {error!r}"
    return NotReady(told) if is_awaited else TransportError(told)


def _code(error: BaseException) -> int | None:
    """The broker's number for it, the same for both clients; None if it is the client's own."""
    return error.errno if isinstance(error, aio.BrokerResponseError) else None
