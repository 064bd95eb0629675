"""A deployment to measure: one namespace on one log, its processes, and what they use of the machine.

Processes are those of the command line, as a user runs them; everything of a deployment is in a
folder of its own. Nothing here times anything.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

from farandole import Client
from farandole.artifacts import LocalArtifacts
from farandole.definition.loading import load_unit
from farandole.definition.model import Definition
from farandole.events.topics import Topics
from farandole.testing.broker import start_broker
from farandole.testing.cluster.process import ManagedProcess
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import Transport
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

FARANDOLE = (sys.executable, "-m", "farandole.cli")
HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
ENDS_WITHIN = timedelta(seconds=40)
"""An agent drains for 20 s at most."""


@dataclass(frozen=True, slots=True)
class Log:
    """The log of a measurement: a broker's address, or none for the embedded one."""

    name: str
    bootstrap: str | None = None


@contextmanager
def logs(names: Iterable[str]) -> Iterator[list[Log]]:
    """The logs of one call; one broker serves all measurements on Kafka."""
    chosen = list(names)
    if "kafka" not in chosen:
        yield [Log(name) for name in chosen]
        return
    with start_broker() as broker:
        yield [Log(name, broker.bootstrap if name == "kafka" else None) for name in chosen]


@dataclass(slots=True)
class Deployment:
    """Topics and definitions of one unit, applied; processes are started one by one. A context that ends all.

    `settings` go to every process as environment, such as `FARANDOLE_AGENT__COROUTINES`.
    """

    log: Log
    unit: Path
    settings: dict[str, str] = field(default_factory=dict)
    namespace: str = field(default_factory=lambda: f"bench-{uuid.uuid4().hex[:6]}")
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="farandole-bench-")))
    processes: list[ManagedProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        (self.folder / "farandole.toml").write_text("")
        self.cli("apply", str(self.unit), "--unit", "bench", "--yes")
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            each.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def topics(self) -> Topics:
        """Names of its topics."""
        return Topics(self.namespace)

    @property
    def transport(self) -> Transport:
        """Its log, for what watches and feeds it."""
        if self.log.bootstrap is not None:
            return KafkaTransport(KafkaSettings(self.log.bootstrap))
        return SqliteTransport(SqliteSettings(self.folder / ".farandole" / "log.db"))

    @property
    def artifacts(self) -> LocalArtifacts:
        """Where its agents keep large payloads."""
        return LocalArtifacts(self.folder / ".farandole" / "artifacts")

    def client(self, *, direct: bool = False) -> Client:
        """A client of it; `direct`: runs begin with one record."""
        return Client(self.transport, self.namespace, artifacts=self.artifacts, direct=direct)

    def definition(self, pipeline: str) -> Definition:
        """A pipeline of the unit."""
        return load_unit(self.unit).pipelines[pipeline].definition

    def cli(self, *arguments: str) -> None:
        """Run a command to its end."""
        variables = {**_without_ours(), **self._variables()}
        ran = subprocess.run(
            [*FARANDOLE, *arguments], cwd=self.folder, env=variables, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise RuntimeError(f"farandole {' '.join(arguments)} ended with {ran.returncode}: {ran.stderr[-2000:]}")

    def coordinator(self) -> ManagedProcess:
        """Start a coordinator."""
        return self._start("coordinator", "run")

    def agent(self, *options: str) -> ManagedProcess:
        """Start a process of the unit."""
        return self._start("agent", "run", str(self.unit), "--unit", "bench", *options)

    def said(self) -> str:
        """The end of every process's log, for the message of a measurement that failed."""
        return "\n".join(f"--- {each.name}\n{each.said()}" for each in self.processes)

    def cpu_s(self) -> float:
        """CPU seconds that its living processes and their children have used."""
        return sum(cpu_s(each.pid) for each in self.processes if each.is_alive)

    def _start(self, *command: str) -> ManagedProcess:
        name = f"{command[0]}-{len(self.processes)}"
        variables = {**self._variables(), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        process = ManagedProcess(name, ["env", *_hiding(), *_pairs(variables), *FARANDOLE, *command], self.folder, {})
        self.processes.append(process)
        return process.start()

    def _variables(self) -> dict[str, str]:
        chosen = {"FARANDOLE_NAMESPACE": self.namespace, **self.settings}
        if self.log.bootstrap is not None:
            chosen["FARANDOLE_BOOTSTRAP"] = self.log.bootstrap
        return chosen


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, all its threads and its children's that still live."""
    total, pids = 0.0, [pid]
    while pids:
        each = pids.pop()
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            for task in Path(f"/proc/{each}/task").iterdir():  # a child belongs to the thread that started it
                pids += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _without_ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}


def _hiding() -> list[str]:
    return [word for name in os.environ if name.startswith("FARANDOLE_") for word in ("-u", name)]


def _pairs(variables: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items() if value]
