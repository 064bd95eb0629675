"""Whoever starts, cancels and replays runs in a simulation, and watches `events` for how they end."""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from farandole.client.direct import start_trigger
from farandole.client.final import FinalWatch
from farandole.clock import ManualClock
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.events import facts
from farandole.events.catalogue import decode, encode, type_name
from farandole.events.commands import CancelRun, Command, DiscardDeadLetter, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope
from farandole.events.outgoing import Origin, trigger_record
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.testing.simulation.cancels import Cancels
from farandole.testing.simulation.network import Network
from farandole.testing.simulation.sizes import Sizes
from farandole.testing.simulation.transport import SimTransport
from farandole.testing.sketch import framed_params
from farandole.transport.memory.reader import MemoryReader
from farandole.transport.port import NewRecord, Record, TopicPartition

BEGINNING = -2

ITEMS = (4, 4, 12)
"""Most items that the params of a run have."""

REGRETTED = (0.0, 0.0, 0.0, 0.5)
"""How many runs somebody cancels as soon as they are seen to begin; half of them where a coordinator is given little at
a time, for there the word may overtake what it is about."""

PATIENCE = 500
"""Steps for which somebody waits for the answer about a dead letter, once faults are over. Whoever asks faster than a
coordinator with batches of one record answers is served last year's questions for ever: seeds 1750 and 2988 once."""


