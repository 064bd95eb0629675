"""How fast a coordinator restores: state records on a real broker, and the code that reads them back.

The records are written directly: what a hundred thousand live runs of three steps leave on `runs`.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import msgspec

from farandole.coordinator.claimed import Claimed, Stage
from farandole.coordinator.home import Home
from farandole.coordinator.repair import Repair
from farandole.coordinator.restore import Restore
from farandole.kernel.snapshot import state_records
from farandole.kernel.state import Run
from farandole.runtime.driver import tune_interpreter
from farandole.testing import sketch
from farandole.testing.stage import Stage as Kernel
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import Isolation, NewRecord, TopicPartition, TopicSpec

PARTITIONS = 4
SLICE = 2_000
"""Records per step, as by default (`coordinator.restore_slice`)."""

LOOP_WAIT_S = 0.005
"""How long the coordinator's loop waits elsewhere while nothing has been fetched yet."""

QUEUED = 50_000


def runs_per_second(bootstrap: str, runs: int = 100_000) -> tuple[float, float]:
    """Restore so many runs of three steps; per second of time, and per second of processor time."""
    topic = f"x{uuid.uuid4().hex[:8]}.runs"
    transport = KafkaTransport(KafkaSettings(bootstrap))
    kernel = Kernel(sketch.define(sketch.node("a"), sketch.node("b", "a"), sketch.node("c", "b"), name="p"))
    kernel.succeed("a", n=1)
    places = [TopicPartition(topic, n) for n in range(PARTITIONS)]
    with closing(transport.admin()) as admin, closing(transport.producer("filling")) as producer:
        admin.create([TopicSpec(topic, PARTITIONS, config={"cleanup.policy": "compact"})])
        for n, (key, value) in enumerate(_records(kernel, runs)):
            producer.send(NewRecord(topic, key.encode(), value, (), n % PARTITIONS))
            if n % QUEUED == 0:
                producer.flush(60)
        producer.flush(60)
        ends = admin.ends(places, Isolation.UNCOMMITTED)
    with closing(transport.reader("restoring")) as reader:
        repair = Repair(lambda: transport.reader("repairing"), topic, lambda digest: kernel.graph)
        restore = Restore(reader, topic, lambda digest: kernel.graph, repair)
        claimed = [Claimed(Home(at.partition), Stage.RESTORE, end=ends[at]) for at in places]
        tune_interpreter()  # as every process of a deployment is
        began, processor = time.monotonic(), time.process_time()
        restore.begin(claimed)
        while restore.reading:
            restore.step(SLICE)
            if not restore.has_more:
                time.sleep(LOOP_WAIT_S)
        took, used = time.monotonic() - began, time.process_time() - processor
    restored = sum(len(each.home.runs) for each in claimed)
    assert restored == runs, f"expected {runs} runs, but {restored} were restored"
    return runs / took, runs / used


def _records(kernel: Kernel, runs: int) -> Iterator[tuple[str, bytes]]:
    of = kernel.run
    for n in range(runs):
        run = Run(of.graph, msgspec.structs.replace(of.head, run=f"run-{n}"), of.chunks, of.params)
        for key, value in state_records(None, run, kernel.now):
            assert value is not None
            yield key, value
