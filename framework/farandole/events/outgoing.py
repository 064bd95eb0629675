"""A record that is to be written, before anyone knows of partitions or clients.

Agents and coordinators build these from the same functions; the shell turns them into the
transport's records.
"""

import base64
from collections.abc import Sequence
from datetime import datetime

import msgspec

from farandole.events.catalogue import encode, type_name
from farandole.events.envelope import Envelope
from farandole.events.facts import Event
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, attempt_id, inbox_key


class Outgoing(msgspec.Struct, frozen=True):
    """`home` is the run whose home partition takes the record; None: the key places it."""

    topic: str
    key: str
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    home: str | None = None


class Origin(msgspec.Struct, frozen=True):
    """Where a batch of records comes from: set once per consumed record.

    `source` names the writer (`<ns>/<unit>/<slot>`), `input` the consumed record (`topic/partition/offset`),
    `folded` is set by coordinators (`partition/position`).
    """

    source: str
    now: datetime
    definition: str = ""
    input: str = ""
    agent: str = ""
    folded: str = ""
    traceparent: str = ""


def event_record(topics: Topics, event: Event, *, event_id: str, cause: str, origin: Origin) -> Outgoing:
    """A fact for `events`, on the home partition of its run."""
    envelope = Envelope(
        id=event_id,
        type=type_name(type(event)),
        source=origin.source,
        time=origin.now,
        run=event.run,
        step=getattr(event, "step", ""),
        item=getattr(event, "item", NO_ITEM),
        attempt=getattr(event, "attempt", 0),
        definition=origin.definition,
        cause=cause,
        input=origin.input,
        agent=origin.agent,
        folded=origin.folded,
        traceparent=origin.traceparent,
    )
    return Outgoing(topics.events, event.run, encode(event), envelope.headers(), home=event.run)


class Trigger(msgspec.Struct, frozen=True):
    """What makes an agent work: one attempt of one step (or item) with its input, framed.

    `epoch` is above that of every earlier try of the same attempt, wherever it ran (docs/decisions/0071). `start`
    holds the run's params, framed, where the trigger itself starts the run (docs/decisions/0072).
    """

    run: str
    step: str
    agent: str
    attempt: int
    input: bytes
    item: int = NO_ITEM
    params: bytes = b""
    epoch: int = 0
    start: bytes = b""


TRIGGER = "farandole.Trigger"
"""CloudEvents type of inbox records."""


def trigger_record(topics: Topics, trigger: Trigger, *, cause: str, origin: Origin) -> Outgoing:
    """The inbox record of a trigger; its id is that of the attempt."""
    envelope = _envelope_of(trigger, "trigger", TRIGGER, cause, origin, epoch=trigger.epoch, start=trigger.start)
    key = inbox_key(trigger.run, trigger.step, trigger.item)
    return Outgoing(topics.inbox(trigger.agent), key, trigger.input, envelope.headers())


DEAD_LETTER = "farandole.DeadLetter"
"""CloudEvents type of dead letters; the value is the input that failed, or the bad record as it was."""


def dead_letter_record(
    topics: Topics,
    trigger: Trigger,
    *,
    reason: str,
    error: str,
    fingerprint: str,
    cause: str,
    origin: Origin,
) -> Outgoing:
    """A dead letter with error, attempts and origin in headers; its value is the input."""
    envelope = _envelope_of(trigger, "dead", DEAD_LETTER, cause, origin)
    told = [
        ("farandole_reason", reason.encode()),
        ("farandole_error", error[:4096].encode()),
        ("farandole_fingerprint", fingerprint.encode()),
    ]
    key = inbox_key(trigger.run, trigger.step, trigger.item)
    return Outgoing(topics.dead(trigger.agent), key, trigger.input, [*envelope.headers(), *told])


def _envelope_of(
    trigger: Trigger, word: str, type_: str, cause: str, origin: Origin, *, epoch: int = 0, start: bytes = b""
) -> Envelope:
    """The envelope of a record about an attempt; `word` ends its id."""
    return Envelope(
        id=f"{attempt_id(trigger.run, trigger.step, trigger.item, trigger.attempt)}/{word}",
        type=type_,
        source=origin.source,
        time=origin.now,
        run=trigger.run,
        step=trigger.step,
        item=trigger.item,
        attempt=trigger.attempt,
        epoch=epoch,
        definition=origin.definition,
        cause=cause,
        input=origin.input,
        agent=trigger.agent,
        params=base64.b64encode(trigger.params).decode() if trigger.params else "",
        start=base64.b64encode(start).decode() if start else "",
        traceparent=origin.traceparent,
    )
