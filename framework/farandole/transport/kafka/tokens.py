"""Access tokens for SASL OAUTHBEARER by client credentials (OIDC), for aiokafka; librdkafka fetches its own.

Told by librdkafka's names, and read as it reads them.
"""

import asyncio
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from aiokafka import errors as aio
from aiokafka.abc import AbstractTokenProvider

from farandole.errors import ConfigError, TransportError

OAUTH = "sasl.oauthbearer."
"""How the names of its settings begin."""

TOKEN_TIMEOUT = 10.0
ANSWER_BYTES_MAX = 1_048_576
"""Largest answer of a token endpoint that is read: tokens have kilobytes."""

TOKEN_SHARE = 0.8
"""Share of a token's life after which it is fetched anew: what librdkafka does."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class NoToken(TransportError, aio.KafkaError):  # type: ignore[misc]  # aiokafka has no types
    """There was none. Of both families: what aiokafka does not know ends its sender for good."""


class OidcTokens(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka has no types
    """Access tokens by client credentials (RFC 6749, section 4.4), as librdkafka's `oidc` method fetches them."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._url = required(settings, f"{OAUTH}token.endpoint.url")
        self._client_id = required(settings, f"{OAUTH}client.id")
        self._secret = required(settings, f"{OAUTH}client.secret")
        self._scope = settings.get(f"{OAUTH}scope", "")
        self._token = ""
        self._until = 0.0
        self._told = _extensions(settings.get(f"{OAUTH}extensions", ""))
        self._open = _opener(settings).open

    async def token(self) -> str:
        """A token that is good for a while.

        Raises:
            NoToken: the endpoint gave none.
        """
        if time.monotonic() >= self._until:
            try:
                self._token, seconds = await self._fetched()
            except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, RecursionError) as error:
                raise NoToken(f"{self._url}: expected an access token, but: {error!r}") from error
            self._until = time.monotonic() + TOKEN_SHARE * seconds
        return self._token

    def extensions(self) -> dict[str, str]:
        """What is told to the brokers beside it."""
        return self._told

    async def _fetched(self) -> tuple[str, float]:
        """In a thread of our own: the loop's are the application's, and an endpoint may take long."""
        thread = ThreadPoolExecutor(1, "farandole.token")
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, self._fetch)
        finally:
            thread.shutdown(wait=False)

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


def required(settings: Mapping[str, str], name: str) -> str:
    """A setting that must be there.

    Raises:
        ConfigError: it is not.
    """
    if not (value := settings.get(name)):
        raise ConfigError(f"[kafka] {name}: expected it with the SASL mechanism that was chosen, but it is missing")
    return value


def _extensions(text: str) -> dict[str, str]:
    """What is told with a token, read as librdkafka reads it, of which a backslash would be an escape.

    Source: RFC 7628, section 3.1, and librdkafka `rd_string_split`, `check_oauthbearer_extension_key`.
    """
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        match = _EXTENSION.fullmatch(pair)
        if match is None or match["name"] in ("auth", *found):
            raise ConfigError(
                f"[kafka] {OAUTH}extensions: expected name=value,name=value with names of letters, each once and none "
                "of them auth, and values of printable ASCII without a backslash"
            )
        found[match["name"]] = match["value"]
    return found


_EXTENSION = re.compile(r"(?P<name>[A-Za-z]+)=(?P<value>[\t\r\n -\[\]-~]*)")


def _opener(settings: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """The secret follows no redirect. Proxies are the environment's, as they are librdkafka's by libcurl."""
    try:
        trusting = ssl.create_default_context(cafile=settings.get("https.ca.location"))
    except OSError as error:
        raise ConfigError(f"[kafka] https.ca.location: expected a file in PEM format, but: {error}") from error
    return urllib.request.build_opener(_NoRedirect(), urllib.request.HTTPSHandler(context=trusting))
