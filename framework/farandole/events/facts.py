"""The facts that the `events` topic holds, and who may write each.

Past tense, immutable, small. An agent reports what its attempt did; a marker brings into
the log's order what came from elsewhere (a command, a timer); all others are
consequences, written by the coordinator that folded their cause. `payload` fields hold
framed Avro bytes (DESIGN section 4), never decoded here. Knows nothing of topics.

`item` is `NO_ITEM` (-1) for a step that is not mapped; attempts count from 1.
"""

from dataclasses import dataclass
from datetime import datetime

from farandole.ids import NO_ITEM

# --- what agents report ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepSucceeded:
    """An attempt gave a result; `fired` names the successors that its agent triggered.

    `fused` are those of them that the agent ran at once instead of writing their triggers: their facts follow in
    the same transaction. `final`: nothing is left of the run, so that it has succeeded with this output unless
    something against it stands before this on the log.
    """

    run: str
    step: str
    attempt: int
    output: bytes
    fired: tuple[str, ...] = ()
    item: int = NO_ITEM
    duration_ms: int = 0
    fused: tuple[str, ...] = ()
    final: bool = False


@dataclass(frozen=True, slots=True)
class StepFailed:
    """An attempt failed; `input` is kept so that a retry needs no inbox record.

    `kind` is one of `exception`, `timeout`, `contract`, `crash`, `memory`, `undecodable`, `unknown`.
    `fingerprint` groups failures of one cause. `dead_lettered`: the agent wrote the dead letter itself.
    """

    run: str
    step: str
    attempt: int
    kind: str
    error: str
    fingerprint: str
    retryable: bool
    input: bytes
    dead_lettered: bool = False
    retry_after_ms: int | None = None
    item: int = NO_ITEM
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class StepCancelled:
    """A trigger was answered without running its handler, because the run is stopping."""

    run: str
    step: str
    attempt: int
    reason: str
    item: int = NO_ITEM


# --- markers: folded when they are read back -------------------------------------------


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asked that the run stop."""

    run: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplayRequested:
    """Somebody asked for one more attempt of a dead-lettered step, perhaps with a repaired input.

    `attempt` is the one that was dead-lettered; a replay of any other is without effect.
    """

    run: str
    step: str
    attempt: int
    dead_letter: str
    input: bytes | None = None
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class DiscardRequested:
    """Somebody gave up on a dead-lettered step for good: the run is to go on without it.

    `attempt` is the one that was dead-lettered; a discard of any other is without effect.
    """

    run: str
    step: str
    attempt: int
    dead_letter: str
    reason: str = ""
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The wait before `attempt` is over."""

    run: str
    step: str
    attempt: int
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """A deadline of the coordinator's passed; `scope` is `run`, `step`, `hold` or `stop`.

    `step`, `item` and `attempt` are set for the scopes `step` and `hold`.
    """

    run: str
    scope: str
    step: str = ""
    attempt: int = 0
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class TriggerSuspected:
    """The watchdog found no result though the inbox was consumed past the trigger; it never triggers by itself."""

    run: str
    step: str
    attempt: int
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class ReleaseRequested:
    """Somebody asked that a held run go on; one held by a kernel error is folded anew from where it stopped.

    Of a run that folds, suspected triggers are waited for again; its dead letters hold it as before.
    """

    run: str


