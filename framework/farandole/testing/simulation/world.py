"""Everything of one seed: broker, processes, clients, faults, and the order in which they move."""

import random
import tempfile
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import ManualClock
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.events.topics import Topics
from farandole.testing.generate import Script, random_chain, random_definition
from farandole.testing.simulation.clients import Clients
from farandole.testing.simulation.executor import OWN_TOPIC, Ledger, specs_of
from farandole.testing.simulation.faults import ELASTIC, Chaos, drawn_rates
from farandole.testing.simulation.harm import Harm
from farandole.testing.simulation.network import Network, SimHub
from farandole.testing.simulation.process import Process
from farandole.testing.simulation.reminders import Reminders
from farandole.testing.simulation.replays import Replays
from farandole.testing.simulation.retention import Retention
from farandole.testing.simulation.sizes import SESSION, Sizes
from farandole.testing.simulation.staff import Staff
from farandole.testing.simulation.transport import SimTransport
from farandole.transport.memory.broker import Broker
from farandole.transport.port import Isolation, TopicPartition, TopicSpec

STEPS_MAX = 20_000
"""Steps after which the second phase has failed: everything must have ended (L1)."""

STEPS_MAX_SLOW = 60_000
"""The same where each poll, or each batch, or what is in flight, is one record: every record is a transaction of up to
60 steps then, and four runs over 70 items each, with retries and replays, are 2,000 of them (seeds 1000508, 7014690,
7018850, 7135798). And where many runs begin at once (7117707: ten, in 45,750 steps)."""

REMINDERS_EVERY = 10
"""Steps between two looks at the instants that coordinators are reminded of."""

LOOK_EVERY = 50
"""Steps between two looks whether all has ended."""

IDLE_WORTH = 0.1
"""What a step in which nothing moved counts: nobody waits for ever for what nobody does."""

TICKS = [timedelta(milliseconds=ms) for ms in (1, 5, 20, 60)]
"""What a step may take: a call takes some, an attempt dozens."""

AWAKE = 0.8
"""How many turns go to those who have something to do."""

LEAP, LEAP_CALM = timedelta(seconds=1), timedelta(seconds=2)
"""How far time leaps then: less while there are faults, so that they strike in the midst of things."""

IDLE_STEPS, IDLE_STEPS_MAX = 6, 60
"""Steps in which nothing moved until time takes a leap: if everybody rests, and at the latest."""

HEARTBEAT = SESSION / timedelta(seconds=3)
"""How long who rests goes without a turn once faults are over, seconds. It says that it lives at its turns alone: with
a slow neighbour, who is preferred, it was taken for dead every six seconds of a world without faults (seed 2000943)."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a seed is lived: the faults of a schedule (None: as drawn), and some of its runs (None: all)."""

    faults: Collection[str] | None = None
    runs: Collection[str] | None = None


WHOLE = Part()


