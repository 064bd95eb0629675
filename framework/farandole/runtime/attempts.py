"""One try of one step, and what it can come to: the words between the loop and its executors.

An attempt is made from an inbox record, run by an executor and answered by a reaction. Only
plain data here; nothing runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import msgspec

from farandole.definition.model import Definition, Step
from farandole.definition.spec import AgentSpec
from farandole.events.envelope import Envelope, trace_id
from farandole.events.facts import RunStarted
from farandole.events.outgoing import Outgoing, Trigger
from farandole.ids import NO_ITEM
from farandole.runtime.partition import Partition
from farandole.transport.port import Record

LaneKey = tuple[int, bytes, bytes]
"""The assignment, the record's key and its step: entries of an earlier assignment hold up nobody, nor does one step of
a run another one of the same agent."""


ATTEMPT_DIGITS = 10
"""More are no number of an attempt, whoever wrote them: a policy allows 1,000 attempts."""


class Published(msgspec.Struct, frozen=True):
    """A record that a handler wants written with its result, encoded."""

    topic: str
    key: str | None
    value: bytes
    content_type: str


class Succeeded(msgspec.Struct, frozen=True):
    """The handler returned; `output` is framed, a claim if it is large."""

    output: bytes
    published: Sequence[Published] = ()


class Failed(msgspec.Struct, frozen=True):
    """The attempt failed; `kind` as in `StepFailed`."""

    kind: str
    error: str
    fingerprint: str
    retryable: bool = True
    retry_after: timedelta | None = None
    trace: str = ""
    """Its traceback, for the log of the process alone."""


Outcome = Succeeded | Failed


class Call(msgspec.Struct, frozen=True):
    """All that a handler's process must know of an attempt."""

    run: str
    pipeline: str
    step: str
    item: int
    attempt: int
    epoch: int
    input: bytes
    input_schema: str
    output_schema: str
    timeout_s: float | None
    topic: str = ""
    partition: int = -1
    offset: int = -1
    """Where its trigger stands."""

    traceparent: str = ""
    whole: str | None = None
    """The input whose record *is* the inbox value, by the run's definition; empty if that is a record of all inputs,
    None if the agent's code is to say."""

    @property
    def log_fields(self) -> dict[str, object]:
        """What every log line about the attempt carries."""
        return {
            "run_id": self.run,
            "step": self.step,
            "item": None if self.item == NO_ITEM else self.item,
            "attempt": self.attempt,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "trace_id": trace_id(self.traceparent),
        }


@dataclass(slots=True, eq=False)
class Attempt:
    """An inbox record with all that was looked up for it.

    `started` is set by the executor when the handler begins, on the loop's monotonic clock, and `ended`, by those
    that can tell, before its outcome is left for the loop. `is_over`: it has
    its outcome, or none is wanted any more; an executor that has not begun it does not begin it.
    """

    partition: Partition
    record: Record
    spec: AgentSpec
    envelope: Envelope
    trigger: Trigger
    definition: Definition
    step: Step
    call: Call
    started: float | None = None
    ended: float | None = None
    is_over: bool = False
    opening: RunStarted | None = None
    """The run's own beginning, where its trigger was the start: said before anything else (direct start)."""

    chain: "Chain | None" = None
    """What it goes on with, if it runs at once after another (hop fusion); its record is then the first one's."""

    @property
    def lane(self) -> LaneKey:
        """Its place in the order."""
        return lane_of(self.partition, self.record)


class Chain(msgspec.Struct, frozen=True):
    """The attempts of one inbox record that ran one after the other so far, `first` being the record's own.

    `told` is what they put on the log, in causal order; `apart` is what `first` would have said alone, its
    successor triggered, then not: what is said instead, in turn, if all of it cannot be written.
    """

    first: Attempt
    hops: int
    told: Sequence[Outgoing]
    apart: Sequence[Callable[[], list[Outgoing]]]


def lane_of(partition: Partition, record: Record) -> LaneKey:
    """The lane of a record; one without key has a lane of its own. Its envelope is read later."""
    key = record.key if record.key is not None else b"\0%d" % record.offset
    for name, step in record.headers:
        if name == "ce_step":
            return partition.number, key, step
    return partition.number, key, b""


def attempt_of(record: Record) -> int:
    """The number of the attempt that a record asks for, before its envelope is read; 0 if it says none."""
    told = next((value for name, value in record.headers if name == "ce_attempt"), b"")
    return int(told) if told.isdigit() and len(told) < ATTEMPT_DIGITS else 0


class Arrival(msgspec.Struct, frozen=True, eq=False):
    """An admitted record that waits for its turn."""

    partition: Partition
    record: Record

    @property
    def lane(self) -> LaneKey:
        """Its place in the order."""
        return lane_of(self.partition, self.record)

    @property
    def charge(self) -> int:
        """Bytes that it holds."""
        return len(self.record.value or b"")


class Done(msgspec.Struct, frozen=True):
    """An executor's answer."""

    attempt: Attempt
    outcome: Outcome


class Executor(Protocol):
    """Runs handlers. Every method belongs to the loop's thread; results come by `drain`, after a `wake` of the loop."""

    def has_room(self, spec: AgentSpec) -> bool:
        """Whether an attempt of this agent would begin soon; else it waits with the loop, which can call it off."""
        ...

    def submit(self, attempt: Attempt) -> None:
        """Run the handler when there is a place for it; exactly one `Done` follows, unless it is called off."""
        ...

    def call_off(self, attempt: Attempt) -> None:
        """Nobody waits for the attempt any more: it timed out, or its partition is another's.

        Stop it if that is possible, and free its place; no `Done` is wanted.
        """
        ...

    def drain(self) -> Sequence[Done]:
        """What has ended since the last time."""
        ...

    @property
    def is_worn(self) -> bool:
        """Whether so much is stuck that the process had better be replaced."""
        ...

    def close(self) -> None:
        """Stop everything; what is running is given up."""
        ...
