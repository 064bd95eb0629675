"""Making the processes of a world: coordinators and agents as they are, on the simulated network."""

import random
from dataclasses import dataclass, replace
from datetime import timedelta

from farandole.artifacts import ArtifactStore
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop
from farandole.coordinator.loop import Environment
from farandole.definition.model import Definition
from farandole.events.topics import Topics
from farandole.runtime.handlers.environment import Environment as HandlerEnvironment
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import FusionSettings
from farandole.runtime.startup import check
from farandole.testing.generate import Script
from farandole.testing.simulation.executor import Ledger, SimExecutor, specs_of
from farandole.testing.simulation.network import Network
from farandole.testing.simulation.process import Body, Process
from farandole.testing.simulation.sizes import Sizes
from farandole.testing.simulation.transport import SimTransport, SkewedClock

FUSION = FusionSettings(timeout_max=timedelta(hours=1), p99_max=timedelta(hours=1), observed_min=0)
"""Handlers take as long as the world wants."""


@dataclass(frozen=True)
class Staff:
    """What all processes of a world have in common. `fuses`: hops are fused."""

    network: Network
    clock: ManualClock
    artifacts: ArtifactStore
    topics: Topics
    definition: Definition
    sizes: Sizes
    script: Script
    rng: random.Random
    ledger: Ledger
    fuses: bool

    def all(self) -> list[Process]:
        """Those with which the world begins."""
        return [
            *(self.one("coordinator", f"coordinator-{n}") for n in range(self.sizes.coordinators)),
            *(self.one("agent", f"agent-{n}") for n in range(self.sizes.agents)),
        ]

    def one(self, kind: str, name: str) -> Process:
        """A coordinator or an agent, not begun yet."""
        make = self._agent if kind == "agent" else self._coordinator
        return Process(name, self.network, SkewedClock(self.clock), make)

    def _coordinator(self, process: Process) -> Body:
        is_older = self.network.chaos.strikes("birth") is not None
        if is_older:
            self.network.tell(f"{process.name}: of an older version, which cannot read the definition")
        unread = self.topics.definitions if is_older else ""
        transport = SimTransport(self.network, self.sizes.poll_records, unread=unread)
        environment = Environment(transport, process.clock, self.artifacts, self.rng.random)
        loop = CoordinatorLoop(environment, self.sizes.coordinator(process.name), self.sizes.partitions)
        return Body(loop, transport, counts=lambda: {"home_went_on": loop.view.builder.measures.went_back})

    def _agent(self, process: Process) -> Body:
        transport = SimTransport(self.network, self.sizes.poll_records, self.sizes.assignor)
        made: list[SimExecutor] = []

        def executor(environment: HandlerEnvironment) -> SimExecutor:
            made.append(SimExecutor(environment, self.script, self.rng, self.ledger))
            return made[-1]

        specs = specs_of(self.definition, FUSION.timeout_max if self.fuses else None)
        layout = check(transport.admin(), self.topics, specs.values())
        surrounding = Surrounding(transport, process.clock, self.artifacts, layout, executor)
        settings = replace(self.sizes.agent(process.name), fusion=self.fuses, fusing=FUSION)
        loop = AgentLoop(specs, surrounding, settings)
        own = loop.ownership
        return Body(
            loop, transport, made[0], lambda: {"agent_missed_positions": own.went_back, "done_once_more": own.torn}
        )
