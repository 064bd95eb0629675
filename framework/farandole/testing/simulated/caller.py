"""Whoever starts the runs of a world, reads how they go, and replays what was given up."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.artifacts import ArtifactStore, check_out
from farandole.clock import ManualClock
from farandole.definition.pipelines import Pipeline
from farandole.events import facts
from farandole.events.avro import Schema
from farandole.events.catalogue import decode, encode, type_name
from farandole.events.commands import CancelRun, Command, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.testing.simulated.executor import Key
from farandole.testing.simulated.seen import SeenRun
from farandole.testing.simulated.story import Story, fact_text, fields_text
from farandole.testing.simulation.transport import SimTransport
from farandole.transport.port import NewRecord, Record, TopicPartition

BEGINNING = -2

START_WITHIN = 150
"""Steps within which all runs are started."""

PATIENCE = 150
"""Steps that a person takes before a dead letter is replayed."""


REPLAYS_MAX = 2
"""Replays of one step after which a person gives its run up: an input may be one that no handler takes."""


@dataclass(frozen=True, slots=True)
class Start:
    """A run to be: when, and with which params."""

    step: int
    run: str
    params: Mapping[str, object]
    framed: bytes


@dataclass
class Caller:
    """`starts` in order of their steps; `reported` are attempts whose fact stands on the log."""

    pipeline: Pipeline[..., object]
    transport: SimTransport
    topics: Topics
    partitions: int
    clock: ManualClock
    artifacts: ArtifactStore
    story: Story
    rng: random.Random
    starts: list[Start]
    runs: dict[str, SeenRun] = field(default_factory=dict)
    reported: set[Key] = field(default_factory=set)
    waits_until: float = 0.0
    """The instant, monotonic, of the last thing on the log and of the last thing to come that it dates."""

    _todo: list[tuple[int, Command]] = field(default_factory=list)
    _replays: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    _sent: int = 0

    def __post_init__(self) -> None:
        self._producer = self.transport.producer("caller")
        self._reader = self.transport.reader("caller")
        self._reader.assign({TopicPartition(self.topics.events, n): BEGINNING for n in range(self.partitions)})

    def move(self, step: int) -> None:
        """Send what is due, and read."""
        while self.starts and self.starts[0].step <= step:
            start = self.starts.pop(0)
            self.runs[start.run] = SeenRun(start.run, start.params)
            self._tell("caller", f"starts {start.run}: {fields_text(start.params)}", start.run)
            self._send(StartRun(self.pipeline.name, start.framed, start.run))
        for due, command in [each for each in self._todo if each[0] <= step]:
            self._todo.remove((due, command))
            self._tell("caller", _command_text(command), command.run_id or "")
            self._send(command)
        if step % 5 == 0:
            self._read(step)

    @property
    def has_all_ended(self) -> bool:
        """Whether every run has an outcome."""
        return not self.starts and all(run.outcome is not None for run in self.runs.values())

    @property
    def is_about_to_act(self) -> bool:
        """Whether runs are yet to be started, or dead letters to be looked at: people are paced by steps."""
        return bool(self.starts or self._todo)

    def close(self) -> None:
        """Let go of the log."""
        self._reader.close()
        self._producer.close()

    def _tell(self, who: str, what: str, run: str) -> None:
        self.story.tell(timedelta(seconds=self.clock.monotonic()), who, what, run)

    def _send(self, command: Command) -> None:
        self._sent += 1
        run = command.run_id or ""
        envelope = Envelope(
            f"{run}/command/{self._sent}", type_name(type(command)), "caller", self.clock.now(), run=run
        )
        home = partition_of(run, self.partitions)
        self._producer.send(NewRecord(self.topics.commands, run.encode(), encode(command), envelope.headers(), home))

    def _read(self, step: int) -> None:
        for polled in self._reader.poll(0.0):
            if isinstance(polled, Record):
                event = decode(polled.value or b"")
                run = self.runs.get(getattr(event, "run", ""))
                if run is not None:
                    run.events.append(event)  # type: ignore[arg-type]
                    self._take(step, run, event)

    def _take(self, step: int, run: SeenRun, event: object) -> None:
        if (text := fact_text(event)) is not None:  # type: ignore[arg-type]
            self._tell("the log", text, run.id)
        if isinstance(event, facts.AgentFact):
            self.reported.add((event.run, event.step, event.item, event.attempt))
        self.waits_until = max(self.waits_until, self.clock.monotonic())
        match event:
            case facts.RunSettled():
                run.outcome, run.result = event.outcome, self._result(event.output)
            case facts.RunRefused():
                run.outcome = run.outcome or "refused"
            case facts.RunHeld():
                self._todo.append((step + self.rng.randrange(PATIENCE), self._remedy(run, event)))
            case facts.RetryScheduled():
                ahead = (event.due - self.clock.now()).total_seconds()
                self.waits_until = max(self.waits_until, self.clock.monotonic() + ahead)
            case _:
                pass

    def _remedy(self, run: SeenRun, held: facts.RunHeld) -> Command:
        """Replay what was given up; cancel the run when that has not helped."""
        place = run.id, held.step, held.item
        self._replays[place] += 1
        if self._replays[place] > REPLAYS_MAX:
            return CancelRun(run.id, "simulated: replaying did not help")
        if not held.step:
            return ReleaseRun(run.id)
        attempt = _attempt(run, held.step, held.item)
        return ReplayDeadLetter(run.id, held.step, attempt, "caller", None, held.item)

    def _result(self, output: bytes | None) -> object:
        schema = self.pipeline.definition.output_schema
        if output is None or schema is None:
            return None
        return self.pipeline.result_from_plain(Schema.parse(schema).decode(check_out(self.artifacts, output)))


def _attempt(run: SeenRun, step: str, item: int) -> int:
    """The attempt that was given up, or is missed."""
    kinds = facts.StepDeadLettered | facts.TriggerSuspected
    found = [e.attempt for e in run.events if isinstance(e, kinds) and (e.step, e.item) == (step, item)]
    return found[-1] if found else 1


def _command_text(command: Command) -> str:
    match command:
        case ReplayDeadLetter():
            return f"replays {command.step} of {command.run_id}"
        case CancelRun():
            return f"cancels {command.run_id}"
        case _:
            return f"releases {command.run_id}"
