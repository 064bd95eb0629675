"""The ladder gives a real broker, and leaves nothing behind, whatever ends it."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from farandole.testing.broker import COORDINATION_LOG, Broker, BrokerSettings, TierUnavailable
from farandole.testing.broker.maven import maven_tier
from farandole.testing.cluster import wait_until

pytestmark = pytest.mark.kafka


def test_broker_asked_for_metadata_names_itself(kafka: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})

    metadata = admin.list_topics(timeout=10)

    assert any(f"{broker.host}:{broker.port}" in kafka for broker in metadata.brokers.values())


def test_broker_killed_and_restarted_keeps_address_and_topics(own_broker: Broker, unique: str) -> None:
    admin = AdminClient({"bootstrap.servers": own_broker.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(unique, 1, 1)])[unique].result(10)

    own_broker.kill()
    own_broker.restart()

    assert unique in AdminClient({"bootstrap.servers": own_broker.bootstrap}).list_topics(timeout=10).topics


def test_broker_of_killed_test_run_ends_with_it(own_settings: BrokerSettings) -> None:
    # The story: a run of the tests was ended with kill -9, and its broker held its memory until the next boot.
    assert own_settings.heap_mb > 0
    environment = {name: value for name, value in os.environ.items() if name != "FARANDOLE_TEST_BOOTSTRAP"}
    process = subprocess.Popen(
        [sys.executable, "-m", "farandole.testing.broker"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        bootstrap = process.stdout.readline().strip().partition("=")[2]
        assert _listens(bootstrap)

        process.send_signal(signal.SIGKILL)
        process.wait()

    wait_until(lambda: not _listens(bootstrap), timedelta(seconds=10), "the broker to be gone")


def test_maven_tier_with_broken_property_of_the_caller_says_which(own_settings: BrokerSettings) -> None:
    settings = BrokerSettings(cache=own_settings.cache, properties={"num.partitions": "oops"})

    with pytest.raises(TierUnavailable, match=r"num\.partitions"):
        maven_tier(settings)


def test_maven_tier_with_log_keeps_what_the_coordinators_of_both_lives_said(
    own_settings: BrokerSettings, tmp_path: Path
) -> None:
    log = tmp_path / "broker.log"

    with maven_tier(replace(own_settings, log=log, log_levels=COORDINATION_LOG)) as broker:
        broker.kill()
        broker.restart()

    assert log.read_text().count("[TransactionCoordinator id=1] Startup complete") == 2


def _listens(bootstrap: str) -> bool:
    host, _, port = bootstrap.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False
