"""Access tokens for SASL OAUTHBEARER: fetched once, kept for most of their life."""

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka.errors import KafkaError

from farandole.errors import ConfigError, TransportError
from farandole.transport.kafka.security import for_aiokafka
from farandole.transport.kafka.tokens import ANSWER_BYTES_MAX, NoToken, OidcTokens


class _Endpoint(BaseHTTPRequestHandler):
    """Gives numbered tokens, to who knows the secret."""

    asked: list[tuple[str, str]]
    instead: tuple[int, bytes] | None
    """What it answers whoever asks, if not the truth; a redirect leads back here."""

    def do_POST(self) -> None:
        """One token."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append((self.headers["Authorization"], body))
        if self.instead is not None:
            status, raw = self.instead
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(raw)
            return
        is_known = self.headers["Authorization"] == "Basic bWU6c2VjcmV0"
        answer = {"access_token": f"token-{len(self.asked)}", "expires_in": 3600} if is_known else {"error": "no"}
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def do_GET(self) -> None:
        """Who follows a redirect asks so."""
        self.asked.append((self.headers["Authorization"], self.path))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access_token":"stolen"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
        """Say nothing."""


class Applications(ThreadPoolExecutor):
    """The threads of the loop, which are none of ours."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Not for us."""
        raise AssertionError("a thread of the application's was taken")


@pytest.fixture
def endpoint() -> Iterator[str]:
    """The address of a token endpoint."""
    _Endpoint.asked, _Endpoint.instead = [], None
    server = HTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    thread.join()
    server.server_close()


def settings(endpoint: str, secret: str = "secret") -> dict[str, str]:
    """As librdkafka takes them."""
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": endpoint,
        "sasl.oauthbearer.client.id": "me",
        "sasl.oauthbearer.client.secret": secret,
        "sasl.oauthbearer.scope": "kafka",
    }


def test_token_is_fetched_once_and_kept(endpoint: str) -> None:
    told = for_aiokafka(settings(endpoint))
    provider = told["sasl_oauth_token_provider"]
    assert isinstance(provider, OidcTokens)

    async def ask() -> list[str]:
        return [await provider.token(), await provider.token()]

    assert asyncio.run(ask()) == ["token-1", "token-1"]
    assert _Endpoint.asked == [("Basic bWU6c2VjcmV0", "grant_type=client_credentials&scope=kafka")]
    assert told["sasl_mechanism"] == "OAUTHBEARER"


def test_token_that_is_refused_names_the_endpoint(endpoint: str) -> None:
    provider = OidcTokens(settings(endpoint, secret="wrong"))

    with pytest.raises(NoToken, match="token") as told:
        asyncio.run(provider.token())

    assert isinstance(told.value, TransportError)
    assert isinstance(told.value, KafkaError), "anything else ends aiokafka's sender for good"


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (302, b""),
        (200, b"[]"),
        (200, b"not json"),
        (200, b"[" * 100_000),
        (200, b'{"access_token":"t","expires_in":null}'),
        (200, b" " * (ANSWER_BYTES_MAX + 1)),
    ],
    ids=["redirect", "list", "text", "deep", "no life", "too large"],
)
def test_answer_that_is_no_token_is_none_and_the_secret_goes_nowhere_else(
    endpoint: str, status: int, raw: bytes
) -> None:
    """A redirect took the secret along to wherever it led; a list ended aiokafka's sender with a TypeError."""
    _Endpoint.instead = (status, raw)

    with pytest.raises(NoToken):
        asyncio.run(OidcTokens(settings(endpoint)).token())

    assert len(_Endpoint.asked) == 1


def test_extensions_go_to_the_brokers_with_the_tokens_of_both_clients(endpoint: str) -> None:
    """The story: librdkafka sent them and aiokafka did not, so that a cluster that is chosen by them took one client
    and refused the other."""
    told = {**settings(endpoint), "sasl.oauthbearer.extensions": "logicalCluster=lkc-1, identityPoolId=a=b,,empty="}

    assert OidcTokens(told).extensions() == {"logicalCluster": "lkc-1", "identityPoolId": "a=b", "empty": ""}
    assert OidcTokens(settings(endpoint)).extensions() == {}


@pytest.mark.parametrize("text", ["a", "=b", "a1=b", "auth=b", "a=b,a=c", "a=b\\,c", "a=\u00e9", "a=\x01"])
def test_extensions_that_librdkafka_would_refuse_or_read_otherwise_are_refused(endpoint: str, text: str) -> None:
    with pytest.raises(ConfigError, match=r"sasl\.oauthbearer\.extensions: expected name=value"):
        OidcTokens({**settings(endpoint), "sasl.oauthbearer.extensions": text})


def test_token_takes_no_thread_of_the_application(endpoint: str) -> None:
    """An endpoint that does not answer held one of the loop's for ten seconds."""

    async def ask() -> str:
        asyncio.get_running_loop().set_default_executor(Applications())
        return str(await OidcTokens(settings(endpoint)).token())

    assert asyncio.run(ask()) == "token-1"


def test_authority_of_the_token_endpoint_is_told_to_both_clients(endpoint: str, tmp_path: Path) -> None:
    """librdkafka trusted it, and aiokafka the machine's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = HTTPServer(("127.0.0.1", 0), _Endpoint)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told = settings(f"https://127.0.0.1:{server.server_port}/token")
    try:
        with pytest.raises(NoToken, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(OidcTokens(told).token())
        token = asyncio.run(OidcTokens({**told, "https.ca.location": str(tmp_path / "ca.pem")}).token())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert token == "token-1"


def test_authority_that_is_not_there_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"https\.ca\.location"):
        OidcTokens({**settings(endpoint), "https.ca.location": "/nowhere/ca.pem"})
