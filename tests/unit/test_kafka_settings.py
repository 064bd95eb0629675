"""What the Kafka clients are told: what the guarantee rests on can not be changed, the rest can."""

import ssl
from dataclasses import replace
from datetime import timedelta

import pytest

from farandole.errors import ConfigError
from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.names import NAMES
from farandole.transport.kafka.security import _untold, for_aiokafka, require_told
from farandole.transport.kafka.settings import FIXED, require
from farandole.transport.port import MemberSettings

MEMBER = MemberSettings("ns.unit", "ns.unit.0")


def seconds(count: float) -> timedelta:
    """Short for a duration."""
    return timedelta(seconds=count)


def test_member_is_told_what_rule_14_demands() -> None:
    told = KafkaSettings("host:9092").member(MEMBER)

    assert told["isolation.level"] == "read_committed"
    assert told["enable.auto.commit"] is False
    assert told["auto.offset.reset"] == "error"
    assert told["group.protocol"] == "classic"
    assert told["session.timeout.ms"] == 10_000
    assert told["max.poll.interval.ms"] == 300_000
    assert told["queued.max.messages.kbytes"] == 16_384
    assert "group.instance.id" not in told


def test_transactional_producer_is_told_what_rule_14_demands() -> None:
    told = KafkaSettings("host:9092").transactional("ns.unit.0")

    assert told["acks"] == "all"
    assert told["enable.idempotence"] is True
    assert told["partitioner"] == "murmur2_random"
    assert told["transactional.id"] == told["client.id"] == "ns.unit.0"
    assert told["transaction.timeout.ms"] == 10_000
    for limit in ("message.timeout.ms", "socket.timeout.ms"):
        assert int(str(told[limit])) < 10_000, limit


@pytest.mark.parametrize("name", sorted(FIXED))
def test_settings_that_decide_the_guarantee_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        KafkaSettings("host:9092", {name: "x"})


@pytest.mark.parametrize(
    ("proper", "known_as"),
    [
        ("auto.commit.enable", "enable.auto.commit"),
        ("metadata.broker.list", "bootstrap.servers"),
        ("request.required.acks", "acks"),
    ],
)
def test_settings_that_decide_the_guarantee_are_refused_by_their_other_names(proper: str, known_as: str) -> None:
    """The story: `bootstrap.servers` is another name of `metadata.broker.list`, which was taken: every client of
    librdkafka's went to a cluster that nobody had named as the log, and those of aiokafka to the one in `bootstrap`."""
    assert {proper, known_as} <= FIXED
    with pytest.raises(ConfigError, match=proper):
        KafkaSettings("host:9092", {proper: "elsewhere:9092"})


def test_settings_of_the_user_reach_every_client() -> None:
    settings = KafkaSettings("host:9092", {"security.protocol": "SSL", "socket.timeout.ms": "1234"})

    for told in (settings.common("c"), settings.consumer("c", "g"), settings.producer("c"), settings.member(MEMBER)):
        assert told["security.protocol"] == "SSL"
        assert told["socket.timeout.ms"] == "1234"


@pytest.mark.parametrize("bootstrap", ["", "host", "host:9092,other"])
def test_address_without_port_is_refused(bootstrap: str) -> None:
    with pytest.raises(ConfigError, match="host:port"):
        KafkaSettings(bootstrap)


