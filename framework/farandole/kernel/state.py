"""The state of one run, as an immutable value with structural sharing.

A run is a head and a sequence of units in chunks of 64: one unit per step, in the
definition's order, then one per item of each expanded mapped step. Replacing a unit copies
one chunk and the tuple of chunks, whatever the size of the run; which chunks changed is
seen by identity. Instants are integers in milliseconds since the epoch, because this is
what `runs` holds.

`gc=False`: nothing here can be part of a cycle, and a collector that walks through the state of a
hundred thousand runs again and again takes a third of a restore's time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import IntEnum

import msgspec

from farandole.definition.graph import Graph
from farandole.ids import NO_ITEM

_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)

CHUNK = 64
"""Units per state record: small enough to rewrite on each touch, large enough that a usual run has one chunk."""


class Status(IntEnum):
    """Where a unit stands."""

    PENDING = 0
    SCHEDULED = 1
    RETRY = 2
    """Its attempt failed and the next waits for its instant."""
    DEAD = 3
    """Dead-lettered and not skipped: it holds the run, and may be replayed."""
    SUSPECTED = 4
    """Scheduled, but the watchdog doubts that its trigger exists: it holds the run."""
    EXPANDED = 5
    """A mapped step whose items are under way."""
    SUCCEEDED = 6
    SKIPPED = 7
    FAILED = 8
    """Its attempt failed while the run was stopping, so that nothing follows."""
    CANCELLED = 9


OPEN = frozenset({Status.PENDING, Status.SCHEDULED, Status.RETRY, Status.DEAD, Status.SUSPECTED})
"""A success counts while the unit is in one of these (R10); PENDING because its edge was fired by an agent."""

HOLDING = frozenset({Status.DEAD, Status.SUSPECTED})
"""These hold the run."""

TERMINAL = frozenset({Status.SUCCEEDED, Status.SKIPPED, Status.FAILED, Status.CANCELLED})
"""Nothing more comes of these by themselves."""


class Phase(IntEnum):
    """Where a run stands; held is a running run with `Head.holds` above zero, or with a kernel error."""

    RUNNING = 0
    STOPPING = 1
    SETTLED = 2


DEADLINE_PASSED = "its deadline passed before the attempt reported"
"""What is told of a dead letter that no failure led to."""


class Unit(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """One step or one item.

    `waiting`: attempts triggered that have not reported. `due`: when the retry comes (RETRY) or the hold ends
    (DEAD, SUSPECTED), `deadline`: the step's own, ms. `budget_from`: the attempt after which the retry budget
    counts, `failing_since` its first failure. `first`, `items`, `done`, `succeeded`: the items of a mapped step.
    `reason`, `error` say why it failed last. `input`, `output` are framed payloads, kept as records of their own
    where they are large.
    """

    status: Status = Status.PENDING
    attempt: int = 0
    waiting: tuple[int, ...] = ()
    due: int = 0
    deadline: int = 0
    budget_from: int = 0
    failing_since: int = 0
    first: int = 0
    items: int = 0
    done: int = 0
    succeeded: int = 0
    reason: str = ""
    error: str = ""
    output: bytes | None = None
    input: bytes | None = None

    @property
    def why_dead(self) -> str:
        """Why it was dead-lettered: what its last attempt reported, else that the step's deadline gave up on that one.

        `reason` is the last attempt's alone, while `error` may still be that of an attempt before it.
        """
        return self.error or self.reason if self.reason else DEADLINE_PASSED


class Head(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """What concerns the run as a whole.

    `pending`: steps not yet terminal; `waiting`: attempts that have not reported; `holds`: units that hold the
    run; `due`: the run's deadline (RUNNING) or the end of patience (STOPPING), ms. `kernel_error` with the first
    event offset that is not folded: the run stands still until it is released or ended, and `due` is then the end
    of the hold, `due_before_error` what it was.
    """

    run: str
    pipeline: str
    definition: str
    params_hash: str
    started_at: int
    phase: Phase = Phase.RUNNING
    outcome: str = ""
    reason: str = ""
    due: int = 0
    pending: int = 0
    waiting: int = 0
    holds: int = 0
    partial: bool = False
    kernel_error: str = ""
    unfolded_from: int = -1
    settled_at: int = 0
    expires: int = 0
    due_before_error: int = 0


EMPTY_UNIT = Unit()


class Run(msgspec.Struct, frozen=True, gc=False):
    """A run: its head, its units, and the params it was started with (framed; empty in a settled stub)."""

    graph: Graph
    head: Head
    chunks: tuple[tuple[Unit, ...], ...]
    params: bytes

    @property
    def id(self) -> str:
        """The run id."""
        return self.head.run

    @property
    def is_settled(self) -> bool:
        """Whether it ended; only a stub is left."""
        return self.head.phase is Phase.SETTLED

    @property
    def is_held(self) -> bool:
        """Whether it waits for a person; a run that is stopping does not, whatever held it before."""
        return bool(self.head.kernel_error) or (self.head.phase is Phase.RUNNING and self.head.holds > 0)

    def unit(self, number: int) -> Unit:
        """The unit of that number."""
        return self.chunks[number // CHUNK][number % CHUNK]

    def step(self, name: str) -> Unit:
        """The unit of a step (for a mapped step: the one that counts its items)."""
        return self.unit(self.graph.number[name])

    def number(self, step: str, item: int) -> int:
        """The unit number of a step or of one of its items; KeyError or IndexError if there is none."""
        number = self.graph.number[step]
        if item == NO_ITEM:
            return number
        unit = self.unit(number)
        if not 0 <= item < unit.items:
            raise IndexError(f"{self.id}: {step} has {unit.items} items, but item {item} was named")
        return unit.first + item

    def items(self, step: str) -> Iterator[tuple[int, Unit]]:
        """The items of an expanded mapped step, numbered, in order."""
        unit = self.step(step)
        for item in range(unit.items):
            yield item, self.unit(unit.first + item)

    def units(self) -> Iterator[tuple[str, int, Unit]]:
        """Every unit with its step's name and item number."""
        for name in self.graph.names:
            yield name, NO_ITEM, self.step(name)
            for item, unit in self.items(name):
                yield name, item, unit

    def with_unit(self, number: int, unit: Unit) -> "Run":
        """The same run with one unit replaced."""
        at, within = divmod(number, CHUNK)
        chunk = self.chunks[at]
        chunk = (*chunk[:within], unit, *chunk[within + 1 :])
        return self.with_chunks((*self.chunks[:at], chunk, *self.chunks[at + 1 :]))

    def with_items(self, count: int) -> "Run":
        """The same run with `count` fresh units appended."""
        flat = [*self.chunks[-1], *[EMPTY_UNIT] * count]
        added = tuple(tuple(flat[i : i + CHUNK]) for i in range(0, len(flat), CHUNK))
        return self.with_chunks((*self.chunks[:-1], *added))

    def with_chunks(self, chunks: tuple[tuple[Unit, ...], ...]) -> "Run":
        """The same run with other chunks."""
        return Run(self.graph, self.head, chunks, self.params)

    def with_head(self, **changes: object) -> "Run":
        """The same run with fields of its head replaced."""
        return Run(self.graph, msgspec.structs.replace(self.head, **changes), self.chunks, self.params)

    @property
    def size(self) -> int:
        """How many units there are."""
        return (len(self.chunks) - 1) * CHUNK + len(self.chunks[-1])


def fresh_chunks(steps: int) -> tuple[tuple[Unit, ...], ...]:
    """Chunks for a run of `steps` steps of which nothing is known yet."""
    return tuple((EMPTY_UNIT,) * min(CHUNK, steps - i) for i in range(0, steps, CHUNK))


def ms(instant: datetime) -> int:
    """An aware instant as milliseconds since the epoch, cut as its record on the log is: both must say the same."""
    return (instant - _EPOCH) // _MILLISECOND


def instant(milliseconds: int) -> datetime:
    """Milliseconds since the epoch as an aware instant."""
    return _EPOCH + milliseconds * _MILLISECOND
