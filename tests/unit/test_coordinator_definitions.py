"""What the coordinator tells of its table of definitions: rows that it left out, not that the log is away.

And what it finds there: the schemas that a pipeline's params ever had.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from farandole.clock import ManualClock
from farandole.coordinator.definitions import DefinitionTable
from farandole.definition.model import Definition
from farandole.errors import TransportError
from farandole.events.avro import Schema
from farandole.events.topics import Topics
from farandole.testing.sketch import define, node
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Polled, Reader, Record, Reply, Request, TopicPartition, Trouble


class Given:
    """A reader that gives the same at every poll, as one does behind a connection that is gone."""

    def __init__(self, *polled: Polled) -> None:
        self.polled: Sequence[Polled] = polled

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Nothing comes of it."""

    def poll(self, timeout: float) -> Sequence[Polled]:
        """What there is."""
        return self.polled

    def position(self, at: TopicPartition) -> int | None:
        """Nothing was read."""
        return None

    def close(self) -> None:
        """Nothing to free."""


class Log(MemoryTransport):
    """A log that has one reader."""

    def __init__(self, only: Given) -> None:
        super().__init__(ManualClock())
        self._only = only

    def reader(self, client_id: str) -> Reader:  # type: ignore[override]
        """It."""
        return self._only


def table_of(reader: Given) -> DefinitionTable:
    """A table that is read by it."""
    return DefinitionTable(Log(reader), Topics("t"), "c", lambda request, then: None)


def steps(times: int, *troubles: Trouble) -> None:
    """A table that is stepped so often, and does not deliver."""
    table = table_of(Given(*troubles))
    for _ in range(times):
        table.step(0.0)


def test_outage_is_not_told_as_rows_that_were_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """While the broker was away the coordinator said once a second that a row of definitions was left out: none was.

    That the log is away, the polls of its member tell, once a minute.
    """
    with caplog.at_level(logging.INFO):
        steps(3, Trouble("unreachable", "all brokers are down"))

    assert not caplog.records


def test_definitions_that_do_not_deliver_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        steps(1, Trouble("unknown_topic", "there is none", TopicPartition("t.definitions", 0)))

    assert [each.getMessage() for each in caplog.records] == [
        "definitions do not deliver: there is none (unknown_topic)"
    ]


def row(definition: Definition) -> Record:
    """A definition as `apply` writes it."""
    return Record("t.definitions", 0, 0, definition.hash.encode(), definition.to_json().encode())


def test_schemas_of_params_are_those_of_every_definition_that_the_pipeline_had() -> None:
    before = define(node("a"), name="p")
    more = before.params_schema.replace('"fields":[', '"fields":[{"name":"more","type":"long","default":0},', 1)
    now = replace(before, params_schema=more)
    reader = Given(row(before), row(define(node("a"), name="q")))
    table = table_of(reader)
    table.step(0.0)
    first = [each.fingerprint for each in table.writers("p")]

    reader.polled = [row(now)]
    table.step(0.0)

    both = [Schema.parse(each.params_schema).fingerprint for each in (before, now)]
    assert first == both[:1]
    assert [each.fingerprint for each in table.writers("p")] == both
    assert [*table.writers("r")] == []


def test_end_that_nobody_tells_is_asked_for_again_after_a_pause() -> None:
    """An error was answered by the same question: as often as the log refused it, hundreds of times a second."""
    asked: list[float] = []
    is_away, now = True, 0.0

    def ask(request: Request, then: Callable[[Reply], None]) -> None:
        asked.append(now)
        then(Reply(1, request, error=TransportError("connection refused") if is_away else None))

    table = DefinitionTable(Log(Given()), Topics("t"), "c", ask)
    for n in range(400):
        now = n / 400
        table.step(now)
    outage = len(asked)
    due, is_away = table.next_due, False
    table.step(2.0)

    assert 5 <= outage <= 10
    assert due == pytest.approx(1.0, abs=0.02)
    assert (len(asked), table.next_due, table.is_fresh) == (outage + 1, None, True)
