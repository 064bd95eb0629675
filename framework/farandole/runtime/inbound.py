"""From an inbox record to an attempt, or to the reason why there is none. Pure.

What is not ours, or cannot be understood, is quarantined with a named reason: the partition
goes on. An unknown definition is no reason yet: the table is read again first (R13).
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from farandole.definition.graph import graph_of
from farandole.definition.model import Definition, Step
from farandole.definition.spec import AgentSpec
from farandole.errors import RecordError
from farandole.events.avro import Schema
from farandole.events.envelope import Envelope, parse_envelope, trace_id
from farandole.events.facts import RunStarted
from farandole.events.outgoing import TRIGGER, Trigger
from farandole.ids import NO_ITEM, is_name, is_run_id, sha256
from farandole.runtime.attempts import Attempt, Call
from farandole.runtime.partition import Partition
from farandole.transport.port import Record

START_MAX = 1_048_576
"""Characters of `ce_start`: what an inbox takes of a record. More may come in one that was compressed, and the fact
that the run began, which is said whatever else is not, would not fit on `events`."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A record that cannot be worked on; `trigger` where the run, step and attempt are known."""

    reason: str
    error: str
    trigger: Trigger | None = None
    envelope: Envelope | None = None

    @property
    def log_fields(self) -> dict[str, object]:
        """What a log line about it carries of the attempt, where that is known."""
        it = self.trigger
        if it is None:
            return {}
        known = {"run_id": it.run, "step": it.step, "item": None if it.item == NO_ITEM else it.item}
        told = self.envelope.traceparent if self.envelope is not None else ""
        return {**known, "attempt": it.attempt, "trace_id": trace_id(told)}


@dataclass(frozen=True, slots=True)
class UnknownDefinition:
    """The record may be good, but its definition is not in the table as last read."""

    digest: str
    quarantine: Quarantine
    """What becomes of it if the table still does not have it when read again."""


Lookup = Callable[[str], Definition | None]


def read_trigger(
    partition: Partition, record: Record, spec: AgentSpec, lookup: Lookup
) -> Attempt | Quarantine | UnknownDefinition:
    """What an inbox record asks of the agent, whatever stands in it.

    What nobody has foreseen is the record's too: a process that ended of it would read it again, and so would its heir.
    """
    try:
        return _read(partition, record, spec, lookup)
    except MemoryError:
        raise  # which is not the record's fault
    except Exception as bad:
        return _quarantine(record, "unreadable", f"expected a {TRIGGER}, but {type(bad).__name__}: {str(bad)[:500]}")


def _read(
    partition: Partition, record: Record, spec: AgentSpec, lookup: Lookup
) -> Attempt | Quarantine | UnknownDefinition:
    try:
        envelope = parse_envelope(record.headers)
    except RecordError as bad:
        return _quarantine(record, bad.reason, str(bad))
    if envelope.type != TRIGGER or not is_name(envelope.step) or envelope.attempt < 1:
        found = f"a {envelope.type[:100]} of step {envelope.step[:100]!r}, attempt {envelope.attempt}"
        return _quarantine(record, "not_a_trigger", f"expected a {TRIGGER} of a step, but found {found}")
    if not is_run_id(envelope.run):
        return _quarantine(record, "no_run", f"expected a run id in ce_run, but found {envelope.run[:100]!r}")
    value, epoch = record.value or b"", max(0, envelope.epoch)
    trigger = Trigger(envelope.run, envelope.step, spec.name, envelope.attempt, value, envelope.item, epoch=epoch)
    if envelope.agent not in ("", spec.name):
        return _quarantine(record, "other_agent", f"expected agent {spec.name}, but found {envelope.agent[:100]!r}")
    try:
        trigger = (
            replace(trigger, params=base64.b64decode(envelope.params, validate=True)) if envelope.params else trigger
        )
    except ValueError as bad:  # not only binascii's: a text that is not ASCII has another
        return _quarantine(
            record, "bad_envelope", f"ce_params: expected base64, but {bad}", *_blamed(trigger, envelope)
        )
    if record.value is None:
        fact = "expected an input, but the record has no value"
        return _quarantine(record, "undecodable", fact, *_blamed(trigger, envelope))
    definition = lookup(envelope.definition)
    if definition is None:
        error = f"expected a definition that was applied, but found {envelope.definition[:100]!r}"
        return UnknownDefinition(
            envelope.definition, _quarantine(record, "unknown", error, *_blamed(trigger, envelope))
        )
    return _attempt(partition, record, spec, envelope, trigger, definition)


