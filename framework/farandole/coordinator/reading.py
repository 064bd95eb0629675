"""What each record of `events` and `commands` does to a batch.

A record that cannot be used is refused or skipped with a named reason and counted; the
partition goes on. Consequences are recognised by their header, never by their writer.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from farandole.coordinator.batch import RUN_ID_MAX, TEXT_MAX, Batch, StoreAway
from farandole.coordinator.definitions import DefinitionGone
from farandole.coordinator.home import Refused
from farandole.coordinator.releasing import fact_of, has_missed_its_end, is_folded, release
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.avro import SchemaBook
from farandole.events.catalogue import decode, decode_command, type_name
from farandole.events.commands import CancelRun, Command, DiscardDeadLetter, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope, instant_of, parse_envelope, trace_id
from farandole.events.outgoing import Outgoing
from farandole.ids import consequence_id, derived_run_id, is_run_id, partition_of
from farandole.kernel.admission import admit, expired_id, is_unread
from farandole.kernel.outbox import Cause
from farandole.kernel.state import Run
from farandole.transport.port import Record

RUN_HEADER = "farandole_run"
"""Run id derived from a command's first place; it stays with the command when it is forwarded."""

STARTED = type_name(facts.RunStarted)

log = logging.getLogger("farandole.coordinator")


class DefinitionWanted(Exception):  # noqa: N818 - a request to the loop, not an error
    """A command needs a pipeline, or a schema of its params, that the table as last read lacks: read it again (R13)."""


class RunWanted(Exception):  # noqa: N818 - a request to the loop, not an error
    """A command is about a run that nobody here knows; its start may stand on `events`, further on than was folded."""


@dataclass(frozen=True, slots=True)
class Definitions:
    """How a batch looks up definitions. `is_certain`: the table was read to its end since that record was seen.

    `writers` gives the schemas that the params of a pipeline have, and had.
    """

    current: Callable[[str], Definition | None]
    by_hash: Callable[[str], Definition | None]
    is_certain: Callable[[Record], bool]
    writers: Callable[[str], SchemaBook]


def read_event(batch: Batch, record: Record, definitions: Definitions | None = None) -> str:
    """Fold one record of `events`; returns a word for the counters.

    Raises:
        DefinitionWanted: a run was started directly under a definition that the table as last read does not hold.
        RefoldWanted: what a released run missed must be read again first.
    """
    batch.events_at = record.offset + 1
    if is_folded(record):
        return "skipped"
    try:
        envelope = parse_envelope(record.headers)
    except RecordError as bad:
        log.warning("an event was skipped: %s", bad, extra=_place(record))
        return "unreadable"
    run = batch.run(envelope.run)
    traceparent = envelope.traceparent
    if (
        run is None or envelope.type != STARTED
    ):  # who asks for a run once more, within a trace of its own, begins nothing
        traceparent = batch.home.trace(envelope.run, traceparent)
    cause = Cause(envelope.id, batch.origin(batch.moment().now, record.place, traceparent))
    if envelope.type == STARTED:
        return _begun(batch, record, (envelope, cause), definitions)
    gone = batch.missing(envelope.run)
    if gone is not None:
        run = batch.hold_left_out(envelope.run, DefinitionGone(gone), cause, record.offset)
    if run is None:
        return "orphan" if gone is None else "standing"
    try:
        fact = fact_of(record, envelope.run)
    except Exception as bad:
        batch.hold_unreadable(run, bad, cause, record.offset)
        return "unreadable"
    word = "folded"
    if run.head.kernel_error and isinstance(fact, facts.ReleaseRequested):
        word = release(batch, run, record, cause)
    elif run.head.kernel_error and (not isinstance(fact, facts.Marker) or has_missed_its_end(batch, run, record)):
        word = "standing"
    else:
        batch.fold(run, fact, cause, offset=record.offset)
    batch.home.note(fact, envelope.traceparent)
    if isinstance(fact, facts.Marker):
        batch.read_back.append(fact)
    return word


def _place(record: Record) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _about(record: Record, run_id: str, traceparent: str) -> dict[str, object]:
    """The fields of a line about a run: what a stranger chose is cut."""
    return {"run_id": run_id[:RUN_ID_MAX], "trace_id": trace_id(traceparent), **_place(record)}


def _begun(batch: Batch, record: Record, about: tuple[Envelope, Cause], definitions: Definitions | None) -> str:
    """As `_started`; what cannot be foreseen of a beginning concerns no run that is there, and stops no partition."""
    try:
        return _started(batch, record, about, definitions)
    except (DefinitionWanted, StoreAway, MemoryError):
        raise
    except Exception:
        fields = _about(record, about[0].run, about[0].traceparent)
        log.exception("%s: a run was started, but could not be taken in", record.place, extra=fields)
        return "unreadable"


