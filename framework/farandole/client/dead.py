"""Dead letters as operators see them: which wait for somebody, what is in them, how to replay one.

Whether one is still open is not in its record: the state of its run says so (the step is
dead-lettered with this attempt), so a replayed one closes by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from farandole.client.lookup import states_of
from farandole.client.payload import plain_of
from farandole.client.scan import closing, header, header_text, places_of, scan
from farandole.client.session import Session
from farandole.errors import ConfigError, RecordError
from farandole.events.envelope import Envelope, instant_of, parse_envelope
from farandole.ids import NO_ITEM
from farandole.kernel.state import Phase, Run, Status
from farandole.transport.port import End, Isolation, Record, TopicPartition

OPEN, CLOSED, QUARANTINED = "open", "closed", "quarantined"
"""`open`: its run waits for it. `closed`: replayed, skipped, or its run stops or ended. `quarantined`: of no run."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter; `place` names it (`topic/partition/offset`), `at` is when it was written."""

    place: str
    state: str
    agent: str
    run: str
    step: str
    item: int
    attempt: int
    reason: str
    error: str
    fingerprint: str
    definition: str
    at: datetime
    cause: str = ""
    input: str = ""
    pipeline: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters with one fingerprint, which is one cause, the oldest first."""

    fingerprint: str
    agent: str
    error: str
    letters: Sequence[DeadLetter]


async def list_dead(session: Session, *, agent: str = "", run_id: str = "", closed: bool = False) -> list[DeadLetter]:
    """Dead letters, the oldest first: those that are open or quarantined, or all with `closed`."""
    return [letter for letter, _ in await dead_records(session, agent=agent, run_id=run_id, closed=closed)]


async def dead_records(
    session: Session, *, agent: str = "", run_id: str = "", closed: bool = False
) -> list[tuple[DeadLetter, Record]]:
    """As `list_dead`, each with its record.

    Raises:
        ConfigError: no such agent was applied.
    """
    agents = sorted(await session.book.owners())
    if agent and agent not in agents:
        raise ConfigError(f"agent {agent!r}: expected one that was applied ({', '.join(agents) or 'none'})")
    topics = [session.topics.dead(each) for each in agents if agent in ("", each)]
    places = [at for topic in topics for at in await places_of(session.edge, topic)]
    async with aclosing(scan(session.edge, places)) as found:
        records = [record async for record in found if run_id in ("", _run_of(record))]
    runs = await states_of(session, {_told_run(record) for record in records} - {""})
    names = await _pipelines(session, records)
    found_all = [(_letter(session, record, runs, names), record) for record in records]
    found_all.sort(key=lambda each: each[0].at)
    return [each for each in found_all if closed or each[0].state != CLOSED]


def grouped(letters: Iterable[DeadLetter]) -> list[Group]:
    """By agent and fingerprint, the largest group first."""
    groups: dict[tuple[str, str], list[DeadLetter]] = {}
    for each in letters:
        groups.setdefault((each.agent, each.fingerprint), []).append(each)
    out = [Group(fingerprint, agent, found[-1].error, found) for (agent, fingerprint), found in groups.items()]
    return sorted(out, key=lambda each: -len(each.letters))


async def dead_record(session: Session, place: str) -> tuple[DeadLetter, Record]:
    """The dead letter at a place.

    Raises:
        RecordError: the place is malformed, or nothing is there (any more).
    """
    record = await record_at(session, place)
    if not record.topic.startswith(session.topics.dead("")):
        raise RecordError(
            f"{place}: expected a place in a topic {session.topics.dead('<agent>')}, as `dead list` tells it"
        )
    runs = await states_of(session, {_told_run(record)} - {""})
    return _letter(session, record, runs, await _pipelines(session, [record])), record


async def record_at(session: Session, place: str) -> Record:
    """The committed record at `topic/partition/offset`.

    Raises:
        RecordError: the place is malformed, or nothing is there (any more).
    """
    at, offset = _parse(place)
    known = await session.edge.partitions(at.topic) > at.partition
    end = (await session.edge.ends([at], Isolation.COMMITTED)).get(at, 0) if known else 0
    if offset < end:
        async with closing(session.edge.tail({at: offset})) as tail:
            async for item in tail:
                if isinstance(item, End) or item.offset > offset:
                    break
                if item.offset == offset:
                    return item
    raise RecordError(f"{place}: expected a record there, but there is none (any more)")


async def input_of(session: Session, letter: DeadLetter, record: Record) -> object:
    """The input that failed, as plain values.

    Raises:
        RecordError: it cannot be decoded, which may be why it is here.
    """
    definition = await session.book.by_hash(letter.definition) if letter.definition else None
    if definition is None or letter.step not in definition.steps:
        raise RecordError(f"{letter.place}: expected to know its step's schema, but definition and step are not known")
    return plain_of(definition.steps[letter.step].input_schema, record.value or b"", session.artifacts)


def _parse(place: str) -> tuple[TopicPartition, int]:
    topic, partition, offset = (*place.rsplit("/", 2), "", "")[:3]
    if not topic or not partition.isdecimal() or not offset.isdecimal():
        raise RecordError(f"{place!r}: expected a place such as farandole.dead.clean/3/17")
    return TopicPartition(topic, int(partition)), int(offset)


async def _pipelines(session: Session, records: Iterable[Record]) -> dict[str, str]:
    """Names of the pipelines behind the definitions of some records, each looked up once; unknown ones are absent."""
    digests = {header_text(record, "ce_definition") for record in records} - {""}
    found = {digest: await session.book.by_hash(digest) for digest in digests}
    return {digest: definition.name for digest, definition in found.items() if definition is not None}


def _letter(session: Session, record: Record, runs: dict[str, Run], pipelines: Mapping[str, str]) -> DeadLetter:
    agent = record.topic.removeprefix(session.topics.dead(""))
    envelope = _envelope(record)
    digest = envelope.definition if envelope else ""

    def told(name: str) -> str:
        return header_text(record, f"farandole_{name}")

    return DeadLetter(
        place=record.place,
        state=_state(envelope, runs),
        agent=agent,
        run=_run_of(record),
        step=envelope.step if envelope else "",
        item=envelope.item if envelope else NO_ITEM,
        attempt=envelope.attempt if envelope else 0,
        reason=told("reason"),
        error=told("error"),
        fingerprint=told("fingerprint") or told("reason"),
        definition=digest,
        at=instant_of(record.timestamp_ms),
        cause=envelope.cause if envelope else "",
        input=envelope.input if envelope else "",
        pipeline=pipelines.get(digest, ""),
    )


def _envelope(record: Record) -> Envelope | None:
    try:
        return parse_envelope(record.headers)
    except RecordError:
        return None


def _told_run(record: Record) -> str:
    """The run of its header, whatever bytes stand there: one that is no text is nobody's."""
    return header_text(record, "ce_run")


def _run_of(record: Record) -> str:
    """The run it is of, or that it was to start: a start that could not be taken is kept with its own headers."""
    return (header(record, "ce_run") or header(record, "original_ce_run")).decode(errors="replace")


def is_start(letter: DeadLetter) -> bool:
    """Whether it is a direct start that no agent could take: its run never began."""
    return letter.state == QUARANTINED and bool(letter.run)


def _state(envelope: Envelope | None, runs: dict[str, Run]) -> str:
    if envelope is None or not envelope.run or not envelope.step:
        return QUARANTINED
    run = runs.get(envelope.run)
    if run is None or run.head.phase is not Phase.RUNNING:
        return CLOSED
    try:
        unit = run.unit(run.number(envelope.step, envelope.item))
    except (KeyError, IndexError):
        return CLOSED
    # Not yet folded by the coordinator counts as open too: the letter is written before that.
    waits = unit.status in (Status.DEAD, Status.SCHEDULED, Status.PENDING)
    return OPEN if waits and unit.attempt in (0, envelope.attempt) else CLOSED
