"""Which records a consequence implies, beside the fact itself.

Called with the run as it was before the consequence, which is all that a trigger, a dead
letter or the final state need. Says nothing of partitions or clients.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from farandole.definition.inputs import inbox_value
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import encode, type_name
from farandole.events.envelope import Envelope
from farandole.events.outgoing import (
    Origin,
    Outgoing,
    Trigger,
    dead_letter_record,
    event_record,
    trigger_record,
)
from farandole.events.tables import RunControl, SettledRun, SettledStep
from farandole.events.topics import Topics
from farandole.ids import consequence_id
from farandole.kernel.state import Run, Status, instant
from farandole.kernel.values import Values, carried, input_roots

EPOCH_BITS = 32
"""Of a fencing token, for the epochs of owners, which go on from the seconds since 1970 where a position was lost
(`agent reposition`): enough until 2106. A thousand attempts of each of a thousand steps fit beside them in 64 bits."""

PARAMS_MAX = 8192
"""Most bytes of params that travel with a trigger. Source: DESIGN section 5."""


class Cause(msgspec.Struct, frozen=True):
    """What the consequences follow from: the id of a fact, and the origin of the batch's records."""

    id: str
    origin: Origin


def outbox(steps: Sequence[tuple[Run, facts.Event]], cause: Cause, topics: Topics, values: Values) -> list[Outgoing]:
    """All records of one decision: each consequence as a fact, and what it implies, in order.

    Raises:
        ClaimNeeded: a payload must be fetched first; ask again.
        RecordError: an input cannot be evaluated or does not fit its schema; the run is to be held.
    """
    out: list[Outgoing] = []
    counted: Counter[str] = Counter()
    for run, event in steps:
        kind = type_name(type(event)).removeprefix("farandole.")
        event_id = consequence_id(cause.id, kind, counted[kind])
        counted[kind] += 1
        origin = _of(cause.origin, run.head.definition)
        out.append(event_record(topics, event, event_id=event_id, cause=cause.id, origin=origin))
        out.extend(_implied(run, event, Cause(event_id, origin), topics, values))
    return out


@lru_cache(maxsize=64)
def _of(origin: Origin, definition: str) -> Origin:
    """The origin of records about runs of a definition: the same for all that follows from one fact."""
    return replace(origin, definition=definition)


def _implied(run: Run, event: facts.Event, cause: Cause, topics: Topics, values: Values) -> Iterator[Outgoing]:
    match event:
        case facts.StepScheduled():
            yield trigger_record(topics, trigger_of(run, event, values), cause=cause.id, origin=cause.origin)
        case facts.StepDeadLettered(written_by="coordinator"):
            yield _dead_letter(run, event, cause, topics, values)
        case facts.RunStopping():
            control = RunControl(run.id, "stopping", event.reason)
            yield _table(topics.control, f"run:{run.id}", control, run, cause)
        case facts.RunSettled():
            yield _table(topics.settled, run.id, _final(run, event), run, cause)
        case _:
            return


def trigger_of(run: Run, event: facts.StepScheduled, values: Values) -> Trigger:
    """What makes the agent of a scheduled attempt work.

    Raises:
        ClaimNeeded, RecordError: as `outbox`.
    """
    step = run.graph.step(event.step)
    unit = run.unit(run.number(event.step, event.item))
    given = unit.input if event.attempt > 1 and unit.input is not None else _input(run, event.step, event.item, values)
    epoch = 0 if step.is_mapped else _epoch(run, event)
    params = _params(run, step.name, values)
    return Trigger(run.id, step.name, step.agent, event.attempt, given, event.item, params, epoch)


def _epoch(run: Run, event: facts.StepScheduled) -> int:
    """Above every fencing token with which the steps fired from here may have run before (docs/decisions/0071).

    Such a run was fused with an attempt of a step above that was triggered from here; each further attempt up
    there, or of this step, counts one more.
    """
    attempts = sum(run.step(name).attempt for name in run.graph.chain_above(event.step)) + event.attempt - 1
    return attempts << EPOCH_BITS


def _input(run: Run, name: str, item: int, values: Values) -> bytes:
    """The framed input of a first attempt. A record that is passed on whole is not decoded."""
    step = run.graph.step(name)
    if step.whole and not step.is_mapped:
        source = next(iter(step.inputs.values())).expression
        if source in run.graph.number and not run.graph.step(source).is_mapped:
            above = run.graph.step(source)
            output = run.step(source).output
            if output is not None and above.output_schema == step.input_schema:
                return output
    env = values.item_env(run, step, item, input_roots(step))
    return values.encode(step.input_schema, inbox_value(step, env))


def _params(run: Run, name: str, values: Values) -> bytes:
    """The projected params, unframed Avro; none if nothing below reads them or they are too large to travel."""
    if not run.graph.carried_params or not run.graph.children[name]:
        return b""
    body = Schema.parse(run.graph.carried_schema).encode_body(carried(values, run))
    return body if len(body) <= PARAMS_MAX else b""


def _dead_letter(run: Run, event: facts.StepDeadLettered, cause: Cause, topics: Topics, values: Values) -> Outgoing:
    step = run.graph.step(event.step)
    unit = run.unit(run.number(event.step, event.item))
    given = unit.input if unit.input is not None else _input(run, event.step, event.item, values)
    trigger = Trigger(run.id, step.name, step.agent, event.attempt, given, event.item, _params(run, step.name, values))
    failed = bool(unit.reason)  # else its deadline passed, and an error would be that of an attempt before
    error = unit.error if failed else f"attempt {event.attempt} of {step.name}: {unit.why_dead}"
    return dead_letter_record(
        topics,
        trigger,
        reason=event.reason,
        error=error or f"attempt {event.attempt} of {step.name}: {event.reason}",
        fingerprint=unit.reason or event.reason,
        cause=cause.id,
        origin=cause.origin,
    )


def _table(topic: str, key: str, thing: RunControl | SettledRun, run: Run, cause: Cause) -> Outgoing:
    envelope = Envelope(
        id=f"{cause.id}/{type(thing).__name__}",
        type=type_name(type(thing)),
        source=cause.origin.source,
        time=cause.origin.now,
        run=run.id,
        definition=run.head.definition,
        cause=cause.id,
    )
    home = run.id if isinstance(thing, SettledRun) else None
    return Outgoing(topic, key, encode(thing), envelope.headers(), home=home)


def _final(run: Run, event: facts.RunSettled) -> SettledRun:
    return SettledRun(
        run=run.id,
        pipeline=run.head.pipeline,
        definition=run.head.definition,
        outcome=event.outcome,
        reason=event.reason,
        started_at=instant(run.head.started_at),
        settled_at=event.settled_at,
        steps=tuple(_final_step(run, name) for name in run.graph.names),
        output=event.output,
    )


def _final_step(run: Run, name: str) -> SettledStep:
    unit = run.step(name)
    attempts = unit.attempt + sum(item.attempt for _, item in run.items(name))
    status = Status.SUCCEEDED if unit.status is Status.EXPANDED and unit.done == unit.items else unit.status
    return SettledStep(name, status.name.lower(), attempts, unit.items, unit.succeeded)
