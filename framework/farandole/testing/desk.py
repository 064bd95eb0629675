"""One home partition of a coordinator, stepped by hand: records in, one transaction out.

    desk = Desk(define(node("a"), name="p"))
    desk.start("r-1")
    desk.turn()
    desk.succeed("a")
    desk.turn()

A turn makes a batch of all that waits and commits it, or throws it away. What a commit writes
stands in `logs` by topic and partition, and is read back at the next turn as from a log. The
batch, the home and their readers are the coordinator's own; no transport is there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from farandole.artifacts import LocalArtifacts
from farandole.coordinator.batch import Batch
from farandole.coordinator.building import Builder
from farandole.coordinator.home import Home
from farandole.coordinator.reading import Definitions
from farandole.coordinator.refold import Refold
from farandole.coordinator.settings import CoordinatorSettings
from farandole.definition.graph import Graph, graph_of
from farandole.definition.model import Definition
from farandole.errors import RecordError
from farandole.events import facts
from farandole.events.avro import Schema, SchemaBook
from farandole.events.catalogue import decode, encode
from farandole.events.commands import Command, StartRun
from farandole.events.envelope import parse_envelope
from farandole.events.outgoing import Origin, Outgoing, event_record, trigger_record
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, agent_fact_id, attempt_id, partition_of
from farandole.kernel.decision import Moment
from farandole.kernel.rebuild import Logged
from farandole.kernel.snapshot import group_by_run, read_run
from farandole.kernel.state import Run, ms
from farandole.testing.answers import Task, failure, success, task_of, trigger_of
from farandole.testing.sketch import framed, framed_params
from farandole.testing.stage import BEGINNING
from farandole.transport.outgoing import new_record
from farandole.transport.port import End, NewRecord, Polled, Record, TopicPartition

Headers = Sequence[tuple[str, bytes]]
_E = TypeVar("_E", bound=facts.Event)


@dataclass(slots=True)
class LogReader:
    """A reader over lists of records."""

    logs: Mapping[TopicPartition, list[Record]]
    at: dict[TopicPartition, int] = field(default_factory=dict)

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these."""
        self.at = dict(positions)

    def poll(self, timeout: float) -> Sequence[Polled]:
        """All there is, and the ends."""
        out: list[Polled] = []
        for at, position in self.at.items():
            out += self.logs[at][position:]
            self.at[at] = len(self.logs[at])
            out.append(End(at, self.at[at]))
        return out

    def position(self, at: TopicPartition) -> int | None:
        """Where it stands."""
        return self.at.get(at)

    def close(self) -> None:
        """Nothing to free."""


