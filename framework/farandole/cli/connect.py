"""From settings to the parts that commands work with: the log, the artifact store, a client."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from farandole.artifacts import ArtifactStore, LocalArtifacts
from farandole.cli.group import LOG_IN_USE
from farandole.cli.settings import Settings, load_settings
from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.transport.port import Transport

if TYPE_CHECKING:
    from farandole.client import Client
    from farandole.registry.exchange import Exchange
    from farandole.transport.kafka import KafkaSettings

T = TypeVar("T")


def settings_of(
    config: Path | None, bootstrap: str | None, namespace: str | None, **more: str | bool | None
) -> Settings:
    """The settings of a command from the flags that all commands share, and those that it has besides."""
    settings = load_settings(config, bootstrap=bootstrap, namespace=namespace, **more)
    LOG_IN_USE.set(settings.bootstrap)
    return settings


def topics_of(settings: Settings) -> Topics:
    """Names of the topics."""
    return Topics(settings.namespace)


def transport_of(settings: Settings) -> Transport:
    """The log: Kafka at the address in the settings, or the embedded one of the project if there is none.

    With a registry, it is seen in the registry's frames.

    Raises:
        ConfigError: what `[kafka]` says cannot be told to both clients.
    """
    return framed(log_of(settings), settings)


def log_of(settings: Settings) -> Transport:
    """The log as it is, without a registry's frames."""
    if settings.bootstrap is None:
        from farandole.transport.sqlite import SqliteTransport

        return SqliteTransport(replace(settings.embedded, path=settings.embedded.path.absolute()))
    from farandole.transport.kafka import KafkaTransport

    return KafkaTransport(kafka_of(settings))


def framed(transport: Transport, settings: Settings) -> Transport:
    """The same log as a deployment with a registry sees it; without a registry as it is."""
    if settings.registry is None:
        return transport
    from farandole.registry.exchange import Exchange
    from farandole.transport.compacted import CompactedTopic
    from farandole.transport.framed import FramedTransport

    topic = topics_of(settings).schemas
    exchange = Exchange(settings.registry, lambda: CompactedTopic(transport, topic, f"{topic}.exchange"))
    return FramedTransport(transport, exchange)


def exchange_of(transport: Transport) -> "Exchange | None":
    """What exchanges the frames of a transport, if anything does."""
    from farandole.registry.exchange import Exchange
    from farandole.transport.framed import FramedTransport

    framing = transport.framing if isinstance(transport, FramedTransport) else None
    return framing if isinstance(framing, Exchange) else None


def kafka_of(settings: Settings) -> "KafkaSettings":
    """How to reach Kafka, checked before anything is connected."""
    from farandole.transport.kafka import KafkaSettings

    made = KafkaSettings(address_of(settings), settings.kafka)
    if made.extra:
        from farandole.transport.kafka.security import require_told

        require_told(made)
    return made


def address_of(settings: Settings) -> str:
    """Kafka's address, for what only Kafka has.

    Raises:
        ConfigError: the log is the embedded one.
    """
    if settings.bootstrap is None:
        raise ConfigError(
            "bootstrap: expected the address of a Kafka, but the log is the embedded one, which has no such thing; "
            "pass --bootstrap HOST:PORT"
        )
    return settings.bootstrap


def artifacts_of(settings: Settings) -> ArtifactStore:
    """Where large payloads are kept."""
    return LocalArtifacts(settings.artifacts)


def as_it_is(transport: Transport) -> Transport:
    """The log itself."""
    return transport


def with_client(
    settings: Settings,
    work: "Callable[[Client], Awaitable[T]]",
    seen: Callable[[Transport], Transport] = as_it_is,
) -> T:
    """Run `work` with a client, in an event loop of its own; `seen` is what the client sees of the log.

    Raises:
        ConfigError: the log is the embedded one, and nobody has made it yet.
    """

    from farandole.client import Client

    async def run() -> T:
        transport = transport_of(settings)
        require_made(transport, settings)
        async with Client(seen(transport), settings.namespace, artifacts=artifacts_of(settings), name="cli") as client:
            return await work(client)

    return asyncio.run(run())


def looked_at(settings: Settings) -> Transport:
    """The log, for a command that changes nothing of it, or nothing that a log without topics has.

    Raises:
        ConfigError: the log is the embedded one, and nobody has made it yet.
    """
    transport = transport_of(settings)
    require_made(transport, settings)
    return transport


def as_if_made(settings: Settings) -> Transport:
    """The log, or an empty one in memory where the embedded one is not made yet: for what only `apply` would write."""
    transport = transport_of(settings)
    if not _is_unmade(transport, settings):
        return transport
    from farandole.transport.memory import MemoryTransport

    return framed(MemoryTransport(), settings)


def require_made(transport: Transport, settings: Settings) -> None:
    """Whoever only looks or asks must not leave an empty log behind where there is no project.

    Raises:
        ConfigError: the log is the embedded one, and nobody has made it yet.
    """
    if _is_unmade(transport, settings):
        raise ConfigError(
            f"{settings.embedded.path}: expected the log of a project, but nothing was started here yet. "
            "`farandole dev` in the project's folder makes it (`farandole init NAME` makes a project); "
            "--bootstrap HOST:PORT names a Kafka instead."
        )


def _is_unmade(transport: Transport, settings: Settings) -> bool:
    if settings.bootstrap is not None or settings.embedded.path.exists():
        return False
    from farandole.transport.framed import FramedTransport
    from farandole.transport.sqlite import SqliteTransport

    return isinstance(transport.inner if isinstance(transport, FramedTransport) else transport, SqliteTransport)
