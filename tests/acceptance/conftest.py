"""A cluster of real processes on a real Kafka or on the embedded log, which tests kill, stop and start again.

Every process is ended with the test, whatever became of it; what it logged stays in the test's folder.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from farandole.client import SyncClient
from farandole.events.catalogue import decode
from farandole.events.tables import SettledRun
from farandole.events.topics import Topics
from farandole.testing.broker.transactions import ONGOING, transaction_state
from farandole.testing.history import History, collect, lag
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import NewRecord, Record, Transport
from farandole.transport.port import TopicPartition as Place
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

REPOSITORY = Path(__file__).parents[2]
ENTRY = Path(__file__).parent / "entry" / "process.py"
UNITS = Path(__file__).parent / "units"
ORDERS = REPOSITORY / "agents" / "orders"

LOOK_EVERY = 0.05
"""How often a condition is looked at, seconds."""

END_TIMEOUT = 15.0
"""Longest that a process may take to end when asked, seconds."""


def until(condition: Callable[[], object], what: str, timeout: float = 30.0, every: float = LOOK_EVERY) -> None:
    """Wait until a condition holds; fail with `what` if it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"expected within {timeout:g} s: {what}")
        time.sleep(every)


class Tally:
    """Reads a topic on and on, committed records alone, and counts; each record is read once.

    `name_of` says what a record counts for, or None; `found` are the names met so far.
    """

    def __init__(self, bootstrap: str, topic: str, name_of: Callable[[bytes, bytes], str | None]) -> None:
        self.found: set[str] = set()
        self._name_of = name_of
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{topic}.tally",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        number = len(self._consumer.list_topics(topic, 10).topics[topic].partitions)
        self._consumer.assign([TopicPartition(topic, n, 0) for n in range(number)])

    def reaches(self, count: int, what: str, timeout: float) -> None:
        """Wait until so many names were met."""
        deadline = time.monotonic() + timeout
        while len(self.found) < count:
            if time.monotonic() > deadline:
                pytest.fail(f"expected within {timeout:g} s: {what}, but {len(self.found)} of {count} are there")
            for record in self._consumer.consume(500, 0.2):
                assert record.error() is None, record.error()
                name = self._name_of(record.key() or b"", record.value() or b"")
                self.found |= set() if name is None else {name}

    def close(self) -> None:
        """Read no more."""
        self._consumer.close()


class Process:
    """One process of the cluster: started under a slot, killed, started again under the same one."""

    def __init__(self, name: str, unit: str, slot: str, command: Sequence[str], cluster: "Cluster") -> None:
        self.name = name
        self.unit = unit
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
                [self._cluster.python, *self._command],
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


class Log(Protocol):
    """What a cluster runs on, as a stranger meets it who has no code of ours where that can be."""

    transport: Transport
    variables: Mapping[str, str]

    def write(self, topic: str, records: Mapping[str, bytes]) -> None:
        """Write records, by key, where Java would place them; returns when all are acknowledged."""
        ...

    def values(self, topic: str, timeout: float) -> Generator[bytes, None, None]:
        """Committed values of a topic as they come, until the time is over."""
        ...

    def kill_at_work(self, victim: Process, dice: random.Random) -> bool:
        """Kill a process at a random instant of its work; whether a transaction of its own was open as it died."""
        ...