@dataclass
class Clients:
    """Runs are started early in the first phase, some of them twice, some on the wrong partition, as kcat would.

    `only`: the runs that there are, where not all of the seed's are wanted. `acknowledged`: runs of which the
    log has taken the start.
    """

    network: Network
    transport: SimTransport
    topics: Topics
    definition: Definition
    sizes: Sizes
    clock: ManualClock
    seed: int
    only: Collection[str] | None = None
    sent: int = 0
    events: list[tuple[Record, facts.Event]] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    dead: dict[tuple[str, str, int], int] = field(default_factory=dict)
    standing: set[str] = field(default_factory=set)
    """Runs that an error of their definition holds: in the end somebody cancels them."""

    acknowledged: set[str] = field(default_factory=set)
    told: dict[str, bytes] = field(default_factory=dict)
    """Results that clients were given by a final fact."""

    _asked: dict[tuple[str, str, int, int], int] = field(default_factory=dict)
    """When each dead letter was last answered, by its place and attempt."""

    _refused: set[str] = field(default_factory=set)
    """Runs that a coordinator of an older version refused to start: they are asked for again, once it is gone."""

    _finals: dict[str, FinalWatch] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.seed}/clients")
        self.cancels = Cancels(self.topics)
        self._producer = self.transport.producer("clients")
        self._reader = MemoryReader(self.network.hub, "clients")
        partitions = self.sizes.partitions
        self._reader.assign({TopicPartition(self.topics.events, n): BEGINNING for n in range(partitions)})
        every = sorted(self._drawn_plan(), key=lambda due: due[0])
        self._plan = [due for due in every if self.only is None or due[1].run_id in self.only]
        self.runs = sorted({str(command.run_id) for _, command in self._plan})
        self._starts = {str(it.run_id): it for _, it in reversed(self._plan) if isinstance(it, StartRun)}
        # Drawn apart. An id that is started directly is generated, and so never started otherwise.
        drawn = random.Random(f"{self.seed}/direct")
        self._direct = {run for run in self.runs if drawn.random() < 0.5} if self._may_start_directly() else set()
        started = set[str]()
        for due in list(self._plan):
            run = str(due[1].run_id)
            if isinstance(due[1], StartRun) and run in self._direct:
                if run in started:
                    self._plan.remove(due)
                started.add(run)

        regret = random.Random(f"{self.seed}/regret")
        share = regret.choice(REGRETTED) if self.sizes.poll_records > 3 else max(REGRETTED)
        self._regretted = {run for run in self.runs if regret.random() < share}

    def _may_start_directly(self) -> bool:
        return graph_of(self.definition).direct_root is not None

    def _drawn_plan(self) -> Iterable[tuple[int, Command]]:
        rng, last = self._rng, self.sizes.phase
        first = rng.randrange(last // 8)
        for run in (f"run-{n}" for n in range(self.sizes.runs)):
            number, items = rng.randint(0, 9), rng.randint(0, rng.choice(ITEMS))
            params = framed_params(number, [rng.randint(0, 9) for _ in range(items)])
            start = StartRun(self.definition.name, params, run)
            yield first + rng.randrange(10) if self.sizes.crowd else rng.randrange(last // 3), start
            again, other, cancelled = rng.random() < 0.4, rng.random() < 0.2, rng.random() < 0.4
            if again and not self.sizes.forgets:
                yield rng.randrange(last), start
            if other and not self.sizes.forgets:
                yield rng.randrange(last), StartRun(self.definition.name, framed_params(99), run)
            if cancelled:
                yield rng.randrange(last), CancelRun(run, "simulated")
            if self.sizes.insistent:
                yield from self._insisted(run, rng, last)

    def _insisted(self, run: str, rng: random.Random, last: int) -> Iterable[tuple[int, Command]]:
        """What impatient people ask for: most of it finds nothing to do."""
        for _ in range(rng.randint(1, 6)):
            step = rng.choice(list(self.definition.steps))
            asked: tuple[Command, ...] = (
                ReleaseRun(run),
                ReplayDeadLetter(run, step, rng.randint(1, 2), "insistent"),
                CancelRun(run, "insistent"),
            )
            yield rng.randrange(last), rng.choices(asked, weights=(4, 4, 1))[0]

    def move(self, step: int, progress: float, *, calm: bool) -> None:
        """Send what is due; read; replay a dead letter now and then, and all of them in the end."""
        while self._plan and self._plan[0][0] <= progress:
            self._send(self._plan.pop(0)[1])
        if step % 10 == 0:
            self.read()
        if self.dead and self._rng.random() < (0.02 if calm else 0.004):
            self._answer(self._rng.choice(sorted(self.dead)), step, calm=calm)
        if self.runs and self._rng.random() < 0.0005:
            self._send(ReleaseRun(self._rng.choice(self.runs)))
        if calm and self._refused and self._rng.random() < 0.02:
            run = self._rng.choice(sorted(self._refused))
            self._refused.discard(run)
            self._send(self._starts[run])
        if calm and self.standing and self._rng.random() < 0.02:
            self._send(CancelRun(self._rng.choice(sorted(self.standing)), "its definition has an error"))

    def _answer(self, letter: tuple[str, str, int], step: int, *, calm: bool) -> None:
        """Replay a dead letter, or go on without it."""
        (run, name, item), attempt = letter, self.dead[letter]
        asked = run, name, item, attempt
        if calm and step < self._asked.get(asked, -PATIENCE) + PATIENCE:
            return
        self._asked[asked] = step
        if self._rng.random() < 0.1:
            self._send(DiscardDeadLetter(run, name, attempt, "simulated", "enough", item))
            self.network.rare["discard"] += 1
        else:
            self._send(ReplayDeadLetter(run, name, attempt, "simulated", None, item))
            self.network.rare["replay"] += 1

    def all_ended(self) -> bool:
        """Whether every run has its outcome."""
        self.read()
        return not self._plan and all(run in self.ended for run in self.runs)

    def _send(self, command: Command) -> None:
        self.sent += 1
        run = command.run_id or ""
        envelope = Envelope(
            f"{run}/command/{self.sent}", type_name(type(command)), "clients", self.clock.now(), run=run
        )
        home = partition_of(run, self.sizes.partitions)
        at = self._rng.randrange(self.sizes.partitions) if self._rng.random() < 0.3 else home
        self.network.tell(f"client: {type(command).__name__} of {run} to commands/{at}")
        if isinstance(command, CancelRun):
            with self.network.hub as broker:
                self.cancels.asked(broker, envelope.id, run)
        if isinstance(command, StartRun):
            self.acknowledged.add(run)
            if run in self._direct:
                return self._start_directly(command, run)
        self._producer.send(NewRecord(self.topics.commands, run.encode(), encode(command), envelope.headers(), at))

    def _start_directly(self, command: StartRun, run: str) -> None:
        trigger = start_trigger(self.definition, command.params, run, self.clock.now())
        assert trigger is not None
        origin = Origin("clients", self.clock.now(), definition=self.definition.hash)
        it = trigger_record(self.topics, trigger, cause="", origin=origin)
        self.network.rare["direct"] += 1
        self._producer.send(NewRecord(it.topic, it.key.encode(), it.value, it.headers))

    def read(self) -> None:
        """What has come on `events`."""
        for polled in self._reader.poll(0.0):
            if not isinstance(polled, Record):
                continue
            event = decode(polled.value or b"")
            self.events.append((polled, event))  # type: ignore[arg-type]
            self.network.tell(f"log: events/{polled.partition}/{polled.offset} {event}")
            self._watch(polled, str(getattr(event, "run", "")))
            match event:
                case facts.RunSettled(run=run, outcome=outcome):
                    self.ended[run] = outcome
                    self.standing.discard(run)
                    self.dead = {key: attempt for key, attempt in self.dead.items() if key[0] != run}
                case facts.RunHeld(run=run, step=step, item=item) if step:
                    attempt = self._attempt(run, step, item)
                    self.dead[run, step, item] = attempt
                case facts.RunHeld(run=run, is_unread=False):  # the others are released without anybody
                    self.standing.add(run)
                case facts.RunRefused(run=run, reason="unknown_pipeline"):
                    self.network.rare["refused_unread"] += 1
                    self._refused.add(run)
                case facts.RunStarted(run=run):
                    self._refused.discard(run)
                    if run in self._regretted:
                        self._regretted.remove(run)
                        self._send(CancelRun(run, "regretted"))
                case facts.RunReleased(run=run, reason="kernel_error"):
                    self.standing.discard(run)
                case facts.StepScheduled() | facts.StepSkipped() | facts.StepSucceeded():  # a late one counts too
                    self.dead.pop((event.run, event.step, event.item), None)
                case _:
                    pass

    def _watch(self, record: Record, run: str) -> None:
        """What a client that waits for the result is told before the run has ended."""
        last = self._finals.setdefault(run, FinalWatch()).take(record)
        if last is not None and run not in self.told:
            self.told[run] = last.output
            self.network.rare["final"] += 1

    def _attempt(self, run: str, step: str, item: int) -> int:
        found = [
            event.attempt
            for _, event in self.events
            if isinstance(event, facts.StepDeadLettered | facts.TriggerSuspected)
            and (event.run, event.step, event.item) == (run, step, item)
        ]
        return found[-1] if found else 1
