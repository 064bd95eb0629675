"""What a client works on: what it was given, and for all else what the project's settings and the environment say."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farandole.artifacts import ArtifactStore
from farandole.errors import ConfigError
from farandole.transport.port import Transport

if TYPE_CHECKING:
    from farandole.settings.connection import Connection


@dataclass(frozen=True, slots=True)
class Given:
    """Arguments of a client; None was not given. `log`: a transport, the address of a Kafka, the file of a log."""

    log: Transport | str | Path | None
    namespace: str | None
    artifacts: ArtifactStore | None

    def complete(self) -> "Work":
        """All of it, as the command line would have it.

        Raises:
            ConfigError: settings are wrong, or `production` refuses them.
        """
        from farandole.settings.parts import artifacts_of, transport_of

        settings = self._settings()
        return Work(
            transport_of(settings) if self.log is None or isinstance(self.log, str | Path) else self.log,
            settings.namespace,
            self.artifacts if self.artifacts is not None else artifacts_of(settings),
        )

    def _settings(self) -> "Connection":
        from farandole.settings.connection import Connection  # and pydantic, at the first use
        from farandole.settings.reading import read

        given: dict[str, object] = {"namespace": self.namespace}
        if isinstance(self.log, Path):
            settings = read(Connection, flags=given | {"embedded_path": str(self.log)}).settings
            return settings.model_copy(update={"bootstrap": None})
        return read(Connection, flags=given | {"bootstrap": self.log if isinstance(self.log, str) else None}).settings


@dataclass(frozen=True, slots=True)
class Work:
    """A log, the namespace on it, and the store of what is too large to travel."""

    transport: Transport
    namespace: str
    artifacts: ArtifactStore

    def require_made(self) -> None:
        """A client in the wrong folder must not leave an empty log behind, for commands to find there.

        Raises:
            ConfigError: the log is an embedded one, and nobody has made it yet: nothing can have been applied to it.
        """
        from farandole.transport.framed import FramedTransport
        from farandole.transport.sqlite import SqliteTransport

        log = self.transport.inner if isinstance(self.transport, FramedTransport) else self.transport
        if isinstance(log, SqliteTransport) and not log.settings.path.exists():
            raise ConfigError(
                f"{log.settings.path}: expected the log of a project, but nothing was started here yet. "
                "`farandole dev` in the project's folder makes it; FARANDOLE_BOOTSTRAP, or the first argument of the "
                "client, names a Kafka instead."
            )
