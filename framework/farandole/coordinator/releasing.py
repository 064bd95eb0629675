"""Runs that an error holds: what they missed, and their release (DESIGN section 8).

While an error holds a run its facts are passed over. At its release they are read again, from the first that was not
folded on, and folded in their order.
"""

from collections.abc import Iterator

from farandole.coordinator.batch import Batch
from farandole.coordinator.definitions import is_held_for_definition
from farandole.coordinator.home import Home
from farandole.coordinator.refold import Missed, RefoldWanted
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.catalogue import decode, type_name
from farandole.events.envelope import parse_envelope
from farandole.events.outgoing import Origin
from farandole.kernel.evolve import started_again
from farandole.kernel.outbox import Cause
from farandole.kernel.state import Run
from farandole.transport.port import Record

FOLDED_HEADER = "ce_folded"

_RELEASE = type_name(facts.ReleaseRequested).encode()


def is_folded(record: Record) -> bool:
    """Whether a record of `events` is a consequence, folded by the transaction that wrote it."""
    return FOLDED_HEADER in [name for name, _ in record.headers]  # a third of what `any` costs, and asked of all


def release(batch: Batch, run: Run, record: Record, cause: Cause) -> str:
    """Let a run go on that a kernel error held: fold what it missed, in the log's order, unless that was deleted.

    Where its definition is gone nothing can be folded. If it was held for that, it is asked for again when that is
    there; else whoever asked is told.

    Raises:
        RefoldWanted: what it missed must be read again first.
    """
    if (gone := batch.missing(run.id)) is not None:
        if not is_held_for_definition(run):
            batch.refuse_left_out(run.id, gone, cause)
        return "standing"
    missed = _missed(batch, run, record)
    if missed.records is None:
        return "deleted"
    batch.fold(run, facts.ReleaseRequested(run.id), cause, offset=record.offset)
    freed = batch.run(run.id)
    if run.head.unfolded_from < 0 and freed is not None:
        batch.fold(freed, started_again(freed), cause, offset=-1)
    for old in missed.records:
        if not is_folded(old):
            _refold(batch, run.id, old, batch.origin(batch.moment().now, old.place), blame=cause)
    return "released"


def releases(home: Home) -> Iterator[RefoldWanted]:
    """What will have to be read again for the releases that are buffered: of each run for its first one."""
    told = set[str]()
    for record in home.events:
        headers = dict(record.headers)
        run = home.run(headers.get("ce_run", b"").decode(errors="replace"))
        if headers.get("ce_type") != _RELEASE or run is None or run.id in told:
            continue
        told.add(run.id)
        if run.head.kernel_error and 0 <= run.head.unfolded_from < record.offset:
            yield RefoldWanted(run.id, record.at, run.head.unfolded_from, record.offset)


def _missed(batch: Batch, run: Run, record: Record) -> Missed:
    """What a held run missed before this record.

    Raises:
        RefoldWanted: it must be read again first.
    """
    since = run.head.unfolded_from
    if not 0 <= since < record.offset:  # nothing; or it is this very record that holds the run
        return Missed(record.at, range(0), [])
    found = batch.missed(run.id, range(since, record.offset))
    if found is None:
        batch.events_at = record.offset
        raise RefoldWanted(run.id, record.at, since, record.offset)
    batch.read_again.append(run.id)
    return found


def has_missed_its_end(batch: Batch, run: Run, record: Record) -> bool:
    """Whether a run that waits for its definition has missed a final success: whoever started it may know the result
    (direct end), and no marker takes that back. What is asked is folded in its turn, at the release.

    Raises:
        RefoldWanted: what it missed must be read again first.
    """
    if not is_held_for_definition(run):
        return False
    return any(_is_final(old, run.id) for old in _missed(batch, run, record).records or ())


def _is_final(record: Record, run_id: str) -> bool:
    try:
        fact = fact_of(record, run_id)
    except Exception:  # nobody can read it: no client has
        return False
    return isinstance(fact, facts.StepSucceeded) and fact.final


def _refold(batch: Batch, run_id: str, record: Record, origin: Origin, blame: Cause) -> None:
    run = batch.run(run_id)
    if run is None or run.head.kernel_error:
        return  # held anew by an earlier one: `unfolded_from` names it
    try:
        cause = Cause(parse_envelope(record.headers).id, origin)
    except RecordError:
        return  # it was skipped when it was read first
    try:
        fact = fact_of(record, run_id)
    except Exception as bad:
        return batch.hold_unreadable(run, bad, blame, record.offset)
    batch.fold(run, fact, cause, offset=record.offset, blame=blame)


def fact_of(record: Record, run_id: str) -> facts.Fact:
    """The fact that a record of a run tells.

    Raises:
        RecordError: it is none, or of another run.
    """
    fact = decode(record.value or b"")
    if not isinstance(fact, facts.Fact) or fact.run != run_id:
        raise RecordError(f"{record.place}: expected a fact of run {run_id}, but found {type(fact).__name__}")
    return fact
