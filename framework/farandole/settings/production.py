"""What `profile = "production"` refuses in the settings, each with its reason and the way out.

Pure. What can only be seen on the cluster (replicas, `min.insync.replicas`) is judged by a rule of
`farandole.cli.doctor`, and the same rule stops a process from starting.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from farandole.errors import ConfigError
from farandole.settings.sources import Origin
from farandole.transport.verification import verifies_certificate, verifies_name

if TYPE_CHECKING:
    from farandole.settings.connection import Connection

REPLICATION_MIN = 3
"""R14: with two replicas the loss of one stops all writes, with one it loses data."""

INSYNC_MIN = 2
"""R14: with one, an acknowledged record may exist once, and be lost with that broker."""

TOKENS = "sasl.oauthbearer.token.endpoint.url"

RULES: tuple[tuple[str, str], ...] = (
    (
        "topics with fewer than 3 replicas (`replication`, and what stands on the cluster)",
        "the loss of one broker must neither stop writes nor lose what was acknowledged (R14)",
    ),
    (
        "topics whose `min.insync.replicas` is below 2",
        "an acknowledged record that exists once is lost with that broker (R14)",
    ),
    (
        "`security.protocol` `PLAINTEXT` or `SASL_PLAINTEXT` without `allow_plaintext = true`",
        "passwords and payloads would be readable on the wire",
    ),
    (
        '`enable.ssl.certificate.verification = false`, `ssl.endpoint.identification.algorithm = "none"`',
        "whoever is in between could pose as the cluster",
    ),
    ("a registry over `http://` without `allow_plaintext = true`", "its password would be readable on the wire"),
    (
        "a token endpoint (`sasl.oauthbearer.token.endpoint.url`) over `http://` without `allow_plaintext = true`",
        "the client's secret and the tokens would be readable on the wire",
    ),
    ("`bootstrap` that nobody set", "a process that was not told its cluster would wait for one on its own machine"),
    (
        "`artifacts` that nobody set",
        "the default is a folder below the working folder: other processes would not find what this one wrote",
    ),
)
"""What is refused, and why; the page of the configuration shows them."""


def replication_of(settings: "Connection") -> int:
    """Replicas of created topics: in production never the broker's default, which may be 1."""
    return REPLICATION_MIN if settings.is_production and settings.replication < 0 else settings.replication


def require(settings: "Connection", origins: Mapping[str, Origin]) -> None:
    """Refuse settings that are unsafe in production.

    Raises:
        ConfigError: with every reason.
    """
    if not settings.is_production:
        return
    if found := list(refusals(settings, origins)):
        listed = "\n".join(f"  {each}" for each in found)
        raise ConfigError(f'settings: expected what is safe with profile = "production", but found:\n{listed}')


def refusals(settings: "Connection", origins: Mapping[str, Origin]) -> Iterator[str]:
    """What is unsafe, one line each."""
    if 0 <= settings.replication < REPLICATION_MIN:
        yield f"replication: expected at least {REPLICATION_MIN}, but found {settings.replication}; remove it"
    for key in ("bootstrap", "artifacts"):
        if key not in origins:
            yield f"{key}: expected it to be set, but it is not; set it in farandole.toml or as FARANDOLE_{key.upper()}"
    yield from _connection(settings)


def _connection(settings: "Connection") -> Iterator[str]:
    kafka = settings.kafka
    protocol = kafka.get("security.protocol", "PLAINTEXT").upper()
    if not protocol.endswith("SSL") and not settings.allow_plaintext:
        yield (
            f"kafka.security.protocol: expected SSL or SASL_SSL, but it is {protocol}; "
            "if the network encrypts by itself, set allow_plaintext = true"
        )
    if protocol.endswith("SSL") and not verifies_certificate(kafka):
        yield "kafka.enable.ssl.certificate.verification: expected true, but it is false; give ssl.ca.location instead"
    if protocol.endswith("SSL") and not verifies_name(kafka):
        yield (
            "kafka.ssl.endpoint.identification.algorithm: expected https, but it is none; "
            "use names that stand in the brokers' certificates"
        )
    tokens = kafka.get(TOKENS, "https:")
    if not tokens.lower().startswith("https:") and not settings.allow_plaintext:
        yield (
            f"kafka.{TOKENS}: expected https://, but found {tokens.partition(':')[0]}://; "
            "if the network encrypts by itself, set allow_plaintext = true"
        )
    registry = settings.registry
    if registry is not None and not registry.url.lower().startswith("https:") and not settings.allow_plaintext:
        yield (
            f"registry.url: expected https://, but it is {registry.url}; "
            "if the network encrypts by itself, set allow_plaintext = true"
        )
