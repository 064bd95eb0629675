"""A cluster of real processes on a real Kafka, which tests kill, stop and start again.

Every process is ended with the test, whatever became of it; what it logged stays in the test's folder.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from farandole.client import SyncClient
from farandole.events.catalogue import decode
from farandole.events.tables import SettledRun
from farandole.events.topics import Topics
from farandole.testing.history import History, collect, lag
from farandole.transport.kafka import KafkaSettings, KafkaTransport

REPOSITORY = Path(__file__).parents[2]
ENTRY = Path(__file__).parent / "entry" / "process.py"
UNITS = Path(__file__).parent / "units"
ORDERS = REPOSITORY / "agents" / "orders"

LOOK_EVERY = 0.05
"""How often a condition is looked at, seconds."""

END_TIMEOUT = 15.0
"""Longest that a process may take to end when asked, seconds."""

DESCRIBE_TRANSACTIONS = 65
"""Kafka's API key (KIP-664), which no client library for Python speaks."""


def until(condition: Callable[[], object], what: str, timeout: float = 30.0, every: float = LOOK_EVERY) -> None:
    """Wait until a condition holds; fail with `what` if it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"expected within {timeout:g} s: {what}")
        time.sleep(every)


class Process:
    """One process of the cluster: started under a slot, killed, started again under the same one."""

    def __init__(self, name: str, unit: str, slot: str, command: Sequence[str], cluster: "Cluster") -> None:
        self.name = name
        self.transactional_id = cluster.topics.group(unit) + f".{slot}"
        self.source = f"{cluster.namespace}/{unit}/{slot}"
        self.log = cluster.folder / f"{name}.log"
        self._command = command
        self._environment = cluster.environment
        self._cluster = cluster
        self._running: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._running is not None
        return self._running.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Start it, or start it again."""
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._cluster.folder,
            )

    def kill(self) -> None:
        """`kill -9`."""
        assert self._running is not None
        self._running.kill()
        self._running.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def ask_to_end(self) -> None:
        """SIGTERM."""
        if self.is_running:
            os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Ask it to end, and end it if it does not."""
        if not self.is_running:
            return
        assert self._running is not None
        self.thaw()
        self.ask_to_end()
        try:
            self._running.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()

    def transaction(self) -> str:
        """State of its transaction as the broker has it: `Ongoing`, `Empty`, `CompleteCommit`, …; empty if unknown."""
        return transaction_state(self._cluster.bootstrap, self.transactional_id)


class Cluster:
    """Processes of one namespace, and how a test looks at what they do."""

    def __init__(self, bootstrap: str, namespace: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.namespace = namespace
        self.folder = folder
        self.topics = Topics(namespace)
        self.transport = KafkaTransport(KafkaSettings(bootstrap))
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")},
            "FARANDOLE_BOOTSTRAP": bootstrap,
            "FARANDOLE_NAMESPACE": namespace,
            "FARANDOLE_ARTIFACTS": str(folder / "artifacts"),
            "PYTHONUNBUFFERED": "1",
        }
        self.processes: list[Process] = []
        self.entry = ENTRY
        """What starts processes; another one for processes of another version."""

    def apply(self, unit: Path, partitions: int | None = None) -> None:
        """`farandole apply`."""
        extra = {} if partitions is None else {"FARANDOLE_PARTITIONS": str(partitions)}
        done = subprocess.run(
            [sys.executable, "-m", "farandole.cli", "apply", str(unit), "--yes"],
            env={**self.environment, **extra},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def agents(self, slot: str, unit: Path, ledger: Path | None = None) -> Process:
        """A process of a unit's agents, with a ledger of what its handlers did if one is given."""
        rest = [str(ledger)] if ledger is not None else []
        command = [str(self.entry), "agents", slot, str(unit), *rest]
        return self._add(Process(f"agents-{slot}", unit.name, slot, command, self))

    def coordinator(self, slot: str = "c1") -> Process:
        """A coordinator."""
        return self._add(
            Process(f"coordinator-{slot}", "coordinator", slot, [str(self.entry), "coordinator", slot], self)
        )

    def client(self) -> SyncClient:
        """A client of this namespace."""
        return SyncClient(self.transport, self.namespace)

    def start(self, pipeline: str, params: Mapping[str, Mapping[str, object]]) -> None:
        """Start runs, by id, as a foreign producer that places as Java does; returns when all are acknowledged."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "linger.ms": 1})
        for run, given in params.items():
            command = {"run_id": run, "pipeline": pipeline, "params": given}
            producer.produce(self.topics.commands, json.dumps(command).encode(), run.encode())
        assert producer.flush(20) == 0

    def outcomes(self, count: int, timeout: float) -> dict[str, list[str]]:
        """Outcomes by run, as soon as so many runs are on `settled`; fewer if the time is over before."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"{self.namespace}.outcomes",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        found: dict[str, list[str]] = {}
        try:
            number = len(consumer.list_topics(self.topics.settled, 10).topics[self.topics.settled].partitions)
            consumer.assign([TopicPartition(self.topics.settled, n, 0) for n in range(number)])
            deadline = time.monotonic() + timeout
            while len(found) < count and time.monotonic() < deadline:
                for record in consumer.consume(500, 0.2):
                    assert record.error() is None, record.error()
                    row = decode(record.value() or b"")
                    assert isinstance(row, SettledRun)
                    found.setdefault(row.run, []).append(row.outcome)
        finally:
            consumer.close()
        return found

    def await_members(self, unit: str, processes: Sequence[Process]) -> None:
        """Wait until these processes are all members of their unit's group."""
        wanted = {each.transactional_id for each in processes}
        admin = self.transport.admin()
        until(lambda: wanted <= admin.members(self.topics.group(unit)), f"members {sorted(wanted)}", 40)
        admin.close()

    def await_quiet(self, timeout: float = 30.0) -> None:
        """Wait until every owner has consumed everything."""
        until(lambda: lag(self.transport, self.namespace) == 0, f"a lag of 0 in {self.namespace}", timeout, 0.3)

    def history(self, *, quiescent: bool = True) -> History:
        """Everything on the topics."""
        return collect(self.transport, self.namespace, quiescent=quiescent)

    @staticmethod
    def until(condition: Callable[[], object], what: str, timeout: float = 30.0, every: float = LOOK_EVERY) -> None:
        """Wait until a condition holds; fail with `what` if it does not in time."""
        until(condition, what, timeout, every)

    def check(self) -> None:
        """Fail if a process ended that nobody ended, with the end of its log."""
        for each in self.processes:
            assert each.is_running, f"{each.name} ended:\n{each.log.read_text()[-3000:]}"

    def end(self) -> None:
        """End every process."""
        for each in self.processes:
            if each.is_running:
                each.thaw()
                each.ask_to_end()
        for each in self.processes:
            each.end()

    def _add(self, process: Process) -> Process:
        self.processes.append(process)
        return process


def transaction_state(bootstrap: str, transactional_id: str) -> str:
    """`DescribeTransactions` v0, asked of the first broker; what it does not coordinate is unknown to it."""
    name = transactional_id.encode()
    assert len(name) < 127
    body = struct.pack(">hhih", DESCRIBE_TRANSACTIONS, 0, 1, -1) + bytes([0, 2, len(name) + 1]) + name + b"\0"
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(struct.pack(">i", len(body)) + body)
        answer = link.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        data = answer.read(size)
    # Correlation id, tags, throttle time; then an array of one: error, id, state.
    (error,) = struct.unpack_from(">h", data, 10)
    at = 12 + data[12]
    return data[at + 1 : at + data[at]].decode() if error == 0 else ""


@pytest.fixture
def cluster(kafka: str, unique: str, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without processes yet."""
    made = Cluster(kafka, unique, tmp_path)
    yield made
    made.end()


@pytest.fixture
def orders_unit() -> Path:
    """The sample unit."""
    return ORDERS


@pytest.fixture
def units() -> Path:
    """Folder of the units that tests here bring along."""
    return UNITS
