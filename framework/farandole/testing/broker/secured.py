"""A broker with TLS, SASL and ACLs, for tests of security: certificates and tokens are made on the spot.

Two listeners besides the plain one, on which everybody is a super user (for the test itself):
`MTLS`, where the certificate's common name is the principal, and `SASLSSL`, for PLAIN, SCRAM and
OAUTHBEARER. The authorizer allows nothing that was not granted. Needs `trustme` (extra `dev`).
"""

import base64
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from farandole.testing.broker.handle import Broker
from farandole.testing.broker.ladder import start_broker
from farandole.testing.broker.settings import BrokerSettings

if TYPE_CHECKING:
    import trustme

PASSWORD = "open-sesame"
"""Of every user."""

PLAIN_USERS = ("alice", "agent", "coordinator", "client", "apply", "doctor", "stranger")
"""Users of PLAIN are fixed when the broker starts; those of SCRAM are made with `SecuredBroker.add_user`."""

ITERATIONS = 4_096
"""Fewest that Kafka takes for SCRAM."""

CALL_TIMEOUT = 20.0


@dataclass(slots=True)
class SecuredBroker:
    """The broker, and the `[kafka]` settings of whoever wants in."""

    broker: Broker
    folder: Path
    authority: "trustme.CA"
    tokens: str
    """Address of the token endpoint; it gives to any client id a token in its name, for the password."""
    _made: int = field(default=0)

    @property
    def plaintext(self) -> str:
        """Where the test itself, a super user, does what it wants."""
        return self.broker.bootstrap

    @property
    def mtls(self) -> str:
        """Address of the listener that asks for certificates."""
        return self.broker.listeners["MTLS"]

    @property
    def sasl(self) -> str:
        """Address of the listener that asks for SASL over TLS."""
        return self.broker.listeners["SASLSSL"]

    def trust(self) -> dict[str, str]:
        """Who the broker's certificate comes from."""
        return {"ssl.ca.location": str(self.folder / "ca.pem")}

    def with_certificate(self, user: str, until: datetime | None = None) -> dict[str, str]:
        """Settings of mTLS as `user`; `until` in the past makes an expired certificate."""
        return self.with_certificate_of(self.authority, user, until)

    def with_certificate_of(self, authority: "trustme.CA", user: str, until: datetime | None = None) -> dict[str, str]:
        """As `with_certificate`, from another authority."""
        self._made += 1
        begun = until - timedelta(days=1) if until is not None else None
        issued = authority.issue_cert(f"{user}.test", common_name=user, not_before=begun, not_after=until)
        path = self.folder / f"{user}-{self._made}.pem"
        path.write_bytes(issued.private_key_pem.bytes() + b"".join(each.bytes() for each in issued.cert_chain_pems))
        located = {"ssl.certificate.location": str(path), "ssl.key.location": str(path)}
        return {"security.protocol": "SSL", **self.trust(), **located}

    def with_password(self, mechanism: str, user: str, password: str = PASSWORD) -> dict[str, str]:
        """Settings of PLAIN or SCRAM as `user`."""
        return {
            "security.protocol": "SASL_SSL",
            **self.trust(),
            "sasl.mechanism": mechanism,
            "sasl.username": user,
            "sasl.password": password,
        }

    def with_token(self, user: str, secret: str = PASSWORD) -> dict[str, str]:
        """Settings of OAUTHBEARER as `user`."""
        oauth = "sasl.oauthbearer."
        return {
            "security.protocol": "SASL_SSL",
            **self.trust(),
            "sasl.mechanism": "OAUTHBEARER",
            f"{oauth}method": "oidc",
            f"{oauth}token.endpoint.url": self.tokens,
            f"{oauth}client.id": user,
            f"{oauth}client.secret": secret,
        }

    def add_user(self, user: str) -> None:
        """Let a user in by SCRAM."""
        client = self.super_user()
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            wanted = UserScramCredentialUpsertion(
                user, ScramCredentialInfo(mechanism, ITERATIONS), PASSWORD.encode(), user.encode()
            )
            for future in client.alter_user_scram_credentials([wanted]).values():
                future.result(CALL_TIMEOUT)

    def super_user(self) -> AdminClient:
        """An admin client that may do everything."""
        return AdminClient({"bootstrap.servers": self.plaintext, "log_level": 0})


@contextmanager
def secured_broker(settings: BrokerSettings | None = None) -> Iterator[SecuredBroker]:
    """Start one; it ends with the context.

    Raises:
        NoBroker: none of our own can be started: only the tier with Java has listeners.
    """
    import trustme

    with tempfile.TemporaryDirectory(prefix="farandole-secured-") as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        store = _key_store(authority, folder)
        given = settings or BrokerSettings.from_environment()
        chosen = BrokerSettings(
            bootstrap=None,
            cache=given.cache,
            java_home=given.java_home,
            listeners={"MTLS": "SSL", "SASLSSL": "SASL_SSL"},
            properties=_properties(store, folder / "ca.pem"),
        )
        with _token_endpoint() as tokens, start_broker(chosen) as broker:
            yield SecuredBroker(broker, folder, authority, tokens)


def _properties(store: Path, authority: Path) -> Mapping[str, str]:
    plain = " ".join(f'user_{user}="{PASSWORD}"' for user in PLAIN_USERS)
    common = "org.apache.kafka.common.security"
    sasl = "listener.name.saslssl"
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority),
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,RULE:^.*[,+]\\\\s*CN=([^,+]+).*$/$1/,DEFAULT",
        f"{sasl}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        f"{sasl}.plain.sasl.jaas.config": f"{common}.plain.PlainLoginModule required {plain};",
        f"{sasl}.scram-sha-256.sasl.jaas.config": f"{common}.scram.ScramLoginModule required;",
        f"{sasl}.scram-sha-512.sasl.jaas.config": f"{common}.scram.ScramLoginModule required;",
        f"{sasl}.oauthbearer.sasl.jaas.config": f"{common}.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";',
    }


def _key_store(authority: "trustme.CA", folder: Path) -> Path:
    """The broker's certificate and key in one file; Java reads keys as PKCS#8 only."""
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    issued = authority.issue_cert("localhost", "127.0.0.1", common_name="broker")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    path = folder / "broker.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    return path


class _Tokens(BaseHTTPRequestHandler):
    """An OIDC provider that knows one password; its tokens are unsecured JWTs (RFC 7519, section 6)."""

    def do_POST(self) -> None:
        """Client credentials in, a token out."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        user, _, secret = base64.b64decode(given).decode().partition(":")
        if secret != PASSWORD:
            self._answer(401, {"error": "invalid_client"})
            return
        now = time.time()
        claims = {"sub": user, "iat": now - 5, "exp": now + 300, "scope": ""}
        token = f"{_base64({'alg': 'none', 'typ': 'JWT'})}.{_base64(claims)}."
        self._answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": 300})

    def _answer(self, status: int, body: Mapping[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Nothing: the terminal is the tests'."""


def _base64(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@contextmanager
def _token_endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Tokens)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def expired() -> datetime:
    """An instant before which a certificate may have ended."""
    return datetime.now(UTC) - timedelta(days=1)
