"""Every record about one run, from all topics: what lineage is walked from.

Facts and commands are on the run's home; triggers and dead letters are wherever their keys
placed them, so all partitions of the pipeline's inboxes are read and picked by header.
"""

from collections.abc import Sequence
from contextlib import aclosing

from farandole.client.payload import definition_of
from farandole.client.query import run_records
from farandole.client.scan import header, places_of, scan
from farandole.client.session import Session
from farandole.definition.model import Definition
from farandole.errors import RunNotFound
from farandole.events.facts import RunStarted
from farandole.lineage.entries import COMMANDS, Entry, from_record
from farandole.lineage.lives import life_of
from farandole.transport.port import Record


async def trail_of(
    session: Session, run_id: str, own: Sequence[str] = (), about: Entry | None = None
) -> tuple[list[Entry], Definition | None]:
    """The run's records, and the definition it is pinned to; `own` are topics of the user's to look in too.

    Where the id was used again, of its last life, or of that which the record `about` belongs to. The definition is
    told by any of its facts, since the first ones may have expired.

    Raises:
        RunNotFound: the topics hold nothing of it.
    """
    facts = await run_records(session, run_id)
    commands = await _about(session, session.topics.commands, run_id)
    if not facts and not commands and about is None:
        raise RunNotFound(
            f"run {run_id}: expected records of it in {session.topics.namespace!r}, but there are none", run_id=run_id
        )
    entries = [entry_of(record) for record in (*facts, *commands)]
    digest = next(filter(None, map(_definition, (*life_of(entries, about), *([about] if about else [])))), "")
    definition = await definition_of(session, digest) if digest else None
    agents = sorted({step.agent for step in definition.steps.values()}) if definition else []
    for topic in (*map(session.topics.inbox, agents), *map(session.topics.dead, agents), *own):
        entries += [entry_of(record) for record in await _about(session, topic, run_id)]
    if about is not None:  # it may stand where nothing else of a run's causes does, such as on `settled`
        entries.append(about)
    return life_of(entries, about), definition


async def _about(session: Session, topic: str, run_id: str) -> list[Record]:
    own = run_id.encode()
    async with aclosing(scan(session.edge, await places_of(session.edge, topic))) as records:
        return [
            record
            async for record in records
            if own in (header(record, "ce_run"), record.key) or is_asked_by_hand(record, topic, run_id)
        ]


def is_asked_by_hand(record: Record, topic: str, run_id: str) -> bool:
    """Whether it is a command of kcat's about a run: its value, or its place, says which, where no key needs to."""
    is_bare = topic.endswith(COMMANDS) and not header(record, "ce_run") and record.value is not None
    return is_bare and entry_of(record).run == run_id


def _definition(entry: Entry) -> str:
    """The hash of the definition that a record of the run tells; empty where it tells none."""
    if isinstance(entry.fact, RunStarted):
        return entry.fact.definition
    return entry.envelope.definition if entry.envelope is not None else ""


def entry_of(record: Record) -> Entry:
    """A record as lineage sees it."""
    return from_record(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.headers,
        record.timestamp_ms,
    )