class KafkaLog:
    """A real Kafka, met with librdkafka."""

    AIM_S = 20.0
    """Longest wait for the chosen process to be at work again, seconds; a take-over needs 6 to 8."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.transport: Transport = KafkaTransport(KafkaSettings(bootstrap))
        self.variables: Mapping[str, str] = {"FARANDOLE_BOOTSTRAP": bootstrap}

    def write(self, topic: str, records: Mapping[str, bytes]) -> None:
        """As a foreign producer that places as Java does."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random", "linger.ms": 1})
        for key, value in records.items():
            producer.produce(topic, value, key.encode())
        assert producer.flush(20) == 0

    def values(self, topic: str, timeout: float) -> Generator[bytes, None, None]:
        """As a foreign consumer."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"{topic}.looked-at",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        try:
            number = len(consumer.list_topics(topic, 10).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, n, 0) for n in range(number)])
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline:
                for record in consumer.consume(500, 0.2):
                    assert record.error() is None, record.error()
                    yield record.value() or b""
        finally:
            consumer.close()

    def kill_at_work(self, victim: Process, dice: random.Random) -> bool:
        """After it was seen in a transaction.

        A transaction that its dead predecessor left open is first seen to be aborted: it is not the process's own.
        """
        deadline = time.monotonic() + self.AIM_S
        for is_open in (False, True):
            while (self._transaction(victim) == ONGOING) is not is_open and time.monotonic() < deadline:
                pass  # a transaction is over in some milliseconds: looking is all the waiting there is
        time.sleep(dice.choice([0.0, 0.0, dice.uniform(0, 0.02)]))
        victim.kill()
        return self._transaction(victim) == ONGOING

    def _transaction(self, it: Process) -> str:
        """State of its transaction as the broker has it: `Ongoing`, `Empty`, `CompleteCommit`, …; empty if unknown."""
        return transaction_state(self.bootstrap, it.transactional_id)


class EmbeddedLog:
    """A file that the cluster's processes share; its lock says who is in a transaction."""

    AIM_S = 1.5
    """Longest hunt for a process inside a transaction, seconds."""

    LOCK_S = 0.05
    """A write lock that is not to be had for so long is held by who stands still; others let go within 5 ms."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.transport: Transport = SqliteTransport(SqliteSettings(path))
        self.variables: Mapping[str, str] = {"FARANDOLE_EMBEDDED__PATH": str(path)}

    def write(self, topic: str, records: Mapping[str, bytes]) -> None:
        """Through the port: nobody else writes this file."""
        with closing(self.transport.producer("starter")) as producer:
            for key, value in records.items():
                producer.send(NewRecord(topic, key.encode(), value))
            assert producer.flush(20) == 0

    def values(self, topic: str, timeout: float) -> Generator[bytes, None, None]:
        """Through the port."""
        with closing(self.transport.admin()) as admin, closing(self.transport.reader("looker")) as reader:
            reader.assign({Place(topic, n): 0 for n in range(admin.topics([topic])[topic].partitions)})
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline:
                for each in reader.poll(0.2):
                    if isinstance(each, Record):
                        yield each.value or b""

    def kill_at_work(self, victim: Process, dice: random.Random) -> bool:
        """Stop it again and again until it stands still with the write lock, then kill it there."""
        deadline = time.monotonic() + self.AIM_S
        while time.monotonic() < deadline:
            time.sleep(dice.uniform(0, 0.01))
            victim.freeze()
            if self._is_locked():
                victim.kill()
                return True
            victim.thaw()
        victim.kill()
        return False

    def _is_locked(self) -> bool:
        """Whether the lock cannot be had although everybody who moves lets go of it in a moment."""
        deadline = time.monotonic() + self.LOCK_S
        with closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as db:
            while time.monotonic() < deadline:
                try:
                    db.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError:
                    continue
                db.execute("ROLLBACK")
                return False
        return True


class Cluster:
    """Processes of one namespace, and how a test looks at what they do."""

    def __init__(self, log: Log, namespace: str, folder: Path) -> None:
        self.log = log
        self.namespace = namespace
        self.folder = folder
        self.topics = Topics(namespace)
        self.transport = log.transport
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")},
            **log.variables,
            "FARANDOLE_NAMESPACE": namespace,
            "FARANDOLE_ARTIFACTS": str(folder / "artifacts"),
            "PYTHONUNBUFFERED": "1",
        }
        self.processes: list[Process] = []
        self._tallies: list[Tally] = []
        self.entry = ENTRY
        """What starts processes; another one for processes of another version, and its interpreter."""

        self.python = sys.executable

    def apply(self, unit: Path, partitions: int | None = None) -> None:
        """`farandole apply`."""
        extra = {} if partitions is None else {"FARANDOLE_PARTITIONS": str(partitions)}
        done = subprocess.run(
            [self.python, "-m", "farandole.cli", "apply", str(unit), "--yes"],
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

    @property
    def bootstrap(self) -> str:
        """Address of the Kafka that it runs on."""
        assert isinstance(self.log, KafkaLog)
        return self.log.bootstrap

    def start(self, pipeline: str, params: Mapping[str, Mapping[str, object]]) -> None:
        """Start runs, by id; returns when all are acknowledged."""
        commands = {run: {"run_id": run, "pipeline": pipeline, "params": given} for run, given in params.items()}
        self.log.write(self.topics.commands, {run: json.dumps(each).encode() for run, each in commands.items()})

    def outcomes(self, count: int, timeout: float) -> dict[str, list[str]]:
        """Outcomes by run, as soon as so many runs are on `settled`; fewer if the time is over before."""
        found: dict[str, list[str]] = {}
        with closing(self.log.values(self.topics.settled, timeout)) as values:
            for value in values:
                row = decode(value)
                assert isinstance(row, SettledRun)
                found.setdefault(row.run, []).append(row.outcome)
                if len(found) >= count:
                    break
        return found

    def tally(self, topic: str, name_of: Callable[[bytes, bytes], str | None]) -> Tally:
        """A count of what comes to a topic; closed with the cluster."""
        tally = Tally(self.bootstrap, topic, name_of)
        self._tallies.append(tally)
        return tally

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
        while self._tallies:
            self._tallies.pop().close()

    def _add(self, process: Process) -> Process:
        self.processes.append(process)
        return process


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In a parallel run these tests follow one another: each is several busy processes of its own."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture
def cluster(kafka: str, unique: str, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without processes yet."""
    made = Cluster(KafkaLog(kafka), unique, tmp_path)
    yield made
    made.end()


