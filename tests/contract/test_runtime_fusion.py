"""Hop fusion on a log in memory: when a successor runs at once, what is written then, and what forbids it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from farandole import Context, agent, pipeline
from farandole.artifacts import LocalArtifacts
from farandole.clock import ManualClock
from farandole.definition.agents import Agent
from farandole.definition.pipelines import Pipeline
from farandole.errors import TerminalStepError
from farandole.events.avro import Schema
from farandole.events.catalogue import decode, encode
from farandole.events.facts import AgentFact, StepFailed, StepSucceeded
from farandole.events.outgoing import Origin, Trigger, trigger_record
from farandole.events.tables import RunControl
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.lineage.entries import Entry, from_record
from farandole.lineage.graph import Lineage
from farandole.lineage.tree import tree_of
from farandole.runtime.handlers.inline import InlineExecutor
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings, FusionSettings
from farandole.runtime.startup import check
from farandole.testing.simulation.executor import OWN_TOPIC
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata
from farandole.transport.metadata import encode as encode_metadata
from farandole.transport.outgoing import new_record
from farandole.transport.port import NewRecord, Position, Record, TopicPartition, TopicSpec
from farandole.transport.topology import agent_topics, system_topics

P = 2
TOPICS = Topics()
GROUP = TOPICS.group("unit")
EAGER = FusionSettings(observed_min=0)


@dataclass(frozen=True, slots=True)
class Number:
    """What is passed on."""

    n: int


@agent(timeout="5s", publishes=[OWN_TOPIC])
def one(ctx: Context, number: Number) -> Number:
    """Adds one, and says so."""
    ctx.publish(OWN_TOPIC, b"one", key="k")
    return Number(number.n + 1)


@agent(timeout="5s")
def two(number: Number) -> Number:
    """Adds two."""
    return Number(number.n + 2)


@agent(timeout="5s")
def three(number: Number) -> Number:
    """Adds three, unless it is asked for too much."""
    if number.n > 100:
        raise TerminalStepError("too much")
    return Number(number.n + 3)


@pipeline(owner="tests@example.org")
def row(number: Number) -> Number:
    """Three in a row."""
    return three(two(one(number)))


class World:
    """A namespace in memory with one pipeline, and processes of its unit."""

    def __init__(self, folder: Path, chain: Pipeline[..., Any] = row, *, clean: bool = True) -> None:
        self.clock, self.chain = ManualClock(), chain
        self.transport = MemoryTransport(self.clock)
        self.agents = {spec.name: spec for spec in chain.agents.values()}
        self.artifacts = LocalArtifacts(folder)
        self.admin = self.transport.admin()
        self.producer = self.transport.producer("test")
        own = [TopicSpec(OWN_TOPIC, 1)]
        self.admin.create([*system_topics(TOPICS, P), *agent_topics(TOPICS, self.agents, P), *own])
        metadata = "" if clean else encode_metadata(Metadata("farandole.unit.9", 1, 3, False))
        places = [TopicPartition(TOPICS.inbox(name), n) for name in self.agents for n in range(P)]
        self.admin.start_positions(GROUP, {at: Position(0, metadata) for at in places})
        definition = chain.definition
        self.send(NewRecord(TOPICS.definitions, definition.hash.encode(), definition.to_json().encode()))

    def send(self, record: NewRecord) -> None:
        self.producer.send(record)
        self.producer.flush(1.0)

    def trigger(self, run: str, n: int = 0, **more: Any) -> None:
        """The trigger of `one`, as the coordinator writes it."""
        given = Schema.parse(self.agents["one"].input_schema).encode({"n": n})
        origin = Origin("test", self.clock.now(), definition=self.chain.definition.hash)
        it = structs.replace(Trigger(run, "one", "one", 1, given), **more)
        self.send(new_record(trigger_record(TOPICS, it, cause="c", origin=origin), P))

    def control(self, run: str, state: str) -> None:
        """What a coordinator says of a run."""
        self.send(NewRecord(TOPICS.control, f"run:{run}".encode(), encode(RunControl(run, state, "test"))))

    def start(self, fusion: FusionSettings | None = EAGER, executor: Any = InlineExecutor) -> AgentLoop:
        layout = check(self.admin, TOPICS, self.agents.values())
        given = Surrounding(self.transport, self.clock, self.artifacts, layout, executor)
        return AgentLoop(self.agents, given, _settings(fusion))

    def run(self, loop: AgentLoop, until: Callable[[], bool] | None = None) -> None:
        """Step until nothing moves, or until something is so."""
        for _ in range(2_000):
            did = loop.step(0.0)
            if until() if until is not None else not did:
                return
            if not did:
                self.clock.advance(timedelta(milliseconds=20))
        raise AssertionError("it does not come to rest")

    def records(self, topic: str) -> list[Record]:
        """Everything committed on a topic."""
        reader = self.transport.reader("look")
        reader.assign({TopicPartition(topic, n): -2 for n in range(self.admin.topics([topic])[topic].partitions)})
        found: list[Record] = []
        while polled := reader.poll(0.0):
            found.extend(each for each in polled if isinstance(each, Record))
        reader.close()
        return found

    def facts(self) -> list[Any]:
        """What agents report, in the order of the log."""
        return [fact for r in self.records(TOPICS.events) if isinstance(fact := decode(r.value or b""), AgentFact)]

    def inboxes(self) -> dict[str, int]:
        """How many triggers each inbox holds."""
        return {name: len(self.records(TOPICS.inbox(name))) for name in self.agents}


def _settings(fusion: FusionSettings | None) -> AgentSettings:
    return AgentSettings("unit", started_after=None, fusion=fusion is not None, fusing=fusion or EAGER)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def told(facts: list[AgentFact]) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    found = [fact for fact in facts if isinstance(fact, StepSucceeded | StepFailed)]
    return [
        (it.step, type(it).__name__, getattr(it, "fired", ()), getattr(it, "fused", ()))
        for it in sorted(found, key=lambda it: ("one", "two", "three").index(it.step))
    ]


def test_hops_run_at_once_and_all_their_facts_are_one_transaction_in_causal_order(world: World) -> None:
    loop = world.start()
    world.run(loop)
    before = loop.counts.transactions["committed"]
    world.trigger("r-1")
    world.run(loop)

    facts = world.facts()
    assert [fact.step for fact in facts] == ["one", "two", "three"]
    assert told(facts) == [
        ("one", "StepSucceeded", ("two",), ("two",)),
        ("two", "StepSucceeded", ("three",), ("three",)),
        ("three", "StepSucceeded", (), ()),
    ]
    assert Schema.parse(row.definition.steps["three"].output_schema).decode(facts[2].output) == {"n": 6}
    assert world.inboxes() == {"one": 1, "two": 0, "three": 0}
    assert loop.counts.transactions["committed"] - before == 1
    assert len(world.records(OWN_TOPIC)) == 1
    assert [fact.final for fact in facts] == [False, False, True]


def test_lineage_walks_from_a_fused_fact_to_its_parent_and_the_record_in_hand(world: World) -> None:
    loop = world.start()
    world.trigger("r-1")
    world.run(loop)

    entries = [entry_of(r) for topic in (TOPICS.events, TOPICS.inbox("one")) for r in world.records(topic)]
    tree = tree_of(Lineage("r-1", entries))
    by_step = {e.unit[0]: e for e in entries if e.fact is not None}
    place = f"{TOPICS.inbox('one')}/{partition_of('r-1', P)}/0"
    assert by_step["three"].cause == by_step["two"].id
    assert by_step["two"].cause == by_step["one"].id
    assert {e.envelope.input for e in by_step.values() if e.envelope is not None} == {place}
    assert [branch.step for branch in tree.branches] == ["one"]
    assert [branch.step for branch in tree.branches[0].children] == ["two"]
    assert [branch.step for branch in tree.branches[0].children[0].children] == ["three"]


def entry_of(record: Record) -> Entry:
    return from_record(
        record.topic, record.partition, record.offset, record.key, record.value, record.headers, record.timestamp_ms
    )


def test_failure_of_a_fused_hop_is_reported_with_its_own_input_and_what_went_before_stands(world: World) -> None:
    loop = world.start()
    world.trigger("r-1", n=200)
    world.run(loop)

    *before, failed = world.facts()
    assert [fact.step for fact in before] == ["one", "two"]
    assert isinstance(failed, StepFailed)
    assert (failed.step, failed.attempt, failed.dead_lettered) == ("three", 1, True)
    assert Schema.parse(row.definition.steps["three"].input_schema).decode(failed.input) == {"n": 203}
    assert len(world.records(TOPICS.dead("three"))) == 1


def test_wait_of_a_trigger_is_measured_once_for_its_record(world: World) -> None:
    """Fused steps have no trigger: each was charged with the run time of those before it."""
    loop = world.start()
    world.run(loop)
    world.trigger("r-1")
    world.run(loop)

    assert loop.counts.fused == 2
    assert dict(loop.counts.trigger_wait_seconds.cells).keys() == {("one",)}


class _Held(InlineExecutor):
    """Keeps what it is given until it is let go."""

    held: list[Any]

    def submit(self, attempt: Any) -> None:
        self.__dict__.setdefault("held", []).append(attempt)

    def let_go(self) -> None:
        held, self.held = self.__dict__.get("held", []), []
        for attempt in held:
            super().submit(attempt)


def holding(made: list[_Held]) -> Callable[[Any], _Held]:
    def make(environment: Any) -> _Held:
        made.append(_Held(environment))
        return made[-1]

    return make


@pytest.mark.parametrize("state", ["paused", "stopping"])
def test_nothing_is_fused_past_what_control_says_between_two_hops(world: World, state: str) -> None:
    """`control` is read again between hops: a pause that was written while a handler ran counts."""
    made: list[_Held] = []
    loop = world.start(executor=holding(made))
    world.trigger("r-1")
    world.run(loop)
    world.control("r-1", state)
    made[0].let_go()
    world.run(loop)

    assert told(world.facts()) == [("one", "StepSucceeded", (), ())]
    assert world.inboxes() == {"one": 1, "two": 0, "three": 0}


@pytest.mark.parametrize(
    "fusion",
    [None, FusionSettings(), FusionSettings(observed_min=0, timeout_max=timedelta(seconds=4))],
    ids=["off", "nothing observed", "timeout too long"],
)
def test_hops_go_through_their_inboxes_where_they_may_not_be_fused(world: World, fusion: FusionSettings | None) -> None:
    loop = world.start(fusion)
    world.trigger("r-1")
    world.run(loop)

    assert world.inboxes() == {"one": 1, "two": 1, "three": 1}
    assert all(fused == () for *_, fused in told(world.facts()))


def test_handler_without_a_timeout_is_never_fused(tmp_path: Path) -> None:
    @agent
    def bare(number: Number) -> Number:
        return number

    world = World(tmp_path, _pair(bare))
    loop = world.start()
    world.trigger("r-1")
    world.run(loop)

    assert world.inboxes() == {"one": 1, "bare": 1}


def _pair(second: Agent[..., Number]) -> Pipeline[..., Any]:
    @pipeline(owner="tests@example.org")
    def pair(number: Number) -> Number:
        return second(one(number))

    return pair


def test_at_most_so_many_hops_share_a_record(world: World) -> None:
    loop = world.start(FusionSettings(observed_min=0, hops_max=1))
    world.trigger("r-1")
    world.run(loop)

    assert world.inboxes() == {"one": 1, "two": 0, "three": 1}


def test_unclean_partition_fuses_nothing_until_all_that_may_have_begun_is_answered(tmp_path: Path) -> None:
    world = World(tmp_path, clean=False)
    world.trigger("r-1")
    loop = world.start()
    world.run(loop)
    first = world.inboxes()

    world.run(loop, until=lambda: loop.is_idle and all(p.is_clean for p in loop.ownership.partitions.values()))
    world.trigger("r-2")
    world.run(loop)

    assert first == {"one": 1, "two": 1, "three": 0}, "where nothing lay, nothing can have begun"
    assert world.inboxes() == {"one": 2, "two": 1, "three": 0}


@pytest.mark.parametrize(("lasts", "is_fused"), [(0, True), (1, False)], ids=["quick", "slow"])
def test_handlers_are_fused_as_long_as_those_observed_were_quick(world: World, lasts: int, is_fused: bool) -> None:
    made: list[_Held] = []
    loop = world.start(FusionSettings(observed_min=2), holding(made))
    for n in range(6):
        world.trigger(f"r-{n}")
        for _ in range(3):
            world.run(loop)
            made[0].let_go()
            world.clock.advance(timedelta(seconds=lasts))
        world.run(loop)

    assert len(world.facts()) == 18
    assert (loop.counts.fused > 0) == is_fused


def test_token_of_a_step_rises_from_a_fused_try_to_one_from_its_own_inbox(tmp_path: Path) -> None:
    """It ran with its parent's record, whose partition had another epoch: its own is added to that."""
    seen: list[tuple[int, int]] = []

    @agent(timeout="5s")
    def watched(ctx: Context, number: Number) -> Number:
        seen.append((ctx.fencing_token.attempt, ctx.fencing_token.epoch))
        return number

    world = World(tmp_path, _pair(watched))
    for n, fusion in enumerate((EAGER, None)):
        loop = world.start(fusion)
        world.run(loop)
        world.trigger(f"r-{n}", epoch=41)
        world.run(loop)
        loop.close()

    (first, second) = seen
    assert first == (1, 42)
    assert second > (1, 43)
