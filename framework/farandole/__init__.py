"""Event-driven pipelines on Kafka: chains of agents, exactly once.

What users name stands here and is imported at its first use, so that `import farandole` is quick
whatever the packages behind it need.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farandole.client import Client, SyncClient
    from farandole.definition.agents import Agent, agent
    from farandole.definition.context import Context, FencingToken
    from farandole.definition.pipelines import Pipeline, pipeline
    from farandole.definition.policy import Join, OnDeadLetter, Retry
    from farandole.errors import (
        ConfigError,
        DefinitionError,
        FarandoleError,
        RecordError,
        RetryableStepError,
        RunCancelled,
        RunError,
        RunFailed,
        RunHeld,
        RunNotFound,
        RunRefused,
        RunTimedOut,
        TerminalStepError,
        TransportError,
        WaitTimedOut,
    )

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "Client",
    "ConfigError",
    "Context",
    "DefinitionError",
    "FarandoleError",
    "FencingToken",
    "Join",
    "OnDeadLetter",
    "Pipeline",
    "RecordError",
    "Retry",
    "RetryableStepError",
    "RunCancelled",
    "RunError",
    "RunFailed",
    "RunHeld",
    "RunNotFound",
    "RunRefused",
    "RunTimedOut",
    "SyncClient",
    "TerminalStepError",
    "TransportError",
    "WaitTimedOut",
    "agent",
    "pipeline",
]

_HOMES = {
    "Client": "farandole.client",
    "SyncClient": "farandole.client",
    "Agent": "farandole.definition.agents",
    "agent": "farandole.definition.agents",
    "Context": "farandole.definition.context",
    "FencingToken": "farandole.definition.context",
    "Pipeline": "farandole.definition.pipelines",
    "pipeline": "farandole.definition.pipelines",
    "Join": "farandole.definition.policy",
    "OnDeadLetter": "farandole.definition.policy",
    "Retry": "farandole.definition.policy",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES.get(name, "farandole.errors")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
