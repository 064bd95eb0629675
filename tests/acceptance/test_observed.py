"""What real processes show of themselves on a real Kafka: metrics, health, and log lines in both forms."""

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from farandole.events.envelope import Envelope
from farandole.telemetry.catalogue import METRICS
from farandole.testing.cluster import Cluster, ManagedProcess, wait_until
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import NewRecord

pytestmark = pytest.mark.kafka

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
UNIT = Path(__file__).parent / "units" / "talking"
FIELDS = ("run_id", "step", "attempt", "topic", "partition", "offset", "trace_id")


def until(condition: Callable[[], object], what: str, cluster: Cluster) -> None:
    wait_until(condition, timedelta(minutes=1), what, cluster.said)


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def is_ready(port: int) -> bool:
    return get(port, "/health/ready")[0] == 200


def port_of(process: ManagedProcess, cluster: Cluster) -> int:
    """The free port that it took, from its log."""
    pattern = re.compile(r"metrics and health on port (\d+)")
    until(lambda: pattern.search(process.said()), f"{process.name} tells its port", cluster)
    found = pattern.search(process.said())
    assert found is not None
    return int(found[1])


def samples(port: int) -> dict[tuple[str, ...], float]:
    """Samples by name and sorted label values."""
    _, text = get(port, "/metrics")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def fields_of(line: str) -> dict[str, str]:
    """The fields of a line of text: `name=value`, or `name="JSON text"`."""
    found = re.findall(r' (\w+)=("(?:[^"\\]|\\.)*"|[^\s"=]+)', line)
    return {name: json.loads(value) if value.startswith('"') else value for name, value in found}


@pytest.fixture
def cluster(kafka: str, unique: str, tmp_path: Path) -> Iterator[Cluster]:
    """A deployment of the talking unit, not started."""
    with Cluster(kafka, unique, tmp_path) as made:
        applied = made.run("apply", str(UNIT), "--yes")
        assert applied.code == 0, applied.stderr
        yield made


def start(cluster: Cluster, form: str) -> tuple[ManagedProcess, ManagedProcess]:
    options = ("--log-format", form, "--metrics", "127.0.0.1:0")
    return cluster.coordinator("c", *options), cluster.agent("a", UNIT, *options)


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_lines_carry_run_step_attempt_place_and_trace(cluster: Cluster, form: str) -> None:
    _, agent = start(cluster, form)
    transport = KafkaTransport(KafkaSettings(cluster.bootstrap))
    producer = transport.producer("tests")
    command = json.dumps({"run_id": "r-1", "pipeline": "talk", "params": {"number": 41}}).encode()
    traced = Envelope(
        "cmd", "farandole.StartRun", "tests", NOW, run="r-1", traceparent=f"00-{TRACE}-b7ad6b7169203331-01"
    )
    producer.send(NewRecord(f"{cluster.namespace}.commands", b"r-1", command, traced.headers()))
    producer.close()

    until(lambda: "in a child" in agent.log.read_text(), "the child speaks", cluster)
    until(lambda: agent.log.read_text().count("and more") == 2, "both attempts speak", cluster)

    lines = agent.log.read_text().splitlines()
    read = [json.loads(line) if form == "json" else fields_of(line) for line in lines]
    spoken = [each for line, each in zip(lines, read, strict=True) if "and more" in line]
    assert [str(each["attempt"]) for each in spoken] == ["1", "2"]
    first = spoken[0]
    assert (first["run_id"], first["step"], first["order"]) == ("r-1", "speak", "a b=c")
    assert (first["topic"], str(first["offset"])) == (f"{cluster.namespace}.inbox.speak", "0")
    assert first["trace_id"] == TRACE
    assert {"partition"} <= first.keys()
    (failure,) = [each for line, each in zip(lines, read, strict=True) if "failed (exception)" in line]
    assert {name for name in FIELDS if name in failure} == set(FIELDS)
    (child,) = [each for line, each in zip(lines, read, strict=True) if "in a child" in line]
    assert (child["run_id"], child["step"], str(child["attempt"])) == ("r-1", "apart", "1")
    if form == "json":
        assert first["message"] == 'got "41"\nand more'
        assert {"time", "level", "logger", "message"} <= first.keys()


def test_processes_show_metrics_and_health_of_what_they_did(cluster: Cluster) -> None:
    coordinator, agent = start(cluster, "text")
    ports = port_of(coordinator, cluster), port_of(agent, cluster)
    for port in ports:
        until(partial(is_ready, port), "ready", cluster)
        assert get(port, "/health/live")[0] == 200

    ran = cluster.run("run", "start", "talk", "--params", '{"number": 41}', "--id", "r-1", "--wait")
    assert (ran.code, ran.stdout.strip()) == (0, "42"), ran.stderr

    until(lambda: samples(ports[0]).get(("farandole_runs_settled_total", "succeeded", "talk")) == 1, "it ends", cluster)
    until(lambda: ("farandole_lag_seconds", f"{cluster.namespace}.events") in samples(ports[0]), "a look", cluster)
    until(lambda: ("farandole_lag_records", f"{cluster.namespace}.inbox.speak") in samples(ports[1]), "lag", cluster)
    seen = samples(ports[0])
    assert seen["farandole_runs_started_total", "talk"] == 1
    assert seen["farandole_step_attempts_total", "exception", "talk", "speak"] == 1
    assert seen["farandole_step_attempts_total", "succeeded", "talk", "speak"] == 1
    assert seen["farandole_run_duration_seconds_count", "talk"] == 1
    assert 0 < seen["farandole_run_duration_seconds_sum", "talk"] < 60
    assert seen["farandole_retries_total", "talk", "speak"] == 1
    assert seen["farandole_homes", "running"] > 0
    assert seen["farandole_transaction_seconds_count", "committed"] > 0
    worked = samples(ports[1])
    assert worked["farandole_handler_seconds_count", "speak", "exception"] == 1
    assert worked["farandole_handler_seconds_count", "speak", "succeeded"] == 1
    assert worked["farandole_trigger_wait_seconds_count", "apart"] == 1
    assert worked["farandole_in_flight_records",] == 0
    declared = {metric.name for metric in METRICS}
    shown = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name, *_ in (*seen, *worked)}
    assert {name for name in shown if name.startswith("farandole_")} <= declared


def test_port_in_use_ends_a_process_with_a_message_and_a_way_out(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"

        ended = cluster.run("coordinator", "run", "--metrics", address)

    assert ended.code == 2
    assert "--metrics HOST:PORT" in ended.stderr
    assert "Traceback" not in ended.stderr
