"""Whether TLS verifies who the cluster is, in every spelling that librdkafka takes.

One reading for both clients and for `profile = "production"`: what one of them takes for a no is a no to all.
"""

from collections.abc import Mapping

from farandole.errors import ConfigError

CERTIFICATE = "enable.ssl.certificate.verification"
NAME = "ssl.endpoint.identification.algorithm"

_CERTIFICATE = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_NAME = {"https": True, "none": False}


def verifies_certificate(kafka: Mapping[str, str]) -> bool:
    """Whether the brokers' certificates are checked.

    Raises:
        ConfigError: the setting is neither a yes nor a no.
    """
    return _said(kafka, CERTIFICATE, _CERTIFICATE)


def verifies_name(kafka: Mapping[str, str]) -> bool:
    """Whether a certificate must be that of the host; errors as `verifies_certificate`."""
    return _said(kafka, NAME, _NAME)


def _said(kafka: Mapping[str, str], name: str, words: Mapping[str, bool]) -> bool:
    value = kafka.get(name)
    if value is None:
        return True
    if value.lower() not in words:
        raise ConfigError(f"[kafka] {name}: expected one of {', '.join(words)}, but found {value!r}")
    return words[value.lower()]