def _started(batch: Batch, record: Record, about: tuple[Envelope, Cause], definitions: Definitions | None) -> str:
    """A run that its first agent has begun. A second start of one id is refused: the first one stands."""
    envelope, cause = about
    fields = _about(record, envelope.run, envelope.traceparent)
    try:
        fact = decode(record.value or b"")
    except RecordError as bad:
        log.error("%s: a run was started, but nobody can read how: %s", record.place, bad, extra=fields)
        return "unreadable"
    if not isinstance(fact, facts.RunStarted) or _is_taken(batch, fact.run):
        log.warning("%s: a second start of a run was refused", record.place, extra=fields)
        return "second_start"
    # By when it was written: a coordinator that was away takes what was begun meanwhile.
    if expired := expired_id(fact.run, instant_of(record.timestamp_ms), batch.moment().dedupe_window):
        batch.refuse(facts.RunRefused(fact.run, fact.pipeline, "expired_id", expired), cause)
        return "refused"
    definition = definitions.by_hash(fact.definition) if definitions is not None else None
    if definition is None and definitions is not None and not definitions.is_certain(record):
        batch.events_at = record.offset
        raise DefinitionWanted(fact.definition)
    digest = fact.definition[:12]
    if definition is None:
        log.error(
            "%s: a run was started under definition %s, which `definitions` does not hold, or not so that this version "
            "can read it: the run is held until it can be",
            record.place,
            digest,
            extra=fields,
        )
        batch.begin_left_out(fact, cause, record.offset)
        return "standing"
    if any(root not in definition.steps for root in fact.fired):
        log.error("%s: a run began with a step that definition %s has not", record.place, digest, extra=fields)
        return "orphan"
    batch.begin_directly(graph_of(definition), fact, cause, record.offset)
    return "started"


def _is_taken(batch: Batch, run_id: str) -> bool:
    return batch.run(run_id) is not None or batch.missing(run_id) is not None


def read_command(batch: Batch, record: Record, definitions: Definitions, partitions: int) -> str:
    """Answer one record of `commands`; returns a word for the counters.

    Raises:
        DefinitionWanted: the table of definitions must be read to its end first.
        RunWanted: all that stood on `events` when the command was there must be folded first.
        StoreAway: a payload cannot be read now.
    """
    command, run_id, reason = _parse(record)
    if partition_of(run_id, partitions) != record.partition:
        headers = [(name, value) for name, value in record.headers if name != RUN_HEADER or value]
        if not any(name == RUN_HEADER for name, _ in headers):
            headers.append((RUN_HEADER, run_id.encode()))
        batch.commands_at = record.offset + 1
        batch.records.append(Outgoing(batch.topics.commands, run_id, record.value, headers, home=run_id))
        return "forwarded"
    try:
        word = _answer(batch, record, (command, run_id, reason), definitions)
    except (DefinitionWanted, RunWanted, StoreAway):
        raise
    except Exception as error:  # one bad command never stops a partition
        fields = {"run_id": run_id, **_place(record)}
        log.exception("%s: a command could not be answered", record.place, extra=fields)
        word = _refuse(batch, record, "error", f"{type(error).__name__}: {error}")
    batch.commands_at = record.offset + 1
    if word == "started":
        batch.asked[run_id] = record.timestamp_ms
    return word


def give_up(batch: Batch, refused: Refused) -> str:
    """A record leads to something that the log refuses: hold its run, or refuse the command."""
    record, why = refused.record, f"what follows from it cannot be written: {refused.why}"
    if record.topic == batch.topics.commands:
        batch.commands_at = record.offset + 1
        return _refuse(batch, record, "unproducible", why)
    batch.events_at = record.offset + 1
    try:
        envelope = parse_envelope(record.headers)
    except RecordError:
        return "unreadable"
    batch.read_back += _markers(record, envelope.run)
    cause = Cause(envelope.id, batch.origin(batch.moment().now, record.place))
    if (run := batch.run(envelope.run)) is not None:
        batch.hold_unreadable(run, RecordError(why, reason="unproducible"), cause, record.offset)
    return "unproducible"


def _markers(record: Record, run_id: str) -> list[facts.Marker]:
    """The marker that a record is, if it is one: who gives it up has read it back all the same."""
    try:
        fact = fact_of(record, run_id)
    except Exception:  # nobody can read it: it was not written by us
        return []
    return [fact] if isinstance(fact, facts.Marker) else []


def _refuse(batch: Batch, record: Record, reason: str, detail: str) -> str:
    """Refuse a command whose answer failed; nothing that its writer chose is repeated but the ids."""
    command, run_id, _ = _parse(record)
    pipeline = command.pipeline if isinstance(command, StartRun) else ""
    cause = Cause(record.place, batch.origin(batch.moment().now, record.place))
    batch.refuse(facts.RunRefused(run_id, pipeline, reason, detail), cause)
    return reason


