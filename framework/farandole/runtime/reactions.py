"""What an attempt's outcome puts on the log: its fact, the triggers it fires, its dead letter. Pure.

The agent fires what its definition lets it fire (DESIGN section 5), and leaves out whatever it
cannot evaluate or must not fire now: the coordinator fires the rest. It writes a dead letter
only where no further attempt can follow, whatever the budget; where attempts run out, the
coordinator does, for only it knows of replays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from msgspec.structs import replace

from farandole.definition.expressions import compile_expression
from farandole.definition.graph import graph_of
from farandole.definition.inputs import holds, inbox_value
from farandole.definition.model import Definition, Step
from farandole.definition.policy import DURATION_MAX
from farandole.errors import RecordError, StoreError
from farandole.events.avro import Schema
from farandole.events.envelope import Envelope, Headers
from farandole.events.facts import AgentFact, StepCancelled, StepFailed, StepSucceeded
from farandole.events.outgoing import (
    DEAD_LETTER,
    Origin,
    Outgoing,
    Trigger,
    dead_letter_record,
    event_record,
    trigger_record,
)
from farandole.events.topics import Topics
from farandole.ids import agent_fact_id, consequence_id
from farandole.runtime.attempts import Attempt, Failed, Published, Succeeded
from farandole.runtime.inbound import Quarantine
from farandole.transport.port import Record

Payload = Callable[[bytes], bytes]
"""Takes a framed payload out of the artifact store if it is a claim, or puts it there if it is large."""

ORIGINAL_HEADERS_MAX = 64
"""Headers of a quarantined record that its dead letter repeats: four times what a trigger of ours has."""

SMALL_BYTES_MAX = 2048
"""Of a stranger's record in the smallest dead letter: its key, and its headers together. Twice what a trigger of ours
has without its params. A record that is compressed, or whose bytes are no text, may ask for many times what the log
takes, and what cannot be told of it ends every process that gets it."""

ID_CHARACTERS_MAX = 512
"""Of a trigger's id and its definition in the smallest failure: twice what one of ours has."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What reactions need beside the attempt. `source` names the writer; claims are handled by the two payloads."""

    topics: Topics
    source: str
    check_in: Payload
    check_out: Payload


@dataclass(frozen=True, slots=True)
class Edge:
    """One successor that the agent may fire. `is_whole`: the output is passed on as it is, without a look inside."""

    step: Step
    reads_output: bool
    reads_params: bool
    is_whole: bool


@lru_cache(maxsize=4096)
def edges_of(definition: Definition, name: str) -> tuple[Edge, ...]:
    """The successors of a step that its agent may fire."""
    graph = graph_of(definition)
    return tuple(_edge(definition.steps[name], definition.steps[child]) for child in graph.fired_by_agent[name])


def _edge(step: Step, child: Step) -> Edge:
    only = next(iter(child.inputs.values())).expression if child.whole else ""
    is_whole = only == step.name and step.output_schema == child.input_schema
    read = [child.when] if is_whole else [child.when, *(given.expression for given in child.inputs.values())]
    roots = frozenset[str]().union(*(compile_expression(text).roots for text in read if text is not None))
    return Edge(child, step.name in roots, "params" in roots, is_whole)


def told(
    around: Surroundings,
    it: Attempt,
    outcome: Succeeded,
    when: tuple[datetime, timedelta],
    children: Sequence[Trigger],
    *,
    fused: bool = False,
) -> list[Outgoing]:
    """A success: the fact, what the handler published, and the triggers of `children`.

    `fused`: they are not written, but run at once.
    """
    now, duration = when
    names = tuple(child.step for child in children)
    fact = StepSucceeded(
        run=it.trigger.run,
        step=it.step.name,
        attempt=it.trigger.attempt,
        output=outcome.output,
        fired=names,
        item=it.trigger.item,
        duration_ms=_ms(duration),
        fused=names if fused else (),
        final=it.step.name == graph_of(it.definition).last,
    )
    origin = _origin(around, it.envelope, it.record, it.spec.name, now)
    fact_id, record = _fact_record(around, fact, it.envelope, origin)
    out = [record]
    out.extend(_published(it, n, each, fact_id, origin) for n, each in enumerate(outcome.published))
    if not fused:
        out.extend(trigger_record(around.topics, child, cause=fact_id, origin=origin) for child in children)
    return out


