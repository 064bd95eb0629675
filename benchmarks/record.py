"""The record of measurements: one JSON line per row, with what a reader must know to judge it."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from measuring import Row

RECORD = Path(__file__).parent / "record.jsonl"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the command: when, of which commit, on what, beside which load; `scale` 1 is a full measurement."""

    at: str
    commit: str
    load_before: float
    cores: int
    versions: dict[str, str]
    scale: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A row and the call it belongs to; `load` is the machine's when the row was done."""

    call: Call
    load: float
    row: Row


def this_call(scale: float) -> Call:
    """The call that begins now."""
    from farandole.testing.broker import KAFKA_VERSION

    packages = {name: metadata.version(name) for name in ("confluent-kafka", "aiokafka", "fastavro", "msgspec")}
    versions = {"python": platform.python_version(), "kafka": KAFKA_VERSION, **packages}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Call(at, _commit(), round(os.getloadavg()[0], 2), os.cpu_count() or 0, versions, scale)


def append(path: Path, call: Call, row: Row) -> None:
    """Add a row."""
    line = {"call": asdict(call), "load": round(os.getloadavg()[0], 2), "row": asdict(row)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def entries(path: Path) -> list[Entry]:
    """All rows, oldest first; none if nothing was measured yet."""
    lines = path.read_text().splitlines() if path.exists() else []
    parsed = [json.loads(line) for line in lines]
    return [Entry(Call(**it["call"]), it["load"], Row(**it["row"])) for it in parsed]


def latest(path: Path) -> list[Entry]:
    """The newest entry of each case, log and way, in the order in which they were first measured."""
    newest: dict[tuple[str, str, str], Entry] = {}
    for each in entries(path):
        newest[each.row.case, each.row.log, each.row.way] = each
    return list(newest.values())


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=RECORD.parent
    )
    return told.stdout.strip() or "unknown"
