"""Completed three-step runs per second and start-to-known-end latency, beside the bare limit of the same call.

    make bench            or            python benchmarks/bench.py [--runs N] [--latency-runs N] [--way "per hop"]

One transaction per hop, or hops fused, or fused and started directly; exactly once, coordinator
included. Agents, coordinator, client and broker share the machine. Completed runs are counted
from the topics.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

sys.path.insert(0, str(Path(__file__).parent))

from limit import Figures, measure, percentiles

from farandole import Client
from farandole.client.direct import start_trigger
from farandole.definition.loading import load_unit
from farandole.definition.model import Definition
from farandole.events.avro import Schema
from farandole.events.catalogue import encode
from farandole.events.commands import StartRun
from farandole.events.outgoing import Origin, trigger_record
from farandole.events.topics import Topics
from farandole.ids import generated_run_id, partition_of
from farandole.testing.broker import start_broker
from farandole.transport.topology import HOME_PARTITIONS

CHAIN = Path(__file__).parent / "chain" / "chain.py"
PARCEL = {"parcel": {"name": "bench", "number": 1, "body": "v" * 280}}
WARM_UP = 30
"""Runs before the first that counts: an agent fuses no handler before it has seen twenty runs of it."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run the chain. `direct`: clients start by one record, and end at the last step's success."""

    name: str
    options: tuple[str, ...] = ()
    direct: bool = False


WAYS = (Way("per hop", ("--no-fusion",)), Way("fused"), Way("fused, direct", direct=True))


@dataclass(frozen=True, slots=True)
class Measured:
    """What one way came to; `cpu_ms`: of all its processes, per run, which a busy machine disturbs least."""

    figures: Figures
    cpu_ms: float


def main() -> None:
    """Measure the bare client and each way, print all and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--latency-runs", type=int, default=200)
    parser.add_argument("--agents", type=int, default=1, help="agent processes")
    parser.add_argument("--way", choices=[way.name for way in WAYS], action="append", help="only this one (repeatable)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = [way for way in WAYS if not options.way or way.name in options.way]
    with start_broker() as broker:
        bare = measure(broker.bootstrap, options.runs * 2, options.latency_runs)
        ours = {way.name: asyncio.run(_framework(broker.bootstrap, options, way)) for way in chosen}
    _print(ours, bare, as_json=options.json)


async def _framework(bootstrap: str, options: argparse.Namespace, way: Way) -> Measured:
    namespace = f"bench-{uuid.uuid4().hex[:6]}"
    env = {**os.environ, "FARANDOLE_BOOTSTRAP": bootstrap, "FARANDOLE_NAMESPACE": namespace}
    _cli(env, "apply", str(CHAIN), "--yes")
    chain = load_unit(CHAIN).pipelines["chain"].definition
    with ExitStack() as stack:
        commands = [("coordinator", "run"), *[("agent", "run", str(CHAIN), *way.options)] * options.agents]
        pids = [stack.enter_context(_process(env, *command)) for command in commands]
        client = Client(bootstrap, namespace, direct=way.direct)
        latencies = [await _one(client, chain.name) for _ in range(WARM_UP + options.latency_runs)][WARM_UP:]
        watcher = _watcher(bootstrap, f"{namespace}.settled")
        spent, began = _cpu_s(pids), time.perf_counter()
        await asyncio.to_thread(_start, bootstrap, namespace, chain, options.runs, direct=way.direct)
        await asyncio.to_thread(_await_settled, watcher, options.runs)
        throughput = options.runs / (time.perf_counter() - began)
        spent = _cpu_s(pids) - spent
        await client.close()
    return Measured(Figures(throughput, *percentiles(latencies)), spent / options.runs * 1000)


async def _one(client: Client, name: str) -> float:
    began = time.perf_counter()
    await (await client.start(name, params=PARCEL)).result(timeout="60s")
    return time.perf_counter() - began


def _cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds of some processes so far, all their threads."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


def _cli(env: dict[str, str], *args: str) -> None:
    subprocess.run([sys.executable, "-m", "farandole.cli", *args], env=env, check=True)


@contextmanager
def _process(env: dict[str, str], *args: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-m", "farandole.cli", *args], env=env)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _watcher(bootstrap: str, settled: str) -> Consumer:
    """Counts ended runs from now on: its positions are the ends, known before the first start."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "isolation.level": "read_committed"})
    partitions = consumer.list_topics(settled, timeout=10).topics[settled].partitions
    ends = [consumer.get_watermark_offsets(TopicPartition(settled, n), timeout=10)[1] for n in partitions]
    consumer.assign([TopicPartition(settled, n, end) for n, end in zip(partitions, ends, strict=True)])
    return consumer


def _start(bootstrap: str, namespace: str, definition: Definition, runs: int, *, direct: bool) -> None:
    """Starts as any producer may write them: commands on the home of each run, or the first step's trigger."""
    params = Schema.parse(definition.params_schema).encode(PARCEL)
    topics, source = Topics(namespace), f"{namespace}.bench"
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "partitioner": "murmur2_random"})
    for _ in range(runs):
        now = datetime.now(UTC)
        run_id = generated_run_id(now, secrets.randbits(74))
        if direct:
            trigger = start_trigger(definition, params, run_id, now)
            assert trigger is not None
            it = trigger_record(topics, trigger, cause="", origin=Origin(source, now, definition=definition.hash))
            headers: list[tuple[str, str | bytes | None]] = [*it.headers]
            producer.produce(it.topic, it.value, key=it.key, headers=headers)
        else:
            command = encode(StartRun(definition.name, params, run_id))
            producer.produce(topics.commands, command, key=run_id, partition=partition_of(run_id, HOME_PARTITIONS))
        producer.poll(0)
    producer.flush()


def _await_settled(watcher: Consumer, runs: int) -> None:
    seen, deadline = 0, time.monotonic() + 300
    while seen < runs:
        seen += sum(1 for m in watcher.consume(1000, 0.5) if not m.error())
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {seen} of {runs} runs ended within 300 s")


def _print(ours: Mapping[str, Measured], bare: Figures, *, as_json: bool) -> None:
    load = os.getloadavg()[0]
    if as_json:
        rows = {name: {**vars_of(it.figures), "cpu_ms_per_run": it.cpu_ms} for name, it in ours.items()}
        print(json.dumps({"ways": rows, "bare": vars_of(bare), "load": load}))
        return
    print(f"{f'load {load:.1f}':28}{'runs/s':>8}{'ratio':>7}{'p50 ms':>8}{'ratio':>7}{'p99 ms':>8}{'CPU ms/run':>12}")
    print(f"{'bare Kafka client':28}{bare.runs_per_second:8.0f}{'':7}{bare.p50_ms:8.1f}{'':7}{bare.p99_ms:8.1f}")
    for name, it in ours.items():
        own = it.figures
        rate, latency = own.runs_per_second / bare.runs_per_second, own.p50_ms / bare.p50_ms
        row = f"{own.runs_per_second:8.0f}{rate:7.2f}{own.p50_ms:8.1f}{latency:7.2f}{own.p99_ms:8.1f}{it.cpu_ms:12.2f}"
        print(f"{f'farandole, {name}':28}{row}")


def vars_of(it: Figures) -> dict[str, float]:
    """The figures by name."""
    return {"runs_per_second": it.runs_per_second, "p50_ms": it.p50_ms, "p99_ms": it.p99_ms}


if __name__ == "__main__":
    main()
