"""One run in the tables: its head on `runs`, its final state on `settled`.

Each look-up reads one partition of a compacted or bounded topic to its end; the live tail is
the cheap way to learn of a run, this the way to learn of its past.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import datetime

from farandole.client.scan import table
from farandole.client.session import Session
from farandole.definition.graph import graph_of
from farandole.errors import InvariantViolation, RecordError, RunNotFound
from farandole.events.catalogue import decode
from farandole.events.commands import StartRun
from farandole.events.tables import RunHead, SettledRun
from farandole.kernel.admission import is_same_start
from farandole.kernel.snapshot import group_by_run, read_run
from farandole.kernel.state import Run
from farandole.transport.port import Record


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How a run stands. `status` is `running`, `held`, `stopping` or its outcome; `updated_at` its last change.

    `waiting` says why it is held or stopping, or how it came to end as it did.
    """

    run: str
    pipeline: str
    definition: str
    status: str
    waiting: str
    started_at: datetime
    updated_at: datetime

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self.status not in LIVE


LIVE = frozenset({"running", "held", "stopping"})
"""Statuses of a run that goes on."""


async def head_of(session: Session, run_id: str) -> RunHead | None:
    """The run's head: of a live run, or the stub of an ended one within the dedupe window."""
    place = await session.at_home(session.topics.runs, run_id)
    row = (await session.looking.rows(place, run_id)).get(run_id.encode())
    return read_head(row) if row is not None else None


async def is_answered(session: Session, known: Run, start: StartRun) -> bool:
    """Whether a run, live or ended, is what a start asks for: as its coordinator finds, which refuses it otherwise."""
    if is_same_start(start, known):
        return True  # as nearly always: nobody has changed the pipeline's params
    return is_same_start(start, known, await session.book.writers(start.pipeline))


async def state_of(session: Session, run_id: str) -> Run | None:
    """The run's state as its coordinator last wrote it; None if `runs` does not hold it.

    Raises:
        RunNotFound: it is pinned to a definition that was never published.
    """
    try:
        return await _state_of(session, run_id)
    except InvariantViolation:  # compaction passed between two of its records: the newer ones are beyond our end
        return await _state_of(session, run_id)


async def _state_of(session: Session, run_id: str) -> Run | None:
    records = await state_records(session, run_id)
    if "" not in records:
        return None
    head = decode(records[""])
    if not isinstance(head, RunHead):
        raise RecordError(
            f"{session.topics.runs}: expected a RunHead under {run_id!r}, but found {type(head).__name__}"
        )
    definition = await session.book.by_hash(head.definition)
    if definition is None:
        raise RunNotFound(
            f"run {run_id}: expected its definition {head.definition[:12]} on {session.topics.definitions}, not found",
            run_id=run_id,
        )
    return read_run(lambda digest: graph_of(definition), records, run_id)


async def states_of(session: Session, run_ids: Set[str]) -> dict[str, Run]:
    """The states of several runs, read together; those that `runs` does not hold, or cannot tell, are absent."""
    if not run_ids:
        return {}
    out, torn = await _states_of(session, run_ids)
    if torn:  # compaction passed between the records of a run: the newer ones were beyond our end
        out |= (await _states_of(session, torn))[0]
    return out


async def _states_of(session: Session, run_ids: Set[str]) -> tuple[dict[str, Run], set[str]]:
    """The states, and the runs whose records do not belong together."""
    wanted = {run_id.encode() for run_id in run_ids}
    places = {await session.at_home(session.topics.runs, run_id) for run_id in run_ids}
    rows = await table(session.edge, places, lambda key: key.partition(b"#")[0] in wanted)
    parts = group_by_run((key.decode(errors="replace"), record.value or b"") for key, record in rows.items())
    out: dict[str, Run] = {}
    torn: set[str] = set()
    for run_id, records in parts.items():
        try:
            head = decode(records[""]) if "" in records else None
        except RecordError:  # a stranger's, or of a newer coordinator
            continue
        definition = await session.book.by_hash(head.definition) if isinstance(head, RunHead) else None
        if definition is None:
            continue
        graph = graph_of(definition)
        try:
            out[run_id] = read_run(lambda _, graph=graph: graph, records, run_id)  # type: ignore[misc]
        except InvariantViolation:
            torn.add(run_id)
    return out, torn


async def state_records(session: Session, run_id: str) -> Mapping[str, bytes]:
    """All state records of a run by part (`''` is the head), as `kernel.snapshot.read_run` takes them."""
    place = await session.at_home(session.topics.runs, run_id)
    rows = await session.looking.rows(place, run_id)
    return {key.decode(errors="replace").partition("#")[2]: record.value or b"" for key, record in rows.items()}


async def settled_of(session: Session, run_id: str) -> SettledRun | None:
    """The final state of an ended run, for as long as `settled` keeps it."""
    place = await session.at_home(session.topics.settled, run_id)
    row = (await session.looking.rows(place, run_id)).get(run_id.encode())
    return read_settled(row) if row is not None else None


async def status_of(session: Session, run_id: str) -> RunStatus | None:
    """How a run stands, or None if the tables know nothing of it."""
    head = await head_of(session, run_id)
    if head is not None and head.status in LIVE:
        return live_status(head)
    final = await settled_of(session, run_id)
    if final is not None:
        return final_status(final)
    return live_status(head) if head is not None else None


def live_status(head: RunHead) -> RunStatus:
    """A head as a status; that of a stub is its outcome."""
    status = head.status if head.status in LIVE else head.outcome
    return RunStatus(head.run, head.pipeline, head.definition, status, head.waiting, head.started_at, head.updated_at)


def final_status(final: SettledRun) -> RunStatus:
    """A final state as a status."""
    return RunStatus(
        final.run, final.pipeline, final.definition, final.outcome, final.reason, final.started_at, final.settled_at
    )


def read_head(record: Record) -> RunHead:
    """A record of `runs` under a run's own key.

    Raises:
        RecordError: it is something else; it says where.
    """
    found = _decoded(record, "RunHead")
    if not isinstance(found, RunHead):
        raise RecordError(f"{record.place}: expected a RunHead, but found {type(found).__name__}")
    return found


def read_settled(record: Record) -> SettledRun:
    """A record of `settled`.

    Raises:
        RecordError: it is something else; it says where.
    """
    found = _decoded(record, "SettledRun")
    if not isinstance(found, SettledRun):
        raise RecordError(f"{record.place}: expected a SettledRun, but found {type(found).__name__}")
    return found


def _decoded(record: Record, expected: str) -> object:
    try:
        return decode(record.value or b"")
    except RecordError as error:
        raise RecordError(f"{record.place}: expected a {expected}, but {error}", reason=error.reason) from error
