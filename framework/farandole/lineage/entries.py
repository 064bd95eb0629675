"""A record of any topic as lineage and the history checker see it: decoded as far as it can be.

Tolerant throughout: a record that cannot be read is an entry with a reason, because a record
that nobody understands is evidence too. Knows nothing of logs, clients or runs' state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import get_args

from farandole.errors import RecordError
from farandole.events.catalogue import decode, decode_command
from farandole.events.commands import Command
from farandole.events.envelope import Envelope, instant_of, parse_envelope
from farandole.events.facts import AgentFact, Event
from farandole.events.outgoing import DEAD_LETTER, TRIGGER
from farandole.ids import NO_ITEM, derived_run_id

OURS = "farandole."
"""How the CloudEvents types of our own records begin."""

RUN_HEADER = "farandole_run"
"""Run id of a start without one; it stays with the command when it is forwarded to its home."""

COMMANDS = ".commands"
"""How the one topic ends whose records may be JSON without an envelope."""

Unit = tuple[str, int]
"""A step and one of its items (`NO_ITEM` where it is not mapped)."""

_FACTS = get_args(Event)
_COMMANDS = get_args(Command)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that exists, with its envelope and content where they can be read.

    `content` is a fact, a command or a table row; None for users' data (triggers, dead letters, published
    records), tombstones and what is unreadable. `reason` says why a record of ours could not be read.
    `size` is the length of the value in bytes, None for a tombstone. `notes` are the `farandole_…` headers.
    """

    topic: str
    partition: int
    offset: int
    key: str
    envelope: Envelope | None
    content: object | None
    timestamp: datetime
    size: int | None
    reason: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """`topic/partition/offset`: how headers name a consumed record."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def id(self) -> str:
        """The CloudEvents id; the place of a record that has none."""
        return self.envelope.id if self.envelope is not None else self.place

    @property
    def fact(self) -> Event | None:
        """What it says, if it is an event."""
        return self.content if isinstance(self.content, _FACTS) else None

    @property
    def is_start(self) -> bool:
        """Whether it is a trigger that starts its run (direct start)."""
        return self.is_trigger and self.envelope is not None and bool(self.envelope.start)

    @property
    def is_fused(self) -> bool:
        """Whether it reports an attempt that had no trigger: it ran at once after its parent's (DESIGN section 9)."""
        return isinstance(self.content, AgentFact) and self.attempt == 1 and self.cause.endswith("/StepSucceeded")

    @property
    def command(self) -> Command | None:
        """What it asks, if it is a command."""
        return self.content if isinstance(self.content, _COMMANDS) else None

    @property
    def run(self) -> str:
        """The run that it is about; empty if it is about none."""
        if self.topic.endswith(COMMANDS):
            derived = self.notes.get(RUN_HEADER) or derived_run_id(self.topic, self.partition, self.offset)
            return str(getattr(self.content, "run_id", None) or derived)
        if self.envelope is not None and self.envelope.run:
            return self.envelope.run
        return str(getattr(self.content, "run", ""))

    @property
    def unit(self) -> Unit:
        """The step and item that it is about; an empty step if it is about a whole run."""
        if self.envelope is not None:
            return self.envelope.step, self.envelope.item
        return str(getattr(self.content, "step", "")), int(getattr(self.content, "item", NO_ITEM))

    @property
    def attempt(self) -> int:
        """The attempt that it is about; 0 if it is about none."""
        return self.envelope.attempt if self.envelope is not None else int(getattr(self.content, "attempt", 0))

    @property
    def cause(self) -> str:
        """Id of what it follows from."""
        return self.envelope.cause if self.envelope is not None else ""

    @property
    def input(self) -> str:
        """Place of the record whose consumption produced it."""
        return self.envelope.input if self.envelope is not None else ""

    @property
    def source(self) -> str:
        """Who wrote it."""
        return self.envelope.source if self.envelope is not None else ""

    @property
    def time(self) -> datetime:
        """When its writer says that it was written; the log's time where it says nothing."""
        return self.envelope.time if self.envelope is not None else self.timestamp

    @property
    def is_trigger(self) -> bool:
        """Whether it makes an agent work."""
        return self.envelope is not None and self.envelope.type == TRIGGER

    @property
    def is_dead_letter(self) -> bool:
        """Whether it is a dead letter, of a run or of a stranger."""
        return self.envelope is not None and self.envelope.type == DEAD_LETTER

    @property
    def is_published(self) -> bool:
        """Whether a handler wrote it to a topic of the user's own."""
        return self.envelope is not None and self.envelope.id.startswith(f"{self.envelope.cause}/publish/")

    @property
    def is_consequence(self) -> bool:
        """Whether it was folded by the transaction that wrote it: `ce_folded` says so, never its writer."""
        return self.envelope is not None and bool(self.envelope.folded)


def from_record(
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes]],
    timestamp_ms: int,
) -> Entry:
    """The entry of a raw record; never raises for what the record holds."""
    envelope, bad = _envelope(headers)
    content, reason = _content(topic, value, headers, envelope)
    if bad and value is not None and (content is None or bad != "no_envelope"):
        reason = bad  # a record without envelope is whole where its value says everything: state, or kcat's commands
    return Entry(
        topic,
        partition,
        offset,
        (key or b"").decode(errors="replace"),
        envelope,
        content,
        instant_of(timestamp_ms),
        None if value is None else len(value),
        reason,
        _notes(headers),
    )


def _envelope(headers: Sequence[tuple[str, bytes]]) -> tuple[Envelope | None, str]:
    try:
        return parse_envelope(headers), ""
    except RecordError as bad:
        return None, bad.reason


def _content(
    topic: str, value: bytes | None, headers: Sequence[tuple[str, bytes]], envelope: Envelope | None
) -> tuple[object | None, str]:
    """What the value says, if it is a record of ours, and why not if it should be."""
    if value is None or (envelope is not None and not envelope.type.startswith(OURS)):
        return None, ""
    if envelope is not None and envelope.type in (TRIGGER, DEAD_LETTER):
        return None, ""
    try:
        return (decode_command(value, headers) if topic.endswith(COMMANDS) else decode(value)), ""
    except RecordError as bad:
        return None, bad.reason


def _notes(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    return {name: value.decode(errors="replace") for name, value in headers if name.startswith("farandole_")}
