"""Every record about one run, from all topics: what lineage is walked from.

Facts and commands are on the run's home; triggers and dead letters are wherever their keys
placed them, so all partitions of the pipeline's inboxes are read and picked by header.
"""

from collections.abc import Sequence
from contextlib import aclosing

from farandole.client.payload import definition_of
from farandole.client.query import event_of, run_records
from farandole.client.scan import header, places_of, scan
from farandole.client.session import Session
from farandole.definition.model import Definition
from farandole.errors import RunNotFound
from farandole.events.catalogue import type_name
from farandole.events.facts import RunStarted
from farandole.lineage.entries import Entry, from_record
from farandole.transport.port import Record

_STARTED = type_name(RunStarted).encode()


async def trail_of(session: Session, run_id: str, own: Sequence[str] = ()) -> tuple[list[Entry], Definition | None]:
    """The run's records, and the definition it is pinned to; `own` are topics of the user's to look in too.

    Raises:
        RunNotFound: the topics hold nothing of it.
    """
    facts = await run_records(session, run_id)
    commands = await _about(session, session.topics.commands, run_id)
    if not facts and not commands:
        raise RunNotFound(
            f"run {run_id}: expected records of it in {session.topics.namespace!r}, but there are none", run_id=run_id
        )
    started = next((event_of(record) for record in facts if header(record, "ce_type") == _STARTED), None)
    definition = await definition_of(session, started.definition) if isinstance(started, RunStarted) else None
    agents = sorted({step.agent for step in definition.steps.values()}) if definition else []
    records = [*facts, *commands]
    for topic in (*map(session.topics.inbox, agents), *map(session.topics.dead, agents), *own):
        records += await _about(session, topic, run_id)
    return [_entry(record) for record in records], definition


async def _about(session: Session, topic: str, run_id: str) -> list[Record]:
    own = run_id.encode()
    async with aclosing(scan(session.edge, await places_of(session.edge, topic))) as records:
        return [record async for record in records if own in (header(record, "ce_run"), record.key)]


def _entry(record: Record) -> Entry:
    return from_record(
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        record.headers,
        record.timestamp_ms,
    )
