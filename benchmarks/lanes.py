"""Cases of lanes: records of one partition, worked on beside each other, in order per key, written exactly once.

Triggers are written to one partition of an inbox, as a coordinator would write them; a key is a
run, and its records are attempts 1, 2, 3 of one step, so that `events` shows their order. No
coordinator is needed for that, and none runs.
"""

import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from chains import UNITS
from deployment import Deployment
from measuring import Row, Site
from traffic import Watch, send

from farandole.events.avro import Schema
from farandole.events.catalogue import decode
from farandole.events.facts import StepSucceeded
from farandole.events.outgoing import Origin, Trigger, trigger_record
from farandole.events.topics import Topics
from farandole.transport.port import NewRecord, Record

RECORDS = 10_000
PARALLEL_CONSUMER_S = {1: 22.2, 5: 5.9, 20: 2.24, 1_000: 2.06}
"""Seconds for 10,000 records of 0 to 5 ms by number of keys: the table in Parallel Consumer's README."""

SLOW_EACH = 100
SLOW_S, QUICK_S = 1.0, 0.001
COROUTINES = (16, 256)


class Piece(NamedTuple):
    """One record: its key, and how long its handler waits."""

    key: int
    seconds: float


class Outcome(NamedTuple):
    """Seconds from the first record sent to the last fact read, and CPU per record."""

    took_s: float
    cpu_us: float


def lanes(site: Site) -> Iterator[Row]:
    """Parallel Consumer's table: 10,000 records of one partition, 0 to 5 ms each, by number of keys."""
    dice = random.Random(1)
    count = site.many(RECORDS)
    for keys, theirs_s in PARALLEL_CONSUMER_S.items():
        pieces = [Piece(n % keys, dice.uniform(0, 0.005)) for n in range(count)]
        with Deployment(site.log, UNITS / "waiting.py", {"FARANDOLE_AGENT__THREADS": "100"}) as it:
            done = _work_off(it, "blocking", pieces)
        values = {"s_per_10000": done.took_s / count * RECORDS, "cpu_us_per_record": done.cpu_us}
        yield Row("lanes", site.log.name, f"{keys:,} keys", values, {"s_per_10000": theirs_s})


def mixed(site: Site) -> Iterator[Row]:
    """One record in a hundred takes 1 s, the others 1 ms; bare: what as many handlers at once allow.

    That is the lesser of handlers by mean duration, and of what the same process does when all take 1 ms.
    """
    count = site.many(20_000)
    for coroutines in COROUTINES:
        settings = {"FARANDOLE_AGENT__COROUTINES": str(coroutines)}
        durations = [SLOW_S if n % SLOW_EACH == 0 else QUICK_S for n in range(count)]
        rates = []
        for given in ([QUICK_S] * count, durations):
            with Deployment(site.log, UNITS / "waiting.py", settings) as it:
                rates.append(count / _work_off(it, "sleeping", [Piece(n, s) for n, s in enumerate(given)]).took_s)
        allowed = min(coroutines * count / sum(durations), rates[0])
        row = Row("mixed", site.log.name, f"{coroutines} handlers", {"per_s": rates[1]}, {"per_s": allowed})
        yield row


def _work_off(it: Deployment, pipeline: str, pieces: Sequence[Piece]) -> Outcome:
    """Let one agent process do them all; raises if a fact is missing, twice or out of order."""
    watch = Watch(it, it.topics.events)
    agent = it.agent()
    send(it, triggers(it, pipeline, [Piece(n, 0.001) for n in range(50)], partition=1, prefix="warm"))
    watch.count(50)
    records = triggers(it, pipeline, pieces, partition=0, prefix="key")
    before, began = it.cpu_s(), time.perf_counter()
    send(it, records)
    last: dict[str, int] = {}
    left = len(pieces)
    for record in watch.records():
        _check(record, last)
        left -= 1
        if not left:
            break
    took = time.perf_counter() - began
    spent = it.cpu_s() - before
    watch.close()
    agent.end()
    return Outcome(took, spent / len(pieces) * 1e6)


def _check(record: Record, last: dict[str, int]) -> None:
    """Attempts of a key are done one after the other, each once."""
    fact = decode(record.value or b"")
    assert isinstance(fact, StepSucceeded), fact
    expected = last.get(fact.run, 0) + 1
    assert fact.attempt == expected, f"{fact.run}: expected attempt {expected}, but found {fact.attempt}"
    last[fact.run] = fact.attempt


def triggers(it: Deployment, pipeline: str, pieces: Sequence[Piece], *, partition: int, prefix: str) -> list[NewRecord]:
    """The records, for one partition of the inbox of the pipeline's only step."""
    definition = it.definition(pipeline)
    (step,) = definition.steps.values()
    schema, topics = Schema.parse(step.input_schema), Topics(it.namespace)
    origin = Origin(f"{it.namespace}/bench", datetime.now(UTC), definition.hash)
    count: dict[int, int] = {}
    out = []
    for piece in pieces:
        count[piece.key] = count.get(piece.key, 0) + 1
        run, value = f"{prefix}-{piece.key}", schema.encode({"seconds": piece.seconds})
        made = trigger_record(
            topics, Trigger(run, step.name, step.agent, count[piece.key], value), cause="bench", origin=origin
        )
        out.append(NewRecord(made.topic, made.key.encode(), made.value, made.headers, partition))
    return out
