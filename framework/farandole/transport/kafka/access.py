"""Why a cluster does not let us in, in one message with a way out.

librdkafka repeats a refused connection for ever, and says so only to who polls the client. A
question whose client was refused is therefore given up early: another try cannot help before
somebody changes a setting.
"""

import time
from collections.abc import Callable

from confluent_kafka import KafkaError

from farandole.errors import AccessDenied, NotReady, TransportError

DENIED_AFTER = 1.0
"""Seconds between the first refusal and giving up: one may be an accident of a broker that is going down."""

_TLS_WAY_OUT = (
    "see that ssl.ca.location is the brokers' authority, and our certificate is theirs to trust and not expired"
)
SASL_WAY_OUT = "see sasl.mechanism, sasl.username and sasl.password (or sasl.oauthbearer.*)"
_WAYS_OUT = {
    KafkaError._AUTHENTICATION: SASL_WAY_OUT,
    KafkaError.SASL_AUTHENTICATION_FAILED: SASL_WAY_OUT,
    KafkaError._SSL: _TLS_WAY_OUT,
}

RIGHTS = "`farandole acls` prints the rights that each kind of process needs"

UNAUTHORIZED = frozenset(
    {
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
"""We are in, and may not do this."""


class Refusals:
    """A client's `error_cb`: what its connections have met; serves whoever waits for an answer."""

    def __init__(self, bootstrap: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._denied: KafkaError | None = None
        self._since = 0.0
        self._last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        """An error of a connection."""
        if _way_out(error) and self._denied is None:
            self._denied, self._since = error, self._clock()
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._last = error

    def answered(self) -> None:
        """The cluster has answered: what came before is over."""
        self._denied = self._last = None

    def check(self) -> None:
        """Raise once it is clear that waiting cannot help.

        Raises:
            AccessDenied: we were refused a while ago, and nothing has been answered since.
        """
        if self._denied is not None and self._clock() - self._since >= DENIED_AFTER:
            raise self.reason("")

    def reason(self, otherwise: str) -> TransportError:
        """The error to raise for a question that was not answered; `otherwise` is what the client says itself."""
        if self._denied is not None:
            told = f"{self._denied.name()}: {self._denied.str()}"
            return AccessDenied(
                f"{self._bootstrap}: expected to be let in, but {told}. In [kafka], {_way_out(self._denied)}."
            )
        told = f"{self._last.name()}: {self._last.str()}" if self._last is not None else otherwise
        return NotReady(
            f"{self._bootstrap}: cannot be reached: {told}. See that a broker listens there, "
            "and speaks the security.protocol of [kafka]"
        )


def _way_out(error: KafkaError) -> str:
    """What to look at; empty if it is no refusal. In TLS 1.3 a certificate is refused after the handshake is over."""
    is_alert = error.code() == KafkaError._TRANSPORT and "SSL routines" in error.str() and " alert " in error.str()
    return _TLS_WAY_OUT if is_alert else _WAYS_OUT.get(error.code(), "")


def words(error: KafkaError) -> str:
    """The error in words, with a way out where it is a missing right."""
    told = f"{error.name()}: {error.str()}"
    return f"{told}. {RIGHTS}" if error.code() in UNAUTHORIZED else told


def unauthorized(error: KafkaError, about: str) -> AccessDenied:
    """The error of a question that we may not ask."""
    return AccessDenied(f"{about}: expected to be allowed, but {words(error)}")


def refusal(error: KafkaError, about: str) -> TransportError:
    """The error of a question that was answered with one: a missing right, or another."""
    return unauthorized(error, about) if error.code() in UNAUTHORIZED else TransportError(f"{about}: {error.str()}")
