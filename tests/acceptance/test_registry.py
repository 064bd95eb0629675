"""A deployment with a registry: apply, a run to its end, and payloads that a consumer of Confluent's frame reads."""

import io
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import avro.io
import avro.schema
import pytest
import trustme
from confluent_kafka import Consumer, TopicPartition

from farandole.cli.exit_codes import UNREACHABLE, USAGE
from farandole.testing.registry import RegistryServer, registry_server

pytestmark = pytest.mark.kafka

UNIT = """
from dataclasses import dataclass
from farandole import agent, pipeline

@dataclass(frozen=True)
class Parcel:
    label: str
    grams: int

@agent
def weigh(number: int) -> Parcel:
    return Parcel(f"p-{number}", 100 * number)

@agent
def send(parcel: Parcel) -> str:
    return f"sent {parcel.label}, {parcel.grams} g"

@pipeline(owner="tests@example.org")
def post(number: int) -> str:
    return send(weigh(number))
"""

END_TIMEOUT = 20.0


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Who the registry's certificate comes from; its own is in `ca.pem`."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[RegistryServer]:
    """A registry over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with registry_server(context) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path, kafka: str, unique: str, server: RegistryServer) -> Path:
    """A project whose settings name the registry."""
    (tmp_path / "parcels").mkdir()
    (tmp_path / "parcels" / f"unit_{unique}.py").write_text(UNIT)
    (tmp_path / "farandole.toml").write_text(
        f'bootstrap = "{kafka}"\nnamespace = "{unique}"\npartitions = 2\n'
        f'[registry]\nurl = "{server.url}"\nuser = "me"\npassword = "secret"\nca = "ca.pem"\nattempts_max = 1\n'
    )
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}
    return subprocess.run(
        [sys.executable, "-m", "farandole.cli", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def processes(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """What the test starts in the background; it ends with the test."""
    running: list[subprocess.Popen[bytes]] = []
    yield running
    for each in running:
        each.terminate()
    for each in running:
        try:
            each.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()


def records(bootstrap: str, topic: str) -> list[bytes]:
    """Every value of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}.looking", "enable.partition.eof": True})
    try:
        places = [TopicPartition(topic, n, 0) for n in consumer.list_topics(topic, 10).topics[topic].partitions]
        consumer.assign(places)
        found, ended = [], 0
        while ended < len(places):
            message = consumer.poll(10)
            assert message is not None, f"{topic}: no end in 10 s"
            if message.error() is not None:
                ended += 1
            elif message.value() is not None:
                found.append(message.value() or b"")
        return found
    finally:
        consumer.close()


def read(server: RegistryServer, value: bytes) -> tuple[str, object]:
    """As a consumer of Confluent's frame reads: its id's schema from the registry, the body by Apache's own reader."""
    assert value[0] == 0, f"not Confluent's frame: {value[:12].hex()}"
    schema = avro.schema.parse(server.texts[int.from_bytes(value[1:5], "big") - 1])
    body = avro.io.BinaryDecoder(io.BytesIO(value[5:]))
    return str(getattr(schema, "fullname", schema.type)), avro.io.DatumReader(schema).read(body)


def test_a_run_goes_through_and_its_payloads_are_in_the_registrys_frame(
    folder: Path, kafka: str, unique: str, server: RegistryServer, processes: list[subprocess.Popen[bytes]]
) -> None:
    early = run(folder, "plan", "parcels")
    applied = run(folder, "apply", "parcels", "--yes")
    registered = len(server.texts)
    for words in (["coordinator", "run"], ["agent", "run", "parcels"]):
        log = (folder / f"{words[0]}.log").open("wb")
        with log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "farandole.cli", *words], cwd=folder, stdout=log, stderr=subprocess.STDOUT
                )
            )
    done = run(folder, "run", "start", "post", "--params", '{"number": 7}', "--id", "r-7", "--wait", "--json")
    shown = run(folder, "run", "show", "r-7", "--json")
    lineage = run(folder, "lineage", "r-7")

    assert (early.returncode, applied.returncode) == (0, 0), applied.stderr
    assert done.returncode == 0, done.stderr + (folder / "agent.log").read_text()
    assert json.loads(done.stdout)["result"] == "sent p-7, 700 g"
    assert (shown.returncode, lineage.returncode) == (0, 0), shown.stderr + lineage.stderr
    events = [read(server, value)[0] for value in records(kafka, f"{unique}.events")]
    assert {"farandole.RunStarted", "farandole.StepSucceeded"} <= set(events)
    ((name, parcel),) = [read(server, value) for value in records(kafka, f"{unique}.inbox.send")]
    assert (name.rpartition(".")[2], parcel) == ("Parcel", {"label": "p-7", "grams": 700})
    assert len(server.texts) == registered > 20
    assert set(server.authorization) == {"Basic bWU6c2VjcmV0"}


def test_a_process_refuses_to_start_when_the_registry_does_not_know_our_schemas(
    folder: Path, server: RegistryServer
) -> None:
    run(folder, "apply", "parcels", "--yes")
    server.texts.clear()
    server.subjects.clear()

    refused = [run(folder, *words) for words in (["coordinator", "run"], ["agent", "run", "parcels"])]

    for each in refused:
        assert each.returncode == 2
        assert "Run `farandole apply` with the same [registry]" in each.stderr
        assert "Traceback" not in each.stderr


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('ca = "ca.pem"', "", "CERTIFICATE_VERIFY_FAILED"),
        ('ca = "ca.pem"', 'ca = "nowhere.pem"', "expected files in PEM format"),
        ("https://localhost", "https://localhost:1#", "registry"),
    ],
    ids=["untrusted", "no_file", "nobody_there"],
)
def test_a_registry_that_cannot_be_used_is_one_clear_error(folder: Path, before: str, after: str, message: str) -> None:
    settings = folder / "farandole.toml"
    settings.write_text(settings.read_text().replace(before, after))

    done = run(folder, "apply", "parcels", "--yes")

    assert done.returncode in (USAGE, UNREACHABLE)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
