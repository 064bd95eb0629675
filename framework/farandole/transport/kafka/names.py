"""The settings of `[kafka]` that are documented: those that both clients understand in the same way."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Name:
    """One of librdkafka's settings, and why one would set it."""

    name: str
    default: str
    why: str
    unit: str = ""


NAMES: tuple[Name, ...] = (
    Name("security.protocol", "PLAINTEXT", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL: what the listener speaks."),
    Name("ssl.ca.location", "", "File of the authorities that the brokers' certificates may come from, PEM."),
    Name("ssl.certificate.location", "", "File of our certificate for mTLS, PEM."),
    Name("ssl.key.location", "", "File of the key of that certificate, PEM."),
    Name("ssl.key.password", "", "Of that key."),
    Name(
        "ssl.endpoint.identification.algorithm", "https", "`none` takes a certificate for any name; not in production."
    ),
    Name("enable.ssl.certificate.verification", "true", "`false` takes any certificate; not in production."),
    Name("ssl.cipher.suites", "", "Suites for TLS 1.2, in OpenSSL's words; those of 1.3 are not chosen by it."),
    Name("sasl.mechanism", "", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."),
    Name("sasl.username", "", "Of PLAIN and SCRAM."),
    Name("sasl.password", "", "Of PLAIN and SCRAM."),
    Name("sasl.oauthbearer.method", "", "`oidc`, the one that both clients know: client credentials (RFC 6749, 4.4)."),
    Name("sasl.oauthbearer.token.endpoint.url", "", "Where tokens are fetched."),
    Name("sasl.oauthbearer.client.id", "", "Who we are there."),
    Name("sasl.oauthbearer.client.secret", "", "How we prove it."),
    Name("sasl.oauthbearer.scope", "", "What we ask for."),
    Name("sasl.oauthbearer.extensions", "", "`name=value,name=value`: told to the brokers with each token (RFC 7628)."),
    Name("https.ca.location", "", "File of the authorities that the token endpoint's certificate may come from, PEM."),
)
