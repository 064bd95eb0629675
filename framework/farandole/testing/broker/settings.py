"""What a test broker is made of: versions, limits, broker properties, and the few variables read.

The environment is read here, once, because tests have no command line of ours that
could do it for them. Everything else of the package takes these settings.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

# The broker that the design was measured on; the clients talk to anything from 3.0 on (`BROKER_MIN`).
KAFKA_VERSION = "4.3.1"

# Kafka 4 runs on Java 17 or newer.
JAVA_VERSION_MIN = 17

# Properties that make a broker quick to start and to test against. Those that depend on
# ports, folders or the number of nodes are added by `process.server_properties`.
TEST_PROPERTIES: Mapping[str, str] = {
    # Topics are declared, and a typing error in a name shall not make one.
    "auto.create.topics.enable": "false",
    # 4 instead of 50: every partition of these is a file to make on the first join.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # The default makes every first join wait 3 s for others.
    "group.initial.rebalance.delay.ms": "0",
    # The default of 128 MiB kills a heap of 512 MB.
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.cleaner.backoff.ms": "500",
    # 10 s by default: how often transactions past their time-out are looked for.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
}

# What tells why a group or a transaction is not served.
COORDINATION_LOG: Mapping[str, str] = {
    "org.apache.kafka.coordinator": "info",
    "kafka.coordinator": "info",
    "kafka.server": "warn",
    "org.apache.kafka.controller": "warn",
}

# For an only broker, as our compose files say too. With the defaults (segments of 100 MB, which are never cleaned while
# they are written, and a day for each end of a transaction) it reads all positions of the last hours when it starts:
# 3.7 s after an hour, in which it may run into itself (docs/decisions/0112).
SHORT_POSITIONS: Mapping[str, str] = {
    "offsets.topic.segment.bytes": "1048576",
    "log.cleaner.delete.retention.ms": "60000",
}

# For tests that kill the broker and want it back: the controller refuses a second registration
# until the first has expired, after 9 s by default. Not for all tests, since on a starved
# machine a healthy broker would be fenced.
QUICK_RESTART: Mapping[str, str] = {
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """How a test broker is found or started.

    `properties` are broker properties that override `TEST_PROPERTIES`, for example
    `{"group.min.session.timeout.ms": "1000"}`. A broker given by `bootstrap` keeps its own.
    """

    bootstrap: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    listeners: Mapping[str, str] = field(default_factory=dict)
    """Further listeners of a broker of our own: name (capitals) to protocol, for example `{"MTLS": "SSL"}`. Their
    addresses are `Broker.listeners`; what they need besides (certificates, JAAS) stands in `properties`."""
    cache: Path = field(default_factory=lambda: Path.home() / ".cache" / "farandole")
    java_home: Path | None = None
    folder: Path | None = None
    """Where a broker of our own keeps its data, made for it and removed with it; a temporary folder by default."""
    log: Path | None = None
    """Where a broker of our own, or each of three, appends what it logs and says; in its folder by default."""
    log_levels: Mapping[str, str] = field(default_factory=dict)
    """What is logged, by logger, for example `COORDINATION_LOG`; nothing by default."""
    heap_mb: int = 512
    """Fixed heap of the Java process. A broker of a few hundred partitions lives in 230 MB."""
    image: str = f"apache/kafka:{KAFKA_VERSION}"
    answer_timeout: timedelta = timedelta(seconds=10)
    """How long a broker that somebody else runs may take to answer."""
    start_timeout: timedelta = timedelta(seconds=60)
    """From the start of the process to its first answer; 2 s on an idle machine."""
    jars_timeout: timedelta = timedelta(seconds=240)
    """For 92 jars, 54 MB; 7 s on a good line."""
    image_timeout: timedelta = timedelta(seconds=60)
    """For pulling the image; a machine without a registry must not hold up the tests."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "BrokerSettings":
        """The settings that the environment asks for.

        Reads `FARANDOLE_TEST_BOOTSTRAP`, `JAVA_HOME` and `XDG_CACHE_HOME`.
        """
        given = os.environ if environment is None else environment
        java_home = given.get("JAVA_HOME", "").strip()
        cache_home = given.get("XDG_CACHE_HOME", "").strip()
        return cls(
            bootstrap=given.get("FARANDOLE_TEST_BOOTSTRAP", "").strip() or None,
            java_home=Path(java_home) if java_home else None,
            cache=(Path(cache_home) if cache_home else Path.home() / ".cache") / "farandole",
        )
