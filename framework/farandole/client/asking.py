"""What was asked of a run: its commands on its home, whether a coordinator has taken them or not."""

from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from farandole.client.query import run_records
from farandole.client.scan import header, header_text, scan
from farandole.client.session import RERUN_HEADER, Session
from farandole.client.trail import entry_of, is_asked_by_hand
from farandole.errors import RecordError
from farandole.events.catalogue import decode_command, type_name
from farandole.events.commands import StartRun
from farandole.events.envelope import instant_of
from farandole.events.facts import RunStarted
from farandole.transport.port import Record

_STARTED = type_name(RunStarted).encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """One start of a run: where it stands, since when, and which ended run it repeats, if it does."""

    place: str
    at: datetime
    rerun_of: str = ""


async def start_asked(session: Session, run_id: str) -> Asked | None:
    """The start that the run's last beginning names, else the last under its id; None if there is none (any more).

    An id may begin anew after its deduplication window; what was asked again before that began nothing. And where
    nothing has begun, earlier ones were refused, or are asked for by the last one too.
    """
    began = [record for record in await run_records(session, run_id) if header(record, "ce_type") == _STARTED]
    named = header_text(began[-1], "ce_input") if began else ""
    at, own, last = await session.at_home(session.topics.commands, run_id), run_id.encode(), None
    async with aclosing(scan(session.edge, [at])) as records:
        async for record in records:
            is_about = own in (record.key, header(record, "ce_run")) or is_asked_by_hand(record, at.topic, run_id)
            if is_about and _is_start(record, run_id):
                last = _asked(record)
                if record.place == named:
                    return last
    return last


def _asked(record: Record) -> Asked:
    then = instant_of(record.timestamp_ms)
    return Asked(record.place, then, header_text(record, RERUN_HEADER))


def _is_start(record: Record, run_id: str) -> bool:
    try:
        command = decode_command(record.value, record.headers)
    except RecordError:
        return False
    return isinstance(command, StartRun) and (command.run_id or entry_of(record).run) == run_id
