"""What older versions wrote: this one reads it, finds nothing wrong with it, rebuilds it, and goes on with its runs."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.artifacts import LocalArtifacts
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.definition.loading import load_unit
from farandole.events import facts
from farandole.events.catalogue import encode, type_name
from farandole.events.commands import ReplayDeadLetter
from farandole.events.envelope import Envelope
from farandole.ids import partition_of
from farandole.runtime.handlers.inline import InlineExecutor
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.testing.history import History, check_history, collect
from farandole.testing.recording import play, record, recorded_at
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord

HERE = Path(__file__).parent / "topics"
REPOSITORY = Path(__file__).parents[2]
RECORDED = sorted(HERE.glob("*/*.jsonl.gz"))
ORDERS = [path for path in RECORDED if path.name.startswith("orders")]
IDS = [f"{path.parent.name}-{path.name.split('.')[0]}" for path in RECORDED]

OWN = ("payments.settled",)


def played(path: Path) -> tuple[MemoryTransport, ManualClock]:
    """The log of a recording, at its time."""
    clock = ManualClock(recorded_at(path.read_bytes()))
    return play(path.read_bytes(), clock), clock


def outcomes(history: History) -> Counter[str]:
    return Counter(each.content.outcome for each in history.events if isinstance(each.content, facts.RunSettled))


@pytest.mark.parametrize("path", RECORDED, ids=IDS)
def test_recorded_topics_are_read_and_verified(path: Path) -> None:
    transport, clock = played(path)

    history = collect(transport, own=OWN, clock=clock)

    assert [entry.reason for entry in (*history.events, *history.settled) if entry.reason] == []
    assert check_history(history) == []
    assert outcomes(history)["succeeded"] >= 1


@pytest.mark.parametrize("path", RECORDED, ids=IDS)
def test_a_recording_is_what_was_recorded(path: Path) -> None:
    transport, clock = played(path)
    with transport.hub as broker:
        names = sorted(broker.topics)

    again = record(transport, names, ["farandole.coordinator", "farandole.harness"], now=clock.now(), note="again")

    first, second = (collect(play(each, clock), own=OWN, clock=clock) for each in (path.read_bytes(), again))
    assert (first.events, first.runs, first.spans, first.committed) == (
        second.events,
        second.runs,
        second.spans,
        second.committed,
    )


class Going:
    """Today's coordinator and agents on a played log."""

    def __init__(self, transport: MemoryTransport, clock: ManualClock, folder: Path) -> None:
        artifacts = LocalArtifacts(folder)
        unit = load_unit(REPOSITORY / "agents" / "orders")
        self.transport, self.clock = transport, clock
        environment = Environment(transport, clock, artifacts, lambda: 0.0)
        self.coordinator = CoordinatorLoop(environment, CoordinatorSettings(), 2)
        self.topics = CoordinatorSettings().topics
        layout = check(transport.admin(), self.topics, unit.agents.values())
        surrounding = Surrounding(transport, clock, artifacts, layout, InlineExecutor)
        self.agents = AgentLoop(unit.agents, surrounding, AgentSettings("harness", slot="later"))

    def live(self, span: timedelta) -> None:
        """Step everybody while time passes."""
        end = self.clock.now() + span
        while self.clock.now() < end:
            for _ in range(20):
                self.coordinator.step(0.0)
                self.agents.step(0.0)
            self.clock.advance(timedelta(milliseconds=100))

    def replay(self, run: str, step: str, attempt: int) -> None:
        """Ask for a replay of a dead letter."""
        command = ReplayDeadLetter(run, step, attempt, "later", None)
        envelope = Envelope("later/1", type_name(ReplayDeadLetter), "later", self.clock.now(), run=run)
        producer = self.transport.producer("later")
        home = partition_of(run, 2)
        producer.send(NewRecord(self.topics.commands, run.encode(), encode(command), envelope.headers(), home))
        producer.close()

    def close(self) -> None:
        self.agents.close()
        self.coordinator.close()


@pytest.fixture(params=ORDERS, ids=[path.parent.name for path in ORDERS])
def going(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Going]:
    made = Going(*played(request.param), tmp_path)
    yield made
    made.close()


def test_runs_of_an_older_version_go_on_and_end(going: Going) -> None:
    """One waits for its retry, one for a person: state, timers and positions are those that the older version wrote."""
    before = collect(going.transport, own=OWN, clock=going.clock)
    alive = {e.envelope.run for e in before.events if e.envelope} - {
        e.content.run for e in before.events if isinstance(e.content, facts.RunSettled)
    }
    assert len(alive) == 2

    going.live(timedelta(seconds=10))
    held = next(e.content for e in before.events if isinstance(e.content, facts.RunHeld))
    going.replay(held.run, held.step, 1)
    going.live(timedelta(seconds=10))

    after = collect(going.transport, own=OWN, clock=going.clock)
    assert outcomes(after) == Counter(succeeded=5)
    assert check_history(after) == []