@pytest.fixture
def embedded_cluster(unique: str, tmp_path: Path) -> Iterator[Cluster]:
    """The same on an embedded log."""
    made = Cluster(EmbeddedLog(tmp_path / ".farandole" / "log.db"), unique, tmp_path)
    yield made
    made.end()


@pytest.fixture
def cluster_of() -> Callable[[str, str, Path], Cluster]:
    """Makes a cluster on another broker than the shared one: address, namespace, folder. Whoever makes one ends it."""
    return lambda bootstrap, namespace, folder: Cluster(KafkaLog(bootstrap), namespace, folder)


@pytest.fixture
def orders_unit() -> Path:
    """The sample unit."""
    return ORDERS


@pytest.fixture
def units() -> Path:
    """Folder of the units that tests here bring along."""
    return UNITS


def wheel_of(source: Path, folder: Path) -> Path:
    """A source tree's package as it would be published, built without network."""
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-build-isolation", "--wheel-dir", str(folder), str(source)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (made,) = folder.glob("farandole-*.whl")
    return made


def environment_with(wheel: Path, home: Path) -> Path:
    """A virtual environment with the wheel in it; its interpreter.

    What farandole depends on comes from the environment that runs the tests, by a `.pth` behind the wheel: that
    environment's own `.pth` files, which lead to the source tree, are not followed from there.
    """
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--no-index", str(wheel)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (packages,) = (home / "lib").glob("python*/site-packages")
    (packages / "what-farandole-needs.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree's package as it would be published."""
    return wheel_of(REPOSITORY, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed() -> Callable[[Path, Path], Path]:
    """Builds a source tree's wheel and installs it into an environment of its own in a folder; its interpreter."""
    return lambda source, folder: environment_with(wheel_of(source, folder / "wheel"), folder / "env")


@pytest.fixture(scope="session")
def newcomer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Variables of somebody whose environment has the wheel in it."""
    home = tmp_path_factory.mktemp("newcomer")
    python = environment_with(wheel, home / "env")
    pip = home / "env" / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{python}" -m pip --no-input --disable-pip-version-check "$@" --no-index\n')
    pip.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FARANDOLE_", "PYT", "VIRTUAL"))}
    return {**kept, "HOME": str(home), "PATH": f"{home / 'env' / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1"}
