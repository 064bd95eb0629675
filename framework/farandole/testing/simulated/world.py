"""One world: the real coordinator and two processes with the user's agents, on a simulated broker, after a plan."""

import asyncio
import random
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.definition.pipelines import Pipeline
from farandole.events.topics import Topics
from farandole.runtime.handlers.environment import Environment as HandlerEnvironment
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.testing.simulated.caller import START_WITHIN, Caller, Start
from farandole.testing.simulated.executor import Held, Journal, PipelineExecutor
from farandole.testing.simulated.plan import FAULT_STEPS, Blow, Harm, Kind, Plan
from farandole.testing.simulated.seen import Seen
from farandole.testing.simulated.story import Story, step_text
from farandole.testing.simulated.virtual_loop import VirtualLoop
from farandole.testing.simulated.waiting import IDLE_STEPS, IDLE_STEPS_MAX, LEAP, silence_of
from farandole.testing.simulation.faults import GROUPS, Chaos
from farandole.testing.simulation.network import Network, SimHub
from farandole.testing.simulation.process import Body, Process
from farandole.testing.simulation.transport import SimTransport, SkewedClock
from farandole.transport.port import Isolation, Record, TopicPartition

SESSION = timedelta(seconds=6)
COORDINATOR = "coordinator"
NAMES = ("agents-1", "agents-2", COORDINATOR)
STEPS_MAX = 30_000
"""Steps in which something moved after which a run counts as stuck: a hundred times what it takes."""

AFTERMATH_MAX = 2_000
"""Steps in which handlers that are still under way come to their end after all runs have ended."""

LATE_MARKER = 0.3
"""How often a marker is written at a step while answers are lost."""

DrawParams = Callable[[random.Random], tuple[Mapping[str, object], bytes]]
"""What a run is started with, as the user wrote it and framed."""


def rates(kinds: Collection[Kind]) -> dict[str, float]:
    """Which faults the network has: answers of calls are lost where doubt was asked for."""
    none = {kind: 0.0 for group in GROUPS.values() for kind in group}
    return {**none, "reply": 0.03} if Kind.DOUBT in kinds else none


