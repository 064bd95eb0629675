"""From settings to the parts that commands work with: those of `farandole.settings.parts`, and a client."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from farandole.cli.group import LOG_IN_USE
from farandole.cli.settings import Settings, load_settings
from farandole.errors import ConfigError
from farandole.settings.parts import (
    address_of,
    artifacts_of,
    exchange_of,
    framed,
    kafka_of,
    log_of,
    topics_of,
    transport_of,
)
from farandole.transport.port import Transport

if TYPE_CHECKING:
    from farandole.client import Client

__all__ = [
    "address_of",
    "artifacts_of",
    "exchange_of",
    "framed",
    "kafka_of",
    "log_of",
    "require_made",
    "settings_of",
    "topics_of",
    "transport_of",
    "with_client",
]

T = TypeVar("T")


def settings_of(
    config: Path | None, bootstrap: str | None, namespace: str | None, **more: str | bool | None
) -> Settings:
    """The settings of a command from the flags that all commands share, and those that it has besides."""
    settings = load_settings(config, bootstrap=bootstrap, namespace=namespace, **more)
    LOG_IN_USE.set(settings.bootstrap)
    return settings


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
