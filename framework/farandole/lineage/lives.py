"""The lives of a run id: after its deduplication window an id may begin anew, and its topics hold more than one run.

Ids do not tell two lives apart, for those of agents' facts are made of run, step and attempt. On
the run's home offsets do; elsewhere it is when a record was written, since between two lives lies
the whole window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from farandole.events import facts
from farandole.lineage.entries import COMMANDS, Entry


def life_of(entries: Sequence[Entry], about: Entry | None = None) -> list[Entry]:
    """Of all records about one run id those of one life: the last one, or that which `about` belongs to."""
    begins = _beginnings(entries)
    number = len(begins) if about is None else _number(begins, about)
    return [each for each in entries if _number(begins, each) == number]


@dataclass(frozen=True, slots=True)
class _Beginning:
    """A life that began after another one had ended: its first fact, and the command (or trigger) that it names."""

    started: Entry
    asked: Entry | None
    at: datetime


def _beginnings(entries: Sequence[Entry]) -> list[_Beginning]:
    """Of each life but the first. A start that follows on no end is no other life: it was written twice."""
    out: list[_Beginning] = []
    ended: Entry | None = None
    told = (each for each in entries if isinstance(each.fact, facts.RunStarted | facts.RunSettled))
    for each in sorted(told, key=lambda e: e.offset):
        if isinstance(each.fact, facts.RunSettled):
            ended = each
        elif ended is not None:
            out.append(_beginning(entries, each, ended))
            ended = None
    return out


def _beginning(entries: Sequence[Entry], started: Entry, ended: Entry) -> _Beginning:
    named = [e for e in entries if e.id == started.cause and ended.time < e.time <= started.time]
    asked = next((e for e in entries if e.command is not None and e.place == started.input), None)
    return _Beginning(started, asked, min(e.time for e in (*named, started)))


def _number(begins: Sequence[_Beginning], entry: Entry) -> int:
    return sum(_is_since(each, entry) for each in begins)


def _is_since(begin: _Beginning, entry: Entry) -> bool:
    started, asked = begin.started, begin.asked
    if (entry.topic, entry.partition) == (started.topic, started.partition):
        return entry.offset >= started.offset
    if asked is not None and (entry.topic, entry.partition) == (asked.topic, asked.partition):
        return entry.offset >= asked.offset
    return entry.time >= begin.at or (entry.topic.endswith(COMMANDS) and entry.id == started.cause)
