"""What is under the demo: a log, and a coordinator and agents as processes of their own.

The log is a file of the demo's own, or a real Kafka. Both give the play the same few things, and
the processes are gone when it ends.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of, transport_of
from farandole.cli.demo.children import Children
from farandole.cli.deploy import make
from farandole.cli.settings import FILE, Settings, load_settings
from farandole.cli.units import Named, load
from farandole.client.applying import apply
from farandole.definition.pipelines import Pipeline
from farandole.errors import ConfigError
from farandole.transport.port import Transport

PIPELINE = "nightly"
AGENT_PROCESSES = 2


@dataclass
class Stage:
    """`crew` does the work; `told` says in a line what it is."""

    settings: Settings
    transport: Transport
    named: Named
    crew: Children
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


def embedded_stage(folder: Path, namespace: str, home: Path) -> Stage:
    """A log of the demo's own. `home` becomes its project, so that a second terminal which goes there meets it."""
    project = home / FILE
    try:
        home.mkdir(parents=True, exist_ok=True)
        project.write_text(f'namespace = "{namespace}"\n')
    except OSError as bad:
        raise ConfigError(f"{project}: expected a folder that can be written (--home), but {bad}") from None
    log = home / ".farandole" / "log.db"
    settings = load_settings(project, namespace=namespace, embedded_path=log.absolute(), artifacts=_artifacts(home))
    # A Kafka that is set for other things was not asked for; an empty variable counts as none.
    settings = settings.model_copy(update={"bootstrap": None})
    variables = {"FARANDOLE_BOOTSTRAP": "", "FARANDOLE_EMBEDDED__PATH": str(settings.embedded.path)}
    return _stage(folder, settings, home, f"the log {log}", ["--config", str(project.absolute())], variables)


def kafka_stage(folder: Path, namespace: str, home: Path, bootstrap: str) -> Stage:
    """A real Kafka."""
    settings = load_settings(bootstrap=bootstrap, namespace=namespace, artifacts=_artifacts(home))
    return _stage(folder, settings, home, f"Kafka at {bootstrap}", ["--bootstrap", bootstrap], {})


def _stage(
    folder: Path, settings: Settings, home: Path, log: str, options: Sequence[str], variables: Mapping[str, str]
) -> Stage:
    """A log that is as the unit needs it, a coordinator and two agent processes."""
    transport, named = transport_of(settings), _load(folder)
    apply(transport, make(transport, settings, named))
    slot = secrets.token_hex(3)
    commands = {
        "coordinator": ["coordinator", "run", "--slot", slot],
        **{
            f"agents-{n}": ["agent", "run", str(folder), "--slot", f"{slot}-{n}"] for n in range(1, AGENT_PROCESSES + 1)
        },
    }
    children = Children(
        {name: [*command, *options, "--namespace", settings.namespace] for name, command in commands.items()},
        {"FARANDOLE_ARTIFACTS": str(settings.artifacts), **variables},
        home / "logs",
    )
    told = f"{log}: a coordinator and {AGENT_PROCESSES} agent processes, logs in {home / 'logs'}"
    return Stage(settings, transport, named, children, told)


def _artifacts(home: Path) -> Path:
    return (home / "artifacts").absolute()


def _load(folder: Path) -> Named:
    named = load(folder, None)
    if PIPELINE not in named.unit.pipelines:
        raise ConfigError(f"{folder}: expected a pipeline {PIPELINE!r}, but it has {', '.join(named.unit.pipelines)}")
    return named
