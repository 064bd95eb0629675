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


class Cluster:
    """Home partitions in memory, on a clock that is moved by hand."""

    def __init__(self, folder: Path, partitions: int = 1) -> None:
        self.partitions = partitions
        self.homes = [TopicPartition(TOPICS.events, number) for number in range(partitions)]
        self.clock = ManualClock()
        self.transport = MemoryTransport(self.clock)
        self.artifacts = LocalArtifacts(str(folder))
        deployment = Deployment("unit", ("a",), (), (define(node("a")),))
        apply(self.transport, plan(self.transport, TOPICS, deployment, partitions=partitions))
        self.persisted: list[list[int]] = [[] for _ in self.homes]

    def coordinator(self, slot: str, skew: timedelta) -> CoordinatorLoop:
        """A coordinator whose wall clock is wrong."""
        environment = Environment(self.transport, SkewedClock(self.clock, skew), self.artifacts)
        return CoordinatorLoop(environment, CoordinatorSettings(slot=slot), self.partitions)

    def step(self, *loops: CoordinatorLoop) -> None:
        """Two seconds in which they go on side by side."""
        for _ in range(100):
            for loop in loops:
                loop.step(0.0)
            self.clock.advance(timedelta(milliseconds=20))
            self.look()

    def look(self) -> None:
        """Note what is persisted now."""
        found = self.transport.admin().positions(TOPICS.group("coordinator"), self.homes)
        for number, at in enumerate(self.homes):
            now = decode(found[at].metadata).now_ms
            if now and self.persisted[number][-1:] != [now]:
                self.persisted[number].append(now)


def test_an_owner_whose_wall_clock_is_behind_commits_no_earlier_instant(tmp_path: Path) -> None:
    """Simulated seed 10871 hung: a coordinator whose wall clock was an hour behind committed its epoch before it had
    raised its clock to what its predecessor had persisted. It died before it ran; the next owner, behind as well,
    took the hour for granted, and a retry due in a second came due in an hour.
    """
    cluster = Cluster(tmp_path)

    for slot, skew in (("one", timedelta()), ("two", timedelta(hours=-1))):
        loop = cluster.coordinator(slot, skew)
        cluster.step(loop)
        loop.close()
        cluster.look()

    (persisted,) = cluster.persisted
    assert len(persisted) >= 3
    assert persisted == sorted(persisted)


def test_an_owner_that_is_behind_takes_over_while_another_home_goes_on(tmp_path: Path) -> None:
    """Simulated seed 110: a coordinator whose wall clock was 5 s behind kept one home over a rebalance and got another
    with it. In the step in which the first one ran again an instant was told, and the epoch of the second was
    committed with it, although the clock had been raised in between to what its last owner had persisted.
    """
    cluster = Cluster(tmp_path, partitions=5)
    ahead, behind = cluster.coordinator("a", timedelta()), cluster.coordinator("b", timedelta(seconds=-5))
    cluster.step(ahead, behind)
    before = set(behind.homes)

    cluster.step(ahead, behind, cluster.coordinator("c", timedelta()))

    assert before & set(behind.homes), "it keeps one"
    assert set(behind.homes) - before, "and gets another"
    assert cluster.persisted == [sorted(each) for each in cluster.persisted]
