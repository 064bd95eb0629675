"""From settings to the parts that commands and applications work with: the log, the artifact store, names of topics."""

from dataclasses import replace
from typing import TYPE_CHECKING

from farandole.artifacts import ArtifactStore, LocalArtifacts
from farandole.errors import ConfigError
from farandole.events.topics import Topics
from farandole.settings.connection import Connection
from farandole.transport.port import Transport

if TYPE_CHECKING:
    from farandole.registry.exchange import Exchange
    from farandole.transport.kafka import KafkaSettings


def topics_of(settings: Connection) -> Topics:
    """Names of the topics."""
    return Topics(settings.namespace)


def transport_of(settings: Connection) -> Transport:
    """The log: Kafka at the address in the settings, or the embedded one of the project if there is none.

    With a registry, it is seen in the registry's frames.

    Raises:
        ConfigError: what `[kafka]` says cannot be told to both clients.
    """
    return framed(log_of(settings), settings)


def log_of(settings: Connection) -> Transport:
    """The log as it is, without a registry's frames."""
    if settings.bootstrap is None:
        from farandole.transport.sqlite import SqliteTransport

        return SqliteTransport(replace(settings.embedded, path=settings.embedded.path.absolute()))
    from farandole.transport.kafka import KafkaTransport

    return KafkaTransport(kafka_of(settings))


def framed(transport: Transport, settings: Connection) -> Transport:
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


def kafka_of(settings: Connection) -> "KafkaSettings":
    """How to reach Kafka, checked before anything is connected."""
    from farandole.transport.kafka import KafkaSettings

    made = KafkaSettings(address_of(settings), settings.kafka)
    if made.extra:
        from farandole.transport.kafka.security import require_told

        require_told(made)
    return made


def address_of(settings: Connection) -> str:
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


def artifacts_of(settings: Connection) -> ArtifactStore:
    """Where large payloads are kept."""
    return LocalArtifacts(settings.artifacts)
