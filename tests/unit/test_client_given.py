"""What a client works on that is not told everything: what the command line would work on in the same folder."""

import os
from pathlib import Path

import pytest

from farandole import SyncClient
from farandole.artifacts import LocalArtifacts
from farandole.cli.connect import transport_of
from farandole.cli.settings import load_settings
from farandole.client.given import Given
from farandole.errors import ConfigError, TransportError
from farandole.events.avro import Schema
from farandole.transport.framed import FramedTransport
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Transport
from farandole.transport.sqlite import SqliteTransport

NOTHING = Given(None, None, None)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder below a project's, and an environment without our variables."""
    for name in [each for each in os.environ if each.startswith("FARANDOLE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "farandole.toml").write_text('namespace = "shop"\n[kafka]\n"security.protocol" = "SSL"\n')
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    return tmp_path


def kafka_of(given: Given) -> KafkaSettings:
    transport = given.complete().transport
    assert isinstance(transport, KafkaTransport)
    return transport.settings


def test_client_that_is_told_nothing_works_where_the_command_line_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `export FARANDOLE_BOOTSTRAP=…` every command was on Kafka, and `Client()` on a file that nobody served."""
    monkeypatch.setenv("FARANDOLE_BOOTSTRAP", "kafka.example:9092")

    work = NOTHING.complete()

    assert kafka_of(NOTHING) == KafkaSettings("kafka.example:9092", {"security.protocol": "SSL"})
    assert work.namespace == load_settings().namespace == "shop"
    commands = transport_of(load_settings())
    assert isinstance(commands, KafkaTransport)
    assert commands.settings == kafka_of(NOTHING)


def test_client_without_kafka_has_the_log_and_the_artifacts_of_its_project(project: Path) -> None:
    work = NOTHING.complete()

    assert isinstance(work.transport, SqliteTransport)
    assert work.transport.settings.path == project / ".farandole" / "log.db"
    assert isinstance(work.artifacts, LocalArtifacts)
    claim = work.artifacts.put(b"large")
    assert LocalArtifacts(project / ".farandole" / "artifacts").get(claim) == b"large"


def test_arguments_go_before_settings_one_by_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARANDOLE_BOOTSTRAP", "environment:1")
    memory, store = MemoryTransport(), LocalArtifacts(project / "other")

    assert kafka_of(Given("given:1", None, None)) == KafkaSettings("given:1", {"security.protocol": "SSL"})
    assert Given(None, "mine", None).complete().namespace == "mine"
    assert Given(memory, "mine", store).complete().transport is memory
    assert Given(None, None, store).complete().artifacts is store
    embedded = Given(project / "log.db", None, None).complete().transport
    assert isinstance(embedded, SqliteTransport)
    assert embedded.settings.path == project / "log.db"


def test_client_sees_the_log_in_the_frames_of_a_configured_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARANDOLE_REGISTRY__URL", "http://registry.example")

    assert isinstance(NOTHING.complete().transport, FramedTransport)


def test_schemas_of_a_registry_are_those_of_the_namespace_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """It read `farandole.schemas`, or those of whatever the project's file names, which need not be there at all."""
    monkeypatch.setenv("FARANDOLE_REGISTRY__URL", "http://registry.example")
    asked: list[str] = []

    def opened(transport: Transport, topic: str, client_id: str) -> None:
        asked.append(topic)
        raise TransportError("the log is away")

    monkeypatch.setattr("farandole.transport.compacted.CompactedTopic", opened)
    transport = Given(None, "mine", None).complete().transport
    assert isinstance(transport, FramedTransport)
    with pytest.raises(TransportError):
        transport.framing.outbound(Schema.parse('"string"').encode("x"))

    assert asked == ["mine.schemas"]


@pytest.mark.parametrize(
    "log", [None, "given:1", Path("log.db"), MemoryTransport()], ids=["none", "address", "path", "log"]
)
def test_namespace_that_is_no_name_is_refused_before_anything_is_connected(
    log: Transport | str | Path | None,
) -> None:
    with pytest.raises(ConfigError, match="namespace"):
        Given(log, "no/name", None).complete()


@pytest.mark.parametrize("log", [None, Path("other.db")], ids=["none", "path"])
def test_client_where_nothing_was_started_makes_no_log(project: Path, log: Path | None) -> None:
    """It left an empty one behind, in which `run list` then found no runs instead of no project."""
    before = set(project.rglob("*"))

    with SyncClient(log) as client, pytest.raises(ConfigError, match="nothing was started here yet"):
        client.start("greetings", params={})

    assert set(project.rglob("*")) == before


def test_mistake_in_a_section_of_processes_stops_no_application_and_one_in_its_own_does(project: Path) -> None:
    file = project / "farandole.toml"
    file.write_text("[agent]\nthreds = 1\n[metrics]\nlisten = 7\n")
    NOTHING.complete()

    file.write_text("namespce = 'shop'\n")
    with SyncClient() as client, pytest.raises(ConfigError, match="did you mean namespace"):
        client.start("greetings")
