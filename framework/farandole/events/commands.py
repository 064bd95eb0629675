"""What is asked of a run: the records of the `commands` topic, imperative.

`params` and `input` hold framed Avro, or JSON text where the schema is known from the
definition. Knows nothing of how a command reached the topic.
"""

from dataclasses import dataclass

from farandole.ids import NO_ITEM


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start a run of `pipeline`; without a run id one is derived from the command's place in the log."""

    pipeline: str
    params: bytes
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Stop a run; steps that have begun are waited for."""

    run_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplayDeadLetter:
    """Give a dead-lettered step one more attempt; `dead_letter` is `topic/partition/offset` of the dead record."""

    run_id: str
    step: str
    attempt: int
    dead_letter: str
    input: bytes | None = None
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class DiscardDeadLetter:
    """Go on without a dead-lettered step, as its policy `skip` would have: its run ends `partial`.

    `dead_letter` as in `ReplayDeadLetter`; `reason` is for whoever reads the run's history.
    """

    run_id: str
    step: str
    attempt: int
    dead_letter: str
    reason: str = ""
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class ReleaseRun:
    """Let a run go on that was held by a kernel error or a suspected trigger."""

    run_id: str


Command = StartRun | CancelRun | ReplayDeadLetter | DiscardDeadLetter | ReleaseRun
"""What `commands` may hold; `SignalRun` and others come with the features that need them."""