class Desk:
    """A home with its logs; `luck` is the draw for each jitter. `number`: which of `partitions` it is.

    Large payloads are looked for, and stored, under `artifacts`.
    """

    def __init__(
        self,
        *definitions: Definition,
        partitions: int = 1,
        number: int = 0,
        luck: float = 0.0,
        artifacts: Path = Path("no-artifacts"),
    ) -> None:
        self.settings = CoordinatorSettings()
        self.topics: Topics = self.settings.topics
        self.partitions, self.number, self.luck = partitions, number, luck
        self.now = BEGINNING
        self.by_name = {each.name: each for each in definitions}
        self.by_hash: dict[str, Definition] = {each.hash: each for each in definitions}
        self.logs: dict[TopicPartition, list[Record]] = defaultdict(list)
        self.table: dict[str, bytes] = {}
        self._tasks: list[Task] = []
        self.suspects: list[facts.TriggerSuspected] = []
        self.refold = Refold(lambda: LogReader(self.logs))
        self.artifacts = LocalArtifacts(artifacts)
        self.builder = Builder(self.settings, self._moment, self.artifacts, self._suspects, self.refold, lambda: 0.0)
        self.home = Home(number)
        self.builder.measures.running(self.home, 0.0, ms(self.now))
        self.certain = True

    def _moment(self) -> Moment:
        return Moment(self.now, self.luck)

    def _suspects(self, number: int) -> list[facts.TriggerSuspected]:
        told, self.suspects = self.suspects, []
        return told

    # --- what comes in --------------------------------------------------------------------

    def append(self, record: NewRecord) -> Record:
        """Put a record where it belongs; one for this home is buffered."""
        count = self.partitions if record.partition is None else 0
        number = partition_of(record.key or b"", count) if count else record.partition or 0
        at = TopicPartition(record.topic, number)
        stored = Record(*at, len(self.logs[at]), record.key, record.value, tuple(record.headers))
        self.logs[at].append(stored)
        if record.topic.startswith(self.topics.inbox("")):
            self._tasks.append(task_of(stored.headers, stored.value))
        if number == self.number and record.topic == self.topics.events:
            self.home.events.append(stored)
        elif number == self.number and record.topic == self.topics.commands:
            self.home.commands.append(stored)
        return stored

    def command(
        self,
        value: bytes | Command | None,
        *,
        key: str | None = None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> Record:
        """A command as some client wrote it, on this home unless `partition` says otherwise."""
        body = value if isinstance(value, bytes | None) else encode(value)
        number = self.number if partition is None else partition
        return self.append(NewRecord(self.topics.commands, key.encode() if key else None, body, headers, number))

    def start(self, run_id: str | None, pipeline: str | None = None, n: int = 0, items: Sequence[int] = ()) -> Record:
        """Somebody asks for a run, of the only pipeline unless another is named."""
        name = pipeline or next(iter(self.by_name))
        return self.command(StartRun(name, framed_params(n, items), run_id), key=run_id)

    def record_of(self, fact: facts.Fact) -> Outgoing:
        """A fact as an agent, or another coordinator, writes it."""
        known = (getattr(fact, "step", ""), getattr(fact, "item", NO_ITEM), getattr(fact, "attempt", 0))
        fact_id = agent_fact_id(fact.run, *known, type(fact).__name__)
        return event_record(self.topics, fact, event_id=fact_id, cause="test", origin=Origin("test", self.now))

    def fact(self, fact: facts.Fact) -> Record:
        """Somebody reports a fact."""
        return self._send(self.record_of(fact))

    def raw_event(self, value: bytes | None, headers: Headers) -> Record:
        """Any record on this home's `events`."""
        return self.append(NewRecord(self.topics.events, b"key", value, headers, self.number))

    def _send(self, record: Outgoing) -> Record:
        return self.append(new_record(record, self.partitions))

    # --- turns ----------------------------------------------------------------------------

    def batch(self) -> Batch:
        """The next batch of what waits, as it would be submitted. Where `events` ends is known at once."""
        self.home.looked = len(self._log("commands")), len(self._log("events"))
        definitions = Definitions(self.by_name.get, self.by_hash.get, lambda _: self.certain, self._writers)
        batch, _ = self.builder.build(self.home, definitions, self.partitions)
        return batch

    def _writers(self, pipeline: str) -> SchemaBook:
        return SchemaBook(Schema.parse(it.params_schema) for it in self.by_hash.values() if it.name == pipeline)

    def commit(self, batch: Batch) -> None:
        """The transaction of a batch took effect."""
        for body in batch.values.to_store.values():
            self.artifacts.put(body)
        for record in [*batch.records, *batch.state(self.now)]:
            stored = self._send(record)
            if record.topic == self.topics.runs and stored.value is None:
                self.table.pop(record.key, None)
            elif record.topic == self.topics.runs:
                self.table[record.key] = stored.value or b""
        self.builder.answered(batch)
        self.builder.measures.committed(batch, ms(self.now))
        batch.publish()
        for run in batch.read_again:
            self.refold.done(run)

    def turn(self) -> Batch:
        """One transaction of all that waits."""
        while self.refold.step():
            pass
        batch = self.batch()
        self.commit(batch)
        return batch

    def turns(self, most: int = 50) -> None:
        """Turn until nothing waits."""
        while most and (self.home.events or self.home.commands or self.refold.wanted):
            self.turn()
            most -= 1
        assert most, "something waits for ever"

    def pass_time(self, by: timedelta) -> None:
        """Let time pass in one go; what comes due is written and read back."""
        self.now += by
        self.turn()
        self.turns()

    def restore(self) -> None:
        """Another owner takes the home over, from the committed records alone."""
        lost = self.home
        end = len(self._log("events"))
        self.home = Home(self.number, events_at=lost.events_at, commands_at=lost.commands_at, read_first=end)
        parts = group_by_run(self.table.items())
        self.home.restore(read_run(self._graph, mine, run_id) for run_id, mine in parts.items())
        self.home.events.extend(self._log("events")[lost.events_at :])
        self.home.commands.extend(self._log("commands")[lost.commands_at :])

    def _graph(self, digest: str) -> Graph:
        return graph_of(self.by_hash[digest])

    # --- what agents do -------------------------------------------------------------------

    def tasks(self) -> list[Task]:
        """Every trigger that was put into an inbox, answered or not, in order."""
        return list(self._tasks)

    def succeed(self, step: str, item: int = NO_ITEM, *, run: str = "r-1", n: int = 0) -> Task:
        """The newest trigger of a step is answered with a result, and what its agent fires is triggered."""
        task = [each for each in self.tasks() if (each.run, each.step, each.item) == (run, step, item)][-1]
        self.report(task, framed(n))
        return task

    def report(self, task: Task, output: bytes) -> None:
        """A task succeeds."""
        graph = self._graph_of(task.run)
        fact, fired = success(graph, task, output)
        self.fact(fact)
        origin = Origin("test", self.now, definition=graph.definition.hash)
        for child in fired:
            self._send(trigger_record(self.topics, trigger_of(child, graph), cause="test", origin=origin))

    def fail(self, step: str, item: int = NO_ITEM, *, run: str = "r-1", retryable: bool = True) -> None:
        """The newest trigger of a step fails."""
        task = [each for each in self.tasks() if (each.run, each.step, each.item) == (run, step, item)][-1]
        self.fact(failure(task, retryable=retryable))

    def _graph_of(self, run: str) -> Graph:
        started = [event for event in self.events(facts.RunStarted) if event.run == run]
        return self._graph(started[-1].definition)

    # --- what tests look at ---------------------------------------------------------------

    def _log(self, topic: str) -> list[Record]:
        return self.logs[TopicPartition(f"{self.topics.namespace}.{topic}", self.number)]

    def run(self, run_id: str = "r-1") -> Run:
        """The run as committed."""
        return self.home.runs[run_id]

    def events(self, kind: type[_E]) -> list[_E]:
        """Everything of one kind that stands on this home's `events`."""
        found = [_decoded(record) for record in self._log("events")]
        return [event for event in found if isinstance(event, kind)]

    def logged(self) -> list[Logged]:
        """This home's `events` as a rebuild reads them; what nobody can read is left out."""
        out: list[Logged] = []
        for record in self._log("events"):
            event, envelope = _decoded(record), parse_envelope(record.headers)
            at = int(envelope.folded.partition("/")[2]) if envelope.folded else None
            if isinstance(event, facts.Event):
                out.append(Logged(record.offset, event, at, envelope.id, envelope.cause))
        return out

    def triggers(self) -> list[str]:
        """The ids of all triggers in inboxes, in order."""
        return [attempt_id(task.run, task.step, task.item, task.attempt) for task in self.tasks()]

    def outcome(self, run_id: str = "r-1") -> str:
        """How a run ended; empty while it has not."""
        return self.run(run_id).head.outcome if self.run(run_id).is_settled else ""


def _decoded(record: Record) -> object:
    try:
        return decode(record.value or b"")
    except RecordError:
        return None