# --- consequences: folded by the transaction that writes them ---------------------------


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run exists from here on, under the definition named by its hash.

    `params` are framed by that definition's own schema, whichever one they were sent with, and `params_hash` is the
    SHA-256 of those bytes, by which a start that is sent once more is told from one with other params.

    `fired`: the root whose trigger was the start itself (direct start). Then the root's agent wrote this, before
    its own report, and it is folded like a fact.
    """

    run: str
    pipeline: str
    definition: str
    params: bytes
    params_hash: str
    started_at: datetime
    deadline: datetime | None = None
    fired: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRefused:
    """A start was refused; a run that already has the id is untouched.

    `reason` is one of `conflict`, `unknown_pipeline`, `params`, `run_id`, `expired_id`, `undecodable`, `unproducible`
    (the log refused what follows from it), `definition_gone` (the run's definition is not on the log), `error` (ours).
    """

    run: str
    pipeline: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class StepScheduled:
    """The coordinator triggered an attempt: a fired edge, a retry that came due, or a replay.

    Its input comes from the graph for the first attempt, from the failed one or the repair for others.
    `deadline` is the step's; `fresh_budget`: the retry budget counts from here (replay).
    """

    run: str
    step: str
    attempt: int
    item: int = NO_ITEM
    deadline: datetime | None = None
    fresh_budget: bool = False


@dataclass(frozen=True, slots=True)
class StepExpanded:
    """A mapped step's items are known: `items` of them."""

    run: str
    step: str
    items: int


@dataclass(frozen=True, slots=True)
class StepSkipped:
    """A step (or an item) does not run; `reason` is `condition`, `input`, `join`, `dead_letter` or `not_needed`."""

    run: str
    step: str
    reason: str
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """A mapped step has all its items behind it: `succeeded` of them gave a result."""

    run: str
    step: str
    succeeded: int


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """The next attempt is to be triggered at `due`, jitter included."""

    run: str
    step: str
    attempt: int
    due: datetime
    failing_since: datetime
    item: int = NO_ITEM


@dataclass(frozen=True, slots=True)
class StepDeadLettered:
    """The step's attempt is given up on until somebody replays it.

    `written_by` is `agent` (already in the dead-letter topic) or `coordinator` (this transaction writes it).
    """

    run: str
    step: str
    attempt: int
    reason: str
    written_by: str
    item: int = NO_ITEM


DEFINITION_GONE = "DefinitionGone"
"""How `detail` begins of a run that is held because its definition was not on the log; it stands in states too."""


@dataclass(frozen=True, slots=True)
class RunHeld:
    """The run waits for a person; `reason` is `dead_letter`, `trigger_suspected` or `kernel_error`.

    `until` is when a held run ends `failed`; `offset` is the first event not folded (kernel errors only). Where the
    run's definition was not on the log, `detail` begins with `DefinitionGone`: there is no `until`, and the run is
    released by itself once its definition is there.
    """

    run: str
    reason: str
    detail: str = ""
    step: str = ""
    item: int = NO_ITEM
    until: datetime | None = None
    offset: int = -1

    @property
    def is_unread(self) -> bool:
        """Whether it is held for want of its definition."""
        return self.detail.startswith(DEFINITION_GONE)


@dataclass(frozen=True, slots=True)
class RunReleased:
    """Nothing holds the run any more, or a person has released it.

    `reason` is what ended the last hold: `replayed`, `discarded`, `succeeded`, or for a suspected step `reported` (it
    failed, so that its trigger was not lost) or `skipped` (its deadline passed). Where a person has asked, it is
    `released` for suspected triggers or `kernel_error`, and tells of these alone: a dead letter may still hold the run.
    """

    run: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunStopping:
    """The run fires nothing more and will end with `outcome` once every attempt has reported."""

    run: str
    outcome: str
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True)
class RunSettled:
    """The run ended; `outcome` is `succeeded`, `partial`, `failed`, `cancelled` or `timed_out`. Terminal is terminal.

    `forget_at` is when the stub that answers a second start of the same id may go.
    """

    run: str
    outcome: str
    settled_at: datetime
    forget_at: datetime
    reason: str = ""
    output: bytes | None = None


AgentFact = StepSucceeded | StepFailed | StepCancelled
"""Reported by the agent that ran the attempt."""

Marker = (
    CancelRequested
    | ReplayRequested
    | DiscardRequested
    | RetryDue
    | DeadlinePassed
    | TriggerSuspected
    | ReleaseRequested
)
"""Brought into the log's order by the coordinator, folded when read back."""

Consequence = (
    RunStarted
    | RunRefused
    | StepScheduled
    | StepExpanded
    | StepSkipped
    | StepCompleted
    | RetryScheduled
    | StepDeadLettered
    | RunHeld
    | RunReleased
    | RunStopping
    | RunSettled
)
"""Folded at once by the transaction that writes it; carries `ce_folded`."""

Fact = AgentFact | Marker | RunStarted
"""What a coordinator folds when it reads it from the log: `RunStarted` where an agent wrote it (direct start)."""

Event = AgentFact | Marker | Consequence
"""Everything that stands on `events`."""
