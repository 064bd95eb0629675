"""Whether a start is admitted, refused, or answered already.

The same id is the same run, whatever its pipeline has become since; the same id with other
params is a conflict that leaves the run untouched. Generated ids carry their instant and are
refused once the window in which duplicates are recognised has passed.
"""

from datetime import datetime, timedelta

from farandole.definition.model import Definition
from farandole.errors import RecordError
from farandole.events.avro import Schema, SchemaBook
from farandole.events.commands import StartRun
from farandole.events.facts import RunRefused, RunStarted
from farandole.ids import generated_at, is_run_id, sha256
from farandole.kernel.decision import Moment
from farandole.kernel.state import Run

AHEAD_MAX = timedelta(minutes=5)
"""How far a generated id may be ahead of our clock before it is refused: clock skew between hosts."""


def admit(
    command: StartRun, run_id: str, definition: Definition | None, known: Run | None, moment: Moment
) -> RunStarted | RunRefused | None:
    """The fact that answers a start; None if the run exists and this is the same start once more."""

    def refused(reason: str, detail: str) -> RunRefused:
        return RunRefused(run_id, command.pipeline, reason, detail)

    if not is_run_id(run_id):
        return refused("run_id", f"expected 1 to 128 of A-Z a-z 0-9 . _ : -, but found {run_id[:140]!r}")
    if known is not None:
        same = known.head.pipeline == command.pipeline and _is_same(command, known)
        return None if same else refused("conflict", "the id belongs to a run with another pipeline or other params")
    if definition is None:
        return refused("unknown_pipeline", f"no pipeline {command.pipeline!r} was applied; run `farandole apply` first")
    try:
        params = framed_params(command, definition)
    except RecordError as bad:
        return refused("params", str(bad))
    now = moment.now
    if expired := expired_id(run_id, now, moment.dedupe_window):
        return refused("expired_id", expired)
    deadline = now + definition.deadline if definition.deadline else None
    return RunStarted(run_id, command.pipeline, definition.hash, params, sha256(params), now, deadline)


def expired_id(run_id: str, asked: datetime, window: timedelta) -> str:
    """Why a generated id may not begin a run that was asked for at that instant: nobody may know it any more.

    Empty if it may, and for ids that were not generated.
    """
    made = generated_at(run_id)
    if made is None or asked - window <= made <= asked + AHEAD_MAX:
        return ""
    return f"the generated id is of {made.isoformat()}, outside the window of {window}"


def _is_same(command: StartRun, known: Run) -> bool:
    """Whether the run was started with these params: read by its own definition, not by one applied since.

    Its hash may also be that of the params as they were sent: maps were once left in their order.
    """
    try:
        framed = framed_params(command, known.graph.definition)
        return known.head.params_hash in (sha256(framed), sha256(command.params))
    except RecordError:
        return False


def framed_params(command: StartRun, definition: Definition) -> bytes:
    """The params as the definition's own schema frames them, so that equal params are equal bytes.

    Raises:
        RecordError: they do not fit the schema.
    """
    schema = Schema.parse(definition.params_schema)
    return schema.encode(SchemaBook([schema]).decode_as(schema, command.params))
