"""A whole deployment in threads of this process, on any transport: topics applied, coordinator, agents.

    with InProcess(transport, [orders], namespace=unique, folder=tmp_path) as cluster:
        with SyncClient(transport, cluster.namespace) as client:
            client.start(orders, order).result("10s")

Real time and real concurrency, unlike the harness: for what must be seen on a real log.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import SystemClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.definition.pipelines import Pipeline
from farandole.definition.spec import AgentSpec
from farandole.events.topics import Topics
from farandole.kernel.decision import DEDUPE_WINDOW
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.testing.threads import Loop, Threads
from farandole.transport.port import Transport

PARTITIONS = 3
"""Enough that placement matters, few enough that a broker makes the topics quickly."""


class InProcess:
    """One unit with the agents of some pipelines, `units` loops of it, and one coordinator."""

    def __init__(
        self,
        transport: Transport,
        pipelines: Sequence[Pipeline[..., object]],
        *,
        namespace: str,
        folder: Path,
        unit: str = "tests",
        partitions: int = PARTITIONS,
        units: int = 1,
        dedupe_window: timedelta = DEDUPE_WINDOW,
    ) -> None:
        self.transport = transport
        self.namespace = namespace
        self.topics = Topics(namespace)
        self.artifacts = LocalArtifacts(folder / "artifacts")
        self.agents: Mapping[str, AgentSpec] = {
            name: spec for pipeline in pipelines for name, spec in pipeline.agents.items()
        }
        deployment = Deployment(
            unit,
            tuple(self.agents),
            tuple(sorted({topic for spec in self.agents.values() for topic in spec.publishes})),
            tuple(pipeline.definition for pipeline in pipelines),
        )
        apply(transport, plan(transport, self.topics, deployment, partitions=partitions))
        self._threads = Threads(
            [self._coordinator(partitions, dedupe_window), *(self._agents(unit, n) for n in range(units))]
        )

    def _coordinator(self, partitions: int, dedupe_window: timedelta) -> Loop:
        settings = CoordinatorSettings(self.namespace, dedupe_window=dedupe_window)
        return CoordinatorLoop(Environment(self.transport, SystemClock(), self.artifacts), settings, partitions)

    def _agents(self, unit: str, number: int) -> Loop:
        admin = self.transport.admin()
        layout = check(admin, self.topics, self.agents.values())
        admin.close()
        given = Surrounding(self.transport, SystemClock(), self.artifacts, layout)
        return AgentLoop(self.agents, given, AgentSettings(unit, self.namespace, str(number)))

    def check(self) -> None:
        """Raise the error that ended a loop, if one did."""
        self._threads.check()

    def __enter__(self) -> Self:
        self._threads.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.__exit__(kind, error, trace)
        if error is None:
            self.check()