@dataclass
class World:
    """One seed. `told` takes a line for each thing that happens, if it is wanted."""

    seed: int
    part: Part = WHOLE
    told: Callable[[str], None] | None = None
    steps: int = 0
    progress: float = 0.0
    """Steps in which something moved, and a little for each of the others: by it faults and clients are paced."""

    is_calm: bool = False
    fusion: bool | None = None
    """Whether hops are fused; None: the seed says."""

    reminders: Reminders = field(default_factory=Reminders)
    _idle: int = field(default=0, init=False)
    _heard_at: float = field(default=0.0, init=False)
    """When all were last woken."""

    def __post_init__(self) -> None:
        drawn = random.Random(f"{self.seed}/drawn")
        self.sizes = Sizes.drawn(drawn)
        rates = drawn_rates(drawn, random.Random(f"{self.seed}/older"), ELASTIC if self.sizes.elastic else ())
        self.chaos = Chaos(self.seed, rates, self.part.faults)
        self.definition: Definition = random_definition(drawn, self.sizes.shape)
        # Drawn apart, so that nothing else of a seed depends on it.
        fusing = random.Random(f"{self.seed}/fusing")
        self.fuses = fusing.random() < 0.5 if self.fusion is None else self.fusion
        if self.fuses and fusing.random() < 0.6:
            self.definition = random_chain(fusing)
        self.script = Script(
            self.seed,
            drawn.choice((0.0, 0.2, 0.4)),
            publishing=0.2,
            slow=drawn.choice((0.3, 0.5) if self.sizes.shape.judged else (0.0, 0.1, 0.3)),
            again=drawn.choice((None, 0.3, 0.6)),
        )
        self.rng = random.Random(f"{self.seed}/order")
        self.clock = ManualClock()
        self.hub = SimHub(self.clock)
        self.network = Network(self.hub, self.rng, self.chaos)
        if self.told is not None:
            self.network.told = self._tell
        self.topics = Topics()
        self.ledger = Ledger(self.clock.monotonic, self.rare)
        self._folder = tempfile.TemporaryDirectory(prefix="farandole-sim-")
        self.artifacts = LocalArtifacts(self._folder.name)
        self.transport = SimTransport(self.network)
        self._apply()
        staff = self._staff()
        self.processes = staff.all()
        self.retention = Retention(self.hub, self.topics, [step.agent for step in self.definition.steps.values()])
        self.harm = Harm(self.chaos, self.sizes, self.clock, self.network, self.retention, staff, self.processes)
        self.replays = Replays(self.topics, graph_of(self.definition))
        self.clients = Clients(
            self.network,
            self.transport,
            self.topics,
            self.definition,
            self.sizes,
            self.clock,
            self.seed,
            self.part.runs,
        )

    # --- the run of a seed ----------------------------------------------------------------

    def live(self) -> bool:
        """Both phases; whether everything has ended."""
        for share in (0.5, 1.0):
            while self.progress < self.sizes.phase * share:
                self.move()
            with self.hub as broker:
                self.replays.look(broker, self._numbers)
        self.calm()
        is_slow = 1 in (self.sizes.poll_records, self.sizes.batch_records, self.sizes.window) or self.sizes.crowd
        limit = self.steps + (STEPS_MAX_SLOW if is_slow else STEPS_MAX)
        while self.steps < limit:
            self.move()
            if self.steps % LOOK_EVERY == 0 and self.clients.all_ended() and self.is_quiet():
                return True
        return False

    def calm(self) -> None:
        """From now on the network is whole and nobody dies; whoever is of an older version is replaced."""
        self.network.tell("world: no more faults")
        self.is_calm = self.chaos.is_over = True
        self.network.heal()
        for process in self.processes:
            process.frozen_until = 0.0
            process.clock.skew = timedelta()
            process.deafen(0.0)
            if process.body is not None and process.body.transport.unread:
                process.leave()

    def move(self) -> None:
        """One step of the world."""
        self.steps += 1
        self._pass_time()
        if not self.is_calm and self._idle == 0 and self._is_at_work():
            self.harm.step(self.steps)
        if self.is_calm or self.rng.random() < self.sizes.late_marker:
            self.network.write_marker()
        if self.network.late and self.rng.random() < 0.02:
            self.network.deliver_late()
        self.clients.move(self.steps, self.progress, calm=self.is_calm)
        if self.steps % REMINDERS_EVERY == 0:
            self.reminders.look(self.processes)
            with self.hub as broker:
                for number in self._numbers:
                    self.clients.cancels.look(broker, number)
        process = self._next()
        moved = process is not None and process.step()
        self._idle = 0 if moved else self._idle + 1
        self.progress += 1.0 if moved else IDLE_WORTH

    def _is_at_work(self) -> bool:
        """Whether faults may begin: there is something to break, unless they are there from the beginning."""
        return self.progress >= self.sizes.peace and (bool(self.ledger.calls) or not self.sizes.peace)

    def _next(self) -> Process | None:
        """Whose turn it is: mostly somebody who has something to do; None if all are frozen."""
        now = self.clock.monotonic()
        able = [process for process in self.processes if process.frozen_until <= now]
        if self.rng.random() < AWAKE:
            able = [process for process in able if not process.is_resting] or able
        return self.rng.choice(able) if able else None

    def close(self) -> None:
        """Free the folder."""
        self._folder.cleanup()

    @property
    def rare(self) -> Counter[str]:
        """What happened, for the coverage goals."""
        return self.network.rare

    def is_quiet(self) -> bool:
        """Whether no transaction is open or unmarked, and every owner's position has reached its end (lag 0)."""
        homes = [TopicPartition(name, n) for name in (self.topics.events, self.topics.commands) for n in self._numbers]
        with self.hub as broker:
            if any(broker.transactions.unmarked()) or self._is_open(broker):
                return False
            inboxes = [
                TopicPartition(name, n)
                for name in (self.topics.inbox(step.agent) for step in self.definition.steps.values())
                for n in range(broker.partitions(name))
            ]
            for group, places in (("coordinator", homes), ("unit", inboxes)):
                found = broker.positions(self.topics.group(group), places, stable=True)
                for at in places:
                    position = found.get(at)
                    if position is None or position.offset < broker.end(at, Isolation.UNCOMMITTED):
                        return False
        return True

    def _is_open(self, broker: Broker) -> bool:
        """Whether somebody who died left a transaction open: only its time-out ends it, and readers wait for that."""
        places = [TopicPartition(name, n) for name, spec in broker.topics.items() for n in range(spec.partitions)]
        return any(broker.end(at, Isolation.COMMITTED) < broker.end(at, Isolation.UNCOMMITTED) for at in places)

    @property
    def _numbers(self) -> range:
        return range(self.sizes.partitions)

    def _pass_time(self) -> None:
        """A few milliseconds; a leap, once nothing but time can bring anything."""
        self.clock.advance(TICKS[int(self.rng.random() * len(TICKS))])
        if self._idle >= IDLE_STEPS and self._rests():
            self._idle = 0
            self.clock.advance(LEAP_CALM if self.is_calm else LEAP)
            self._wake()
        elif self.is_calm and self.clock.monotonic() >= self._heard_at + HEARTBEAT:
            self._wake()
        self.hub.tick()

    def _wake(self) -> None:
        self._heard_at = self.clock.monotonic()
        for process in self.processes:
            process.is_idle = False

    def _rests(self) -> bool:
        """Whether nobody has anything to do before some time has passed."""
        now = self.clock.monotonic()
        return self._idle >= IDLE_STEPS_MAX or all(it.frozen_until > now or it.is_resting for it in self.processes)

    def _staff(self) -> Staff:
        return Staff(
            self.network,
            self.clock,
            self.artifacts,
            self.topics,
            self.definition,
            self.sizes,
            self.script,
            self.rng,
            self.ledger,
            self.fuses,
        )

    def _tell(self, line: str) -> None:
        assert self.told is not None
        self.told(f"{self.steps:6} {self.clock.monotonic():9.3f} {line}")

    def _apply(self) -> None:
        specs = specs_of(self.definition)
        deployment = Deployment("unit", tuple(spec.name for spec in specs.values()), (), (self.definition,))
        self.transport.admin().create([TopicSpec(OWN_TOPIC, 1)])
        self.chaos.is_over = True
        apply(self.transport, plan(self.transport, self.topics, deployment, partitions=self.sizes.partitions))
        while self.network.write_marker():
            pass
        self.chaos.is_over = False
