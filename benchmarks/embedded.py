"""The bare limit of the embedded log: three transactions in a row through the transport port, and what waiting costs.

No run state, no coordinator, no codec: members, their commits, a watcher. In one process, then
with a process for each hop; then one member that has nothing to do.

    python benchmarks/embedded.py [--runs N] [--latency-runs N] [--folder PATH]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
import uuid
from collections.abc import Sequence
from multiprocessing.synchronize import Event, Semaphore
from pathlib import Path

from limit import BATCH, PAYLOAD, Figures, percentiles

from farandole.transport.port import (
    Commit,
    Member,
    MemberSettings,
    NewRecord,
    Position,
    Record,
    TopicPartition,
    TopicSpec,
)
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

PARTITIONS = 4
"""As the prototype had them."""

IDLE_SECONDS = 10.0
HEADERS = (("h", b"h" * 300),)


class Takes:
    """Reads everything it is given from the beginning."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.has_some = False

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Begin."""
        for at in partitions:
            self._member.seek(at, 0)
        self._member.resume(partitions)
        self.has_some = True

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        """Everything is committed at once."""
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        """Nothing is kept."""


def hop(path: Path, inboxes: Sequence[str], hops: int, ready: Semaphore, stop: Event) -> None:
    """One process that takes these inboxes, writes an event for each record, and the next hop's record.

    With one hop in all, the three events at once: what fused hops come to.
    """
    transport = SqliteTransport(SqliteSettings(path))
    member = transport.member(MemberSettings(f"hop-{inboxes[0]}", f"hop-{inboxes[0]}", poll_max_records=BATCH))
    takes = Takes(member)
    member.subscribe(inboxes, takes)
    is_told = False
    while not stop.is_set():
        records = [each for each in member.poll(0.2) if isinstance(each, Record)]
        if takes.has_some and not is_told:
            ready.release()
            is_told = True
        if records:
            step(member, records, hops)
    member.close()


def step(member: Member, records: Sequence[Record], hops: int) -> None:
    """One transaction."""
    written: list[NewRecord] = []
    positions: dict[TopicPartition, Position] = {}
    for it in records:
        number = int(it.topic[-1])
        written += [NewRecord("events", it.key, it.value, it.headers, it.partition)] * (3 // hops)
        if number < hops - 1:
            written.append(NewRecord(f"inbox-{number + 1}", it.key, it.value, it.headers, it.partition))
        positions[it.at] = Position(it.offset + 1)
    member.call(Commit(written, positions, member.snapshot()))
    (reply,) = member.replies(0)
    assert reply.error is None, reply.error


def measure(folder: Path, runs: int, latency_runs: int, *, processes: int = 1, is_fused: bool = False) -> Figures:
    """Three hops in one process, or in three; or the three in one transaction."""
    hops = 1 if is_fused else 3
    path = folder / f"{uuid.uuid4().hex}.db"
    transport = SqliteTransport(SqliteSettings(path))
    admin = transport.admin()
    admin.create([TopicSpec(name, PARTITIONS) for name in ("inbox-0", "inbox-1", "inbox-2", "events")])
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Semaphore(0), context.Event()
    shares = [[f"inbox-{n}" for n in range(hops)]] if processes == 1 else [[f"inbox-{n}"] for n in range(hops)]
    takers = [context.Process(target=hop, args=(path, share, hops, ready, stop)) for share in shares]
    for each in takers:
        each.start()
    for _ in takers:
        ready.acquire()
    producer, reader = transport.producer("bench"), transport.reader("bench")
    reader.assign({TopicPartition("events", n): 0 for n in range(PARTITIONS)})

    def await_events(count: int) -> None:
        while count > 0:
            count -= sum(isinstance(each, Record) for each in reader.poll(1.0))

    def one(number: int) -> float:
        began = time.perf_counter()
        producer.send(NewRecord("inbox-0", b"k", PAYLOAD, HEADERS, number % PARTITIONS))
        producer.flush(10)
        await_events(3)
        return time.perf_counter() - began

    latencies = [one(n) for n in range(latency_runs)]
    began = time.perf_counter()
    for n in range(runs):
        producer.send(NewRecord("inbox-0", b"k", PAYLOAD, HEADERS, n % PARTITIONS))
    producer.flush(60)
    await_events(3 * runs)
    rate = runs / (time.perf_counter() - began)
    stop.set()
    for each in takers:
        each.join()
    for part in (producer, reader, admin):
        part.close()
    return Figures(rate, *percentiles(latencies))


def idle(folder: Path) -> str:
    """What a member costs that waits, as a share of a core."""
    transport = SqliteTransport(SqliteSettings(folder / "idle.db"))
    admin = transport.admin()
    admin.create([TopicSpec("inbox-0", PARTITIONS)])
    member = transport.member(MemberSettings("idle", "idle"))
    takes = Takes(member)
    member.subscribe(["inbox-0"], takes)
    while not takes.has_some:
        member.poll(0.1)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    while time.monotonic() - began < IDLE_SECONDS:
        member.poll(1.0)
    after, took = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    member.close()
    admin.close()
    return f"embedded idle_cpu_percent={used / took * 100:.2f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--latency-runs", type=int, default=300)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as made:
        for processes, is_fused in ((1, False), (3, False), (1, True)):
            it = measure(Path(made), asked.runs, asked.latency_runs, processes=processes, is_fused=is_fused)
            told = f"runs_per_second={it.runs_per_second:.0f} p50_ms={it.p50_ms:.2f} p99_ms={it.p99_ms:.2f}"
            print(f"embedded processes={processes} fused={is_fused} {told}", flush=True)
        print(idle(Path(made)))


if __name__ == "__main__":
    main()