def opening(around: Surroundings, it: Attempt, now: datetime) -> list[Outgoing]:
    """That the run exists, if the attempt's trigger started it: in the same transaction, whatever comes of it."""
    if it.opening is None:
        return []
    origin = _origin(around, it.envelope, it.record, it.spec.name, now)
    started = consequence_id(it.envelope.id, "RunStarted", 0)
    return [event_record(around.topics, it.opening, event_id=started, cause=it.envelope.id, origin=origin)]


def success_id(it: Attempt) -> str:
    """The id of the fact that an attempt succeeded."""
    run, step, item, attempt = it.trigger.run, it.step.name, it.trigger.item, it.trigger.attempt
    return agent_fact_id(run, step, item, attempt, "StepSucceeded")


def failed(
    around: Surroundings, it: Attempt, outcome: Failed, now: datetime, duration: timedelta = timedelta()
) -> list[Outgoing]:
    """The fact, and the dead letter if no other attempt can follow."""
    return _failure(around, it.trigger, it.envelope, it.record, outcome, now, duration)


def cancelled(around: Surroundings, it: Attempt, reason: str, now: datetime) -> list[Outgoing]:
    """The answer to a trigger whose run is stopping; the handler was not called."""
    fact = StepCancelled(it.trigger.run, it.step.name, it.trigger.attempt, reason, it.trigger.item)
    return [_fact_record(around, fact, it.envelope, _origin(around, it.envelope, it.record, it.spec.name, now))[1]]


def quarantined(around: Surroundings, record: Record, agent: str, it: Quarantine, now: datetime) -> list[Outgoing]:
    """The dead letter of a record that cannot be worked on, and the failure of its attempt where that is known."""
    if it.trigger is not None and it.envelope is not None:
        kind = "unknown" if it.reason == "unknown" else "undecodable"
        outcome = Failed(kind, it.error, it.reason, retryable=False)
        return _failure(around, it.trigger, it.envelope, record, outcome, now, timedelta())
    return [_stranger(around, record, agent, it, now)]


def stranger_without_value(around: Surroundings, record: Record, agent: str, it: Quarantine, now: datetime) -> Outgoing:
    """As the dead letter of `quarantined`, for a record too large to be written once more: it names its place, and
    repeats what is small."""
    key = None if record.key is None else record.key[:SMALL_BYTES_MAX]
    small = replace(record, key=key, value=None, headers=[*_small(record.headers)])
    return _stranger(around, small, agent, it, now)


def _small(headers: Headers) -> Iterator[tuple[str, bytes]]:
    """Those that fit, in their order."""
    left = SMALL_BYTES_MAX
    for name, content in headers:
        size = len(name.encode()) + len(content)
        if size <= left:
            left -= size
            yield name, content


def failed_without_input(
    around: Surroundings, trigger: Trigger, envelope: Envelope, record: Record, outcome: Failed, now: datetime
) -> list[Outgoing]:
    """The smallest failure that can be written; its dead letter names the inbox record instead of repeating it."""
    bare = Trigger(trigger.run, trigger.step, trigger.agent, trigger.attempt, b"", trigger.item)
    id_, definition = envelope.id[:ID_CHARACTERS_MAX], envelope.definition[:ID_CHARACTERS_MAX]
    cut = replace(envelope, id=id_, definition=definition)
    return _failure(around, bare, cut, record, outcome, now, timedelta())


def _failure(
    around: Surroundings,
    trigger: Trigger,
    envelope: Envelope,
    record: Record,
    outcome: Failed,
    now: datetime,
    duration: timedelta,
) -> list[Outgoing]:
    fact = StepFailed(
        run=trigger.run,
        step=trigger.step,
        attempt=trigger.attempt,
        kind=outcome.kind,
        error=outcome.error,
        fingerprint=outcome.fingerprint,
        retryable=outcome.retryable,
        input=trigger.input,
        dead_lettered=not outcome.retryable,
        retry_after_ms=None if outcome.retry_after is None else _ms(min(outcome.retry_after, DURATION_MAX)),
        item=trigger.item,
        duration_ms=_ms(duration),
    )
    origin = _origin(around, envelope, record, trigger.agent, now)
    fact_id, told = _fact_record(around, fact, envelope, origin)
    if outcome.retryable:
        return [told]
    dead = dead_letter_record(
        around.topics,
        trigger,
        reason=outcome.kind,
        error=outcome.error,
        fingerprint=outcome.fingerprint,
        cause=fact_id,
        origin=origin,
    )
    return [told, dead]


