"""What the stage and the injections insist on, with processes that need no broker."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import cast

import pytest

from farandole.events.topics import Topics
from farandole.testing.broker import Broker
from farandole.testing.chaos.dying import HANDLER
from farandole.testing.chaos.faults import start_twice, storm
from farandole.testing.chaos.load import Load
from farandole.testing.chaos.stage import Actor, Plan, Stage
from farandole.testing.cluster import Cluster, NotYet, wait_until

SOON = timedelta(seconds=20)

WAITS = "import signal; print('up', flush=True); signal.pause()"
CRASHES = """
import sys, time
from pathlib import Path
while not Path(sys.argv[1]).exists(): time.sleep(0.01)
sys.exit(3)
"""
KILLED_UNASKED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
DIES = """
import sys, time
from pathlib import Path
from farandole.testing.chaos.dying import HANDLER, prepare, reach
prepare(Path(sys.argv[1]), Path("unused"))
while True: reach(HANDLER); time.sleep(0.01)
"""
ENDS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({}))
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Processes without a broker."""
    with Cluster("nowhere:1", "ns", tmp_path) as it:
        yield it


class NoControl:
    """Nobody runs it."""

    def stop(self) -> None:
        """Nothing stops."""

    def kill(self) -> None:
        """Nothing dies."""

    def restart(self) -> None:
        """Nothing starts."""


class Bare(Stage):
    """A stage without a broker: nobody has a transaction."""

    def is_open(self, actor: Actor) -> bool:
        """Nobody could say."""
        return False


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """One that nobody has come to."""
    with Bare(Broker("nowhere:1", "none", NoControl()), "ns", tmp_path, Plan()) as it:
        yield it


def actor(cluster: Cluster, code: str, slot: str = "a1") -> Actor:
    """A process with that program, which is given the file of its orders."""
    orders = cluster.folder / f"{slot}.orders"
    process = cluster.spawn(slot, [sys.executable, "-c", code, str(orders)])
    return Actor("canary", slot, f"ns.canary.{slot}", process, orders)


def test_process_that_dies_as_it_was_told_is_an_injected_kill(cluster: Cluster, stage: Stage) -> None:
    assert not stage.die(actor(cluster, DIES), HANDLER, SOON)


@pytest.mark.parametrize("code", [CRASHES, KILLED_UNASKED])
def test_process_that_ends_by_itself_is_no_injected_kill(code: str, cluster: Cluster, stage: Stage) -> None:
    """A crash counted as the kill that had been ordered, and the restart after it hid it."""
    with pytest.raises(AssertionError, match="expected it to die in the handler by SIGKILL, but it ended with"):
        stage.die(actor(cluster, code), HANDLER, SOON)


def test_end_that_was_asked_for_and_is_not_orderly_is_told(cluster: Cluster, stage: Stage) -> None:
    """Exit codes were thrown away: an agent that ends with an error when it is asked to end was as good as any."""
    good, bad = actor(cluster, ENDS.format(0)), actor(cluster, ENDS.format(3), "a2")
    for each in (good, bad):
        wait_until(each.process.said, SOON, "a first word")
    stage.stop([good])

    with pytest.raises(AssertionError, match=r"expected orderly ends, but found \{'a2': 3\}"):
        stage.stop([bad])


class Lonely:
    """A stage whose guest starts and never joins."""

    def __init__(self, cluster: Cluster) -> None:
        self.dice = Random(0)
        self.settled: dict[str, float] = {}
        self.notes: list[str] = []
        self._cluster = cluster

    def add(self, slot: str) -> Actor:
        """It says that it is up, and no more."""
        return actor(self._cluster, WAITS)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """One look."""
        wait_until(condition, timedelta(), what)


def test_storm_of_rebalances_whose_guest_never_joins_fails(cluster: Cluster) -> None:
    """It was killed every two seconds, which is less than a start takes, and nobody looked whether it had joined."""
    with pytest.raises(NotYet, match="a1 to join 1 times"):
        list(storm(cast(Stage, Lonely(cluster))))


class Follower:
    """A load of which each run that is named has ended by now."""

    def __init__(self, settled: dict[str, float]) -> None:
        self.acknowledged = dict.fromkeys(settled, 20.0)
        self.settled = settled

    def under_way(self, instant: float) -> set[str]:
        """All of them, from when they were acknowledged until they ended."""
        return {run for run, at in self.acknowledged.items() if at <= instant < self.settled[run]}

    def start(self, count: int) -> list[str]:
        """They end at once."""
        return list(self.settled)[:count]

    def close(self) -> None:
        """Nothing is followed."""


def test_recovery_waits_for_the_runs_that_an_injection_names(stage: Stage) -> None:
    """F17's thousand were acknowledged after the instant from which recovery counts: they were not waited for."""
    stage.load = cast(Load, Follower({"probe": 21.0, "burst": 90.0}))

    unnamed, named = stage.recovery(10.0, probes=1), stage.recovery(10.0, ("burst",), probes=1)

    assert (unnamed, named) == (11.0, 80.0)


class Repeating:
    """A load that has started runs, and goes on."""

    def __init__(self, *, hears: bool) -> None:
        self.acknowledged = dict.fromkeys((f"canary-{n}" for n in range(100)), 1.0)
        self.repeated: set[str] = set()
        self._hears = hears

    def double(self) -> None:
        """Send all again."""
        if self._hears:
            self.repeated |= self.acknowledged.keys()


class Twice:
    """A stage with that load."""

    def __init__(self, load: Repeating) -> None:
        self.load = load
        self.notes: list[str] = []

    def until(self, condition: Callable[[], object], what: str) -> None:
        """One look."""
        wait_until(condition, timedelta(), what)


def test_every_start_is_sent_twice_and_not_the_last_forty() -> None:
    """The table said every start, and the code sent the last 40, or fewer, once more."""
    good, deaf = Repeating(hears=True), Repeating(hears=False)

    hits = list(start_twice(cast(Stage, Twice(good))))
    with pytest.raises(NotYet, match="all of 100 starts to be acknowledged twice"):
        list(start_twice(cast(Stage, Twice(deaf))))

    assert len(hits) == 1
    assert good.repeated == good.acknowledged.keys()


def test_load_that_doubles_leaves_no_start_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was under way when it began: each start is among those so far, or one that is sent twice."""
    sent = Counter[str]()
    monkeypatch.setattr(Load, "_send", lambda self, run, pipeline, number: sent.update([run]))
    for thread in ("_write", "_follow"):
        monkeypatch.setattr(Load, thread, lambda self: None)
    load = Load("127.0.0.1:1", Topics("ns"), 4, 1)
    try:
        early = load.start(3)
        load.double()
        late = load.start(2, "poison")
    finally:
        load.close()

    assert (early, late) == (["canary-1", "canary-2", "canary-3"], ["poison-4", "poison-5"])
    assert [sent[run] for run in (*early, *late)] == [2, 2, 2, 2, 2]
