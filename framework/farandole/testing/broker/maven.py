"""The tier that runs Kafka itself: Java, jars from Maven, one node in KRaft mode.

Free ports, data in a temporary folder, Kafka's own log off unless asked for.
"""

import base64
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from farandole.testing.broker.handle import Broker, TierUnavailable
from farandole.testing.broker.jars import kafka_jars
from farandole.testing.broker.process import Node, NodePlan, run_bounded, server_properties, what_was_said
from farandole.testing.broker.ready import free_ports, wait_until_ready
from farandole.testing.broker.settings import JAVA_VERSION_MIN, KAFKA_VERSION, BrokerSettings

_JAVA_PACKAGES = "Debian: apt-get install openjdk-17-jre-headless, macOS: brew install openjdk"
# Somebody else may take a port between our choice and the broker's start.
_STARTS_MAX = 3
# Short-lived or small: the second compiler and a parallel collector cost more than they give.
_JVM_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

# `slf4j-simple`, which writes to the terminal.
_LOGGER = "-Dorg.slf4j.simpleLogger"
_LOG_FLAGS = (
    f"{_LOGGER}.defaultLogLevel=off",
    f"{_LOGGER}.showDateTime=true",
    f"{_LOGGER}.dateTimeFormat=HH:mm:ss.SSS",
    f"{_LOGGER}.showThreadName=false",
)


def maven_tier(settings: BrokerSettings) -> Broker:
    """Start a broker from Maven's jars; the one tier that has further listeners.

    Raises:
        TierUnavailable: Java or Maven is missing or too old, or the broker did not start.
    """
    java = find_java(settings.java_home)
    jars = kafka_jars(settings)
    for _ in range(_STARTS_MAX - 1):
        try:
            return _start(java, jars, settings)
        except _DiedEarly:
            continue
    return _start(java, jars, settings)


def find_java(java_home: Path | None) -> Path:
    """The `java` to run: of `JAVA_HOME` if that has one, else of the PATH.

    Raises:
        TierUnavailable: there is none, it does not run, or it is older than 17.
    """
    at_home = java_home / "bin" / "java" if java_home is not None else None
    found = str(at_home) if at_home is not None and os.access(at_home, os.X_OK) else shutil.which("java")
    if found is None:
        raise TierUnavailable(f"java is not on the PATH; {_JAVA_PACKAGES}")
    try:
        # macOS has a stub of this name that only says that there is no Java.
        said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError) as error:
        raise TierUnavailable(f"{found} does not run: {error}; {_JAVA_PACKAGES}") from error
    version = java_version(said)
    if version < JAVA_VERSION_MIN:
        raise TierUnavailable(f"{found} is Java {version}, Kafka needs {JAVA_VERSION_MIN}; {_JAVA_PACKAGES}")
    return Path(found)


def java_version(said: str) -> int:
    """The major version in the output of `java -version`; 0 when there is none."""
    match = re.search(r'version "(\d+)(?:\.(\d+))?', said)
    if match is None:
        return 0
    # Java 8 calls itself 1.8.
    return int(match[2] or 0) if match[1] == "1" else int(match[1])


class _DiedEarly(TierUnavailable):
    """The process ended before it answered, as it does when a port was taken meanwhile."""


@dataclass(slots=True)
class _MavenControl:
    """One node; `quorum.py` has three."""

    node: Node
    timeout: timedelta

    def stop(self) -> None:
        # By force: the data go with it.
        self.node.kill()
        shutil.rmtree(self.node.plan.folder, ignore_errors=True)

    def kill(self) -> None:
        self.node.kill()

    def restart(self) -> None:
        self.node.terminate()
        self.launch()

    def launch(self) -> None:
        self.node.start()
        if wait_until_ready(self.node.plan.client_address, self.timeout, self.node.is_alive):
            return
        if not self.node.is_alive():
            raise _DiedEarly(f"the broker's process ended before it answered; it said: {self.node.said()}")
        self.node.kill()
        raise TierUnavailable(f"the broker gave no answer in {self.timeout.seconds} s; it said: {self.node.said()}")


def _start(java: Path, jars: Path, settings: BrokerSettings) -> Broker:
    folder = settings.folder or Path(tempfile.mkdtemp(prefix="farandole-kafka-"))
    folder.mkdir(parents=True, exist_ok=True)
    client_port, controller_port, *ports = free_ports(2 + len(settings.listeners))
    listeners = {name: (kind, port) for (name, kind), port in zip(settings.listeners.items(), ports, strict=True)}
    plan = NodePlan(1, client_port, controller_port, folder, listeners)
    configuration = folder / "server.properties"
    configuration.write_text(server_properties(plan, [plan], settings.properties))
    run = java_command(java, jars)
    control = _MavenControl(
        node=Node(plan, broker_command(run, configuration, settings), settings.log), timeout=settings.start_timeout
    )
    try:
        format_storage(run, configuration, settings.start_timeout, "--standalone", "-t", new_id())
        control.launch()
    except BaseException:
        control.stop()
        raise
    return Broker(
        bootstrap=plan.client_address,
        how=f"Kafka {KAFKA_VERSION} from Maven's jars",
        control=control,
        # By name: the name that stands in certificates.
        listeners={name: f"localhost:{port}" for name, (_, port) in listeners.items()},
    )


def java_command(java: Path, jars: Path) -> list[str]:
    """What runs a class of Kafka's."""
    return [str(java), *_JVM_FLAGS, *_LOG_FLAGS, "-cp", f"{jars}/*"]


def broker_command(run: Sequence[str], configuration: Path, settings: BrokerSettings) -> list[str]:
    """What runs a node."""
    heap = [f"-Xms{settings.heap_mb}m", f"-Xmx{settings.heap_mb}m"]
    logged = [f"{_LOGGER}.log.{name}={level}" for name, level in settings.log_levels.items()]
    return [run[0], *heap, *logged, *run[1:], "kafka.Kafka", str(configuration)]


def format_storage(run: Sequence[str], configuration: Path, timeout: timedelta, *options: str) -> None:
    """Make the folder of a node that was never started.

    Raises:
        TierUnavailable: it was refused, or took longer than `timeout`.
    """
    output = configuration.with_name("format.txt")
    tool = [*run, "kafka.tools.StorageTool", "format", *options, "-c", str(configuration)]
    code = run_bounded(tool, output, timeout)
    if code != 0:
        raise TierUnavailable(f"the storage could not be formatted: exit code {code}, it said: {what_was_said(output)}")


def new_id() -> str:
    """Names a cluster, or a folder of one."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # The tool would read a leading dash as an option.
    return text if not text.startswith("-") else "A" + text[1:]