@pytest.mark.parametrize(
    ("member", "what"),
    [
        (replace(MEMBER, assignor="roundrobin"), "assignor"),
        (replace(MEMBER, session_timeout=seconds(5)), "session_timeout"),
        (replace(MEMBER, session_timeout=seconds(16)), "session_timeout"),
        (replace(MEMBER, poll_interval=seconds(301)), "poll_interval"),
        (replace(MEMBER, poll_interval=seconds(9)), "poll_interval"),
        (replace(MEMBER, transaction_timeout=seconds(11)), "transaction_timeout"),
    ],
)
def test_member_out_of_bounds_is_refused_by_name(member: MemberSettings, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        require(member)
    with pytest.raises(ConfigError, match=what):
        KafkaSettings("host:9092").member(member)

    assert KafkaSettings("host:9092", strict=False).member(member)["group.id"] == "ns.unit"


def test_secrets_are_not_shown() -> None:
    settings = KafkaSettings("host:9092", {"sasl.password": "hunter2"})

    assert "hunter2" not in repr(settings)


# --- security, told to aiokafka ------------------------------------------------------------------


def test_nothing_said_is_plaintext() -> None:
    assert for_aiokafka({}) == {"security_protocol": "PLAINTEXT"}


def test_tls_gives_a_context_that_verifies_unless_told_otherwise() -> None:
    strict = for_aiokafka({"security.protocol": "ssl"})["ssl_context"]
    lax = for_aiokafka({"security.protocol": "SSL", "enable.ssl.certificate.verification": "false"})["ssl_context"]
    nameless = for_aiokafka({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "none"})

    assert isinstance(strict, ssl.SSLContext)
    assert (strict.check_hostname, strict.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert isinstance(lax, ssl.SSLContext)
    assert (lax.check_hostname, lax.verify_mode) == (False, ssl.CERT_NONE)
    assert isinstance(nameless["ssl_context"], ssl.SSLContext)
    assert nameless["ssl_context"].check_hostname is False


@pytest.mark.parametrize("word", ["false", "False", "f", "0"])
def test_tls_verifies_for_both_clients_or_for_none_of_them(word: str) -> None:
    """librdkafka took `0` for a no, and aiokafka went on verifying."""
    lax = for_aiokafka({"security.protocol": "SSL", "enable.ssl.certificate.verification": word})["ssl_context"]
    nameless = for_aiokafka({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "NONE"})

    assert isinstance(lax, ssl.SSLContext)
    assert lax.verify_mode == ssl.CERT_NONE
    assert isinstance(nameless["ssl_context"], ssl.SSLContext)
    assert nameless["ssl_context"].check_hostname is False


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
def test_sasl_password_mechanisms_are_told_with_their_credentials(mechanism: str) -> None:
    told = for_aiokafka(
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "sasl.username": "me",
            "sasl.password": "secret",
        }
    )

    assert told == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism.upper(),
        "sasl_plain_username": "me",
        "sasl_plain_password": "secret",
    }


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"security.protocol": "TLS"}, "security.protocol"),
        ({"security.protocol": "SASL_PLAINTEXT"}, "sasl.mechanism"),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "GSSAPI"}, "sasl.mechanism"),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "me"}, "sasl.password"),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER"}, "sasl.oauthbearer.method"),
        ({"security.protocol": "SSL", "enable.ssl.certificate.verification": "no"}, "certificate.verification"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "-----BEGIN"}, "ssl.ca.pem"),
        ({"security.protocol": "SSL", "ssl.crl.location": "crl.pem"}, r"ssl\.crl\.location: .*no word for this"),
        ({"security.protocol": "SSL", "ssl.curves.list": "P-521"}, r"ssl\.curves\.list: .*no word for this"),
        ({"security.protocol": "SSL", "ssl.sigalgs.list": "RSA+SHA512"}, r"ssl\.sigalgs\.list: .*no word for this"),
        ({"security.protocol": "SSL", "ssl.one.day": "x"}, r"ssl\.one\.day: .*no word for this"),
        ({"sasl.kerberos.principal": "me"}, r"sasl\.kerberos\.principal: .*no word for this"),
        ({"enable.sasl.oauthbearer.unsecure.jwt": "true"}, r"unsecure\.jwt: .*no word for this"),
        ({"https.ca.pem": "-----BEGIN"}, r"https\.ca\.pem: .*no word for this"),
        ({"security.protocol": "SSL", "ssl.cipher.suites": "TLS_AES_256_GCM_SHA384"}, r"cipher\.suites: .*TLS 1\.2"),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.mechanisms": "SCRAM-SHA-256"},
            "found PLAIN and SCRAM-SHA-256",
        ),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere/ca.pem"}, "ssl"),
    ],
)
def test_security_that_both_clients_cannot_share_is_refused_by_name(settings: dict[str, str], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        for_aiokafka(settings)


def test_cipher_suites_are_told_to_both_clients() -> None:
    """The story: librdkafka offered the one suite that was asked for, and aiokafka all seventeen."""
    told = for_aiokafka({"security.protocol": "SSL", "ssl.cipher.suites": "ECDHE-RSA-AES256-GCM-SHA384"})["ssl_context"]

    assert isinstance(told, ssl.SSLContext)
    offered = {each["name"] for each in told.get_ciphers()}
    assert {name for name in offered if not name.startswith("TLS_")} == {"ECDHE-RSA-AES256-GCM-SHA384"}


def test_every_name_that_is_documented_is_one_that_both_clients_are_told() -> None:
    for each in NAMES:
        assert not _untold({each.name: each.default}), each.name


def test_name_that_is_no_matter_of_security_is_taken() -> None:
    assert for_aiokafka({"socket.timeout.ms": "1234"}) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ({"ssl.curves.list": "P-521"}, r"ssl\.curves\.list: .*no word for this"),
        ({"ssl.ca.lokation": "ca.pem"}, r"ssl\.ca\.lokation: .*did you mean ssl\.ca\.location\?"),
    ],
)
def test_name_that_librdkafka_does_not_know_is_told_from_one_that_aiokafka_has_no_word_for(
    extra: dict[str, str], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        require_told(KafkaSettings("127.0.0.1:1", extra))
