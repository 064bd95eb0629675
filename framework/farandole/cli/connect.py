"""From settings to the parts that commands work with: the log, the artifact store, a client."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from farandole.artifacts import ArtifactStore, LocalArtifacts
from farandole.cli.settings import Settings, load_settings
from farandole.client import Client
from farandole.events.topics import Topics
from farandole.transport.port import Transport

T = TypeVar("T")


def settings_of(config: Path | None, bootstrap: str | None, namespace: str | None, **more: str | None) -> Settings:
    """The settings of a command from the flags that all commands share, and those that it has besides."""
    return load_settings(config, bootstrap=bootstrap, namespace=namespace, **more)


def topics_of(settings: Settings) -> Topics:
    """Names of the topics."""
    return Topics(settings.namespace)


def transport_of(settings: Settings) -> Transport:
    """The log: Kafka at the address in the settings, or the embedded one of the project if there is none."""
    if settings.bootstrap is None:
        from farandole.transport.sqlite import SqliteTransport

        return SqliteTransport(replace(settings.embedded, path=settings.embedded.path.absolute()))
    from farandole.transport.kafka import KafkaSettings, KafkaTransport

    return KafkaTransport(KafkaSettings(settings.bootstrap, settings.kafka))


def artifacts_of(settings: Settings) -> ArtifactStore:
    """Where large payloads are kept."""
    return LocalArtifacts(settings.artifacts)


def with_client(settings: Settings, work: Callable[[Client], Awaitable[T]]) -> T:
    """Run `work` with a client, in an event loop of its own."""

    async def run() -> T:
        transport = transport_of(settings)
        async with Client(transport, settings.namespace, artifacts=artifacts_of(settings), name="cli") as client:
            return await work(client)

    return asyncio.run(run())
