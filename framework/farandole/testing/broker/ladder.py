"""Which broker the tests get: the first tier that can give one.

Decides, and starts nothing itself: the tiers are functions of the settings, so that the
decision is tested without any broker.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from farandole.testing.broker.handle import Broker, BrokerNotOurs, NoBroker, TierUnavailable
from farandole.testing.broker.maven import maven_tier
from farandole.testing.broker.ready import wait_until_ready
from farandole.testing.broker.settings import BrokerSettings

Tier = Callable[[BrokerSettings], Broker]
"""Gives a broker that answers, or raises `TierUnavailable` with the reason."""


def start_broker(settings: BrokerSettings | None = None, tiers: Mapping[str, Tier] | None = None) -> Broker:
    """A broker that answers, from the first tier that has one; a context that stops it.

    Without `settings`, those that the environment asks for.

    Raises:
        NoBroker: no tier has one; the message names each tier and why.
    """
    chosen = BrokerSettings.from_environment() if settings is None else settings
    passed: list[str] = []
    for name, tier in (TIERS if tiers is None else tiers).items():
        try:
            return tier(chosen).after(tuple(passed))
        except TierUnavailable as reason:
            passed.append(f"{name}: {reason}")
    raise NoBroker(tuple(passed))


def given_tier(settings: BrokerSettings) -> Broker:
    """The broker that somebody else runs, named by `FARANDOLE_TEST_BOOTSTRAP`.

    Raises:
        TierUnavailable: none is named, or the one that is does not answer.
    """
    if settings.bootstrap is None:
        raise TierUnavailable("FARANDOLE_TEST_BOOTSTRAP is not set")
    if settings.listeners:
        raise TierUnavailable(f"FARANDOLE_TEST_BOOTSTRAP={settings.bootstrap} has listeners of its own")
    if not wait_until_ready(settings.bootstrap, settings.answer_timeout):
        raise TierUnavailable(
            f"FARANDOLE_TEST_BOOTSTRAP={settings.bootstrap} gave no answer in {settings.answer_timeout.seconds} s"
        )
    return Broker(settings.bootstrap, "FARANDOLE_TEST_BOOTSTRAP", NotOurs(settings.bootstrap))


def docker_tier(settings: BrokerSettings) -> Broker:
    """A broker in a container.

    Raises:
        TierUnavailable: testcontainers is not installed, or `container_tier` says why.
    """
    if settings.listeners:
        raise TierUnavailable("a container has no listeners besides its own")
    if importlib.util.find_spec("testcontainers") is None:
        raise TierUnavailable("testcontainers is not installed; it comes with the extra `dev`")
    # Here, because it takes a third of a second and most machines never come to this tier.
    from farandole.testing.broker.container import container_tier

    return container_tier(settings)


TIERS: Mapping[str, Tier] = {"given": given_tier, "maven": maven_tier, "docker": docker_tier}
"""In the order in which they are tried: what was asked for, what is quickest, what needs most."""


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Control of a broker that somebody else runs: it can be neither killed nor restarted."""

    bootstrap: str

    def stop(self) -> None:
        """Not ours to stop."""

    def kill(self) -> None:
        """Refused."""
        raise BrokerNotOurs(f"{self.bootstrap}: expected a broker of our own, but it was given. It was not killed.")

    def restart(self) -> None:
        """Refused."""
        raise BrokerNotOurs(f"{self.bootstrap}: expected a broker of our own, but it was given. It was not restarted.")