def _attempt(
    partition: Partition, record: Record, spec: AgentSpec, envelope: Envelope, trigger: Trigger, definition: Definition
) -> Attempt | Quarantine:
    step = definition.steps.get(trigger.step)
    if step is None or step.agent != spec.name:
        error = f"expected a step of {definition.name} that agent {spec.name} runs, but found {trigger.step!r}"
        return _quarantine(record, "unknown", error, *_blamed(trigger, envelope))
    opening = None
    if envelope.start:
        opening = _opening(envelope, trigger, definition)
        if opening is None:
            error = (
                f"expected a trigger that may start a run of {definition.name}, but its params or its step are not so"
            )
            return _quarantine(record, "bad_start", error)
    epoch = partition.epoch + trigger.epoch
    call = call_of(definition, step, spec, trigger, epoch, record, envelope.traceparent)
    return Attempt(partition, record, spec, envelope, trigger, definition, step, call, opening=opening)


def _blamed(trigger: Trigger, envelope: Envelope) -> tuple[Trigger | None, Envelope | None]:
    """The attempt that fails with its trigger: none where the trigger is itself the start of a run, which then never
    was. Its failure on the log would be a fact about nothing, and its dead letter that of a run which nobody knows."""
    return (None, None) if envelope.start else (trigger, envelope)


def _opening(envelope: Envelope, trigger: Trigger, definition: Definition) -> RunStarted | None:
    """The beginning of a run whose trigger is its start (DESIGN section 9); None if it cannot begin so."""
    if trigger.attempt != 1 or trigger.step != graph_of(definition).direct_root or len(envelope.start) > START_MAX:
        return None
    try:
        params = base64.b64decode(envelope.start, validate=True)
        Schema.parse(definition.params_schema).decode(params)
    except (RecordError, ValueError):
        return None
    run, fired = trigger.run, (trigger.step,)
    return RunStarted(run, definition.name, definition.hash, params, sha256(params), envelope.time, fired=fired)


def call_of(
    definition: Definition,
    step: Step,
    spec: AgentSpec,
    trigger: Trigger,
    epoch: int,
    record: Record,
    traceparent: str,
) -> Call:
    """What a handler's process is told of an attempt; `record` is the one that its log lines name.

    No attempt is of use for longer than its step's deadline, which began when it was triggered at the latest. Counted
    from the handler's start, as a timeout is, so that clocks need not agree.
    """
    timeout = step.timeout or spec.timeout or step.deadline
    if timeout is not None and step.deadline is not None:
        timeout = min(timeout, step.deadline)
    return Call(
        run=trigger.run,
        pipeline=definition.name,
        step=step.name,
        item=trigger.item,
        attempt=trigger.attempt,
        epoch=epoch,
        input=trigger.input,
        input_schema=step.input_schema,
        output_schema=step.output_schema,
        timeout_s=None if timeout is None else timeout.total_seconds(),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        traceparent=traceparent,
        whole=next(iter(step.inputs)) if step.whole else "",
    )


def _quarantine(
    record: Record, reason: str, fact: str, trigger: Trigger | None = None, envelope: Envelope | None = None
) -> Quarantine:
    error = f"{record.topic}[{record.partition}]@{record.offset}: {fact}. The record was dead-lettered."
    return Quarantine(reason, error, trigger, envelope)
