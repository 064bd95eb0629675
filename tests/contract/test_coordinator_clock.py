"""The instants that coordinators persist: one of the log, whoever owns it (DESIGN section 8)."""

from datetime import timedelta
from pathlib import Path

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.events.topics import Topics
from farandole.testing.simulation.transport import SkewedClock
from farandole.testing.sketch import define, node
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import decode
from farandole.transport.port import TopicPartition

TOPICS = Topics()
EVENTS = TopicPartition(TOPICS.events, 0)


class Cluster:
    """One home partition in memory, on a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.transport = MemoryTransport(self.clock)
        self.artifacts = LocalArtifacts(str(folder))
        deployment = Deployment("unit", ("a",), (), (define(node("a")),))
        apply(self.transport, plan(self.transport, TOPICS, deployment, partitions=1))
        self.persisted: list[int] = []

    def coordinate(self, slot: str, skew: timedelta) -> None:
        """A coordinator takes the home over, stays for a few seconds, and leaves in order."""
        clock = SkewedClock(self.clock, skew)
        environment = Environment(self.transport, clock, self.artifacts)
        loop = CoordinatorLoop(environment, CoordinatorSettings(slot=slot), 1)
        for _ in range(100):
            loop.step(0.0)
            self.clock.advance(timedelta(milliseconds=20))
            self._look()
        loop.close()
        self._look()

    def _look(self) -> None:
        position = self.transport.admin().positions(TOPICS.group("coordinator"), [EVENTS])[EVENTS]
        now = decode(position.metadata).now_ms
        if now and self.persisted[-1:] != [now]:
            self.persisted.append(now)


def test_an_owner_whose_wall_clock_is_behind_commits_no_earlier_instant(tmp_path: Path) -> None:
    """Simulated seed 10871 hung: a coordinator whose wall clock was an hour behind committed its epoch before it had
    raised its clock to what its predecessor had persisted. It died before it ran; the next owner, behind as well,
    took the hour for granted, and a retry due in a second came due in an hour.
    """
    cluster = Cluster(tmp_path)

    cluster.coordinate("one", timedelta())
    cluster.coordinate("two", timedelta(hours=-1))

    assert len(cluster.persisted) >= 3
    assert cluster.persisted == sorted(cluster.persisted)