@dataclass
class PipelineWorld:
    """A world lives once."""

    pipeline: Pipeline[..., object]
    plan: Plan
    params: DrawParams
    story: Story = field(default_factory=Story)

    def __post_init__(self) -> None:
        # First, for what the author draws them with may fail, and nobody would close what was made before.
        starts = sorted(map(self._start, range(1, self.plan.runs + 1)), key=lambda each: each.step)
        self.rng = random.Random(self.plan.seed)
        self.clock = ManualClock()
        self.chaos = Chaos(self.plan.seed, rates(self.plan.kinds))
        self.network = Network(SimHub(self.clock), self.rng, self.chaos)
        self.topics, self.partitions, self.steps = Topics(), 2, 0
        self._moved = self._idle = 0
        self._handlers_until = 0.0
        """When the last of the handlers that were under way hands over its result."""

        self._silence_s = silence_of(self.pipeline.definition).total_seconds()
        self._blows = list(self.plan.blows)
        self.journal = Journal(self._tell, self.clock)
        self._folder = tempfile.TemporaryDirectory(prefix="farandole-simulated-")
        self.artifacts = LocalArtifacts(self._folder.name)
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._apply()
        makers = (self._agents, self._agents, self._coordinator)
        self.processes = [
            Process(name, self.network, SkewedClock(self.clock), make) for name, make in zip(NAMES, makers, strict=True)
        ]
        self.caller = Caller(
            self.pipeline,
            SimTransport(self.network),
            self.topics,
            self.partitions,
            self.clock,
            self.artifacts,
            self.story,
            random.Random(f"caller/{self.plan.seed}"),
            starts,
        )

    def live(self) -> Seen:
        """From the first start to the end of every handler; runs that never end have no outcome."""
        while self._moved < STEPS_MAX and not self.caller.has_all_ended and not self._is_silent:
            self._move()
        for process in self.processes:
            self._thaw(process)
        limit = self.steps + AFTERMATH_MAX
        while self.steps < limit and any(self._held(each) for each in self.processes):
            self._move()
        calls = self.journal.calls
        repeated = len(calls) - len({key for _, key in calls})
        return Seen(list(self.caller.runs.values()), self.journal.effects, len(calls), repeated, self._read)

    def close(self) -> None:
        """Free the folder and the event loop."""
        self.caller.close()
        self._runner.close()
        self._folder.cleanup()

    # --- the order of things --------------------------------------------------------------

    def _move(self) -> None:
        self.steps += 1
        self.clock.advance(timedelta(milliseconds=self.rng.choice((1, 5, 20, 60))))
        if self._awaits_time():
            self._leap()
        if self.steps < FAULT_STEPS:
            self._harm()
        elif self.steps == FAULT_STEPS:
            self.chaos.is_over = True
            for process in self.processes:
                process.clock.skew = timedelta()
        self.network.hub.tick()
        if self.chaos.is_over or Kind.DOUBT not in self.plan.kinds or self.rng.random() < LATE_MARKER:
            self.network.write_marker()
        if self.rng.random() < 0.02:
            self.network.deliver_late()
        self.caller.move(self.steps)
        process = self.rng.choice(self.processes)
        if process.frozen_until <= self.steps:
            self._thaw(process)
            did = self._step(process)
            self._moved += did
            self._idle = 0 if did else self._idle + 1

    @property
    def _is_silent(self) -> bool:
        """Whether all that was to come has come, and long after it nothing has."""
        until = self.clock.monotonic() - self._silence_s
        if self.steps <= FAULT_STEPS or max(self.caller.waits_until, self._handlers_until) > until:
            return False
        dues = [held.due for process in self.processes for held in self._held(process)]
        self._handlers_until = max(dues, default=0.0)
        return self._handlers_until <= until

    def _awaits_time(self) -> bool:
        """Whether faults are over and nothing but time can bring anything, as far as anybody knows."""
        if self._idle < IDLE_STEPS or self.steps <= FAULT_STEPS or self.caller.is_about_to_act:
            return False
        if any(process.frozen_until for process in self.processes):
            return False  # it is frozen for a number of steps
        return self._idle >= IDLE_STEPS_MAX or all(process.is_resting for process in self.processes)

    def _leap(self) -> None:
        self._idle = 0
        self.clock.advance(LEAP)
        for process in self.processes:
            process.is_idle = False

    def _harm(self) -> None:
        for blow in [each for each in self._blows if each.step <= self.steps]:
            process = self.processes[blow.process]
            if not blow.aimed or process.name == COORDINATOR or any(self._held(process)):
                self._blows.remove(blow)
                self._strike(blow, process)
        if Kind.LEAP in self.plan.kinds and self.rng.random() < 0.002:
            seconds = self.rng.choice((2, 8, 30))
            self.clock.advance(timedelta(seconds=seconds))
            self._tell("time", f"{seconds} s pass in which nothing happens", "")
        if Kind.CLOCK in self.plan.kinds and self.rng.random() < 0.003:
            process, seconds = self.rng.choice(self.processes), self.rng.choice((-3600, -5, 5, 3600))
            process.clock.skew = timedelta(seconds=seconds)
            self._tell(process.name, f"has a wall clock that is {seconds:+} s wrong", "")

    def _strike(self, blow: Blow, process: Process) -> None:
        if process.body is None:
            return
        lost = ", ".join(self._unfinished(process.name))
        match blow.harm:
            case Harm.KILL:
                self._tell(process.name, f"is killed{f', before {lost} was committed' if lost else ''}", "")
                process.kill()
            case Harm.STOP:
                self._tell(process.name, "is stopped in order, and started again", "")
                process.leave()
            case Harm.FREEZE:
                self._tell(process.name, f"stands still{f', before {lost} was committed' if lost else ''}", "")
                process.frozen_until = self.steps + blow.steps

    def _thaw(self, process: Process) -> None:
        if process.frozen_until:
            process.frozen_until = 0
            self._tell(process.name, "goes on", "")

    def _step(self, process: Process) -> bool:
        exits = len(process.exits)
        moved = process.step()
        for reason in process.exits[exits:]:
            self._tell(process.name, f"ends itself and is started again: {reason}", "")
        return moved

    def _unfinished(self, name: str) -> list[str]:
        """What a process has called handlers for, and nobody knows of yet."""
        keys = dict.fromkeys(key for who, key in self.journal.calls if who == name)
        return [step_text(*key[:3]) for key in keys if key not in self.caller.reported]

    def _held(self, process: Process) -> list[Held]:
        """Attempts that a process has under way."""
        executor = process.body.executor if process.body else None
        return executor.held if isinstance(executor, PipelineExecutor) else []

    def _tell(self, who: str, what: str, run: str) -> None:
        self.story.tell(timedelta(seconds=self.clock.monotonic()), who, what, run)

    # --- making ---------------------------------------------------------------------------

    def _start(self, n: int) -> Start:
        rng = random.Random(f"run/{self.plan.seed}/{n}")
        given, framed = self.params(rng)
        return Start(rng.randrange(START_WITHIN) if n > 1 else 0, f"run-{n}", given, framed)

    def _coordinator(self, process: Process) -> Body:
        transport = SimTransport(self.network)
        settings = CoordinatorSettings(slot=process.name, session_timeout=SESSION, watch_every=timedelta(seconds=20))
        environment = Environment(transport, process.clock, self.artifacts, self.rng.random)
        return Body(CoordinatorLoop(environment, settings, self.partitions), transport)

    def _agents(self, process: Process) -> Body:
        transport = SimTransport(self.network)
        made: list[PipelineExecutor] = []

        def executor(environment: HandlerEnvironment) -> PipelineExecutor:
            made.append(PipelineExecutor(process.name, environment, self.plan, self.rng, self.journal, self._runner))
            return made[-1]

        specs = self.pipeline.agents
        layout = check(transport.admin(), self.topics, specs.values())
        surrounding = Surrounding(transport, process.clock, self.artifacts, layout, executor)
        loop = AgentLoop(specs, surrounding, AgentSettings("unit", slot=process.name, session_timeout=SESSION))
        return Body(loop, transport, made[-1])

    def _apply(self) -> None:
        specs = self.pipeline.agents.values()
        own = tuple(sorted({topic for spec in specs for topic in spec.publishes}))
        deployment = Deployment("unit", tuple(spec.name for spec in specs), own, (self.pipeline.definition,))
        transport = SimTransport(self.network)
        self.chaos.is_over = True
        apply(transport, plan(transport, self.topics, deployment, partitions=self.partitions))
        while self.network.write_marker():
            pass
        self.chaos.is_over = False

    def _read(self, topic: str) -> list[Record]:
        out: list[Record] = []
        with self.network.hub as broker:
            for number in range(broker.partitions(topic)):
                at, position = TopicPartition(topic, number), 0
                while True:
                    found, after = broker.read(at, position, 1000, Isolation.COMMITTED)
                    out += found
                    if after == position:
                        break
                    position = after
        return out
