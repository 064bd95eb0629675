"""Runs started at a steady pace, when each was acknowledged and settled, and how it ended.

Writes plain commands straight to the broker, as kcat would, and follows `settled`: a client that
knows nothing of the faults.
"""

import json
import math
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from farandole.errors import TransportError
from farandole.events.tables import SettledRun
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.testing.history.collect import entry_of
from farandole.transport.kafka import KafkaSettings, KafkaTransport
from farandole.transport.port import Record, TopicPartition

BEGINNING = -2
UNREADABLE = "unreadable"
"""The outcome where the record says none."""

FOLLOW_S = 0.2
"""Longest wait for a settled run; `stop` is heeded after it."""


@dataclass
class Load:
    """Starts `per_second` runs of a pipeline until `stop`; instants are monotonic seconds.

    `repeated`: runs whose start was acknowledged more than once.
    """

    bootstrap: str
    topics: Topics
    partitions: int
    per_second: float
    pipeline: str = "canary"
    acknowledged: dict[str, float] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    settled: dict[str, float] = field(default_factory=dict)
    settled_twice: set[str] = field(default_factory=set)
    followed: dict[int, int | None] = field(default_factory=dict)
    """Positions in `settled`, by partition."""

    outcomes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._is_stopped = threading.Event()
        self._is_over = threading.Event()
        self._started: list[str] = []
        self._copies = 1
        self._lock = threading.Lock()
        self._producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "delivery.timeout.ms": 120_000,
                "log_level": 0,
                "error_cb": lambda error: None,
            }
        )
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._follow)]
        for each in self._threads:
            each.start()

    def start(self, count: int, pipeline: str = "") -> list[str]:
        """Start some at once; their ids."""
        return [self._start(pipeline or self.pipeline) for _ in range(count)]

    def under_way(self, instant: float) -> set[str]:
        """Runs that were acknowledged at an instant or before, and had not settled."""
        with self._lock:  # items of a dict are made one by one, and others are let in between
            return {run for run, at in self.acknowledged.items() if at <= instant < self.settled.get(run, math.inf)}

    def waiting(self) -> set[str]:
        """Runs that were acknowledged and have not settled."""
        return self.acknowledged.keys() - self.settled.keys()

    def stop(self) -> None:
        """Start no more, and wait until all that were written are acknowledged or given up."""
        self._is_stopped.set()
        self._threads[0].join()
        self._producer.flush(130)

    def close(self) -> None:
        """Follow no more."""
        self._is_stopped.set()
        self._is_over.set()
        for each in self._threads:
            each.join()

    def _write(self) -> None:
        due = time.monotonic()
        while not self._is_stopped.wait(max(0.0, due - time.monotonic())):
            self._start(self.pipeline)
            self._producer.poll(0)
            due = max(due + 1 / self.per_second, time.monotonic() - 1)

    def again(self, run: str) -> None:
        """Send the start of a run once more, as a client would that heard nothing."""
        pipeline, _, number = run.rpartition("-")
        self._send(run, pipeline, int(number))

    def double(self) -> None:
        """Send every start twice: those so far now, and each that comes."""
        with self._lock:
            self._copies, so_far = 2, list(self._started)
        for run in so_far:
            self.again(run)

    def _start(self, pipeline: str) -> str:
        with self._lock:
            number, copies = len(self._started) + 1, self._copies
            run = f"{pipeline}-{number}"
            self._started.append(run)
        for _ in range(copies):
            self._send(run, pipeline, number)
        return run

    def _send(self, run: str, pipeline: str, number: int) -> None:
        command = {"run_id": run, "pipeline": pipeline, "params": {"number": number}}
        self._producer.produce(
            self.topics.commands,
            json.dumps(command),
            run,
            partition=partition_of(run, self.partitions),
            on_delivery=self._noting(run),
        )

    def _noting(self, run: str) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                return
            with self._lock:
                if run in self.acknowledged:
                    self.repeated.add(run)
                else:
                    self.acknowledged[run] = time.monotonic()

        return note

    def _follow(self) -> None:
        """A reader per life of the connection: one that fails is replaced, and reads all again."""
        while not self._is_over.is_set():
            try:
                self._follow_once()
            except TransportError:
                self._is_over.wait(1.0)

    def _follow_once(self) -> None:
        places = [TopicPartition(self.topics.settled, n) for n in range(self.partitions)]
        seen: set[str] = set()
        with closing(KafkaTransport(KafkaSettings(self.bootstrap)).reader("load")) as reader:
            reader.assign(dict.fromkeys(places, BEGINNING))
            while not self._is_over.is_set():
                polled = reader.poll(FOLLOW_S)
                self.followed = {at.partition: reader.position(at) for at in places}
                for each in polled:
                    if isinstance(each, Record) and each.key is not None and each.value is not None:
                        run = each.key.decode()
                        content = entry_of(each).content
                        self.outcomes[run] = content.outcome if isinstance(content, SettledRun) else UNREADABLE
                        self.settled.setdefault(run, time.monotonic())
                        self.settled_twice |= {run} & seen
                        seen.add(run)
