"""The compose files and the Dockerfile say what they must; a compose client, where there is one, reads them."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from farandole.cli.main import app
from farandole.testing.broker.settings import SHORT_POSITIONS

FILES = ("docker-compose.yml", "docker-compose.three-brokers.yml")
OURS = ("coordinator", "orders-1", "orders-2")


@cache
def compose() -> tuple[str, ...] | None:
    """The command of a compose client; None if there is none."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "version"], capture_output=True, timeout=60, check=False).returncode == 0:
            return command
    return None


@pytest.fixture
def client() -> tuple[str, ...]:
    """A compose client."""
    found = compose()
    if found is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is here")
    return found


@pytest.mark.parametrize("files", [FILES[:1], FILES])
def test_compose_client_reads_the_files(client: tuple[str, ...], files: tuple[str, ...], repository: Path) -> None:
    named = [part for name in files for part in ("-f", name)]

    read = subprocess.run(
        [*client, *named, "config"], cwd=repository, capture_output=True, text=True, timeout=60, check=False
    )

    assert read.returncode == 0, read.stderr
    services = yaml.safe_load(read.stdout)["services"]
    assert {"kafka", "apply", *OURS} <= services.keys()
    assert sum(name.startswith("kafka") for name in services) == (1 if len(files) == 1 else 3)
    wanted = "kafka:9092" if len(files) == 1 else "kafka:9092,kafka-2:9092,kafka-3:9092"
    assert {services[name]["environment"]["FARANDOLE_BOOTSTRAP"] for name in ("apply", *OURS)} == {wanted}


def test_commands_of_the_compose_file_are_commands_of_ours(repository: Path) -> None:
    services = yaml.safe_load((repository / FILES[0]).read_text())["services"]
    for name in ("apply", *OURS):
        command = services[name]["command"]

        asked = CliRunner().invoke(app, [*command[:2], "--help"] if name != "apply" else ["apply", "--help"])

        assert asked.exit_code == 0, (name, asked.output)
        for option in (part for part in command if part.startswith("--")):
            assert option in asked.output, (name, option)


TEMPLATE = "framework/farandole/cli/init/templates/common/docker-compose.yml"


@pytest.mark.parametrize("name", [FILES[0], TEMPLATE])
def test_only_broker_keeps_its_log_of_positions_as_short_as_the_soak_has_it(name: str, repository: Path) -> None:
    """Of 500,000 records in it, after an hour, such a broker gave out positions of that hour's beginning."""
    told = yaml.safe_load((repository / name).read_text())["services"]["kafka"]["environment"]

    for property_, value in SHORT_POSITIONS.items():
        assert str(told["KAFKA_" + property_.upper().replace(".", "_")]) == value


def test_three_brokers_know_each_other_and_replicate_everything(repository: Path) -> None:
    services = yaml.safe_load((repository / FILES[1]).read_text())["services"]
    brokers = {name: services[name]["environment"] for name in ("kafka", "kafka-2", "kafka-3")}

    voters = {each["KAFKA_CONTROLLER_QUORUM_VOTERS"] for each in brokers.values()}
    assert voters == {"1@kafka:9093,2@kafka-2:9093,3@kafka-3:9093"}
    assert len({each["CLUSTER_ID"] for each in brokers.values()}) == 1
    for each in brokers.values():
        assert (each["KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR"], each["KAFKA_MIN_INSYNC_REPLICAS"]) == (3, 2)
    assert services["coordinator"]["environment"]["FARANDOLE_REPLICATION"] == 3


def test_image_runs_as_nobody_in_particular_and_asks_whether_it_lives(repository: Path) -> None:
    stages = re.split(r"(?m)^FROM ", (repository / "Dockerfile").read_text())[1:]

    assert len(stages) == 2
    assert all(stage.startswith("${PYTHON_IMAGE}") for stage in stages)
    user = re.search(r"(?m)^USER (\d+):(\d+)$", stages[-1])
    assert user is not None
    assert 0 not in map(int, user.groups())
    assert "/health/live" in stages[-1]
    assert "/health/ready" not in stages[-1], "Swarm kills what is not healthy"
    assert stages[-1].index("USER") < stages[-1].index("ENTRYPOINT")


def test_compose_waits_until_processes_are_ready(repository: Path) -> None:
    services = yaml.safe_load((repository / FILES[0]).read_text())["services"]

    for name in OURS:
        assert services[name]["healthcheck"]["test"][-1].endswith("/health/ready"), name


def test_probe_of_kubernetes_that_kills_does_not_ask_for_readiness(repository: Path) -> None:
    """One stopped partition needs a person, and the pod that served eleven others was killed over and over."""
    page = (repository / "docs/how-to/kubernetes.md").read_text()
    manifests = [each for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", page) for each in yaml.safe_load_all(block)]
    pods = [each["spec"]["template"]["spec"] for each in manifests if "template" in each.get("spec", {})]
    containers = [container for pod in pods for container in pod["containers"]]

    assert containers
    for each in containers:
        asked = {probe: each[probe]["httpGet"]["path"] for probe in each if probe.endswith("Probe")}
        assert asked.pop("readinessProbe") == "/health/ready"
        assert set(asked.values()) == {"/health/live"}, asked
