"""State records: a run as the compacted topic `runs` holds it, and back.

Keys: `run` (the head with its first chunk, public Avro around a private part), `run#c/n`
(later chunks), `run#p` (params), `run#o/n` and `run#i/n` (output and input of unit n). Small
payloads ride inside the head or chunk; large ones are written once. Only what changed is
written: the cost of an event depends neither on the run's size nor on its history.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from sys import intern
from typing import TypeVar

import msgspec

from farandole.definition.graph import Graph
from farandole.errors import InvariantViolation, RecordError
from farandole.events.catalogue import encode, part_decoder
from farandole.events.tables import RunHead
from farandole.ids import NO_ITEM
from farandole.kernel.evolve import begun_unread
from farandole.kernel.state import CHUNK, EMPTY_UNIT, HOLDING, Head, Phase, Run, Status, Unit, instant
from farandole.kernel.upgrades import CHUNKS, HEADS, VERSION, Upgrade, upgraded

RIDES_MAX = 512
"""Largest payload kept inside a head or chunk, bytes: rewriting it costs less than a record of its own."""

ERROR_MAX = 200
"""Characters of an error in what the head says to a reader of the table; the unit has all of it."""


class StateDamaged(InvariantViolation):
    """State records of one run that nobody can read, whatever wrote them; its events may still say what it is."""


class _HeadState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: int
    head: Head
    chunk: tuple[Unit, ...]
    chunks: int
    params: bytes | None


class _ChunkState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: int
    units: tuple[Unit, ...]


class _Version(msgspec.Struct, frozen=True, array_like=True, gc=False):
    version: int


_T = TypeVar("_T", _HeadState, _ChunkState)

_encode = msgspec.msgpack.Encoder().encode
_head_decoder = msgspec.msgpack.Decoder(_HeadState)
_chunk_decoder = msgspec.msgpack.Decoder(_ChunkState)
_version_decoder = msgspec.msgpack.Decoder(_Version)

_state_of = part_decoder(RunHead, "state")
"""The private part of a head. The public one is written for others: all that it says is in here too."""


def state_records(before: Run | None, after: Run, now: datetime) -> Iterator[tuple[str, bytes | None]]:
    """Keys and values to write so that `runs` holds `after` where it held `before`; None is a tombstone."""
    if before is after:
        return
    if after.is_settled:
        yield after.id, _head_record(after, now)
        if before is not None:
            yield from ((key, None) for key in _keys(before) if key != after.id)
        return
    old = before.chunks if before is not None else ()
    if not old and len(after.params) > RIDES_MAX:  # nothing of it, or a stub, which has none
        yield f"{after.id}#p", after.params
    for n, chunk in enumerate(after.chunks):
        known = old[n] if n < len(old) else ()
        if chunk is known:
            continue
        yield from _payloads(after.id, n, known, chunk)
        if n:
            yield f"{after.id}#c/{n}", _encode(_ChunkState(VERSION, _light(chunk)))
    yield after.id, _head_record(after, now)


def whole_records(before: Run, after: Run, now: datetime) -> Iterator[tuple[str, bytes | None]]:
    """As `state_records`, where `runs` may hold less of the run before than is known of it: all of it is written."""
    stays = set(_keys(after))
    yield from ((key, None) for key in _keys(before) if key not in stays)
    yield from state_records(before.with_chunks(()), after, now)


def tombstones(run: Run) -> Iterator[tuple[str, None]]:
    """Everything of a run that is to be forgotten."""
    return ((key, None) for key in _keys(run))


def _keys(run: Run) -> Iterator[str]:
    yield run.id
    if len(run.params) > RIDES_MAX:
        yield f"{run.id}#p"
    for n, chunk in enumerate(run.chunks):
        if n:
            yield f"{run.id}#c/{n}"
        for i, unit in enumerate(chunk):
            if unit.output is not None and len(unit.output) > RIDES_MAX:
                yield f"{run.id}#o/{n * CHUNK + i}"
            if unit.input is not None and len(unit.input) > RIDES_MAX:
                yield f"{run.id}#i/{n * CHUNK + i}"


def _payloads(run: str, n: int, known: tuple[Unit, ...], chunk: tuple[Unit, ...]) -> Iterator[tuple[str, bytes | None]]:
    for i, unit in enumerate(chunk):
        old = known[i] if i < len(known) else EMPTY_UNIT
        if unit is old:
            continue
        for letter, was, now in (("o", old.output, unit.output), ("i", old.input, unit.input)):
            if was is now:
                continue
            if now is not None and len(now) > RIDES_MAX:
                yield f"{run}#{letter}/{n * CHUNK + i}", now
            elif was is not None and len(was) > RIDES_MAX:
                yield f"{run}#{letter}/{n * CHUNK + i}", None


def _light(chunk: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """The chunk without the payloads that have records of their own."""
    return tuple(_light_unit(unit) if unit.output or unit.input else unit for unit in chunk)


def _light_unit(unit: Unit) -> Unit:
    heavy = {name: b"" for name in ("output", "input") if len(getattr(unit, name) or b"") > RIDES_MAX}
    return msgspec.structs.replace(unit, **heavy) if heavy else unit


def _head_record(run: Run, now: datetime) -> bytes:
    head = run.head
    small = len(run.params) <= RIDES_MAX
    first = _light(run.chunks[0]) if run.chunks else ()
    state = _HeadState(VERSION, head, first, len(run.chunks), run.params if small else None)
    return encode(
        RunHead(
            run=head.run,
            pipeline=head.pipeline,
            definition=head.definition,
            status=status_text(run),
            started_at=instant(head.started_at),
            updated_at=now,
            outcome=head.outcome,
            waiting=head.kernel_error or head.reason or _holding_text(run),
            state=_encode(state),
        )
    )


def _holding_text(run: Run) -> str:
    """Why a person is waited for: the first unit that holds the run, and what it says; empty if none does.

    Looks at units only while the run is held, which is rare and long.
    """
    if not run.is_held:
        return ""
    for step, item, unit in run.units():
        if unit.status in HOLDING:
            word = "trigger suspected" if unit.status is Status.SUSPECTED else "dead letter"
            at = step if item == NO_ITEM else f"{step}[{item}]"
            more = f" and {run.head.holds - 1} more" if run.head.holds > 1 else ""
            why = unit.why_dead if unit.status is Status.DEAD else unit.error
            said = " ".join(why.split())[:ERROR_MAX]
            return f"{word} at {at}{more}" + (f": {said}" if said else "")
    return ""


def status_text(run: Run) -> str:
    """`running`, `held`, `stopping` or `settled`: what a table reader sees."""
    if run.is_held:
        return "held"
    return {Phase.RUNNING: "running", Phase.STOPPING: "stopping", Phase.SETTLED: "settled"}[run.head.phase]


def read_run(graph_of: Callable[[str], Graph], records: Mapping[str, bytes], run_id: str) -> Run:
    """A run from its state records by key (without the run id: ``''``, `p`, `c/1`, `o/3`, …).

    Raises:
        StateDamaged: a record is missing, or cannot be read.
        InvariantViolation: one is of a version that this code does not know.
    """
    private = _read_state(_head_decoder, _private(_need(records, "", run_id), run_id), run_id, _HeadState, HEADS)
    chunks = [private.chunk] if private.chunks else []
    for n in range(1, private.chunks):
        chunk = _read_state(_chunk_decoder, _need(records, f"c/{n}", run_id), run_id, _ChunkState, CHUNKS)
        chunks.append(chunk.units)
    whole = tuple(_with_payloads(chunk, n, records, run_id) for n, chunk in enumerate(chunks))
    params = private.params if private.params is not None else _need(records, "p", run_id)
    run = Run(graph_of(private.head.definition), _shared(private.head), whole, params)
    return begun_unread(run) if not whole and run.graph.names and not run.is_settled else run


def _private(head: bytes, run_id: str) -> bytes:
    try:
        state = _state_of(head)
    except RecordError as bad:
        raise StateDamaged(f"runs/{run_id}: {bad}") from bad
    assert isinstance(state, bytes)
    return state


def _shared(head: Head) -> Head:
    """The head with the texts that all runs of a definition have: once in memory, not once per run.

    It was made just now and nobody else has it; a copy of its eighteen fields would cost three times as much.
    """
    msgspec.structs.force_setattr(head, "pipeline", intern(head.pipeline))
    msgspec.structs.force_setattr(head, "definition", intern(head.definition))
    return head


def _with_payloads(chunk: tuple[Unit, ...], n: int, records: Mapping[str, bytes], run_id: str) -> tuple[Unit, ...]:
    for each in chunk:
        if each.output == b"" or each.input == b"":
            return tuple(_full_unit(unit, n * CHUNK + i, records, run_id) for i, unit in enumerate(chunk))
    # All payloads ride, as for most runs; and most units of a live run are empty: one object for all.
    return tuple([EMPTY_UNIT if each == EMPTY_UNIT else each for each in chunk])


def _full_unit(unit: Unit, number: int, records: Mapping[str, bytes], run_id: str) -> Unit:
    """An empty payload in a chunk stands for one with a record of its own: a framed payload is never empty."""
    if unit == EMPTY_UNIT:
        return EMPTY_UNIT
    heavy = {
        name: _need(records, f"{name[0]}/{number}", run_id)
        for name in ("output", "input")
        if getattr(unit, name) == b""
    }
    return msgspec.structs.replace(unit, **heavy) if heavy else unit


def _need(records: Mapping[str, bytes], part: str, run_id: str) -> bytes:
    if part not in records:
        raise StateDamaged(f"runs/{run_id}#{part}: the state record is missing")
    return records[part]


def _read_state(
    decoder: msgspec.msgpack.Decoder[_T], state: bytes, run_id: str, kind: type[_T], steps: Mapping[int, Upgrade]
) -> _T:
    """A private part; its version is looked at before its shape, which may be any if the version is another."""
    try:
        if (found := _current(decoder, state)) is not None:
            return found
        raw = upgraded(msgspec.msgpack.decode(state, type=list[object]), steps, f"runs/{run_id}")
        return msgspec.convert(raw, kind)
    except msgspec.MsgspecError as bad:
        raise StateDamaged(f"runs/{run_id}: expected a state record, but it is damaged: {bad}") from bad


def _current(decoder: msgspec.msgpack.Decoder[_T], state: bytes) -> _T | None:
    """The state if it is of this version, which is most of a restore; its shape may be any if it is not."""
    try:
        found = decoder.decode(state)
    except msgspec.MsgspecError:
        if _version_decoder.decode(state).version == VERSION:
            raise
        return None
    return found if found.version == VERSION else None


def group_by_run(records: Iterable[tuple[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """State records of many runs, by run and then by part."""
    runs: dict[str, dict[str, bytes]] = {}
    for key, value in records:
        run, _, part = key.partition("#")
        if run:  # else it says where a home stands
            runs.setdefault(run, {})[part] = value
    return runs
