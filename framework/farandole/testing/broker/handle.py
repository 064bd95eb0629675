"""The broker as a test holds it, whatever tier it came from, and how a tier says no.

Knows nothing of Java, Maven or Docker: a tier gives a `BrokerControl`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

from farandole.errors import ConfigError


class TierUnavailable(ConfigError):
    """A tier of the ladder cannot give a broker; the message is the reason, and the next tier is tried."""


class NoBroker(ConfigError):
    """No tier of the ladder gave a broker; `passed` holds one reason per tier."""

    def __init__(self, passed: tuple[str, ...]) -> None:
        super().__init__("no Kafka broker for tests: " + "; ".join(passed))
        self.passed = passed


class BrokerNotOurs(ConfigError):
    """A test asked to kill or restart a broker that somebody else runs."""


class BrokerControl(Protocol):
    """What can be done to a running broker."""

    def stop(self) -> None:
        """End the broker for good and remove its data. Doing it twice is harmless."""

    def kill(self) -> None:
        """End the broker as a power cut would; its data stay for `restart`."""

    def restart(self) -> None:
        """Start it anew on the same address and data, ending it first if it runs; returns when it answers."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that answered. As a context it stops itself at the end."""

    bootstrap: str
    how: str
    """In a few words, for the last line of a test run: `environment`, `Maven jars of Kafka 4.3.1`, …"""
    control: BrokerControl
    passed: tuple[str, ...] = ()
    """Why the tiers above this one were passed over, in order."""
    listeners: Mapping[str, str] = field(default_factory=dict)
    """Addresses of the listeners that the settings asked for besides, by name."""

    def stop(self) -> None:
        """End the broker for good, unless somebody else runs it."""
        self.control.stop()

    def kill(self) -> None:
        """End the broker as a power cut would; its data stay for `restart`.

        Raises:
            BrokerNotOurs: somebody else runs it.
        """
        self.control.kill()

    def restart(self) -> None:
        """Start the broker anew on the same address and data; returns when it answers.

        Raises:
            BrokerNotOurs: somebody else runs it.
            TierUnavailable: it did not come back in time.
        """
        self.control.restart()

    def after(self, passed: tuple[str, ...]) -> "Broker":
        """The same broker, with the reasons why the tiers above it were passed over."""
        return replace(self, passed=passed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
