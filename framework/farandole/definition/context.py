"""What a handler is told about its attempt, and what it may do beside returning a result.

A protocol: the runtime has the working one, tests may pass their own.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import logging
    from datetime import datetime


class FencingToken(NamedTuple):
    """Rises with every attempt and with every change of owner; a sink refuses a lower one (DESIGN R6)."""

    attempt: int
    epoch: int


class Context(Protocol):
    """The attempt that a handler serves."""

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        ...

    @property
    def step(self) -> str:
        """The step's name in the pipeline."""
        ...

    @property
    def item(self) -> int | None:
        """The item's number in a mapped step, else None."""
        ...

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        ...

    @property
    def idempotency_key(self) -> str:
        """Stable over attempts and redeliveries: pass it to whatever must not act twice."""
        ...

    @property
    def fencing_token(self) -> FencingToken:
        """Pass it to sinks that can refuse a stale writer."""
        ...

    @property
    def deadline(self) -> "datetime | None":
        """When the attempt times out."""
        ...

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """Logs with run, step, item and attempt as fields."""
        ...

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Tell telemetry how far this attempt is; never part of a transaction."""
        ...

    def publish(self, topic: str, value: object, *, key: str | None = None) -> None:
        """Write a record to one of the agent's declared topics, in the transaction that carries the result.

        Raises:
            DefinitionError: the agent did not declare the topic in `publishes`, nor the type of a record there that is
                neither its input nor its result; or key or value cannot be written.
        """
        ...
