"""The whole of farandole in one thread on virtual time: log, coordinator, agents.

Nothing sleeps. `settle` steps everybody until nothing moves, and then moves the clock to the
next instant that somebody waits for, as long as it is within the horizon.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.definition.model import Definition
from farandole.definition.spec import AgentSpec
from farandole.events.topics import Topics
from farandole.runtime.handlers.environment import Environment as HandlerEnvironment
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.testing.harness.executor import ScriptedExecutor
from farandole.testing.harness.script import Script
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord, Record, TopicPartition

PARTITIONS = 2
"""Enough that placement matters, few enough to be quick."""

STEPS_MAX = 1_000_000
"""Steps after which something is wrong: a run that never comes to rest would step for ever."""


class DoesNotSettle(AssertionError):
    """Everybody kept moving without an end in sight: a defect of ours, or a pipeline that never rests."""


@dataclass
class Stage:
    """One namespace in memory. `epsilon` is the least that the clock moves, so that every wait ends."""

    definition: Definition
    agents: Mapping[str, AgentSpec]
    script: Script = field(default_factory=Script)
    clock: ManualClock = field(default_factory=ManualClock)
    epsilon: timedelta = timedelta(milliseconds=1)

    def __post_init__(self) -> None:
        self.topics = Topics()
        self.transport = MemoryTransport(self.clock)
        folder = tempfile.mkdtemp(prefix="farandole-harness-")
        # A TemporaryDirectory warns where nobody closes the harness, and a test of one line does not.
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.artifacts = LocalArtifacts(folder)
        deployment = Deployment(
            "harness",
            tuple(spec.name for spec in self.agents.values()),
            tuple(sorted({topic for spec in self.agents.values() for topic in spec.publishes})),
            (self.definition,),
        )
        apply(self.transport, plan(self.transport, self.topics, deployment, partitions=PARTITIONS))
        self.coordinator = CoordinatorLoop(
            Environment(self.transport, self.clock, self.artifacts, lambda: 0.0), CoordinatorSettings(), PARTITIONS
        )
        layout = check(self.transport.admin(), self.topics, self.agents.values())
        self.executor: ScriptedExecutor
        surrounding = Surrounding(self.transport, self.clock, self.artifacts, layout, self._executor)
        self.unit = AgentLoop(self.agents, surrounding, AgentSettings("harness"))
        self._producer = self.transport.producer("harness.client")
        self._reader = self.transport.reader("harness.events")
        self._reader.assign({TopicPartition(self.topics.events, n): -2 for n in range(PARTITIONS)})
        self.records: list[Record] = []
        """Everything that stands on `events`, in the order in which it was read."""

    def _executor(self, environment: HandlerEnvironment) -> ScriptedExecutor:
        self.executor = ScriptedExecutor(environment, self.script)
        return self.executor

    def send(self, record: NewRecord) -> None:
        """Write a record as a client would."""
        self._producer.send(record)
        self._producer.flush(1.0)

    def settle(self, horizon: timedelta, enough: Callable[[], bool] = lambda: False) -> None:
        """Go on until nobody has anything to do before `horizon` from now, or it is `enough`.

        The clock stops at the last that was done.

        Raises:
            DoesNotSettle: it never comes to rest.
        """
        until = self.clock.now() + horizon
        for _ in range(STEPS_MAX):
            moved = self.coordinator.step(0.0)
            moved |= self.unit.step(0.0)
            moved |= self._read()
            if moved:
                continue
            due = self._next_due()
            if due is None or due > until or enough():
                return
            self.clock.advance(max(due - self.clock.now(), self.epsilon))
        raise DoesNotSettle(f"{self.definition.name}: still moving after {STEPS_MAX} steps")

    def pass_time(self, by: timedelta) -> None:
        """Live through `by`, everything that comes due on the way included."""
        end = self.clock.now() + by
        self.settle(by)
        self.clock.advance(max(end - self.clock.now(), timedelta()))
        self.settle(timedelta())

    def close(self) -> None:
        """Free everything."""
        self.unit.close()
        self.coordinator.close()
        self._reader.close()
        self._producer.close()
        self._remove_folder()

    def _next_due(self) -> datetime | None:
        dues = [due for due in (self.coordinator.next_due(), self.unit.next_due()) if due is not None]
        return min(dues, default=None)

    def _read(self) -> bool:
        found = [item for item in self._reader.poll(0.0) if isinstance(item, Record)]
        self.records += found
        return bool(found)
