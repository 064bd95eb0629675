"""Runs folded anew from `events` and held against what `runs` holds: the replay law, on a live log.

Only what has come to rest is compared: a run with an event that its coordinator had not folded when
we began is moving. Nothing is written.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from farandole.client.query import event_of
from farandole.client.scan import existing_places, header_text, scan, table
from farandole.client.session import Session
from farandole.definition.graph import Graph, graph_of
from farandole.errors import InvariantViolation, RecordError
from farandole.events import facts
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.snapshot import group_by_run, read_run
from farandole.kernel.state import Run
from farandole.transport.port import Position, Record, TopicPartition


@dataclass(frozen=True, slots=True)
class Difference:
    """A run whose events make something else than `runs` holds."""

    run: str
    partition: int
    rebuilt: str
    held: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it. `moving`: events not folded yet; `beheaded`: the start is gone from the log."""

    equal: int
    differences: tuple[Difference, ...]
    moving: tuple[str, ...]
    beheaded: tuple[str, ...]


def logged(record: Record) -> Logged:
    """A record of `events` as the fold takes it.

    Raises:
        RecordError: it is no event.
    """
    folded = header_text(record, "ce_folded").partition("/")[2]
    at = int(folded) if folded.isdecimal() else None
    return Logged(record.offset, event_of(record), at, header_text(record, "ce_id"), header_text(record, "ce_cause"))


async def check_state(session: Session, folded_to: Mapping[TopicPartition, Position]) -> Checked:
    """Compare every run; `folded_to` are the coordinators' positions on `events`, read before this was called."""
    parts = [
        await _check_home(session, at, folded_to[at].offset if at in folded_to else 0)
        for at in await existing_places(session.edge, session.topics.events)
    ]
    return Checked(
        sum(each.equal for each in parts),
        tuple(it for each in parts for it in each.differences),
        tuple(it for each in parts for it in each.moving),
        tuple(it for each in parts for it in each.beheaded),
    )


async def _check_home(session: Session, at: TopicPartition, folded_to: int) -> Checked:
    """`runs` is read before `events`: whatever state we see, the events that made it are seen too."""
    home = TopicPartition(session.topics.runs, at.partition)
    rows = await table(session.edge, [home])
    async with aclosing(scan(session.edge, [at])) as records:
        log = [one async for record in records if (one := _logged_or_none(record)) is not None]
    graphs = {digest: graph_of(definition) for digest, definition in (await session.book.every()).items()}
    held = _held(rows, graphs.__getitem__)
    known = {it.event.run for it in log if isinstance(it.event, facts.RunStarted) and it.event.definition in graphs}
    moving = {it.event.run for it in log if it.offset >= folded_to}
    beheaded = set(held) - known
    resting = known - moving
    made = rebuild([it for it in log if it.event.run in resting], graphs.__getitem__)
    found = [_difference(run, at.partition, made.get(run), held.get(run)) for run in sorted(resting)]
    differences = tuple(each for each in found if each is not None)
    return Checked(
        len(found) - len(differences),
        differences,
        tuple(sorted(moving & (known | set(held)))),
        tuple(sorted(beheaded - moving)),
    )


def _logged_or_none(record: Record) -> Logged | None:
    """None for what a coordinator skips too: a record that is no event."""
    try:
        return logged(record)
    except RecordError:
        return None


def _held(rows: Mapping[bytes, Record], graph: Callable[[str], Graph]) -> dict[str, Run | str]:
    """Runs as `runs` holds them; why not, for one that cannot be read."""
    out: dict[str, Run | str] = {}
    for run, parts in group_by_run(_texts(rows)).items():
        try:
            out[run] = read_run(graph, parts, run)
        except (InvariantViolation, RecordError, KeyError) as bad:
            out[run] = f"unreadable: {bad}"
    return out


def _texts(rows: Mapping[bytes, Record]) -> Iterable[tuple[str, bytes]]:
    return ((key.decode(errors="replace"), record.value or b"") for key, record in rows.items())


def _difference(run: str, partition: int, made: Run | None, held: Run | str | None) -> Difference | None:
    if held is None and made is not None and made.is_settled:
        return None  # its stub was forgotten, which is no event
    if isinstance(made, Run) and isinstance(held, Run):
        if (made.head, made.chunks, made.params) == (held.head, held.chunks, held.params):
            return None
        return Difference(run, partition, *_apart(made, held))
    return Difference(run, partition, _told(made), _told(held))


def _apart(made: Run, held: Run) -> tuple[str, str]:
    """The first place where two states differ."""
    if made.head != held.head:
        return f"{made.head}", f"{held.head}"
    for (name, item, one), (_, _, other) in zip(made.units(), held.units(), strict=False):
        if one != other:
            return f"{name}[{item}]: {one}", f"{name}[{item}]: {other}"
    return _told(made), _told(held)


def _told(run: Run | str | None) -> str:
    return "nothing" if run is None else run if isinstance(run, str) else f"{run.head}"
