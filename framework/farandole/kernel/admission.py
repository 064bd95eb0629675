"""Whether a start is admitted, refused, or answered already.

The same id is the same run, whatever its pipeline has become since; the same id with other
params is a conflict that leaves the run untouched. Params may be framed by any schema that the
pipeline ever had, for its callers are not replaced the moment it is applied. Generated ids carry
their instant and are refused once the window in which duplicates are recognised has passed.
"""

from datetime import datetime, timedelta

from farandole.definition.model import Definition
from farandole.errors import RecordError
from farandole.events.avro import Schema, SchemaBook
from farandole.events.commands import StartRun
from farandole.events.facts import RunRefused, RunStarted
from farandole.events.framing import unframe
from farandole.ids import generated_at, is_run_id, sha256
from farandole.kernel.decision import DEDUPE_WINDOW, Moment
from farandole.kernel.state import Run

AHEAD_MAX = timedelta(minutes=5)
"""How far a generated id may be ahead of our clock before it is refused: clock skew between hosts."""

NO_OTHERS = SchemaBook()
"""A pipeline whose params never had another schema than the definition's own."""


def admit(
    command: StartRun,
    run_id: str,
    definition: Definition | None,
    known: Run | None,
    moment: Moment,
    writers: SchemaBook = NO_OTHERS,
) -> RunStarted | RunRefused | None:
    """The fact that answers a start; None if the run exists and this is the same start once more.

    `writers` are the schemas that the pipeline's params have, and had, by which its callers may frame them.
    """

    def refused(reason: str, detail: str) -> RunRefused:
        return RunRefused(run_id, command.pipeline, reason, detail)

    if not is_run_id(run_id):
        return refused("run_id", f"expected 1 to 128 of A-Z a-z 0-9 . _ : -, but found {run_id[:140]!r}")
    if known is not None:
        if is_same_start(command, known, writers):
            return None
        return refused("conflict", "the id belongs to a run with another pipeline or other params")
    if definition is None:
        told = "was applied that this coordinator can read; run `farandole apply` first, or end the upgrade"
        return refused("unknown_pipeline", f"no pipeline {command.pipeline!r} {told}")
    try:
        params = framed_params(command, definition, writers)
    except RecordError as bad:
        return refused("params", str(bad))
    now = moment.now
    if too_old := expired_id(run_id, now, moment.dedupe_window, wall=moment.wall):
        return refused("expired_id", too_old)
    deadline = now + definition.deadline if definition.deadline else None
    return RunStarted(run_id, command.pipeline, definition.hash, params, sha256(params), now, deadline)


def expired_id(run_id: str, asked: datetime, window: timedelta = DEDUPE_WINDOW, *, wall: datetime | None = None) -> str:
    """Why an id that looks like a generated one may not begin a run that was asked for at that instant.

    Nobody may know it any more: a command that was on its way for longer than the window would begin a second run.
    Ahead of `asked` it may be as far as the wall clock is: that was put forward, and whoever made it had the same. Its
    stub is kept from that instant on (`settle`). Empty if it may begin one, and for ids of one's own.
    """
    made = generated_at(run_id)
    if made is None or (asked - made <= window and made - max(asked, wall or asked) <= AHEAD_MAX):
        return ""  # differences of instants cannot leave the calendar
    return (
        f"the id is a UUIDv7 of {made.isoformat()}, as generated ones are, and outside their window of {window}: the "
        f"clock here says {asked.isoformat()}. Choose another, for one of your own with a word before it; if it was "
        "generated a moment ago, one of the clocks is wrong"
    )


def is_same_start(command: StartRun, known: Run, writers: SchemaBook = NO_OTHERS) -> bool:
    """Whether the run is what this start asks for: the same pipeline with these params.

    They are read by the run's own definition, not by one applied since, whichever of `writers` framed them: equal is
    what gives the run equal params. What its definition has no field for it would not have been given either.
    Its hash may also be that of the params as they were sent: maps were once left in their order.
    """
    if known.head.pipeline != command.pipeline:
        return False
    try:
        framed = framed_params(command, known.graph.definition, writers)
        return known.head.params_hash in (sha256(framed), sha256(command.params))
    except RecordError:
        return False


def framed_params(command: StartRun, definition: Definition, writers: SchemaBook = NO_OTHERS) -> bytes:
    """The params as the definition's own schema frames them, so that equal params are equal bytes.

    Raises:
        RecordError: they do not fit the schema, or were framed by one that is neither this nor one of `writers`.
    """
    schema = Schema.parse(definition.params_schema)
    return schema.encode(writers.decode_as(schema, command.params))


def is_unread(command: StartRun, writers: SchemaBook) -> bool:
    """Whether the params are framed by a schema that is none of `writers`: one that may have been applied since."""
    try:
        frame = unframe(command.params)
    except RecordError:
        return False
    return isinstance(frame.id, bytes) and frame.id not in writers
