"""Completed three-step runs per second and start-to-known-end latency, beside the bare limit of the same call.

    make bench            or            python benchmarks/bench.py [--runs N] [--latency-runs N] [--json]

One transaction per hop, exactly once, coordinator included; agents, coordinator, client and
broker share the machine. Completed runs are counted from the topics.
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
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

sys.path.insert(0, str(Path(__file__).parent))

from limit import Figures, measure, percentiles

from farandole import Client
from farandole.definition.loading import load_unit
from farandole.definition.model import Definition
from farandole.events.avro import Schema
from farandole.events.catalogue import encode
from farandole.events.commands import StartRun
from farandole.ids import generated_run_id, partition_of
from farandole.testing.broker import start_broker
from farandole.transport.topology import HOME_PARTITIONS

CHAIN = Path(__file__).parent / "chain" / "chain.py"


def main() -> None:
    """Measure both, print both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--latency-runs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with start_broker() as broker:
        bare = measure(broker.bootstrap, options.runs * 2, options.latency_runs)
        ours = asyncio.run(_framework(broker.bootstrap, options.runs, options.latency_runs))
    _print(ours, bare, as_json=options.json)


async def _framework(bootstrap: str, runs: int, latency_runs: int) -> Figures:
    namespace = f"bench-{uuid.uuid4().hex[:6]}"
    env = {**os.environ, "FARANDOLE_BOOTSTRAP": bootstrap, "FARANDOLE_NAMESPACE": namespace}
    _cli(env, "apply", str(CHAIN), "--yes")
    module = load_unit(CHAIN)
    chain = module.pipelines["chain"]
    parcel = {"parcel": {"name": "bench", "number": 1, "body": "v" * 280}}
    with _process(env, "coordinator", "run"), _process(env, "agent", "run", str(CHAIN)):
        client = Client(bootstrap, namespace)
        await (await client.start(chain.name, params=parcel)).result(timeout="60s")
        latencies = []
        for _ in range(latency_runs):
            began = time.perf_counter()
            await (await client.start(chain.name, params=parcel)).result(timeout="60s")
            latencies.append(time.perf_counter() - began)
        watcher = _watcher(bootstrap, f"{namespace}.settled")
        began = time.perf_counter()
        await asyncio.to_thread(_start, bootstrap, f"{namespace}.commands", chain.definition, parcel, runs)
        await asyncio.to_thread(_await_settled, watcher, runs)
        throughput = runs / (time.perf_counter() - began)
        await client.close()
    return Figures(throughput, *percentiles(latencies))


def _cli(env: dict[str, str], *args: str) -> None:
    subprocess.run([sys.executable, "-m", "farandole.cli", *args], env=env, check=True)


@contextmanager
def _process(env: dict[str, str], *args: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "farandole.cli", *args], env=env)
    try:
        yield
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


def _start(bootstrap: str, commands: str, definition: Definition, parcel: object, runs: int) -> None:
    """Start commands as any producer may write them: Avro, on the home partition of each run."""
    params = Schema.parse(definition.params_schema).encode(parcel)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for _ in range(runs):
        run_id = generated_run_id(datetime.now(UTC), secrets.randbits(74))
        command = encode(StartRun(definition.name, params, run_id))
        producer.produce(commands, command, key=run_id, partition=partition_of(run_id, HOME_PARTITIONS))
        producer.poll(0)
    producer.flush()


def _await_settled(watcher: Consumer, runs: int) -> None:
    seen, deadline = 0, time.monotonic() + 300
    while seen < runs:
        seen += sum(1 for m in watcher.consume(1000, 0.5) if not m.error())
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {seen} of {runs} runs ended within 300 s")


def _print(ours: Figures, bare: Figures, *, as_json: bool) -> None:
    ratio = ours.runs_per_second / bare.runs_per_second
    if as_json:
        print(json.dumps({"ours": vars_of(ours), "bare": vars_of(bare), "throughput_ratio": ratio}))
        return
    print(f"{'':24}{'runs/s':>10}{'p50 ms':>10}{'p99 ms':>10}")
    for name, it in (("farandole, per hop", ours), ("bare Kafka client", bare)):
        print(f"{name:24}{it.runs_per_second:10.0f}{it.p50_ms:10.1f}{it.p99_ms:10.1f}")
    print(f"{'ratio':24}{ratio:10.2f}{ours.p50_ms / bare.p50_ms:10.1f}{ours.p99_ms / bare.p99_ms:10.1f}")


def vars_of(it: Figures) -> dict[str, float]:
    """The figures by name."""
    return {"runs_per_second": it.runs_per_second, "p50_ms": it.p50_ms, "p99_ms": it.p99_ms}


if __name__ == "__main__":
    main()
