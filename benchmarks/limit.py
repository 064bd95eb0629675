"""The bare limit: three consume-produce transactions in a row, or one for all three, with nothing but the Kafka client.

The same broker, records of the same size and number, exactly once; no run state, no
coordinator, no codec. What the framework reaches is read as a share of this.
"""

import multiprocessing
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event, Semaphore

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PAYLOAD = b"v" * 300
BATCH = 200
Follows = Mapping[str, str | None]
"""The inbox after an inbox."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Throughput in completed runs per second; latency of one run at a time, milliseconds."""

    runs_per_second: float
    p50_ms: float
    p99_ms: float


def measure(
    bootstrap: str, runs: int, latency_runs: int, partitions: int = 12, *, processes: int = 1, is_fused: bool = False
) -> Figures:
    """Three hops in one process, as one unit of three agents would be, or in three; or the three in one transaction."""
    mark = uuid.uuid4().hex[:6]
    inboxes = [f"limit-{mark}-{n}" for n in range(1 if is_fused else 3)]
    events = f"limit-{mark}-events"
    _create(bootstrap, [*inboxes, events], partitions)
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Semaphore(0), context.Event()
    shares = [inboxes] if processes == 1 else [[each] for each in inboxes]
    follows: Follows = dict(zip(inboxes, [*inboxes[1:], None], strict=True))
    events_each = 3 if is_fused else 1
    hops = [
        context.Process(target=_hops, args=(bootstrap, share, follows, events, events_each, ready, stop))
        for share in shares
    ]
    for each in hops:
        each.start()
    for _ in hops:
        ready.acquire()
    try:
        watcher = _watcher(bootstrap, events, partitions)
        starter = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        latencies = [_one(starter, watcher, inboxes[0]) for _ in range(latency_runs)]
        throughput = _many(bootstrap, watcher, inboxes[0], runs)
        watcher.close()
    finally:
        stop.set()
        for each in hops:
            each.join()
    return Figures(throughput, *percentiles(latencies))


def percentiles(latencies: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds, the first tenth (warm-up) left out."""
    kept = sorted(latencies[len(latencies) // 10 :])
    return kept[len(kept) // 2] * 1000, kept[min(len(kept) - 1, int(len(kept) * 0.99))] * 1000


def _create(bootstrap: str, topics: list[str], partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(topic, partitions, 1) for topic in topics]).values():
        future.result()


def _consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "fetch.error.backoff.ms": 5,
            "fetch.queue.backoff.ms": 5,
        }
    )


def _hops(
    bootstrap: str,
    inboxes: list[str],
    follows: Follows,
    events: str,
    events_each: int,
    ready: Semaphore,
    stop: Event,
) -> None:
    """One process: takes these inboxes until it is told to stop."""
    name = uuid.uuid4().hex
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "linger.ms": 0})
    producer.init_transactions(30)
    consumer = _consumer(bootstrap, f"limit-{name}")
    consumer.subscribe(inboxes)
    told = False
    while not stop.is_set():
        message = consumer.poll(0.2)
        if not told and consumer.assignment():
            ready.release()
            told = True
        if message is None or message.error():
            continue
        messages = [message, *(m for m in consumer.consume(BATCH - 1, 0) if not m.error())]
        _hop(producer, consumer, messages, follows, [events] * events_each)
    consumer.close()


def _hop(
    producer: Producer, consumer: Consumer, messages: list[Message], follows: Follows, events: Sequence[str]
) -> None:
    """One transaction."""
    producer.begin_transaction()
    positions: dict[tuple[str, int], int] = {}
    for message in messages:
        topic, offset, partition = message.topic(), message.offset(), message.partition()
        assert topic is not None
        assert offset is not None
        assert partition is not None
        headers: list[tuple[str, str | bytes | None]] = [("id", b"x" * 16), ("step", topic.encode())]
        for each in events:
            producer.produce(each, message.value(), key=message.key(), headers=headers)
        if (successor := follows[topic]) is not None:
            producer.produce(successor, message.value(), key=message.key(), headers=headers)
        positions[topic, partition] = offset + 1
    producer.flush()
    offsets = [TopicPartition(*place, at) for place, at in positions.items()]
    producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
    producer.commit_transaction()


def _watcher(bootstrap: str, events: str, partitions: int) -> Consumer:
    consumer = _consumer(bootstrap, uuid.uuid4().hex)
    consumer.assign([TopicPartition(events, n, 0) for n in range(partitions)])
    consumer.poll(1.0)
    return consumer


def _await(watcher: Consumer, events: int) -> None:
    seen = 0
    while seen < events:
        seen += sum(1 for m in watcher.consume(1000, 1.0) if not m.error()) if events > 3 else _polled(watcher)


def _polled(watcher: Consumer) -> int:
    message = watcher.poll(1.0)
    return int(message is not None and not message.error())


def _one(producer: Producer, watcher: Consumer, inbox: str) -> float:
    began = time.perf_counter()
    producer.produce(inbox, PAYLOAD, key=uuid.uuid4().bytes)
    producer.flush()
    _await(watcher, 3)
    return time.perf_counter() - began


def _many(bootstrap: str, watcher: Consumer, inbox: str, runs: int) -> float:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    began = time.perf_counter()
    for _ in range(runs):
        producer.produce(inbox, PAYLOAD, key=uuid.uuid4().bytes)
        producer.poll(0)
    producer.flush()
    _await(watcher, 3 * runs)
    return runs / (time.perf_counter() - began)
