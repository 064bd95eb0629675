"""What was asked of a run: its commands on its home, whether a coordinator has taken them or not."""

from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from farandole.client.scan import header, scan
from farandole.client.session import RERUN_HEADER, Session
from farandole.errors import RecordError
from farandole.events.catalogue import decode_command
from farandole.events.commands import StartRun
from farandole.transport.port import Record


@dataclass(frozen=True, slots=True)
class Asked:
    """One start of a run: where it stands, since when, and which ended run it repeats, if it does."""

    place: str
    at: datetime
    rerun_of: str = ""


async def start_asked(session: Session, run_id: str) -> Asked | None:
    """The first start that was asked under a run id; None if `commands` holds none (any more)."""
    at, own = await session.at_home(session.topics.commands, run_id), run_id.encode()
    async with aclosing(scan(session.edge, [at])) as records:
        async for record in records:
            if own in (record.key, header(record, "ce_run")) and _is_start(record, run_id):
                then = datetime.fromtimestamp(record.timestamp_ms / 1000, tz=UTC)
                return Asked(record.place, then, header(record, RERUN_HEADER).decode(errors="replace"))
    return None


def _is_start(record: Record, run_id: str) -> bool:
    try:
        command = decode_command(record.value, record.headers)
    except RecordError:
        return False
    return isinstance(command, StartRun) and command.run_id == run_id
