"""Whoever starts, cancels and replays runs in a simulation, and watches `events` for how they end."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from farandole.clock import ManualClock
from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.catalogue import decode, encode, type_name
from farandole.events.commands import CancelRun, Command, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.testing.simulation.network import Network
from farandole.testing.simulation.transport import SimTransport
from farandole.testing.sketch import framed_params
from farandole.transport.port import NewRecord, Record, TopicPartition

BEGINNING = -2


@dataclass
class Clients:
    """Runs are started in the first phase, some of them twice, some on the wrong partition, as kcat would."""

    network: Network
    transport: SimTransport
    topics: Topics
    definition: Definition
    partitions: int
    clock: ManualClock
    sent: int = 0
    events: list[tuple[Record, facts.Event]] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    dead: dict[tuple[str, str, int], int] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    """Facts of one transaction of which a reader saw only the first."""

    _fused: dict[tuple[str, str], facts.StepSucceeded] = field(default_factory=dict)
    """Said to have run at once, and not yet reported."""

    def __post_init__(self) -> None:
        rng = self.network.rng
        self.runs = [f"run-{n}" for n in range(rng.randint(1, 4))]
        self._producer = self.transport.producer("clients")
        self._reader = self.transport.reader("clients")
        self._reader.assign({TopicPartition(self.topics.events, n): BEGINNING for n in range(self.partitions)})
        self._plan = sorted(self._drawn_plan(), key=lambda due: due[0])

    def _drawn_plan(self) -> Iterable[tuple[int, Command]]:
        rng = self.network.rng
        for run in self.runs:
            params = framed_params(rng.randint(0, 9), [rng.randint(0, 9) for _ in range(rng.randint(0, 4))])
            start = StartRun(self.definition.name, params, run)
            yield rng.randrange(300), start
            if rng.random() < 0.4:
                yield rng.randrange(2500), start
            if rng.random() < 0.2:
                yield rng.randrange(2500), StartRun(self.definition.name, framed_params(99), run)
            if rng.random() < 0.3:
                yield rng.randrange(2500), CancelRun(run, "simulated")

    def move(self, step: int, phase_steps: int) -> None:
        """Send what is due; read; replay a dead letter now and then, and all of them in the end."""
        while self._plan and self._plan[0][0] <= step:
            self._send(self._plan.pop(0)[1])
        if step % 10 == 0:
            self._read()
        calm = step > phase_steps
        if self.dead and self.network.rng.random() < (0.02 if calm else 0.004):
            key = self.network.rng.choice(sorted(self.dead))
            run, name, item = key
            self._send(ReplayDeadLetter(run, name, self.dead[key], "simulated", None, item))
            self.network.rare["replay"] += 1
        if self.network.rng.random() < 0.0005:
            self._send(ReleaseRun(self.network.rng.choice(self.runs)))

    def all_ended(self) -> bool:
        """Whether every run has its outcome."""
        self._read()
        return not self._plan and all(run in self.ended for run in self.runs)

    def _send(self, command: Command) -> None:
        self.sent += 1
        run = command.run_id or ""
        envelope = Envelope(
            f"{run}/command/{self.sent}", type_name(type(command)), "clients", self.clock.now(), run=run
        )
        home = partition_of(run, self.partitions)
        at = self.network.rng.randrange(self.partitions) if self.network.rng.random() < 0.3 else home
        self._producer.send(NewRecord(self.topics.commands, run.encode(), encode(command), envelope.headers(), at))

    def _read(self) -> None:
        for polled in self._reader.poll(0.0):
            if not isinstance(polled, Record):
                continue
            event = decode(polled.value or b"")
            self.events.append((polled, event))  # type: ignore[arg-type]
            self._look_torn(event)  # type: ignore[arg-type]
            match event:
                case facts.RunSettled(run=run, outcome=outcome):
                    self.ended[run] = outcome
                    self.dead = {key: attempt for key, attempt in self.dead.items() if key[0] != run}
                case facts.RunHeld(run=run, step=step, item=item) if step:
                    attempt = self._attempt(run, step, item)
                    self.dead[run, step, item] = attempt
                case facts.StepScheduled(run=run, step=step, item=item):
                    self.dead.pop((run, step, item), None)
                case _:
                    pass

        self.torn += [f"{step} of {run} did not come with {it.step}" for (run, step), it in self._fused.items()]
        self._fused.clear()

    def _look_torn(self, event: facts.Event) -> None:
        """A transaction is seen whole: a step that ran at once is reported where its parent is."""
        if isinstance(event, facts.AgentFact):
            self._fused.pop((event.run, event.step), None)
        if isinstance(event, facts.StepSucceeded):
            self._fused.update({(event.run, child): event for child in event.fused})

    def _attempt(self, run: str, step: str, item: int) -> int:
        found = [
            event.attempt
            for _, event in self.events
            if isinstance(event, facts.StepDeadLettered | facts.TriggerSuspected)
            and (event.run, event.step, event.item) == (run, step, item)
        ]
        return found[-1] if found else 1
