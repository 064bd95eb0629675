"""One set of security settings for both clients: librdkafka's names, told to aiokafka in its own way.

TLS, mTLS, SASL PLAIN, SCRAM and OAUTHBEARER with client credentials (OIDC). What aiokafka has no
word for is refused, so that the two never connect with different guarantees: also names that
librdkafka may have one day.
"""

import difflib
import ssl
from collections.abc import Mapping
from pathlib import Path

from aiokafka.helpers import create_ssl_context
from confluent_kafka import KafkaException, Producer

from farandole.errors import ConfigError
from farandole.transport.kafka.errors import error_of
from farandole.transport.kafka.names import NAMES
from farandole.transport.kafka.settings import KafkaSettings
from farandole.transport.kafka.tokens import OAUTH, OidcTokens, required
from farandole.transport.verification import verifies_certificate, verifies_name

_TOLD = frozenset(each.name for each in NAMES) | {"sasl.mechanisms"}
"""What both clients are told: the documented names, and the proper one of `sasl.mechanism`."""

_SECURITY = ("enable.sasl.", "enable.ssl.", "https.", "sasl.", "security.", "ssl.")
"""How the names of librdkafka's settings begin that are about security."""

_PEM = ("ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem", "ssl.keystore.location", "ssl.keystore.password")
"""Those of which there is another way to say the same."""

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")


def require_told(settings: KafkaSettings) -> None:
    """Check that both clients take what `[kafka]` says, before either connects.

    Raises:
        ConfigError: librdkafka does not know a name or take a value, or aiokafka cannot be told.
    """
    if not settings.extra:
        return
    untold = _untold(settings.extra)
    if not untold:
        for_aiokafka(settings.extra)
    try:
        Producer(settings.common("farandole.check"))
    except KafkaException as error:
        raise ConfigError(_untaken(error_of(error).str(), settings.extra)) from error  # a name that is not quite one
    if untold:
        raise ConfigError(untold)


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
    if untold := _untold(settings):
        raise ConfigError(untold)
    told: dict[str, object] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        told["ssl_context"] = _ssl_context(settings)
    if protocol.startswith("SASL"):
        told |= _sasl(settings)
    return told


def _untold(settings: Mapping[str, str]) -> str:
    """Why settings cannot be told to aiokafka; empty if all can. The others are no matter of security."""
    names = sorted(name for name in settings if name.startswith(_SECURITY) and name not in _TOLD)
    if not names:
        return ""
    if all(name in _PEM for name in names):
        return f"[kafka] {', '.join(names)}: expected files in PEM format (ssl.*.location) instead"
    return (
        f"[kafka] {', '.join(names)}: expected security that both clients can be told, but aiokafka, which sends for "
        "applications, has no word for this; docs/reference/configuration.md lists what both know"
    )


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
    if suites := settings.get("ssl.cipher.suites"):
        _choose(context, suites)
    if not verifies_name(settings):
        context.check_hostname = False
    if not verifies_certificate(settings):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _choose(context: ssl.SSLContext, suites: str) -> None:
    """By the same call as librdkafka's, `SSL_CTX_set_cipher_list`: it passes over names of TLS 1.3, which stays as it
    is, and refuses a list that has no other."""
    try:
        context.set_ciphers(suites)
    except ssl.SSLError as error:
        raise ConfigError(
            f"[kafka] ssl.cipher.suites: expected OpenSSL's names, one of them at least for TLS 1.2, but: {error}"
        ) from error


def _sasl(settings: Mapping[str, str]) -> dict[str, object]:
    said = {settings[name].upper() for name in ("sasl.mechanism", "sasl.mechanisms") if settings.get(name)}
    if len(said) > 1:
        raise ConfigError(
            f"[kafka] sasl.mechanism, sasl.mechanisms: expected one, but found {' and '.join(sorted(said))}"
        )
    mechanism = said.pop() if said else ""
    if mechanism == "OAUTHBEARER":
        if settings.get(f"{OAUTH}method") != "oidc":
            raise ConfigError(f"[kafka] {OAUTH}method: expected 'oidc', the only one that both clients know")
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": OidcTokens(settings)}
    if mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        raise ConfigError(
            "[kafka] sasl.mechanism: expected PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER, "
            f"but it is {mechanism!r}"
        )
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": required(settings, "sasl.username"),
        "sasl_plain_password": required(settings, "sasl.password"),
    }
