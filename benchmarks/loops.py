"""CPU of an agent's and of a coordinator's loop per run, step by step in one thread, on the log in memory.

What a process does between the client's `poll` and its `produce`: intake, dispatch, handler, reaction, planning;
reading, folding, writing. Handlers are called at once, so that no event loop is in it.
"""

import gc
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.direct import start_trigger
from farandole.client.planning import Deployment
from farandole.clock import SystemClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.definition.loading import load_unit
from farandole.definition.model import Definition
from farandole.events.avro import Schema
from farandole.events.catalogue import encode
from farandole.events.commands import StartRun
from farandole.events.outgoing import Origin, trigger_record
from farandole.events.topics import Topics
from farandole.ids import generated_run_id, partition_of
from farandole.runtime.attempts import Attempt
from farandole.runtime.handlers.calls import run_async
from farandole.runtime.handlers.inline import InlineExecutor
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.transport.memory import MemoryTransport
from farandole.transport.outgoing import new_record
from farandole.transport.port import NewRecord

CHAIN = Path(__file__).parent / "chain" / "chain.py"
HOMES = 12
RUNS, ROUNDS = 500, 7
STILL = 3
"""Steps in a row of both loops in which nothing happened: all is done."""


class Spent(NamedTuple):
    """CPU per run, µs."""

    agent: float
    coordinator: float


class AtOnce(InlineExecutor):
    """Calls an async handler that awaits nothing to its end, without an event loop."""

    def submit(self, attempt: Attempt) -> None:
        """Call it now."""
        env = self._env
        attempt.started = env.clock.monotonic()
        coroutine = run_async(attempt.spec, attempt.call, env.context(attempt), env.payloads)
        try:
            coroutine.send(None)
        except StopIteration as returned:
            attempt.ended = env.clock.monotonic()
            env.results.put(attempt, returned.value)


class Loops:
    """Both loops of the chain, applied and started, and a producer that feeds them. A context that frees all."""

    def __init__(self, *, fusion: bool) -> None:
        unit = load_unit(CHAIN)
        self.definition: Definition = unit.pipelines["chain"].definition
        self.topics = Topics("loops")
        clock = SystemClock()
        log = MemoryTransport(clock)
        deployment = Deployment("bench", tuple(spec.name for spec in unit.agents.values()), (), (self.definition,))
        apply(log, plan(log, self.topics, deployment, partitions=HOMES))
        self._stack = ExitStack()
        artifacts = LocalArtifacts(self._stack.enter_context(tempfile.TemporaryDirectory()))
        around = Surrounding(log, clock, artifacts, check(log.admin(), self.topics, unit.agents.values()), AtOnce)
        self.agent = AgentLoop(unit.agents, around, AgentSettings("bench", namespace="loops", fusion=fusion))
        chosen = CoordinatorSettings(namespace="loops")
        self.coordinator = CoordinatorLoop(Environment(log, clock, artifacts), chosen, HOMES)
        self._producer = log.producer("loops.client")
        for each in (self.agent, self.coordinator):
            self._stack.callback(each.close)
        self.settle()

    def __enter__(self) -> "Loops":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, make: Callable[[datetime], NewRecord], runs: int) -> None:
        """Write the starts of some runs."""
        for _ in range(runs):
            self._producer.send(make(datetime.now(UTC)))
        self._producer.flush(10.0)

    def settle(self) -> Spent:
        """Step both until nothing moves; seconds of CPU of each."""
        agent = coordinator = 0.0
        still = 0
        while still < STILL:
            began = time.thread_time()
            moved = self.coordinator.step(0.0)
            between = time.thread_time()
            moved |= self.agent.step(0.0)
            agent, coordinator = agent + time.thread_time() - between, coordinator + between - began
            still = 0 if moved else still + 1
        return Spent(agent, coordinator)

    def direct(self, now: datetime) -> NewRecord:
        """A run begun by its first step's trigger."""
        trigger = start_trigger(self.definition, self._params, self._run(now), now)
        assert trigger is not None
        origin = Origin("loops.client", now, definition=self.definition.hash)
        return new_record(trigger_record(self.topics, trigger, cause="", origin=origin), HOMES)

    def command(self, now: datetime) -> NewRecord:
        """A run begun by a command."""
        run = self._run(now)
        command = encode(StartRun("chain", self._params, run))
        return NewRecord(self.topics.commands, run.encode(), command, (), partition_of(run, HOMES))

    @property
    def _params(self) -> bytes:
        plain = {"parcel": {"name": "bench", "number": 1, "body": "v" * 280}}
        return Schema.parse(self.definition.params_schema).encode(plain)

    def _run(self, now: datetime) -> str:
        return generated_run_id(now, secrets.randbits(74))


def spent(*, fusion: bool) -> Spent:
    """The least of some rounds, per run: fused and begun directly, or per hop and begun by command."""
    with Loops(fusion=fusion) as it:
        make = it.direct if fusion else it.command
        it.send(make, 100)
        it.settle()
        gc.collect()
        gc.freeze()
        rounds = []
        for _ in range(ROUNDS):
            it.send(make, RUNS)
            rounds.append(it.settle())
    agent, coordinator = min(each.agent for each in rounds), min(each.coordinator for each in rounds)
    return Spent(agent / RUNS * 1e6, coordinator / RUNS * 1e6)


if __name__ == "__main__":
    for fuses in (True, False):
        print("fused, direct" if fuses else "per hop", spent(fusion=fuses))
