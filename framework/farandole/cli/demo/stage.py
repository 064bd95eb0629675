"""What is under the demo: the log, a coordinator, agents; in threads of this process, or as processes on Kafka.

Both give the play the same few things, and both are gone when it ends.
"""

import secrets
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of, transport_of
from farandole.cli.demo.children import Children
from farandole.cli.deploy import make
from farandole.cli.processes import agent_loop, agent_settings, coordinator_loop, coordinator_settings
from farandole.cli.settings import Settings, load_settings
from farandole.cli.units import Named, load
from farandole.client.applying import apply
from farandole.definition.pipelines import Pipeline
from farandole.errors import ConfigError
from farandole.testing.threads import Loop, Threads
from farandole.transport.port import Transport

PIPELINE = "nightly"
AGENT_PROCESSES = 2


@dataclass
class Stage:
    """`crew` does the work: threads or processes; `told` says in a line what it is."""

    settings: Settings
    transport: Transport
    named: Named
    crew: Threads | Children
    told: str
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        self._open.enter_context(self.crew)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def namespace(self) -> str:
        """Prefix of its topics."""
        return self.settings.namespace

    @property
    def pipeline(self) -> Pipeline[..., object]:
        """The pipeline that the demo runs."""
        return self.named.unit.pipelines[PIPELINE]

    @property
    def artifacts(self) -> ArtifactStore:
        """Where large payloads are."""
        return artifacts_of(self.settings)

    def check(self) -> None:
        """Raise what has gone wrong with the crew, if anything has."""
        self.crew.check()


def memory_stage(folder: Path, namespace: str, home: Path) -> Stage:
    """Everything in this process, on the log in memory."""
    from farandole.transport.memory import MemoryTransport

    settings = load_settings(namespace=namespace, artifacts=(home / "artifacts").absolute())
    transport, named = MemoryTransport(), _load(folder)
    apply(transport, make(transport, settings, named))
    store = artifacts_of(settings)
    loops: list[Loop] = [
        coordinator_loop(transport, store, coordinator_settings(settings, "demo")),
        agent_loop(transport, store, named, agent_settings(settings, named, "demo")),
    ]
    told = "one process: the log in memory, a coordinator, the agents"
    return Stage(settings, transport, named, Threads(loops), told)


def kafka_stage(folder: Path, namespace: str, home: Path, bootstrap: str) -> Stage:
    """A real Kafka, with a coordinator and two agent processes."""
    settings = load_settings(bootstrap=bootstrap, namespace=namespace, artifacts=(home / "artifacts").absolute())
    transport, named = transport_of(settings), _load(folder)
    apply(transport, make(transport, settings, named))
    slot = secrets.token_hex(3)
    commands = {
        "coordinator": ["coordinator", "run", "--slot", slot],
        **{
            f"agents-{n}": ["agent", "run", str(folder), "--slot", f"{slot}-{n}"] for n in range(1, AGENT_PROCESSES + 1)
        },
    }
    shared = ["--bootstrap", bootstrap, "--namespace", namespace]
    children = Children(
        {name: [*command, *shared] for name, command in commands.items()},
        {"FARANDOLE_ARTIFACTS": str(settings.artifacts)},
        home / "logs",
    )
    told = f"Kafka at {bootstrap}: a coordinator and {AGENT_PROCESSES} agent processes, logs in {home / 'logs'}"
    return Stage(settings, transport, named, children, told)


def _load(folder: Path) -> Named:
    named = load(folder, None)
    if PIPELINE not in named.unit.pipelines:
        raise ConfigError(f"{folder}: expected a pipeline {PIPELINE!r}, but it has {', '.join(named.unit.pipelines)}")
    return named
