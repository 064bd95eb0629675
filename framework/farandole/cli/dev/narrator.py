"""Follows `events` from now on and hands each on as a line: what happens to runs, in the log's order."""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import NamedTuple

from farandole.cli.event_lines import event_line
from farandole.client.query import event_of
from farandole.errors import FarandoleError
from farandole.events import facts
from farandole.events.catalogue import type_name
from farandole.events.envelope import instant_of
from farandole.ids import NO_ITEM
from farandole.transport.port import Record, TopicPartition, Transport

POLL_S = 0.2

log = logging.getLogger("farandole.dev")


class Told(NamedTuple):
    """One event for the screen; `tone` is `good`, `bad`, `wait` or empty."""

    at: datetime
    run: str
    kind: str
    text: str
    tone: str


class Narrator:
    """A thread that reads `events`; started once the topic exists, stopped with `stop`."""

    def __init__(self, transport: Transport, topic: str, partitions: int, tell: Callable[[Told], None]) -> None:
        self._reader = transport.reader(f"{topic}.dev")
        self._reader.assign({TopicPartition(topic, number): -1 for number in range(partitions)})
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="narrator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        try:
            with closing(self._reader):
                while not self._stop.is_set():
                    for each in self._reader.poll(POLL_S):
                        if isinstance(each, Record) and (told := told_of(each)) is not None:
                            self._tell(told)
        except FarandoleError as error:  # who else works on the log meets it too, and tells what to do
            log.error("what happens to runs is no longer shown: %s", error)


def told_of(record: Record) -> Told | None:
    """What a record of `events` says; None for what says nothing to a person, or is none of ours."""
    try:
        event = event_of(record)
    except FarandoleError:
        return None
    if isinstance(event, facts.StepScheduled):
        return None
    kind = type_name(type(event)).removeprefix("farandole.")
    at = instant_of(record.timestamp_ms)
    text = event_line(event)
    if isinstance(event, facts.RunHeld):
        item = getattr(event, "item", NO_ITEM)
        where = f"{event.step}[{item}]" if item != NO_ITEM else event.step
        text = f"{where}  {event.reason}; `farandole run show {event.run}` says what would release it".strip()
    return Told(at, str(getattr(event, "run", "")), kind, text, tone_of(event))


def tone_of(event: facts.Event) -> str:
    """Whether an event is good news, bad news, or something to wait for."""
    match event:
        case facts.RunSettled(outcome="succeeded"):
            return "good"
        case facts.StepFailed() | facts.RunSettled() | facts.RunRefused() | facts.StepDeadLettered():
            return "bad"
        case facts.RunHeld() | facts.RetryScheduled() | facts.RunStopping():
            return "wait"
        case _:
            return ""
