"""Runs in bulk, and what is seen of them from outside: started, ended, and when; all from the topics."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from deployment import Deployment

from farandole.client.direct import start_trigger
from farandole.definition.model import Definition
from farandole.events.avro import Schema
from farandole.events.catalogue import encode
from farandole.events.commands import StartRun
from farandole.events.outgoing import Origin, trigger_record
from farandole.ids import generated_run_id, partition_of
from farandole.transport.outgoing import new_record
from farandole.transport.port import Isolation, NewRecord, Reader, Record, TopicPartition
from farandole.transport.topology import HOME_PARTITIONS

PARCEL: dict[str, object] = {"parcel": {"name": "bench", "number": 1, "body": "v" * 280}}
"""About 300 bytes as Avro."""

STILL_S = 60.0
"""A measurement in which nothing has come for so long has failed."""

UUID_BITS = 74
"""Random bits of a run id."""


class Watch:
    """Reads one topic from where it ends now, read-committed; made before the first start."""

    def __init__(self, deployment: Deployment, topic: str) -> None:
        self._deployment = deployment
        self._reader: Reader = deployment.transport.reader("bench")
        admin = deployment.transport.admin()
        places = [TopicPartition(topic, n) for n in range(admin.topics([topic])[topic].partitions)]
        self._reader.assign(admin.ends(places, Isolation.COMMITTED))
        admin.close()

    def records(self) -> Iterator[Record]:
        """Records as they come, for ever.

        Raises:
            TimeoutError: none has come for a minute.
        """
        until = time.monotonic() + STILL_S
        while time.monotonic() < until:
            for each in self._reader.poll(0.2):
                if isinstance(each, Record):
                    until = time.monotonic() + STILL_S
                    yield each
        raise TimeoutError(f"nothing came for {STILL_S:g} s\n{self._deployment.said()}")

    def count(self, wanted: int, counts: Callable[[Record], bool] = lambda _: True) -> None:
        """Wait for so many of them."""
        for record in self.records():
            wanted -= counts(record)
            if wanted <= 0:
                return

    def close(self) -> None:
        """Free the reader."""
        self._reader.close()


@dataclass(frozen=True, slots=True)
class Bulk:
    """What a bulk of runs came to: completed per second, and CPU of all processes per run, ms."""

    runs_per_s: float
    cpu_ms_per_run: float


def bulk(
    deployment: Deployment,
    pipeline: str | Sequence[str],
    runs: int,
    params: Mapping[str, object] | Iterable[Mapping[str, object]] = PARCEL,
    *,
    direct: bool = False,
) -> Bulk:
    """Start runs as fast as the log takes them; the clock stops when the last one is known to have ended.

    Of several pipelines each gets as many, in turn.
    """
    names = [pipeline] if isinstance(pipeline, str) else pipeline
    runs -= runs % len(names)
    watch = Watch(deployment, deployment.topics.settled)
    each = [starts(deployment, deployment.definition(n), runs // len(names), params, direct=direct) for n in names]
    records = [record for turn in zip(*each, strict=True) for record in turn]
    before, began = deployment.cpu_s(), time.perf_counter()
    send(deployment, records)
    watch.count(runs, lambda record: record.value is not None)
    took = time.perf_counter() - began
    spent = deployment.cpu_s() - before
    watch.close()
    return Bulk(runs / took, spent / runs * 1000)


def send(deployment: Deployment, records: Iterable[NewRecord]) -> None:
    """Write records outside any transaction, as any producer may."""
    producer = deployment.transport.producer("bench")
    for number, each in enumerate(records):
        producer.send(each)
        if number % 10_000 == 9_999:
            producer.flush(60)
    producer.flush(60)
    producer.close()


def starts(
    deployment: Deployment,
    definition: Definition,
    runs: int,
    params: Mapping[str, object] | Iterable[Mapping[str, object]],
    *,
    direct: bool = False,
) -> list[NewRecord]:
    """Starts of runs, made ahead so that making them costs the measurement nothing."""
    schema = Schema.parse(definition.params_schema)
    given = [params] * runs if isinstance(params, Mapping) else list(params)
    known: dict[int, bytes] = {}
    out = []
    for each in given:
        if id(each) not in known:
            known[id(each)] = schema.encode(each)
        run_id = generated_run_id(datetime.now(UTC), secrets.randbits(UUID_BITS))
        out.append(_start(deployment, definition, run_id, known[id(each)], direct=direct))
    return out


def _start(deployment: Deployment, definition: Definition, run_id: str, params: bytes, *, direct: bool) -> NewRecord:
    """A command on the home of its run, or the trigger of the first step."""
    if not direct:
        command = encode(StartRun(definition.name, params, run_id))
        home = partition_of(run_id, HOME_PARTITIONS)
        return NewRecord(deployment.topics.commands, run_id.encode(), command, (), home)
    now = datetime.now(UTC)
    trigger = start_trigger(definition, params, run_id, now)
    assert trigger is not None, f"{definition.name} cannot be started directly"
    origin = Origin(f"{deployment.namespace}.bench", now, definition=definition.hash)
    return new_record(trigger_record(deployment.topics, trigger, cause="", origin=origin), HOME_PARTITIONS)


async def latencies(
    deployment: Deployment,
    pipeline: str,
    runs: int,
    params: Mapping[str, object] = PARCEL,
    *,
    warm_up: int = 30,
    direct: bool = False,
) -> list[float]:
    """Seconds from start call to known end, one run at a time; the first ones do not count.

    Thirty, because an agent fuses no handler before it has seen twenty runs of it.
    """
    out = []
    async with deployment.client(direct=direct) as client:
        for _ in range(warm_up + runs):
            began = time.perf_counter()
            await (await client.start(pipeline, params=params)).result(timeout="60s")
            out.append(time.perf_counter() - began)
    return out[warm_up:]
