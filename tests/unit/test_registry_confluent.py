"""A Confluent-compatible registry, against a small one in this process."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from farandole.clock import ManualClock
from farandole.errors import ConfigError, SchemaRefused, TransportError, UnknownSchema
from farandole.events.avro import Schema, SchemaBook
from farandole.events.framing import Kind, unframe
from farandole.registry import SchemaRegistry
from farandole.registry.compatibility import Compatibility
from farandole.registry.confluent import UNKNOWN_FOR, ConfluentRegistry
from farandole.registry.http import ANSWER_BYTES_MAX, HttpSettings, JsonHttp
from farandole.testing.registry import RegistryServer, registry_server

ORDER = Schema.parse('{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"id","type":"string"}]}')
PLAIN = {"id": "o-1"}


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    """A registry on a free port of this machine."""
    with registry_server() as made:
        yield made


@dataclass
class Client:
    """A process: its registry client, its book, its clock, and how long it slept."""

    registry: ConfluentRegistry
    book: SchemaBook
    clock: ManualClock
    slept: list[float]


def client(server: RegistryServer, user: str = "", password: str = "", **more: object) -> Client:
    """A process that knows nothing yet."""
    book, clock, slept = SchemaBook(), ManualClock(), list[float]()
    settings = HttpSettings(server.url, user, password, timeout=timedelta(seconds=5), attempts_max=3)
    return Client(ConfluentRegistry(JsonHttp(settings, slept.append), book, clock), book, clock, slept)


def test_payload_crosses_from_one_process_to_another_in_the_registrys_frame(server: RegistryServer) -> None:
    ours, theirs = client(server), client(server)
    apply: SchemaRegistry = client(server).registry
    apply.publish([ORDER])
    ours.book.add(ORDER)

    on_topic = ours.registry.outbound(ORDER.encode(PLAIN))

    assert unframe(on_topic).kind is Kind.CONFLUENT
    assert on_topic[:5] == b"\0\0\0\0\1"
    assert theirs.registry.inbound(on_topic) == ORDER.encode(PLAIN)
    assert theirs.book.decode(on_topic) == PLAIN


def test_what_was_found_once_is_never_asked_again(server: RegistryServer) -> None:
    ours = client(server)
    ours.registry.publish([ORDER])
    asked = len(server.asked)

    for _ in range(3):
        ours.registry.inbound(ours.registry.outbound(ORDER.encode(PLAIN)))

    assert len(server.asked) == asked
    assert ours.registry.find(1) == ours.registry.find(ORDER.fingerprint) == ORDER


def test_schema_is_registered_under_its_full_name_and_only_by_publish(server: RegistryServer) -> None:
    ours = client(server)
    ours.book.add(ORDER)
    with pytest.raises(UnknownSchema, match=r"the registry has no shop\.Order"):
        ours.registry.outbound(ORDER.encode(PLAIN))
    assert not server.subjects

    ours.registry.publish([ORDER, Schema.parse('{"type":"array","items":"int"}')])

    assert "shop.Order" in server.subjects
    assert any(name.startswith("array-") for name in server.subjects)


def test_json_and_foreign_frames_pass_the_edge_unchanged(server: RegistryServer) -> None:
    ours = client(server).registry

    assert ours.outbound(b"{}") == ours.inbound(b"{}") == b"{}"
    assert ours.inbound(ORDER.encode(PLAIN)) == ORDER.encode(PLAIN)
    assert not server.asked


def test_unknown_id_is_asked_once_and_again_after_a_while(server: RegistryServer) -> None:
    ours = client(server)
    for _ in range(3):
        with pytest.raises(UnknownSchema, match="registry id 1"):
            ours.registry.find(1)
    assert len(server.asked) == 1

    client(server).registry.publish([ORDER])
    ours.clock.advance(UNKNOWN_FOR + timedelta(seconds=1))

    assert ours.registry.find(1) == ORDER


def test_registry_in_trouble_is_asked_again_with_growing_waits(server: RegistryServer) -> None:
    ours = client(server)
    server.instead = [(503, b"", {}), (500, b'{"error_code":50001,"message":"store"}', {})]

    ours.registry.publish([ORDER])

    assert ours.slept == [0.2, 0.4]
    assert server.subjects == {"shop.Order": [1]}


def test_registry_that_stays_in_trouble_is_told_with_its_last_answer(server: RegistryServer) -> None:
    ours = client(server)
    server.instead = [(503, b'{"error_code":50302,"message":"no leader"}', {})] * 3

    with pytest.raises(TransportError, match="after 3 attempts: 503/50302: no leader"):
        ours.registry.find(1)


def test_registry_that_is_not_there_is_a_transport_error() -> None:
    nowhere = RegistryServer(url="http://127.0.0.1:1")

    with pytest.raises(TransportError, match="after 3 attempts: URLError"):
        client(nowhere).registry.find(1)


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        ((401, b"{}", {}), ConfigError, "expected to be let in, but it answered 401"),
        ((409, b'{"error_code":409,"message":"incompatible"}', {}), SchemaRefused, "incompatible"),
        ((422, b'{"error_code":42201,"message":"Invalid schema"}', {}), SchemaRefused, "Invalid schema"),
        ((418, b"tea", {}), TransportError, "refused the question"),
        ((302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}), TransportError, "302"),
        ((200, b"not json", {}), ConfigError, "expected JSON"),
        ((200, b"[" * 100_000, {}), ConfigError, "expected JSON"),
        ((200, b'{"id":"1"}', {}), TransportError, "expected a schema id"),
        ((200, b'{"id":-1}', {}), TransportError, "expected a schema id"),
        ((200, b" " * (ANSWER_BYTES_MAX + 1), {}), TransportError, "bytes of answer"),
    ],
)
def test_answer_that_is_a_refusal_or_no_answer_names_who_must_act(
    server: RegistryServer, answer: tuple[int, bytes, dict[str, str]], error: type[Exception], why: str
) -> None:
    server.instead = [answer]

    with pytest.raises(error, match=why):
        client(server).registry.publish([ORDER])

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"schema": "{}", "schemaType": "JSON"}, "expected an Avro schema"),
        ({"schema": '"string"', "references": [{"name": "x"}]}, "references"),
        ({"schema": '{"type":"array","items":"null"}'}, "at least one byte"),
    ],
)
def test_schema_of_the_registry_that_is_not_admissible_is_refused(
    server: RegistryServer, answer: dict[str, object], why: str
) -> None:
    server.instead = [(200, json.dumps(answer).encode(), {})]

    with pytest.raises(SchemaRefused, match=why):
        client(server).registry.find(7)


@pytest.mark.parametrize(
    "raw", [b'{"schema":"x","schemaType":"PROTOBUF"}', b" " * (ANSWER_BYTES_MAX + 1)], ids=["protobuf", "too large"]
)
def test_id_whose_schema_is_of_no_use_is_asked_for_once_in_a_while(server: RegistryServer, raw: bytes) -> None:
    """It was asked for with each record; one that was too large counted as a registry that is away, for good."""
    ours = client(server)
    server.instead = [(200, raw, {})]

    for _ in range(100):
        with pytest.raises(SchemaRefused):
            ours.registry.inbound(b"\0\0\0\0\x07body")
    asked = len(server.asked)
    client(server).registry.publish([ORDER])
    ours.clock.advance(UNKNOWN_FOR + timedelta(seconds=1))
    with pytest.raises(UnknownSchema):
        ours.registry.find(7)

    assert asked == 1


def payment(field: dict[str, object]) -> Schema:
    """A schema of which others differ in the logical type of its only field, and so not in their fingerprint."""
    return Schema.parse(json.dumps({"type": "record", "name": "Payment", "fields": [{"name": "x", "type": field}]}))


def at(unit: str) -> Schema:
    """A payment at an instant."""
    return payment({"type": "long", "logicalType": f"timestamp-{unit}"})


def amount(scale: int) -> Schema:
    """A payment of an amount."""
    return payment({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale})


@pytest.mark.parametrize(("theirs", "ours"), [(at("millis"), at("micros")), (amount(2), amount(4))])
def test_schema_of_a_stranger_that_differs_from_ours_in_the_unit_alone_is_refused_not_misread(
    server: RegistryServer, theirs: Schema, ours: Schema
) -> None:
    """2026-01-01 in milliseconds was read as 1970-01-21, and 12.34 as 0.1234: a fingerprint leaves logical types out,
    and inside a payload names its schema by that alone."""
    it = client(server)
    it.book.add(ours)
    server.texts = [theirs.text, ours.text]

    for _ in range(2):
        with pytest.raises(SchemaRefused, match="registry id 1: expected the Payment that is published here"):
            it.registry.inbound(b"\0\0\0\0\1body")

    assert theirs.fingerprint == ours.fingerprint
    assert it.registry.inbound(b"\0\0\0\0\2body") == ours.frame + b"body"
    assert it.book.find(ours.fingerprint) is ours
    assert server.asked == ["GET /schemas/ids/1", "GET /schemas/ids/2"]


def test_schema_of_a_stranger_that_says_the_same_in_other_words_is_as_good_as_ours(server: RegistryServer) -> None:
    it, ours = client(server), at("micros")
    it.book.add(ours)
    server.texts = [ours.text.replace('"name": "x"', '"name": "x", "doc": "when"')]

    assert it.registry.inbound(b"\0\0\0\0\1body") == ours.frame + b"body"


def test_text_that_a_stranger_says_to_be_a_uuid_is_read_as_the_text_that_it_is(server: RegistryServer) -> None:
    it, ours = client(server), payment({"type": "string"})
    it.book.add(ours)
    server.texts = [payment({"type": "string", "logicalType": "uuid"}).text]

    assert it.registry.inbound(b"\0\0\0\0\1body") == ours.frame + b"body"


def test_credentials_are_sent_and_never_shown(server: RegistryServer) -> None:
    ours = client(server, "ada", "s3cret")

    ours.registry.publish([ORDER])

    assert server.authorization == ["Basic " + base64.b64encode(b"ada:s3cret").decode()]
    assert "s3cret" not in repr(HttpSettings(server.url, "ada", "s3cret"))


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "registry:8081", "http://", "http://ada:s3cret@host", "http://ada:s3cret@[::1"),
        *("http://[::1", "http://[host]", "http://host:port", "http://host:70000", "http://two..dots"),
        *("http://host/größe", "http://größe", "http://host/a b", "http://host/\n", "http://ada:s3cret@host/größe"),
    ],
)
def test_address_that_could_not_work_is_refused_without_showing_secrets(url: str) -> None:
    """One with a letter that is not ASCII, or half of an IPv6 address, ended a command with a traceback."""
    with pytest.raises(ConfigError, match="registry url: expected") as refusal:
        HttpSettings(url)

    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(("url", "is_encrypted"), [("HTTPS://registry", True), ("http://registry", False)])
def test_registry_is_asked_as_its_scheme_says_however_it_is_written(url: str, is_encrypted: bool) -> None:
    """Source: RFC 3986, section 3.1."""
    assert (HttpSettings(url).tls() is not None) == is_encrypted


def test_new_version_is_checked_against_the_registrys_latest(server: RegistryServer) -> None:
    ours = client(server).registry
    newer = Schema.parse(ORDER.text.replace('"type":"string"', '"type":"int"'))
    assert ours.problems(newer) == []

    ours.publish([ORDER])

    assert ours.problems(ORDER, Compatibility.FULL) == []
    assert "shop.Order.id" in ours.problems(newer)[0]
