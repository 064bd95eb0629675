"""Everything of one seed: broker, processes, clients, faults, and the order in which they move."""

import random
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.definition.model import Definition
from farandole.events.topics import Topics
from farandole.runtime.handlers.environment import Environment as HandlerEnvironment
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings, FusionSettings
from farandole.runtime.startup import check
from farandole.testing.generate import Script, Shape, random_chain, random_definition
from farandole.testing.simulation.clients import Clients
from farandole.testing.simulation.executor import Execution, SimExecutor, specs_of
from farandole.testing.simulation.faults import NONE, PHASE_STEPS, Faults
from farandole.testing.simulation.network import Network, SimHub
from farandole.testing.simulation.process import Body, Process
from farandole.testing.simulation.transport import SimTransport, SkewedClock

SESSION = timedelta(seconds=6)
FUSION = FusionSettings(timeout_max=timedelta(hours=1), p99_max=timedelta(hours=1), observed_min=0)
"""Handlers take as long as the world wants."""

STEPS_MAX = 60_000
"""Steps after which the second phase has failed: everything must have ended (L1)."""


@dataclass
class World:
    """One seed. `trace` is a line for each thing that happened, if it is wanted."""

    seed: int
    shape: Shape = field(default_factory=lambda: Shape(steps_max=5))
    phase_steps: int = PHASE_STEPS
    fusion: bool | None = None
    """Whether hops are fused; None: the seed says."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.clock = ManualClock()
        self.hub = SimHub(self.clock)
        self.network = Network(self.hub, self.rng, Faults.drawn(self.rng))
        self.definition: Definition = random_definition(self.rng, self.shape)
        self.script = Script(self.seed, self.rng.choice((0.0, 0.2, 0.4)))
        self.topics = Topics()
        self.partitions = self.rng.choice((1, 2))
        # Drawn apart, so that the other draws of a seed stay what they were.
        self.fuses = random.Random(f"{self.seed}/fusion").random() < 0.5 if self.fusion is None else self.fusion
        chain = random.Random(f"{self.seed}/chain")
        if self.fuses and chain.random() < 0.6:
            self.definition = random_chain(chain)
        self.executions: list[Execution] = []
        self.steps = 0
        self._folder = tempfile.TemporaryDirectory(prefix="farandole-sim-")
        self.artifacts = LocalArtifacts(self._folder.name)
        self.transport = SimTransport(self.network)
        self._apply()
        self.processes = [
            *(self._process(f"coordinator-{n}", self._coordinator) for n in range(2)),
            *(self._process(f"agent-{n}", self._agent) for n in range(2)),
        ]
        self.clients = Clients(self.network, self.transport, self.topics, self.definition, self.partitions, self.clock)

    # --- the run of a seed ----------------------------------------------------------------

    def live(self) -> bool:
        """Both phases; whether everything has ended."""
        while self.steps < self.phase_steps:
            self._move()
        self.network.faults = NONE
        for process in self.processes:
            process.frozen_until = 0
            process.clock.skew = timedelta()
        limit = self.steps + STEPS_MAX
        while self.steps < limit:
            self._move()
            if self.steps % 100 == 0 and self.clients.all_ended() and self._is_quiet():
                return True
        return False

    def close(self) -> None:
        """Free the folder."""
        self._folder.cleanup()

    @property
    def rare(self) -> Counter[str]:
        """What happened, for the coverage goals."""
        return self.network.rare

    def _is_quiet(self) -> bool:
        with self.hub as broker:
            return not any(broker.transactions.unmarked())

    def _move(self) -> None:
        """One step of the world."""
        self.steps += 1
        self._pass_time()
        if self.network.faults is not NONE:
            self._harm()
        if self.rng.random() < self.network.faults.late_marker:
            self.network.write_marker()
        if self.rng.random() < 0.02:
            self.network.deliver_late()
        self.clients.move(self.steps, self.phase_steps)
        process = self.rng.choice(self.processes)
        if process.frozen_until <= self.steps:
            process.step()

    def _pass_time(self) -> None:
        """A few milliseconds; now and then nothing happens for long."""
        self.clock.advance(timedelta(milliseconds=self.rng.choice((1, 5, 20, 60))))
        if self.rng.random() < self.network.faults.leap:
            self.clock.advance(timedelta(seconds=self.rng.choice((2, 8, 30))))
            self.rare["leap"] += 1

    def _harm(self) -> None:
        faults, process = self.network.faults, self.rng.choice(self.processes)
        if self.rng.random() < faults.crash:
            self.rare["crash"] += 1
            process.kill()
        if self.rng.random() < faults.pause:
            self.rare["pause"] += 1
            process.frozen_until = self.steps + self.rng.choice((50, 400, 1200))
        if self.rng.random() < faults.leave:
            self.rare["leave"] += 1
            process.leave()
        if self.rng.random() < faults.pause:
            process.clock.skew = timedelta(seconds=self.rng.choice((-3600, -5, 5, 3600)))

    # --- processes ------------------------------------------------------------------------

    def _process(self, name: str, make: object) -> Process:
        return Process(name, self.network, SkewedClock(self.clock), make)  # type: ignore[arg-type]

    def _coordinator(self, process: Process) -> Body:
        transport = SimTransport(self.network)
        settings = CoordinatorSettings(slot=process.name, session_timeout=SESSION, watch_every=timedelta(seconds=20))
        environment = Environment(transport, process.clock, self.artifacts, self.rng.random)
        return Body(CoordinatorLoop(environment, settings, self.partitions), transport)

    def _agent(self, process: Process) -> Body:
        transport = SimTransport(self.network)
        body = Body.__new__(Body)

        def executor(environment: HandlerEnvironment) -> SimExecutor:
            body.executor = SimExecutor(environment, self.script, self.rng, self.executions, self.rare)
            return body.executor

        specs = specs_of(self.definition, FUSION.timeout_max if self.fuses else None)
        layout = check(transport.admin(), self.topics, specs.values())
        surrounding = Surrounding(transport, process.clock, self.artifacts, layout, executor)
        body.transport = transport
        fusion = FUSION if self.fuses else None
        settings = AgentSettings("unit", slot=process.name, session_timeout=SESSION, fusion=fusion)
        body.loop = AgentLoop(specs, surrounding, settings)
        return body

    def _apply(self) -> None:
        specs = specs_of(self.definition)
        deployment = Deployment("unit", tuple(spec.name for spec in specs.values()), (), (self.definition,))
        transport = SimTransport(self.network)
        faults, self.network.faults = self.network.faults, NONE
        apply(transport, plan(transport, self.topics, deployment, partitions=self.partitions))
        while self.network.write_marker():
            pass
        self.network.faults = faults
