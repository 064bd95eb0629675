"""One set of security settings for both clients: librdkafka's names, told to aiokafka in its own way.

TLS, mTLS, SASL PLAIN, SCRAM and OAUTHBEARER with client credentials (OIDC). What aiokafka has no
word for is refused, so that the two never connect with different guarantees.
"""

import asyncio
import difflib
import http.client
import json
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from aiokafka import errors as aio
from aiokafka.abc import AbstractTokenProvider
from aiokafka.helpers import create_ssl_context
from confluent_kafka import KafkaException, Producer

from farandole.errors import ConfigError, TransportError
from farandole.transport.kafka.errors import error_of
from farandole.transport.kafka.names import NAMES
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.verification import verifies_certificate, verifies_name

_OAUTH = "sasl.oauthbearer."
_UNTOLD = ("ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem", "ssl.keystore.location", "ssl.crl.location")
"""Security settings of librdkafka that aiokafka has no counterpart for."""

TOKEN_TIMEOUT = 10.0
ANSWER_BYTES_MAX = 1_048_576
"""Largest answer of a token endpoint that is read: tokens have kilobytes."""

TOKEN_SHARE = 0.8
"""Share of a token's life after which it is fetched anew: what librdkafka does."""

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def require_told(settings: KafkaSettings) -> None:
    """Check that both clients take what `[kafka]` says, before either connects.

    Raises:
        ConfigError: librdkafka does not know a name or take a value, or aiokafka cannot be told.
    """
    if not settings.extra:
        return
    for_aiokafka(settings.extra)
    try:
        Producer(settings.common("farandole.check"))
    except KafkaException as error:
        raise ConfigError(_untaken(error_of(error).str(), settings.extra)) from error


def _untaken(told: str, extra: Mapping[str, str]) -> str:
    unknown = next((name for name in extra if f'"{name}"' in told), "")
    near = difflib.get_close_matches(unknown, [each.name for each in NAMES], 1) if unknown else []
    meant = f"; did you mean {near[0]}?" if near and unknown not in near else ""
    return f"[kafka] {unknown or 'settings'}: expected what librdkafka takes, but: {told}{meant}"


def for_aiokafka(settings: Mapping[str, str]) -> dict[str, object]:
    """The keyword arguments that aiokafka's clients take.

    Raises:
        ConfigError: a setting that cannot be told to aiokafka, or one that is missing.
    """
    protocol = settings.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in PROTOCOLS:
        raise ConfigError(f"[kafka] security.protocol: expected one of {', '.join(PROTOCOLS)}, but it is {protocol!r}")
    if untold := sorted(name for name in settings if name in _UNTOLD):
        raise ConfigError(f"[kafka] {', '.join(untold)}: expected files in PEM format (ssl.*.location) instead")
    told: dict[str, object] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        told["ssl_context"] = _ssl_context(settings)
    if protocol.startswith("SASL"):
        told |= _sasl(settings)
    return told


def _ssl_context(settings: Mapping[str, str]) -> ssl.SSLContext:
    for name in ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location"):
        if name in settings and not Path(settings[name]).exists():
            raise ConfigError(f"[kafka] {name}: expected a file in PEM format, but {settings[name]} does not exist")
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=settings.get("ssl.ca.location"),
            certfile=settings.get("ssl.certificate.location"),
            keyfile=settings.get("ssl.key.location"),
            password=settings.get("ssl.key.password"),
        )
    except OSError as error:
        raise ConfigError(f"[kafka] ssl.*.location: expected files in PEM format, but: {error}") from error
    if not verifies_name(settings):
        context.check_hostname = False
    if not verifies_certificate(settings):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _sasl(settings: Mapping[str, str]) -> dict[str, object]:
    mechanism = (settings.get("sasl.mechanism") or settings.get("sasl.mechanisms") or "").upper()
    if mechanism == "OAUTHBEARER":
        if settings.get(f"{_OAUTH}method") != "oidc":
            raise ConfigError(f"[kafka] {_OAUTH}method: expected 'oidc', the only one that both clients know")
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": OidcTokens(settings)}
    if mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise ConfigError(
            "[kafka] sasl.mechanism: expected PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, "
            f"but it is {mechanism!r}"
        )
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": _required(settings, "sasl.username"),
        "sasl_plain_password": _required(settings, "sasl.password"),
    }


def _required(settings: Mapping[str, str], name: str) -> str:
    if not (value := settings.get(name)):
        raise ConfigError(f"[kafka] {name}: expected it with the SASL mechanism that was chosen, but it is missing")
    return value


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class NoToken(TransportError, aio.KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """There was none. Of both families: what aiokafka does not know ends its sender for good."""


class OidcTokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Access tokens by client credentials (RFC 6749, section 4.4), as librdkafka's `oidc` method fetches them."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._url = _required(settings, f"{_OAUTH}token.endpoint.url")
        self._client_id = _required(settings, f"{_OAUTH}client.id")
        self._secret = _required(settings, f"{_OAUTH}client.secret")
        self._scope = settings.get(f"{_OAUTH}scope", "")
        self._token = ""
        self._until = 0.0
        # The secret follows no redirect. Proxies are the environment's, as they are librdkafka's by libcurl.
        self._open = urllib.request.build_opener(_NoRedirect()).open

    async def token(self) -> str:
        """A token that is good for a while.

        Raises:
            NoToken: the endpoint gave none.
        """
        if time.monotonic() >= self._until:
            try:
                self._token, seconds = await asyncio.to_thread(self._fetch)
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, RecursionError) as error:
                raise NoToken(f"{self._url}: expected an access token, but: {error!r}") from error
            self._until = time.monotonic() + TOKEN_SHARE * seconds
        return self._token

    def _fetch(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials", **({"scope": self._scope} if self._scope else {})}
        credentials = b64encode(f"{self._client_id}:{self._secret}".encode()).decode()
        request = urllib.request.Request(
            self._url, urllib.parse.urlencode(form).encode(), {"Authorization": f"Basic {credentials}"}
        )
        try:
            with self._open(request, timeout=TOKEN_TIMEOUT) as answer:
                raw = answer.read(ANSWER_BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            error.close()
            raise
        if len(raw) > ANSWER_BYTES_MAX:
            raise ValueError(f"expected at most {ANSWER_BYTES_MAX} bytes of answer")
        body = json.loads(raw)
        return str(body["access_token"]), float(body.get("expires_in", 60))
