"""Each kind of process under its own user, with exactly the rights that `farandole acls` names; and what it may not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, Producer

from farandole.cli.exit_codes import UNREACHABLE
from farandole.testing.broker.secured import PASSWORD, SecuredBroker

pytestmark = pytest.mark.xdist_group("secured")

UNIT = """
from pathlib import Path
from farandole import Context, Retry, agent, pipeline

@agent(retry=Retry(attempts=2, base="100ms"))
def double(number: int) -> int:
    if number == 13 and not Path("lucky").exists():
        raise ValueError("13 is unlucky here")
    return 2 * number

@agent(publishes=["OWN"])
def tell(ctx: Context, number: int) -> str:
    ctx.publish("OWN", number)
    return f"it is {number}"

@pipeline(owner="tests@example.org")
def twice(number: int) -> str:
    return tell(double(number))
"""
END_TIMEOUT = 20.0


class Place:
    """A namespace on the secured broker, and commands run as one user or another."""

    def __init__(self, secured: SecuredBroker, namespace: str, folder: Path) -> None:
        self.secured = secured
        self.namespace = namespace
        self.folder = folder
        self.unit = folder / "numbers"
        self.unit.mkdir()
        (self.unit / f"unit_{namespace}.py").write_text(UNIT.replace("OWN", f"own-{namespace}"))
        self.running: list[subprocess.Popen[bytes]] = []
        self.base = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")},
            "FARANDOLE_NAMESPACE": namespace,
            "FARANDOLE_PARTITIONS": "2",
            "FARANDOLE_ARTIFACTS": str(folder / "artifacts"),
        }

    def environment(self, user: str, password: str = PASSWORD) -> Mapping[str, str]:
        """The environment of a user; `super` is the test itself."""
        if user == "super":
            return {**self.base, "FARANDOLE_BOOTSTRAP": self.secured.plaintext}
        kafka = self.secured.with_password("PLAIN", user, password)
        named = {f"FARANDOLE_KAFKA__{name.upper().replace('.', '_')}": value for name, value in kafka.items()}
        return {**self.base, "FARANDOLE_BOOTSTRAP": self.secured.sasl, **named}

    def run(self, user: str, *words: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "farandole.cli", *words],
            env=self.environment(user, password),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def start(self, user: str, *words: str) -> Path:
        """Start a process; what it logs."""
        log = self.folder / f"{user}.log"
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "farandole.cli", *words]
            self.running.append(
                subprocess.Popen(
                    command, env=self.environment(user), cwd=self.folder, stdout=stream, stderr=subprocess.STDOUT
                )
            )
        return log

    def end(self) -> None:
        """End every process."""
        for each in self.running:
            each.terminate()
        for each in self.running:
            try:
                each.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()

    def allow(self, user: str, role: str, *more: str) -> None:
        """Grant a user the rights of a role, as an operator does."""
        done = self.run("super", "acls", role, *more, "--principal", f"User:{user}", "--apply")
        assert done.returncode == 0, done.stderr

    def error_of(self, user: str, topic: str) -> int:
        """What a user gets who writes a record: an error, or 0."""
        told: list[int] = []
        producer = Producer(
            {
                "bootstrap.servers": self.secured.sasl,
                **self.secured.with_password("PLAIN", user),
                "log_level": 0,
                "message.timeout.ms": 8_000,
            }
        )
        producer.produce(topic, b"x", on_delivery=lambda error, _: told.append(error.code() if error else 0))
        assert producer.flush(10) == 0
        return told[0]


@pytest.fixture
def place(secured: SecuredBroker, unique: str, tmp_path: Path) -> Iterator[Place]:
    """A namespace of its own."""
    made = Place(secured, unique, tmp_path)
    yield made
    made.end()


def test_each_role_works_with_exactly_its_rights_and_cannot_do_more(place: Place) -> None:
    ns, unit = place.namespace, str(place.unit)
    place.allow("apply", "apply", "--for", unit)
    roles = {"agent": unit, "coordinator": "coordinator", "client": "client", "doctor": "doctor"}
    for user, role in roles.items():
        place.allow(user, role)

    applied = place.run("apply", "apply", unit, "--yes")
    again = place.run("apply", "plan", unit)
    logs = [place.start("coordinator", "coordinator", "run"), place.start("agent", "agent", "run", unit)]
    held = place.run("client", "run", "start", "twice", "--params", '{"number": 13}', "--id", "r-13", "--wait")
    listed = place.run("client", "dead", "list", "--json")
    (place.folder / "lucky").touch()
    replayed = place.run("client", "dead", "replay", json.loads(listed.stdout)[0]["letters"][0]["place"])
    done = place.run("client", "run", "start", "twice", "--params", '{"number": 4}', "--id", "r-4", "--wait")
    watched = place.run("client", "run", "watch", "r-13")
    lineage = place.run("client", "lineage", "r-4")

    examined = place.run("doctor", "doctor", "--json")

    told = "".join(log.read_text() for log in logs)
    assert (applied.returncode, again.returncode) == (0, 0), applied.stdout + applied.stderr + again.stderr
    assert "nothing to do" in again.stdout
    assert held.returncode == 11, held.stderr + told
    assert (replayed.returncode, done.returncode, done.stdout.strip()) == (0, 0, '"it is 8"'), done.stderr + told
    assert (watched.returncode, lineage.returncode) == (0, 0), watched.stderr + lineage.stderr
    assert "AUTHORIZATION" not in told
    findings = json.loads(examined.stdout)["findings"]
    codes = {each["code"] for each in findings}
    unseen = [each["fact"].partition(":")[0] for each in findings if each["code"] == "not_seen"]
    assert (examined.returncode, unseen, "random_slot" in codes) == (0, ["__consumer_offsets"], True), examined.stdout
    refused = {KafkaError.TOPIC_AUTHORIZATION_FAILED}
    assert {place.error_of("agent", f"{ns}.{name}") for name in ("runs", "settled", "commands", "control")} == refused
    assert {place.error_of("client", f"{ns}.{name}") for name in ("events", "runs", "inbox.double")} == refused
    assert {place.error_of("coordinator", f"{ns}.{name}") for name in ("definitions", "telemetry")} == refused
    assert {place.error_of("apply", f"{ns}.{name}") for name in ("events", "commands")} == refused
    assert place.error_of("agent", f"{ns}.telemetry") == 0


@pytest.mark.parametrize(
    ("password", "message"),
    [("wrong", "_AUTHENTICATION"), (PASSWORD, "farandole acls")],
    ids=["wrong_password", "no_right"],
)
def test_who_is_refused_gets_one_line_with_a_way_out(place: Place, password: str, message: str) -> None:
    commands = (["run", "list"], ["coordinator", "run"])

    said = [place.run("stranger", *words, password=password) for words in commands]

    for each in said:
        assert each.returncode == UNREACHABLE, each.stderr
        assert each.stderr.startswith("error: ")
        assert message in each.stderr
        assert "Traceback" not in each.stderr
        assert len(each.stderr.strip().splitlines()) == 1, each.stderr