def _fact_record(around: Surroundings, fact: AgentFact, envelope: Envelope, origin: Origin) -> tuple[str, Outgoing]:
    fact_id = agent_fact_id(fact.run, fact.step, fact.item, fact.attempt, type(fact).__name__)
    return fact_id, event_record(around.topics, fact, event_id=fact_id, cause=envelope.id, origin=origin)


def _origin(around: Surroundings, envelope: Envelope, record: Record, agent: str, now: datetime) -> Origin:
    return Origin(
        around.source,
        now,
        definition=envelope.definition,
        input=record.place,
        agent=agent,
        traceparent=envelope.traceparent,
    )


def children_of(around: Surroundings, it: Attempt, output: bytes) -> list[Trigger]:
    """The triggers of the successors whose condition holds; an edge that cannot be evaluated is left out."""
    return list(_children(around, it, output))


def _children(around: Surroundings, it: Attempt, output: bytes) -> Iterator[Trigger]:
    edges = edges_of(it.definition, it.step.name)
    if not edges:
        return
    env: dict[str, object] = {}
    for edge in edges:
        try:
            if _prepare(env, around, it, output, edge) and holds(edge.step, env):
                given = output if edge.is_whole else _encode(around, edge.step, env)
                run, params = it.trigger.run, it.trigger.params
                yield Trigger(run, edge.step.name, edge.step.agent, 1, given, params=params, epoch=it.call.epoch)
        except (RecordError, StoreError):  # the store is away: the coordinator can wait for it
            continue


def _prepare(env: dict[str, object], around: Surroundings, it: Attempt, output: bytes, edge: Edge) -> bool:
    """Put into `env` what the edge reads, decoded once and as the coordinator would; false if it is not there."""
    if edge.reads_output and it.step.name not in env:
        env[it.step.name] = Schema.parse(it.step.output_schema).decode(around.check_out(output))
    if edge.reads_params and "params" not in env:
        if not it.trigger.params:
            return False
        carried = Schema.parse(graph_of(it.definition).carried_schema).decode_body(it.trigger.params)
        env["params"] = carried
    return True


def _encode(around: Surroundings, step: Step, env: Mapping[str, object]) -> bytes:
    return around.check_in(Schema.parse(step.input_schema).encode(inbox_value(step, env)))


def _published(it: Attempt, n: int, each: Published, cause: str, origin: Origin) -> Outgoing:
    envelope = Envelope(
        id=f"{cause}/publish/{n}",
        type=each.topic,
        source=origin.source,
        time=origin.now,
        run=it.trigger.run,
        step=it.step.name,
        item=it.trigger.item,
        attempt=it.trigger.attempt,
        definition=origin.definition,
        cause=cause,
        input=origin.input,
        agent=origin.agent,
        traceparent=origin.traceparent,
        content_type=each.content_type,
    )
    return Outgoing(each.topic, it.trigger.run if each.key is None else each.key, each.value, envelope.headers())


def _stranger(around: Surroundings, record: Record, agent: str, it: Quarantine, now: datetime) -> Outgoing:
    envelope = Envelope(
        id=f"{record.place}/dead",
        type=DEAD_LETTER,
        source=around.source,
        time=now,
        input=record.place,
        agent=agent,
        content_type="application/octet-stream",
    )
    told = [("farandole_reason", it.reason.encode()), ("farandole_error", it.error[:4096].encode())]
    original = [(f"original_{name}", content) for name, content in record.headers[:ORIGINAL_HEADERS_MAX]]
    key = (record.key or b"").decode(errors="replace")
    return Outgoing(around.topics.dead(agent), key, record.value, [*envelope.headers(), *told, *original])


def _ms(duration: timedelta) -> int:
    return max(0, round(duration.total_seconds() * 1000))
