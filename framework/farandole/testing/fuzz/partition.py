"""Records of strangers before the real loops: whatever it is, it gets its answer and the partition goes on.

One log in memory lives as long as the child; now and then an ordinary run has to succeed on it.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.definition.agents import agent
from farandole.definition.pipelines import pipeline
from farandole.errors import FarandoleError
from farandole.testing.harness import Harness
from farandole.testing.harness.stage import PARTITIONS
from farandole.transport.port import Isolation, NewRecord, TopicPartition

CANARY_EVERY = 40
"""Cases between two ordinary runs."""

CASES_MAX = 1_000
"""Cases after which the log is made anew: a long one makes later cases slower."""

PATIENCE = timedelta(seconds=5)
"""Virtual time within which a record has its answer and a quiet partition its position (`idle_commit`)."""


@agent
def double(number: int) -> int:
    """Twice."""
    return 2 * number


@agent
def add(number: int) -> int:
    """One more."""
    return number + 1


@pipeline(owner="tests@example.org")
def fuzzed(number: int) -> int:
    """Two steps."""
    return add(double(number))


@dataclass
class Place:
    """A log with the loops on it. `cases` were pushed so far."""

    harness: Harness[..., int] = field(default_factory=lambda: Harness(fuzzed))
    cases: int = 0

    def push(self, topic: str, given: Mapping[str, object]) -> None:
        """Write one record and let everybody answer.

        Raises:
            AssertionError: the reader of its partition has not passed it, or an ordinary run fails afterwards.
        """
        stage = self.harness._stage
        at = TopicPartition(topic, int(str(given["partition"])) % PARTITIONS)
        offset = stage.transport.admin().ends([at], Isolation.UNCOMMITTED)[at]
        record = NewRecord(topic, _bytes(given["key"]), _bytes(given["value"]), _headers(given), at.partition)
        self._write(record, given.get("timestamp_ms"))
        stage.pass_time(PATIENCE)
        self.cases += 1
        if (group := self._group(topic)) is not None:
            position = stage.transport.admin().positions(group, [at])[at].offset
            assert position > offset, f"{topic}[{at.partition}]: stands at {position}, the record is at {offset}"
        if self.cases % CANARY_EVERY == 0:
            run = self.harness.run(self.cases)
            assert run.outcome == "succeeded", f"an ordinary run is {run.status} after {self.cases} cases: {run.why}"
            assert run.result == 2 * self.cases + 1

    def _write(self, record: NewRecord, timestamp_ms: object) -> None:
        """As a client would; with a timestamp as one that has a clock of its own."""
        stage = self.harness._stage
        if timestamp_ms is None:
            return stage.send(record)
        with stage.transport.hub as broker:
            broker.tick(broker._now, int(str(timestamp_ms)))
            broker.append(record)

    def _group(self, topic: str) -> str | None:
        """The group that consumes a topic; None for tables."""
        topics = self.harness._stage.topics
        if topic.startswith(topics.inbox("")):
            return topics.group("harness")
        return topics.group("coordinator") if topic in (topics.commands, topics.events) else None


_places: list[Place] = []


def push(case: bytes) -> None:
    """A record as JSON: `topic` (without its namespace), `partition`, `key`, `value` (base64 or null), `headers`.

    With `timestamp_ms` it is written with that one, which any producer may choose.
    """
    given = json.loads(case)
    if not _places or _places[0].cases >= CASES_MAX:
        _places[:] = [Place()]
    try:
        _places[0].push(f"farandole.{given['topic']}", given)
    except FarandoleError as died:
        _places.clear()
        raise AssertionError("a loop ended: its process would be started again, and read the same record") from died
    except BaseException:
        _places.clear()  # so that one defect is not found again and again
        raise


def _bytes(given: object) -> bytes | None:
    return None if given is None else base64.b64decode(str(given))


def _headers(given: Mapping[str, object]) -> list[tuple[str, bytes]]:
    headers = given["headers"]
    assert isinstance(headers, list)
    return [(str(name), _bytes(text) or b"") for name, text in headers]
