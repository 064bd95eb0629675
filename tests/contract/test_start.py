"""What a process of agents imports before it joins: how soon its work goes on after a crash hangs on it."""

import json
import subprocess
import sys

import pytest

STARTED = """
import json, sys
from farandole.cli import main, processes, running, units
from farandole.cli.connect import log_of
from farandole.cli.settings import load_settings
log_of(load_settings(bootstrap="localhost:1"))
print(json.dumps(sorted(sys.modules)))
"""

NEEDLESS = {
    "aiokafka": "only what ends the affairs of the dead, and what is written from asyncio, speaks through it",
    "farandole.client.client": "agents call nobody",
    "farandole.coordinator.loop": "another process",
    "farandole.transport.sqlite.transport": "the log is Kafka's",
    "farandole.cli.doctor.gather": "asked in production alone",
    "multiprocessing": "for agents with isolation of processes",
    "prometheus_client": "for who listens",
    "yaml": "for units with pipelines in such files",
}
"""What it did import, 0.2 of 0.7 s of the processor."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Modules in a process that is about to load its unit and to join."""
    said = subprocess.run(
        [sys.executable, "-c", STARTED],
        cwd=tmp_path_factory.mktemp("empty"),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(said.stdout))


@pytest.mark.parametrize("name", NEEDLESS)
def test_process_of_agents_starts_without_what_it_does_not_need(name: str, imported: set[str]) -> None:
    assert name not in imported, f"expected no {name} in a process that starts: {NEEDLESS[name]}"


def test_process_of_agents_has_what_it_needs(imported: set[str]) -> None:
    assert {"farandole.runtime.loop", "farandole.transport.kafka.member", "confluent_kafka"} <= imported