def _parse(record: Record) -> tuple[Command | None, str, str]:
    """The command (None: unreadable), the run it is about, and why it is unreadable."""
    carried = next((v.decode(errors="replace") for n, v in record.headers if n == RUN_HEADER and v), None)
    derived = carried or derived_run_id(record.topic, record.partition, record.offset)
    try:
        command = decode_command(record.value or b"", record.headers)
    except Exception as bad:  # mostly a RecordError, but these are a stranger's bytes
        return None, derived, str(bad)
    return command, command.run_id or derived, ""


def _answer(batch: Batch, record: Record, parsed: tuple[Command | None, str, str], definitions: Definitions) -> str:
    command, run_id, reason = parsed
    now = batch.moment().now
    envelope = _envelope(record)
    told = envelope.traceparent if envelope else ""
    is_again = isinstance(command, StartRun) and batch.run(run_id) is not None
    known = "" if is_again else batch.home.traces.get(run_id, "")
    origin = batch.origin(now, record.place, told or known)
    cause = Cause(envelope.id if envelope else record.place, origin)
    match command:
        case None:
            batch.refuse(facts.RunRefused(run_id, "", "undecodable", reason), cause)
            return "undecodable"
        case _ if (gone := batch.missing(run_id)) is not None and not _may_end(batch, command, run_id):
            batch.refuse_left_out(run_id, gone, cause, command.pipeline if isinstance(command, StartRun) else "")
            return "refused"
        case StartRun():
            word = _start(batch, record, command, run_id, definitions, cause)
            if word == "started":
                batch.home.trace(run_id, told)
            return word
        case CancelRun(reason=why):
            marker: facts.Marker = facts.CancelRequested(run_id, why[:TEXT_MAX])
        case ReplayDeadLetter():
            marker = facts.ReplayRequested(
                run_id, command.step, command.attempt, command.dead_letter, command.input, command.item
            )
        case DiscardDeadLetter(step=step, attempt=attempt, dead_letter=letter):
            marker = facts.DiscardRequested(run_id, step, attempt, letter, command.reason[:TEXT_MAX], command.item)
        case ReleaseRun():
            marker = facts.ReleaseRequested(run_id)
    run, asked, fields = batch.run(run_id), type(command).__name__, _about(record, run_id, told)
    if run is None and is_run_id(run_id) and not batch.home.has_seen(record, batch.events_at):
        raise RunWanted(run_id)
    if run is None or run.is_settled or not is_run_id(run_id):
        log.warning("a %s was without effect: no live run %s", asked, run_id[:128], extra=fields)
        return "no_such_run"
    if isinstance(marker, facts.ReplayRequested | facts.DiscardRequested) and not _has(run, marker):
        step = marker.step[:128]
        log.warning(
            "a %s was without effect: run %s has no %s, item %d", asked, run_id, step, marker.item, extra=fields
        )
        return "no_such_step"
    kind = type_name(type(marker)).removeprefix("farandole.")
    batch.home.trace(run_id, told)  # only now: what has no effect is no part of the run, nor is its trace
    batch.mark(marker, event_id=consequence_id(record.place, kind, 0), cause=cause.id, now=now, input_=record.place)
    return "marked"


def _may_end(batch: Batch, command: Command, run_id: str) -> bool:
    """Whether it is to end a run that can be read: that is done without asking its definition."""
    return isinstance(command, CancelRun) and batch.run(run_id) is not None


def _has(run: Run, asked: facts.ReplayRequested | facts.DiscardRequested) -> bool:
    try:
        run.number(asked.step, asked.item)
    except (KeyError, IndexError):
        return False
    return True


def _start(batch: Batch, record: Record, command: StartRun, run_id: str, definitions: Definitions, cause: Cause) -> str:
    definition = definitions.current(command.pipeline)
    if definition is None and not definitions.is_certain(record):
        raise DefinitionWanted(command.pipeline)
    writers = definitions.writers(command.pipeline)
    answer = admit(command, run_id, definition, batch.run(run_id), batch.moment(), writers)
    match answer:
        case None:
            return "duplicate"
        case facts.RunRefused():
            if is_unread(command, writers) and not definitions.is_certain(record):
                raise DefinitionWanted(command.pipeline)
            batch.refuse(answer, cause)
            return "refused"
        case facts.RunStarted():
            assert definition is not None
            batch.begin(graph_of(definition), answer, cause)
            return "started"


def _envelope(record: Record) -> Envelope | None:
    """The command's envelope, if its writer gave it one: kcat does not."""
    try:
        return parse_envelope(record.headers)
    except RecordError:
        return None
