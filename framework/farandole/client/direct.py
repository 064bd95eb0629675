"""Direct start: a run begins with one record, its first step's trigger, written by the client (DESIGN section 9).

One record is atomic: the run is started or it is not. Its agent's first transaction says that it
exists. Only where no coordinator need have a say, under an id that was generated here and is
used once: a send of which nobody knows whether it came through is told, and never repeated.
"""

from datetime import datetime

from farandole.client.session import Session
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.errors import AccessDenied, ConfigError, NotReady, RecordError, TransportError
from farandole.events.facts import RunStarted, StepScheduled
from farandole.events.outgoing import Origin, Trigger, trigger_record
from farandole.ids import attempt_id, consequence_id, sha256
from farandole.kernel.evolve import start
from farandole.kernel.outbox import PARAMS_MAX, trigger_of
from farandole.kernel.values import ClaimNeeded, Values
from farandole.transport.port import NewRecord


async def directly(session: Session, definition: Definition, params: bytes, run_id: str) -> Trigger | None:
    """The trigger that starts a run; None if a coordinator must: so the pipeline, its params, or what was applied."""
    trigger = start_trigger(definition, params, run_id, session.clock.now())
    return trigger if trigger is not None and await _is_applied(session, definition) else None


def start_trigger(definition: Definition, params: bytes, run_id: str, now: datetime) -> Trigger | None:
    """The trigger that starts a run, if the definition and the params allow it; as the coordinator would write it."""
    root = graph_of(definition).direct_root
    if root is None or len(params) > PARAMS_MAX:
        return None
    run = start(graph_of(definition), RunStarted(run_id, definition.name, definition.hash, params, sha256(params), now))
    values = Values()
    try:
        trigger = trigger_of(run, StepScheduled(run_id, root, 1), values)
    except (RecordError, ClaimNeeded):
        return None  # the coordinator will say what is wrong
    if values.to_store:
        return None
    return Trigger(run_id, root, trigger.agent, 1, trigger.input, params=trigger.params, start=params)


async def _is_applied(session: Session, definition: Definition) -> bool:
    """Whether new runs of the pipeline get this very definition, so that every agent has it, or will."""
    try:
        return (await session.book.by_name(definition.name)).hash == definition.hash
    except ConfigError:
        return False  # the coordinator refuses it in so many words


def begun_id(trigger: Trigger) -> str:
    """The id of what the first agent writes of a run that its trigger starts: a refusal of the start names it."""
    root = attempt_id(trigger.run, trigger.step, trigger.item, trigger.attempt)
    return consequence_id(f"{root}/trigger", "RunStarted", 0)


async def send_start(session: Session, trigger: Trigger, definition: Definition) -> None:
    """Write the trigger, once.

    Raises:
        AccessDenied, NotReady: it was not written.
        TransportError: it was not acknowledged; the run may have begun.
    """
    origin = Origin(session.source, session.clock.now(), definition=definition.hash)
    it = trigger_record(session.topics, trigger, cause="", origin=origin)
    try:
        await session.edge.send(NewRecord(it.topic, it.key.encode(), it.value, it.headers))
    except (AccessDenied, NotReady) as error:
        raise type(error)(f"run {trigger.run}: it was not started: {error}") from error
    except TransportError as error:
        raise TransportError(
            f"run {trigger.run}: its start was not acknowledged: {error}. It was not repeated: the run may have begun, "
            "which `run show` tells; starting again makes another run"
        ) from error
