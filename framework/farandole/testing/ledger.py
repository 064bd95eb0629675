"""What test handlers did and what test clients were promised, written where no crash can take it back.

A line of JSON per call, appended with `O_APPEND` and synced before it returns, so that a
`kill -9` a moment later loses nothing that was said. Plain files: handlers write in agents'
processes and their children, the test reads.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from farandole.definition.context import Context
from farandole.ids import NO_ITEM


@dataclass(frozen=True, slots=True)
class Execution:
    """One call of a handler. `token` is its fencing token; `ended` is None if it never got to its end."""

    run: str
    step: str
    item: int
    attempt: int
    token: tuple[int, int]
    pid: int
    begun: float
    ended: float | None = None
    note: str = ""


def record(path: Path, ctx: Context, note: str = "") -> str:
    """A handler has begun; the id of the line, for `finish`. Instants are the machine's monotonic clock, in seconds."""
    token = ctx.fencing_token
    begun = time.monotonic()
    mark = f"{os.getpid()}.{time.monotonic_ns()}.{ctx.idempotency_key}"
    _append(
        path,
        {
            "begin": mark,
            "run": ctx.run_id,
            "step": ctx.step,
            "item": NO_ITEM if ctx.item is None else ctx.item,
            "attempt": ctx.attempt,
            "token": [token.attempt, token.epoch],
            "pid": os.getpid(),
            "at": begun,
            "note": note,
        },
    )
    return mark


def finish(path: Path, mark: str) -> None:
    """The handler that `record` told of has come to its end."""
    _append(path, {"end": mark, "at": time.monotonic()})


@contextmanager
def executing(path: Path, ctx: Context, note: str = "") -> Iterator[None]:
    """Record a handler's body: its beginning at once, its end if it gets there, whatever it raises."""
    mark = record(path, ctx, note)
    try:
        yield
    finally:
        finish(path, mark)


def read(path: Path) -> tuple[Execution, ...]:
    """Every call so far, in the order in which they began to be written; a line cut short by a crash is left out."""
    ended: dict[str, float] = {}
    begun: dict[str, Execution] = {}
    for line in _lines(path):
        if "end" in line:
            ended[str(line["end"])] = _number(line["at"])
        elif "begin" in line:
            begun[str(line["begin"])] = _execution(line)
    return tuple(
        Execution(it.run, it.step, it.item, it.attempt, it.token, it.pid, it.begun, ended.get(mark), it.note)
        for mark, it in begun.items()
    )


def acknowledge(path: Path, run: str) -> None:
    """A client was told that the start of this run is on the log."""
    _append(path, {"acknowledged": run})


def read_acknowledged(path: Path) -> tuple[str, ...]:
    """The runs whose start was acknowledged, in order."""
    return tuple(str(line["acknowledged"]) for line in _lines(path) if "acknowledged" in line)


def _append(path: Path, line: dict[str, object]) -> None:
    data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
    # One write of less than a page: other processes' lines stay whole beside it.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(path: Path) -> Iterator[dict[str, object]]:
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        parsed = _parsed(line)
        if isinstance(parsed, dict):
            yield parsed


def _parsed(line: bytes) -> object:
    """What a line says. One that a crash cut short has no end, and the next stands behind it: that one is kept."""
    for begin in (0, line.rfind(b'{"')):
        with suppress(ValueError):
            return json.loads(line[max(0, begin) :])
    return None


def _execution(line: dict[str, object]) -> Execution:
    token = line["token"]
    assert isinstance(token, list)
    return Execution(
        str(line["run"]),
        str(line["step"]),
        int(_number(line["item"])),
        int(_number(line["attempt"])),
        (int(token[0]), int(token[1])),
        int(_number(line["pid"])),
        _number(line["at"]),
        None,
        str(line["note"]),
    )


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value
