"""What a second run like an ended one needs: its params, its pipeline as it is now, and the link."""

from collections.abc import Mapping
from dataclasses import dataclass

from farandole.client.lookup import status_of
from farandole.client.payload import as_now, definition_of, params_by_name, plain_of
from farandole.client.query import event_of, run_records
from farandole.client.scan import header, header_text
from farandole.client.session import Rerun, Session
from farandole.definition.model import Definition
from farandole.errors import RecordError, RunNotFound, RunRefused
from farandole.events.avro import Schema
from farandole.events.catalogue import type_name
from farandole.events.facts import RunSettled, RunStarted

_STARTED, _SETTLED = (type_name(kind).encode() for kind in (RunStarted, RunSettled))


@dataclass(frozen=True, slots=True)
class Again:
    """The definition that the new run is pinned to, its framed params, and the old run."""

    definition: Definition
    params: bytes
    old: Rerun


async def prepare_rerun(session: Session, run_id: str, params: Mapping[str, object] | str | bytes | None) -> Again:
    """Everything that the new start needs; see `Client.rerun`."""
    status = await status_of(session, run_id)
    if status is None:
        raise RunNotFound(f"run {run_id}: expected a run, but nothing is known of it", run_id=run_id)
    if not status.is_over:
        raise RunRefused(
            f"run {run_id}: expected a run that has ended, but it is {status.status}. Nothing was started; "
            "cancel it first, or repair it where it stands.",
            run_id=run_id,
        )
    records = await run_records(session, run_id)
    begun = [event_of(each) for each in records if header(each, "ce_type") == _STARTED]
    ends = [header_text(each, "ce_id") for each in records if header(each, "ce_type") == _SETTLED]
    started = begun[-1] if begun else None
    definition = await session.book.by_name(status.pipeline)
    if not isinstance(started, RunStarted) and params is None:
        raise RunNotFound(
            f"run {run_id}: expected its params on {session.topics.events}, but its beginning is no longer there. "
            "Nothing was started; give params.",
            run_id=run_id,
        )
    try:
        if params is not None:
            framed = await params_by_name(session, definition, params)
        else:
            assert isinstance(started, RunStarted)
            framed = await _reframed(session, started, definition)
    except RecordError as bad:
        raise RunRefused(
            f"run {run_id}: its params do not fit {definition.name} as it is now: {bad}. Nothing was started; "
            "give params.",
            run_id=run_id,
        ) from bad
    return Again(definition, framed, Rerun(run_id, ends[-1] if ends else ""))


async def _reframed(session: Session, started: RunStarted, now: Definition) -> bytes:
    """The params of the old run as the pipeline's present schema frames them."""
    before = await definition_of(session, started.definition)
    if before.params_schema == now.params_schema:
        return started.params
    plain = plain_of(before.params_schema, started.params, session.artifacts)
    return as_now(before, Schema.parse(before.params_schema).encode(plain), now)
