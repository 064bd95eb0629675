"""The agent loop on the log in memory: what it writes, what it keeps, what it drops. One thread, virtual time."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from farandole.artifacts import LocalArtifacts
from farandole.clock import ManualClock
from farandole.definition.agents import Agent, agent
from farandole.definition.context import Context, FencingToken
from farandole.definition.model import Definition, Input, Step
from farandole.definition.spec import AgentSpec
from farandole.errors import ConfigError, FatalTransportError, RetryableStepError, TerminalStepError
from farandole.events.avro import Schema
from farandole.events.catalogue import decode, encode
from farandole.events.envelope import Envelope, parse_envelope
from farandole.events.facts import AgentFact, StepCancelled, StepFailed, StepSucceeded
from farandole.events.outgoing import Origin, Trigger, trigger_record
from farandole.events.tables import RunControl
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.runtime import inbound, reactions
from farandole.runtime.attempts import Attempt
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.inline import InlineExecutor
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.transport.fencing import FENCED_MAX, SOON_S
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import decode as decode_metadata
from farandole.transport.outgoing import new_record
from farandole.transport.port import (
    Commit,
    Isolation,
    Member,
    MemberSettings,
    NewRecord,
    Position,
    Record,
    Reply,
    Request,
    TopicPartition,
    TopicSpec,
    Verdict,
)
from farandole.transport.topology import agent_topics, system_topics

P = 3
TOPICS = Topics()
GROUP = TOPICS.group("unit")


@dataclass
class Order:
    """What `first` takes."""

    total: int


@dataclass
class Good:
    """What `first` gives and `second` takes whole."""

    total: int
    note: str = ""


def make(handler: Callable[..., Any], **options: Any) -> Agent[..., Any]:
    return agent(name="first", **options)(handler) if options else agent(name="first")(handler)


def total_of(order: Order) -> Good:
    return Good(order.total)


@agent
def second(good: Good) -> int:
    """Adds one."""
    return good.total + 1


def pipeline_of(first: Agent[..., Any], when: str | None = None, **more: Any) -> Definition:
    """`first`, then `second` by its agent."""
    steps = [
        Step(
            "first",
            "first",
            {"order": Input("params.order")},
            first.spec.input_schema,
            first.spec.output_schema,
            whole=True,
            timeout=first.spec.timeout,
            deadline=first.spec.deadline,
        ),
        Step(
            "second",
            "second",
            {"good": Input("first")},
            second.spec.input_schema,
            second.spec.output_schema,
            whole=True,
            when=when,
            **more,
        ),
    ]
    params = {"type": "record", "name": "p", "fields": [{"name": "order", "type": json.loads(first.spec.input_schema)}]}
    return Definition("pipe", json.dumps(params), {step.name: step for step in steps}, owner="me")


class Held(InlineExecutor):
    """Keeps attempts until they are let go: a handler that takes its time."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.held: list[Attempt] = []
        self.is_holding = True

    def submit(self, attempt: Attempt) -> None:
        attempt.started = self._env.clock.monotonic()
        self.held.append(attempt)
        if not self.is_holding:
            self.let_go()

    def let_go(self, *offsets: int) -> None:
        """Run what is held, in the order given; all if none is."""
        chosen = [a for a in self.held if not offsets or a.record.offset in offsets]
        for attempt in sorted(chosen, key=lambda a: offsets.index(a.record.offset) if offsets else 0):
            self.held.remove(attempt)
            super().submit(attempt)
            attempt.ended = self._env.clock.monotonic()

    def call_off(self, attempt: Attempt) -> None:
        if attempt in self.held:
            self.held.remove(attempt)


def holding(made: list[Held]) -> Callable[[Environment], Held]:
    """Makes executors that hold, and keeps them for the test."""

    def make_one(environment: Environment) -> Held:
        made.append(Held(environment))
        return made[-1]

    return make_one


@dataclass
class Shaken:
    """A member whose transactions end as a test wants: what is told, and whether it is carried out."""

    member: Any
    verdicts: list[tuple[Verdict, bool]] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    _made: list[Reply] = field(default_factory=list)
    _ticket: int = -1

    def call(self, request: Request) -> int:
        if not isinstance(request, Commit):
            ticket: int = self.member.call(request)
            return ticket
        self.commits.append(request)
        if not self.verdicts:
            return int(self.member.call(request))
        verdict, is_done = self.verdicts.pop(0)
        if is_done:
            self.member.call(request)
            self.member._replies.pop()
        self._ticket -= 1
        self._made.append(Reply(self._ticket, request, verdict))
        return self._ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        made, self._made = self._made, []
        return [*made, *self.member.replies(0.0 if made else timeout)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.member, name)


class ShakenTransport(MemoryTransport):
    """Hands out shaken members."""

    def member(self, settings: MemberSettings) -> Any:
        return Shaken(super().member(settings))


class World:
    """A namespace in memory with one pipeline, and the processes of one unit."""

    def __init__(self, folder: Path, first: Agent[..., Any], **pipeline: Any) -> None:
        self.clock = ManualClock()
        self.transport = ShakenTransport(self.clock)
        self.agents = {"first": first.spec, "second": second.spec}
        self.definition = pipeline_of(first, **pipeline)
        self.artifacts = LocalArtifacts(folder)
        self.admin = self.transport.admin()
        self.producer = self.transport.producer("test")
        self.loops: list[AgentLoop] = []
        own = [TopicSpec(topic, 1) for topic in first.spec.publishes]
        self.admin.create([*system_topics(TOPICS, P), *agent_topics(TOPICS, self.agents, P), *own])
        start = {TopicPartition(TOPICS.inbox(name), n): Position(0) for name in self.agents for n in range(P)}
        self.admin.start_positions(GROUP, start)
        self.apply(self.definition)

    def apply(self, definition: Definition) -> None:
        self.send(NewRecord(TOPICS.definitions, definition.hash.encode(), definition.to_json().encode()))

    def send(self, record: NewRecord) -> None:
        self.producer.send(record)
        self.producer.flush(1.0)

    def trigger(self, run: str, total: int = 1, attempt: int = 1, **more: Any) -> NewRecord:
        """The trigger of `first`, as the coordinator writes it."""
        framed = Schema.parse(self.agents["first"].input_schema).encode({"total": total})
        origin = Origin("test", self.clock.now(), definition=self.definition.hash)
        it = Trigger(run, "first", "first", attempt, framed)
        record = new_record(trigger_record(TOPICS, structs.replace(it, **more), cause="c", origin=origin), P)
        self.send(record)
        return record

    def start(self, slot: str = "0", executor: Any = InlineExecutor, **limits: Any) -> AgentLoop:
        settings = AgentSettings("unit", slot=slot, started_after=None, **limits)
        layout = check(self.admin, TOPICS, self.agents.values())
        given = Surrounding(self.transport, self.clock, self.artifacts, layout, executor)
        loop = AgentLoop(self.agents, given, settings)
        self.loops.append(loop)
        return loop

    def run(self, *loops: AgentLoop, until: Callable[[], bool] | None = None) -> None:
        """Step until nothing more happens, or until something is so."""
        for _ in range(2_000):
            did = [loop.step(0.0) for loop in loops or self.loops]
            if until is not None and until():
                return
            if not any(did) and until is None:
                return
            if not any(did):
                self.clock.advance(timedelta(milliseconds=20))
        raise AssertionError("it does not come to rest" if until is None else "it does not become so")

    def records(self, topic: str) -> list[Record]:
        """Everything committed on a topic."""
        reader = self.transport.reader("look")
        reader.assign({TopicPartition(topic, n): -2 for n in range(self.admin.topics([topic])[topic].partitions)})
        found: list[Record] = []
        while polled := reader.poll(0.0):
            found.extend(each for each in polled if isinstance(each, Record))
        reader.close()
        return found

    def facts(self, kind: type[AgentFact] | None = None) -> list[Any]:
        found = [decode(record.value or b"") for record in self.records(TOPICS.events)]
        return [fact for fact in found if kind is None or isinstance(fact, kind)]

    def has_facts(self, count: int) -> Callable[[], bool]:
        """Whether so many results are told, to be asked again and again."""
        return lambda: len(self.facts()) >= count

    def position(self, agent_name: str, partition: int) -> Position:
        at = TopicPartition(TOPICS.inbox(agent_name), partition)
        return self.admin.positions(GROUP, [at])[at]

    def lag(self) -> int:
        """Records and markers between the committed positions and the ends."""
        places = [TopicPartition(TOPICS.inbox(name), n) for name in self.agents for n in range(P)]
        ends = self.admin.ends(places, Isolation.COMMITTED)
        return sum(ends[at] - self.admin.positions(GROUP, [at])[at].offset for at in places)

    def shaken(self, loop: AgentLoop) -> Shaken:
        member: Member = loop._member
        assert isinstance(member, Shaken)
        return member


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, make(total_of))


# --- the happy path ---------------------------------------------------------------------------


def test_result_its_trigger_and_its_position_are_written_together(world: World) -> None:
    world.start()
    world.trigger("r-1", 41)

    world.run()

    one, two = sorted(world.facts(), key=lambda fact: fact.step)
    assert (one.step, one.attempt, one.fired) == ("first", 1, ("second",))
    assert (two.step, two.fired, Schema.parse('"long"').decode(two.output)) == ("second", (), 42)
    assert [record.partition for record in world.records(TOPICS.events)] == [partition_of("r-1", P)] * 2


def test_fact_and_trigger_name_what_they_follow_from(world: World) -> None:
    world.start()
    sent = world.trigger("r-1")

    world.run()

    fact = next(e for r in world.records(TOPICS.events) if (e := parse_envelope(r.headers)).step == "first")
    child = parse_envelope(world.records(TOPICS.inbox("second"))[0].headers)
    assert fact.cause == parse_envelope(sent.headers).id
    assert fact.id == "r-1/first/0/-/1/StepSucceeded"
    assert fact.input == f"{TOPICS.inbox('first')}/{partition_of('r-1', P)}/0"
    assert (child.cause, child.source, child.definition) == (fact.id, "farandole/unit/0", world.definition.hash)
    assert (child.run, child.step, child.attempt, child.agent) == ("r-1", "second", 1, "second")


def test_idle_inbox_has_no_lag_though_markers_stand_at_its_end(world: World) -> None:
    world.start()
    for n in range(5):
        world.trigger(f"r-{n}")
    world.run()

    world.run(until=lambda: world.lag() == 0)

    assert world.lag() == 0


def test_ends_of_partitions_go_with_results_and_cost_them_no_transaction_of_their_own(world: World) -> None:
    """One in the midst of a chain held its next hop up for 5 to 20 ms: the slowest hundredth took 650 ms."""
    loop = world.start()
    world.run()
    before = loop.counts.transactions["committed"]

    for n in range(30):
        world.trigger(f"r-{n}")
        world.run()
        world.clock.advance(timedelta(milliseconds=100))
        world.run()

    assert loop.counts.transactions["committed"] - before == 60, "two hops each"
    world.run(until=lambda: world.lag() == 0)


def test_metadata_tells_writer_and_rising_epoch_unclean_while_owned_and_clean_when_left(world: World) -> None:
    loop = world.start()
    world.run()
    owned = decode_metadata(world.position("first", 0).metadata)

    loop.close()
    left = decode_metadata(world.position("first", 0).metadata)
    world.run(world.start())
    again = decode_metadata(world.position("first", 0).metadata)

    assert (owned.writer, owned.epoch, owned.clean) == ("farandole.unit.0", 1, False)
    assert (left.epoch, left.clean) == (1, True)
    assert (again.epoch, again.clean) == (2, False)


def test_condition_that_does_not_hold_leaves_the_successor_to_the_coordinator(tmp_path: Path) -> None:
    world = World(tmp_path, make(total_of), when="first.total > 10")
    world.start()
    world.trigger("r-small", 1)
    world.trigger("r-large", 11)

    world.run()

    fired = {fact.run: fact.fired for fact in world.facts(StepSucceeded) if fact.step == "first"}
    assert fired == {"r-small": (), "r-large": ("second",)}


def test_edge_that_cannot_be_evaluated_is_left_out_and_the_result_stands(tmp_path: Path) -> None:
    world = World(tmp_path, make(total_of), when="first.total / 0 > 1")
    world.start()
    world.trigger("r-1")

    world.run()

    assert [(fact.step, fact.fired) for fact in world.facts()] == [("first", ())]


# --- failures -----------------------------------------------------------------------------------


def fails(error: Exception) -> Agent[..., Any]:
    def handler(order: Order) -> Good:
        raise error

    return make(handler)


def test_failure_that_may_be_retried_keeps_its_input_and_writes_no_dead_letter(tmp_path: Path) -> None:
    world = World(tmp_path, fails(RetryableStepError("busy", retry_after=timedelta(seconds=7))))
    world.start()
    sent = world.trigger("r-1", attempt=9)

    world.run()

    (fact,) = world.facts(StepFailed)
    assert (fact.kind, fact.retryable, fact.dead_lettered, fact.retry_after_ms) == ("exception", True, False, 7000)
    assert (fact.attempt, fact.input) == (9, sent.value)
    assert "busy" in fact.error
    assert world.records(TOPICS.dead("first")) == []


def test_delay_beyond_the_longest_duration_is_cut_to_it(tmp_path: Path) -> None:
    """Nobody could fold the failure: the instant of the next attempt lay behind the last that there is."""
    world = World(tmp_path, fails(RetryableStepError("later", retry_after=timedelta(days=10_000_000))))
    world.start()
    world.trigger("r-1")

    world.run()

    (fact,) = world.facts(StepFailed)
    assert fact.retry_after_ms == 10_000 * 86_400_000


def test_terminal_failure_goes_to_the_dead_letters_in_the_same_transaction(tmp_path: Path) -> None:
    world = World(tmp_path, fails(TerminalStepError("no such card")))
    loop = world.start()
    sent = world.trigger("r-1")

    world.run()

    (fact,), (dead,) = world.facts(StepFailed), world.records(TOPICS.dead("first"))
    assert (fact.retryable, fact.dead_lettered) == (False, True)
    assert dead.value == sent.value
    assert dict(dead.headers)["farandole_fingerprint"].decode() == fact.fingerprint
    topics = {record.topic for commit in world.shaken(loop).commits for record in commit.records}
    assert topics == {TOPICS.events, TOPICS.dead("first")}
    assert [len(commit.records) for commit in world.shaken(loop).commits if commit.records] == [2]


def test_result_that_breaks_its_annotation_is_a_contract_failure(tmp_path: Path) -> None:
    def handler(order: Order) -> Good:
        return "good"  # type: ignore[return-value]

    world = World(tmp_path, make(handler))
    world.start()
    world.trigger("r-1")

    world.run()

    (fact,) = world.facts(StepFailed)
    assert (fact.kind, fact.retryable, fact.dead_lettered) == ("contract", False, True)


def test_fingerprint_groups_failures_of_one_cause_whatever_the_numbers(tmp_path: Path) -> None:
    def handler(order: Order) -> Good:
        raise ValueError(f"order {order.total} at 0x{order.total:x} is bad" if order.total < 10 else "other")

    world = World(tmp_path, make(handler))
    world.start()
    for total in (1, 2, 10):
        world.trigger(f"r-{total}", total)

    world.run()

    prints = {fact.run: fact.fingerprint for fact in world.facts(StepFailed)}
    assert prints["r-1"] == prints["r-2"] != prints["r-10"]


def test_attempt_that_outlives_its_timeout_fails_and_its_late_result_does_not_count(tmp_path: Path) -> None:
    world = World(tmp_path, make(total_of, timeout="10s"))
    executors: list[Held] = []
    loop = world.start(executor=holding(executors))
    world.trigger("r-1")
    world.run()
    late = executors[0].held[0]
    due = loop.next_due()

    assert due == world.clock.now() + timedelta(seconds=10)
    world.clock.advance(timedelta(seconds=10))
    world.run()
    executors[0].held.append(late)
    executors[0].let_go()
    world.run()

    (fact,) = world.facts()
    assert (fact.kind, fact.retryable) == ("timeout", True)
    assert loop.is_idle


def test_attempt_that_outlives_its_steps_deadline_is_called_off_though_it_has_no_timeout(tmp_path: Path) -> None:
    world = World(tmp_path, make(total_of, deadline="10s"))
    executors: list[Held] = []
    loop = world.start(executor=holding(executors))
    world.trigger("r-1")
    world.run()

    world.clock.advance(timedelta(seconds=10))
    world.run()

    (fact,) = world.facts()
    assert (fact.kind, fact.retryable) == ("timeout", True)
    assert executors[0].held == []
    assert loop.is_idle


def test_timeout_longer_than_the_agents_deadline_ends_with_the_deadline(tmp_path: Path) -> None:
    # A definition like that is refused, but the timeout may come from agents whose code is newer.
    world = World(tmp_path, make(total_of, timeout="10s", deadline="4s"))
    loop = world.start(executor=holding([]))
    world.trigger("r-1")
    world.run()

    assert loop.next_due() == world.clock.now() + timedelta(seconds=4)


# --- what does not belong there -------------------------------------------------------------------


def stranger(world: World, headers: list[tuple[str, bytes]], value: bytes | None = b"?") -> None:
    world.send(NewRecord(TOPICS.inbox("first"), b"k", value, headers, 0))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([], "no_envelope"),
        (Envelope("i", "farandole.Trigger", "s", ManualClock().now(), step="first", attempt=1).headers(), "no_run"),
        (Envelope("i", "com.example", "s", ManualClock().now(), run="r").headers(), "not_a_trigger"),
    ],
)
def test_stranger_in_an_inbox_is_quarantined_as_it_was_and_the_partition_goes_on(
    world: World, headers: list[tuple[str, bytes]], reason: str
) -> None:
    loop = world.start()
    stranger(world, headers)
    world.trigger("r-1")

    world.run()

    (dead,) = world.records(TOPICS.dead("first"))
    assert (dead.value, dead.key, dict(dead.headers)["farandole_reason"].decode()) == (b"?", b"k", reason)
    assert {fact.step for fact in world.facts()} == {"first", "second"}
    assert loop.counts.quarantined[reason] == 1


@pytest.mark.parametrize(
    ("name", "reason", "told"),
    [("ce_params", "bad_envelope", 1), ("ce_start", "bad_start", 0)],
    ids=["params", "start"],
)
def test_params_that_are_not_even_ascii_are_quarantined_and_the_partition_goes_on(
    world: World, name: str, reason: str, told: int
) -> None:
    """`b64decode` says of such a text what it says of no other, so that nobody caught it. The process ended, its
    position stood where it was, and every process that got the partition ended of the same record."""
    loop = world.start()
    sound = world.trigger("r-1")
    world.run()

    stranger(world, [*sound.headers, (name, "\u00e9".encode())], sound.value)
    world.trigger("r-2")
    world.run()

    (dead,) = world.records(TOPICS.dead("first"))
    assert loop.counts.quarantined[reason] == 1
    assert len(world.facts(StepFailed)) == told
    assert [fact.run for fact in world.facts(StepSucceeded) if fact.step == "first"] == ["r-1", "r-2"]
    assert dead.value == sound.value


def test_record_of_which_nobody_knows_why_it_cannot_be_read_is_quarantined_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(_: object) -> bool:
        raise ZeroDivisionError("a defect of ours")

    loop = world.start()
    with monkeypatch.context() as patched:
        patched.setattr(inbound, "is_run_id", burst)
        world.trigger("r-1")
        world.run()
    world.trigger("r-2")
    world.run()

    (dead,) = world.records(TOPICS.dead("first"))
    assert "ZeroDivisionError: a defect of ours" in dict(dead.headers)["farandole_error"].decode()
    assert loop.counts.quarantined["unreadable"] == 1
    assert {fact.run for fact in world.facts()} == {"r-2"}


def test_memory_that_runs_out_while_a_trigger_is_read_is_not_the_triggers_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(_: object) -> bool:
        raise MemoryError

    world.start()
    with monkeypatch.context() as patched:
        patched.setattr(inbound, "is_run_id", burst)
        world.trigger("r-1")
        with pytest.raises(MemoryError):
            world.run()

    assert world.records(TOPICS.dead("first")) == []


def test_undecodable_input_of_a_known_run_is_dead_lettered_and_told(world: World) -> None:
    world.start()
    world.trigger("r-1", input=b"\xc3\x01rubbish")

    world.run()

    (fact,), (dead,) = world.facts(), world.records(TOPICS.dead("first"))
    assert (fact.kind, fact.retryable, fact.dead_lettered) == ("undecodable", False, True)
    assert dead.value == b"\xc3\x01rubbish"


def test_line_about_what_cannot_be_worked_on_names_the_attempt_and_its_trace(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.start()
    world.definition = replace(world.definition, name="never")
    sent = world.trigger("r-1", item=3)
    trace = ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01".encode())
    world.send(NewRecord(sent.topic, sent.key, sent.value, [*sent.headers, trace], sent.partition))

    world.run()

    lines = [vars(line) for line in caplog.records if vars(line).get("reason") == "unknown"]
    assert [(it["run_id"], it["step"], it["item"], it["attempt"], it["trace_id"]) for it in lines] == [
        ("r-1", "first", 3, 1, ""),
        ("r-1", "first", 3, 1, "1" * 32),
    ]


def test_unknown_definition_is_looked_up_once_more_before_it_is_refused(world: World) -> None:
    """The definition is applied after the tables were read, and its first trigger is here before they are again."""
    world.start()
    world.run()
    world.definition = replace(world.definition, name="later")
    world.apply(world.definition)
    world.trigger("r-known")
    world.definition = replace(world.definition, name="never")
    world.trigger("r-unknown")

    world.run()

    by_run = {fact.run: fact for fact in world.facts() if fact.step == "first"}
    assert isinstance(by_run["r-known"], StepSucceeded)
    assert (by_run["r-unknown"].kind, by_run["r-unknown"].dead_lettered) == ("unknown", True)


def test_end_of_the_table_that_was_asked_for_a_record_that_went_answers_for_no_other(world: World) -> None:
    """Its partition went before its definition was read; days later a good run was refused by that old answer."""
    loop = world.start()
    world.run()
    reader = loop._tables._follower._reader
    is_away = True
    poll = reader.poll
    reader.poll = lambda timeout: () if is_away else poll(timeout)  # type: ignore[method-assign]
    known = world.definition

    def applied(name: str) -> None:
        world.definition = replace(known, name=name)
        world.apply(world.definition)
        world.trigger(f"r-{name}")
        for _ in range(6):
            loop.step(0.0)

    applied("first-to-come")
    partitions = sorted(loop.ownership.partitions)
    loop.gone(partitions, lost=True)
    loop.assigned(partitions)
    is_away = False
    world.run(until=world.has_facts(2))
    is_away = True
    applied("later")
    is_away = False
    world.run(until=world.has_facts(4))

    assert {type(fact) for fact in world.facts() if fact.step == "first"} == {StepSucceeded}


def test_handlers_of_partitions_that_went_are_given_up(tmp_path: Path) -> None:
    """Their results are dropped anyway, and they kept the places of those that count."""
    executors: list[Held] = []
    world = World(tmp_path, make(total_of))
    loop = world.start(executor=holding(executors))
    world.trigger("r-1")
    world.run(until=lambda: bool(executors[0].held))
    (doomed,) = executors[0].held
    partitions = sorted(loop.ownership.partitions)

    loop.gone(partitions, lost=True)

    assert executors[0].held == []
    assert doomed.is_over
    assert loop.counts.dropped == 1
    loop.assigned(partitions)
    world.run(until=lambda: bool(executors[0].held))
    executors[0].is_holding = False
    executors[0].let_go()
    world.run(until=world.has_facts(1))
    assert doomed not in executors[0].held


def test_trigger_of_a_stopping_run_is_answered_without_calling_the_handler(tmp_path: Path) -> None:
    calls: list[Order] = []

    def handler(order: Order) -> Good:
        calls.append(order)
        return Good(order.total)

    world = World(tmp_path, make(handler))
    world.start()
    world.send(NewRecord(TOPICS.control, b"run:r-1", encode(RunControl("r-1", "stopping", "cancelled by me"))))
    world.trigger("r-1")

    world.run()

    (fact,) = world.facts()
    assert isinstance(fact, StepCancelled)
    assert fact.reason == "cancelled by me"
    assert calls == []


def test_success_of_a_stopping_run_fires_nothing(world: World) -> None:
    executors: list[Held] = []
    world.start(executor=holding(executors))
    world.trigger("r-1")
    world.run()
    world.send(NewRecord(TOPICS.control, b"run:r-1", encode(RunControl("r-1", "stopping"))))
    world.run()

    executors[0].let_go()
    world.run()

    (fact,) = world.facts()
    assert isinstance(fact, StepSucceeded)
    assert fact.fired == ()


# --- what a handler may do ------------------------------------------------------------------------


def test_context_tells_the_attempt_and_publishes_only_with_the_result(tmp_path: Path) -> None:
    seen: list[object] = []

    def handler(ctx: Context, order: Order) -> Good:
        seen.append((ctx.run_id, ctx.pipeline, ctx.step, ctx.item, ctx.attempt, ctx.idempotency_key, ctx.fencing_token))
        ctx.publish("own.topic", {"total": order.total}, key="k")
        ctx.publish("own.topic", Good(1))
        if order.total == 0:
            raise ValueError("after publishing")
        return Good(order.total)

    world = World(tmp_path, make(handler, publishes=["own.topic"]))
    world.start()
    world.trigger("r-bad", 0)
    world.trigger("r-1", 5, attempt=2)

    world.run()

    assert ("r-1", "pipe", "first", None, 2, "r-1:first:-", FencingToken(2, 1)) in seen
    one, two = world.records("own.topic")
    assert (json.loads(one.value or b""), one.key) == ({"total": 5}, b"k")
    assert parse_envelope(one.headers).content_type == "application/json"
    assert Schema.parse(second.spec.input_schema).decode(two.value or b"") == {"total": 1, "note": ""}
    assert two.key == b"r-1"


def test_records_that_a_handler_publishes_are_counted_when_they_stand_and_not_if_the_log_refuses_them(
    tmp_path: Path,
) -> None:
    def handler(ctx: Context, order: Order) -> Good:
        ctx.publish("own.topic", b"x" * order.total)
        return Good(order.total)

    world = World(tmp_path, make(handler, publishes=["own.topic"]))
    world.admin.configure("own.topic", {"max.message.bytes": "2000"})
    loop = world.start()
    world.trigger("r-1", 5)
    world.run()
    assert loop.counts.published == 1

    world.trigger("r-2", 3000)
    world.run()

    assert {fact.run for fact in world.facts(StepFailed)} == {"r-2"}
    assert len(world.records("own.topic")) == loop.counts.published == 1


HALF = "\ud83d"
"""Half of an emoji, as somebody's JSON has it that was cut off."""


class Hasty(RetryableStepError):
    """Says in a way of its own when to try again."""

    def __init__(self) -> None:
        self.retry_after = 5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError(f"bad title {HALF}"), r"bad title \ud83d"),
        (Hasty(), "Hasty"),
        (UnicodeEncodeError("utf-8", HALF, 0, 1, "surrogates"), "can't encode"),
    ],
    ids=["half an emoji", "a delay that is none", "an error of an error"],
)
def test_what_an_error_says_never_ends_the_process(tmp_path: Path, error: Exception, said: str) -> None:
    """Each process that was given the record ended of it, one after the other, and all runs of the unit stood still."""
    world = World(tmp_path, fails(error))
    world.start()
    world.trigger("r-1")

    world.run()

    (fact,) = world.facts(StepFailed)
    assert said in fact.error
    assert (fact.retryable, fact.retry_after_ms) == (True, None)


@pytest.mark.parametrize("key", [7, HALF, b"k"])
def test_key_that_cannot_be_written_is_refused_where_it_is_given(tmp_path: Path, key: Any) -> None:
    def handler(ctx: Context, order: Order) -> Good:
        ctx.publish("own.topic", 1, key=key)
        return Good(1)

    world = World(tmp_path, make(handler, publishes=["own.topic"]))
    world.start()
    world.trigger("r-1")

    world.run()

    (fact,) = world.facts()
    assert (fact.kind, fact.retryable) == ("contract", False)
    assert "key" in fact.error
    assert world.records("own.topic") == []


def test_result_that_cannot_be_told_fails_its_attempt_and_no_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else goes wrong between a result and its facts is one attempt's, too."""
    world.start()
    monkeypatch.setattr(reactions, "told", lambda *_, **__: 1 / 0)
    world.trigger("r-1")

    world.run()

    (fact,) = world.facts()
    assert isinstance(fact, StepFailed)
    assert "ZeroDivisionError" in fact.error


def test_publishing_to_an_undeclared_topic_is_a_contract_failure(tmp_path: Path) -> None:
    def handler(ctx: Context, order: Order) -> Good:
        ctx.publish("other", 1)
        return Good(1)

    world = World(tmp_path, make(handler))
    world.start()
    world.trigger("r-1")

    world.run()

    (fact,) = world.facts()
    assert (fact.kind, fact.retryable) == ("contract", False)


@dataclass
class Note:
    """What neither `first` nor `second` takes or gives."""

    text: str


@pytest.mark.parametrize("topics", [["own.topic"], {"own.topic": Note}], ids=["undeclared", "declared"])
def test_record_whose_schema_nobody_publishes_is_refused_before_it_is_on_the_topic(tmp_path: Path, topics: Any) -> None:
    """It was written, and nobody could read it: only schemas of steps are published without being declared."""

    def handler(ctx: Context, order: Order) -> Good:
        ctx.publish("own.topic", Note("hello"))
        return Good(1)

    world = World(tmp_path, make(handler, publishes=topics))
    world.start()
    world.trigger("r-1")

    world.run()

    fact = world.facts()[0]
    if isinstance(topics, dict):
        assert isinstance(fact, StepSucceeded)
        assert len(world.records("own.topic")) == 1
    else:
        assert (fact.kind, fact.retryable) == ("contract", False)
        assert "name it in @agent(publishes={'own.topic': Note})" in fact.error
        assert world.records("own.topic") == []


def test_large_result_travels_as_a_claim_and_its_successor_gets_it_whole(tmp_path: Path) -> None:
    def handler(order: Order) -> Good:
        return Good(order.total, "x" * 400_000)

    world = World(tmp_path, make(handler), when="size(first.note) > 300000")
    world.start()
    world.trigger("r-1", 7)

    world.run()

    one, two = sorted(world.facts(), key=lambda fact: fact.step)
    assert len(one.output) < 1_000
    assert Schema.parse('"long"').decode(two.output) == 8


# --- order and bounds -----------------------------------------------------------------------------


def test_records_of_one_key_run_in_order_and_others_beside_them(world: World) -> None:
    executors: list[Held] = []
    world.start(executor=holding(executors))
    key_partition = partition_of("r-1", P)
    other = next(f"x-{n}" for n in range(50) if partition_of(f"x-{n}", P) == key_partition)
    world.trigger("r-1", 1)
    world.trigger("r-1", 2, attempt=2)
    world.trigger(other, 3)

    world.run()

    assert [(a.trigger.run, a.trigger.attempt) for a in executors[0].held] == [("r-1", 1), (other, 1)]
    executors[0].let_go(0)
    world.run()
    assert [(a.trigger.run, a.trigger.attempt) for a in executors[0].held if a.step.name == "first"] == [
        (other, 1),
        ("r-1", 2),
    ]


def of_step(world: World, name: str, run: str = "r-1") -> NewRecord:
    """A trigger of a step that the definition does not have: what it asks for is looked at when its turn comes."""
    framed = Schema.parse(world.agents["first"].input_schema).encode({"total": 1})
    origin = Origin("test", world.clock.now(), definition=world.definition.hash)
    record = new_record(trigger_record(TOPICS, Trigger(run, name, "first", 1, framed), cause="c", origin=origin), P)
    world.send(record)
    return record


def test_two_steps_of_one_run_by_one_agent_run_beside_each_other(world: World) -> None:
    # Three fetches of one run by the same agent took three times as long as one, while three items of a map took as
    # long as one; and behind a step that hung, the run's other steps never began.
    executors: list[Held] = []
    world.start(executor=holding(executors))
    world.trigger("r-1")
    of_step(world, "other")

    world.run()

    assert [a.step.name for a in executors[0].held] == ["first"]
    (told,) = world.facts()
    assert (told.step, told.kind) == ("other", "unknown")


def test_replay_of_what_the_deadline_gave_up_begins_though_the_first_attempt_never_returns(tmp_path: Path) -> None:
    # The replay stood behind the attempt that hung until its own deadline passed, and so did each replay after it.
    world = World(tmp_path, make(total_of, deadline="10s"))
    executors: list[Held] = []
    loop = world.start(executor=holding(executors))
    world.trigger("r-1")
    world.run()
    hung = executors[0].held[0]
    world.clock.advance(timedelta(seconds=9))

    world.trigger("r-1", attempt=2)
    world.run()

    assert [a.trigger.attempt for a in executors[0].held] == [2]
    (told,) = world.facts()
    assert (told.attempt, told.kind, told.retryable) == (1, "timeout", True)
    executors[0].held.append(hung)
    executors[0].let_go()
    world.run()
    assert [(fact.attempt, type(fact)) for fact in world.facts() if fact.step == "first"] == [
        (1, StepFailed),
        (2, StepSucceeded),
    ]
    assert loop.is_idle


def test_replay_begins_at_once_though_it_comes_together_with_what_the_deadline_gave_up(tmp_path: Path) -> None:
    # After a restart one poll brought both: the first attempt ran once more, and the replay's own deadline passed.
    world = World(tmp_path, make(total_of, deadline="10s"))
    executors: list[Held] = []
    world.start(executor=holding(executors))
    world.trigger("r-1")
    world.trigger("r-1", attempt=2)

    world.run()

    assert [a.trigger.attempt for a in executors[0].held] == [2]
    assert [(fact.attempt, fact.kind, fact.retryable) for fact in world.facts()] == [(1, "timeout", True)]


def test_attempts_of_a_run_that_stops_are_cancelled_though_they_come_together(tmp_path: Path) -> None:
    world = World(tmp_path, make(total_of, deadline="10s"))
    world.trigger("r-1")
    world.trigger("r-1", attempt=2)
    world.send(NewRecord(TOPICS.control, b"run:r-1", encode(RunControl("r-1", "stopping", "cancelled by me"))))
    world.start()

    world.run()

    assert [(fact.attempt, type(fact)) for fact in world.facts()] == [(1, StepCancelled), (2, StepCancelled)]


def test_replay_gives_up_no_attempt_that_has_ended_already(tmp_path: Path) -> None:
    # Its success lay there for the loop to take, was thrown away as a time-out, and its work was done once more.
    world = World(tmp_path, make(total_of, deadline="10s"))
    executors: list[Held] = []
    world.start(executor=holding(executors))
    world.trigger("r-1")
    world.run()

    executors[0].let_go()
    world.trigger("r-1", attempt=2)
    world.run()

    assert [(fact.attempt, type(fact)) for fact in world.facts()] == [(1, StepSucceeded)]


@pytest.mark.parametrize("number", [b"x", b"", b"1", b"9" * 5_000])
def test_attempt_whose_number_says_nothing_gives_up_no_other(tmp_path: Path, number: bytes) -> None:
    world = World(tmp_path, make(total_of, deadline="10s"))
    executors: list[Held] = []
    world.start(executor=holding(executors))
    good = world.trigger("r-1")
    world.run()

    headers = [(name, number if name == "ce_attempt" else value) for name, value in good.headers]
    world.send(NewRecord(good.topic, good.key, good.value, headers, good.partition))
    world.run()

    assert [a.trigger.attempt for a in executors[0].held] == [1]
    assert world.facts() == []


def test_replay_gives_up_an_attempt_for_which_there_was_no_room_yet(tmp_path: Path) -> None:
    world = World(tmp_path, make(total_of, deadline="10s"))
    executors: list[Held] = []
    loop = world.start(executor=holding(executors))
    world.run(until=lambda: bool(executors))
    executors[0].has_room = lambda spec: False  # type: ignore[method-assign]
    world.trigger("r-1")
    world.run()

    world.trigger("r-1", attempt=2)
    world.run()
    executors[0].has_room = lambda spec: True  # type: ignore[method-assign]
    world.run()

    assert [a.trigger.attempt for a in executors[0].held] == [2]
    assert [(fact.attempt, fact.kind) for fact in world.facts()] == [(1, "timeout")]
    assert not loop.is_idle


def test_out_of_order_results_commit_the_lowest_unfinished_and_the_next_owner_repeats_only_that(world: World) -> None:
    executors: list[Held] = []
    held = holding(executors)

    loop = world.start(executor=held)
    runs = [f"r-{n}" for n in range(60) if partition_of(f"r-{n}", P) == 0][:4]
    for run in runs:
        world.trigger(run)
    world.run()
    executors[0].let_go(1, 3)
    world.run()
    metadata = decode_metadata(world.position("first", 0).metadata)
    loop.close()

    again = world.start(slot="1", executor=held)
    world.run(again)

    assert (world.position("first", 0).offset, metadata.bitmap) == (0, bytes([0b1010]))
    assert sorted(a.trigger.run for a in executors[1].held if a.step.name == "first") == sorted([runs[0], runs[2]])
    assert again.counts.redelivered == 2


def test_full_process_pauses_and_goes_on_at_half(world: World) -> None:
    executors: list[Held] = []
    loop = world.start(executor=holding(executors), in_flight_records_max=10, window=50)
    for n in range(1_500):
        world.trigger(f"r-{n}")
    world.run()
    first_grip = loop.counts.records
    assert first_grip < 1_500

    executors[0].is_holding = False
    executors[0].let_go()
    world.run(until=lambda: len(world.facts()) == 3_000)

    assert loop.counts.records == 3_000
    assert sorted({fact.run for fact in world.facts()}) == sorted(f"r-{n}" for n in range(1_500))


# --- the end of a transaction -----------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [Verdict.ABORTED, Verdict.STALE])
def test_aborted_transaction_is_made_again_from_memory_with_a_fresh_snapshot(world: World, verdict: Verdict) -> None:
    loop = world.start()
    world.run()
    shaken = world.shaken(loop)
    shaken.verdicts = [(verdict, False)] * 3
    world.trigger("r-1")

    world.run(until=lambda: len(world.facts()) == 2)

    assert loop.counts.handler_runs == 2
    assert loop.counts.transactions[verdict.value] == 3


@pytest.mark.parametrize("verdict", [Verdict.DOUBT, Verdict.FENCED])
@pytest.mark.parametrize("is_done", [True, False])
def test_doubtful_transaction_is_judged_and_nothing_is_lost_or_doubled(
    world: World, verdict: Verdict, is_done: bool
) -> None:
    loop = world.start()
    world.run()
    world.shaken(loop).verdicts = [(verdict, is_done)]
    for n in range(6):
        world.trigger(f"r-{n}")

    world.run(until=lambda: len(world.facts()) >= 12)
    world.run()

    assert sorted((fact.run, fact.step) for fact in world.facts()) == [
        (f"r-{n}", step) for n in range(6) for step in ("first", "second")
    ]
    assert loop.counts.judged == {"committed" if is_done else "without_effect": 1}
    assert loop.counts.renewals == 1
    assert loop.counts.handler_runs == 12


@pytest.mark.parametrize("is_done", [True, False])
def test_process_fenced_by_its_own_late_initialisations_goes_on_and_doubles_nothing(
    world: World, is_done: bool
) -> None:
    # The story: an InitProducerId that was held up on its way arrived, twice. The second time the process ended.
    loop = world.start()
    world.run()
    world.shaken(loop).verdicts = [*[(Verdict.FENCED, False)] * (FENCED_MAX - 2), (Verdict.FENCED, is_done)]
    world.trigger("r-1")

    world.run(until=lambda: len(world.facts()) >= 2)
    world.run()

    assert [(fact.run, fact.step) for fact in world.facts()] == [("r-1", "first"), ("r-1", "second")]
    assert loop.counts.renewals == FENCED_MAX - 1


def test_fencings_are_counted_anew_after_a_transaction_that_stands(world: World) -> None:
    loop = world.start()
    world.run()
    for n in range(3):
        world.shaken(loop).verdicts = [(Verdict.FENCED, False)] * (FENCED_MAX - 1)
        world.trigger(f"r-{n}")
        world.run(until=world.has_facts(2 * n + 2))
        world.clock.advance(timedelta(seconds=SOON_S))

    assert loop.counts.renewals == 3 * (FENCED_MAX - 1)


def test_one_of_two_processes_in_one_slot_gives_way_however_little_they_have_to_say(world: World) -> None:
    """Each committed before it was fenced again, so that neither ever was so twice in a row."""
    loops = world.start("0"), world.start("0")

    def go_on(runs: int) -> None:
        for n in range(runs):
            world.trigger(f"r-{n}")
            for loop in loops * 20:
                loop.step(0.0)
            world.clock.advance(timedelta(milliseconds=100))

    with pytest.raises(FatalTransportError, match="slot of its own"):
        go_on(200)

    assert sum(loop.counts.renewals for loop in loops) < 2 * FENCED_MAX


def test_process_fenced_again_and_again_gives_way(world: World) -> None:
    loop = world.start()
    world.run()
    world.shaken(loop).verdicts = [(Verdict.FENCED, False)] * FENCED_MAX
    world.trigger("r-1")

    with pytest.raises(FatalTransportError, match="slot of its own"):
        world.run()


def test_process_that_gives_way_lets_go_of_its_partitions_at_once(world: World) -> None:
    """A transaction that nobody would end any more was waited for: the next owner had them ten seconds later."""
    loop = world.start()
    world.run()
    world.shaken(loop).verdicts = [(Verdict.FENCED, False)] * FENCED_MAX
    world.trigger("r-1")
    with pytest.raises(FatalTransportError, match="slot of its own"):
        world.run()
    assert loop.ownership.partitions

    assert loop.releasing(sorted(loop.ownership.partitions))


def test_partitions_are_let_go_in_order_although_the_group_was_not_asked_since_a_doubt(world: World) -> None:
    """Only a step asked, and a rebalance makes none: ten seconds went by, and they went as they were."""
    loop = world.start()
    world.run()
    leaving = sorted(loop.ownership.partitions)
    loop._recheck.doubt(loop.monotonic())

    assert any(loop.releasing(leaving) for _ in range(20))
    assert not loop._recheck.is_wanted


def test_partition_that_is_long_not_served_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    loop = world.start()
    world.shaken(loop).verdicts = [(Verdict.ABORTED, False)] * 1_000

    for _ in range(40):
        loop.step(0.0)
        world.clock.advance(timedelta(seconds=1))

    assert "farandole.inbox.first[0] is not served yet: it waits for its epoch to be committed" in caplog.text


def test_log_that_takes_nothing_for_a_while_ends_no_process_and_costs_no_success(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    # The story: a right on `events` was taken away for a second. Within milliseconds the log had refused the success,
    # then the failure with its input, then the one without, and an InvariantViolation ended the process; so it did
    # with each that was started anew.
    loop = world.start()
    world.run()
    refusals_of_a_round = 4
    world.shaken(loop).verdicts = [(Verdict.REFUSED, False)] * 5 * refusals_of_a_round
    world.trigger("r-1")

    world.run(until=world.has_facts(2))
    world.run()

    assert [(type(fact), fact.step) for fact in world.facts()] == [(StepSucceeded, "first"), (StepSucceeded, "second")]
    assert loop.counts.handler_runs == 2
    assert caplog.text.count("Less is told instead") == refusals_of_a_round - 1, "once, and not in each round"
    assert caplog.text.count("but None; trying again") == 1


def test_record_that_the_log_refuses_fails_its_own_attempt_and_no_other(tmp_path: Path) -> None:
    def handler(ctx: Context, order: Order) -> Good:
        if order.total == 4:
            ctx.publish("own.topic", "x" * 3_000_000)
        return Good(order.total)

    world = World(tmp_path, make(handler, publishes=["own.topic"]))
    executors: list[Held] = []
    world.start(executor=holding(executors))
    for n in range(9):
        world.trigger(f"r-{n}", n)
    world.run()

    executors[0].is_holding = False
    executors[0].let_go()
    world.run(until=lambda: len(world.facts()) >= 17)

    failed = [fact for fact in world.facts() if isinstance(fact, StepFailed)]
    assert [(fact.run, fact.kind, fact.dead_lettered) for fact in failed] == [("r-4", "contract", True)]
    assert len(world.facts(StepSucceeded)) == 16
    assert [record.key for record in world.records(TOPICS.dead("first"))] == [b"r-4"]


@pytest.mark.parametrize(
    "name",
    ["key", "ce_id", "ce_step", "ce_definition", "ce_params", "ce_start", "traceparent", "ce_agent", "x"],
)
def test_last_word_on_a_record_is_small_whatever_the_record_brings(world: World, name: str) -> None:
    """Value and input were left out of it, but key, headers and texts of the envelope were repeated as they were. A key
    of 900,000 bytes that are no text became one of 2.7 MB, and what was compressed could be larger yet. The log took no
    word on such a record, and every process that got it ended."""
    world.admin.configure(TOPICS.inbox("first"), {"max.message.bytes": "20000000"})
    world.start()
    sound = world.trigger("r-1")
    world.run()
    for topic in (TOPICS.events, TOPICS.dead("first")):
        world.admin.configure(topic, {"max.message.bytes": "16384"})

    large = b"a" * 2_000_000
    headers = {each: text for each, text in sound.headers if each != name}
    if name == "key":
        world.send(structs.replace(sound, key=b"\xff" * 900_000, headers=()))
    else:
        world.send(structs.replace(sound, headers=[*headers.items(), (name, large)]))
    world.trigger("r-2")
    world.run()

    assert [fact.run for fact in world.facts(StepSucceeded) if fact.step == "first"][-1] == "r-2"
    assert world.lag() == 0


def test_success_whose_trigger_the_log_refuses_stands_and_leaves_its_edge_to_the_coordinator(world: World) -> None:
    # The story: the inbox of a successor was deleted. What its parent had done well became a dead letter that no retry
    # could mend, and was done once more by its replay.
    world.admin.configure(TOPICS.inbox("second"), {"max.message.bytes": "10"})
    loop = world.start()

    world.trigger("r-1")
    world.run(until=world.has_facts(1))
    world.run()

    assert [(type(fact), fact.fired) for fact in world.facts()] == [(StepSucceeded, ())]
    assert loop.counts.handler_runs == 1
    assert world.records(TOPICS.dead("first")) == []


# --- partitions come and go ---------------------------------------------------------------------------


def test_two_processes_share_the_inboxes_and_each_trigger_is_answered_once(world: World) -> None:
    one, two = world.start("a"), world.start("b")
    for n in range(40):
        world.trigger(f"r-{n}")

    world.run(until=lambda: len(world.facts()) == 80)
    for n in range(40, 80):
        world.trigger(f"r-{n}")
    world.run(until=lambda: len(world.facts()) >= 160)
    world.run()

    assert len({(fact.run, fact.step) for fact in world.facts()}) == len(world.facts()) == 160
    assert one.counts.handler_runs
    assert two.counts.handler_runs


def test_process_that_closes_hands_over_in_order_what_it_had_not_begun(world: World) -> None:
    executors: list[Held] = []
    one = world.start("a", executor=holding(executors))
    for n in range(10):
        world.trigger(f"r-{n}")
    world.run()

    executors[0].is_holding = False
    executors[0].let_go()
    one.drain()
    world.run(until=lambda: one.is_drained)
    one.close()
    two = world.start("b")
    world.run(two, until=lambda: len(world.facts()) == 20)

    assert one.counts.handler_runs + two.counts.handler_runs == 20
    assert len({(fact.run, fact.step) for fact in world.facts()}) == 20


def test_silent_owner_loses_its_partitions_and_its_late_result_is_refused(world: World) -> None:
    """SIGSTOP inside a handler, past the session: the second owner has a higher token, and its result stands."""
    executors: list[Held] = []
    held = holding(executors)

    one = world.start("a", executor=held)
    world.trigger("r-1")
    world.run()
    (sleeping,) = executors[0].held
    two = world.start("b", executor=held)
    for _ in range(60):
        two.step(0.0)
        world.clock.advance(timedelta(seconds=0.5))
    world.run(two, until=lambda: len(executors) == 2 and len(executors[1].held) == 1)

    (awake,) = executors[1].held
    executors[0].let_go()
    executors[1].let_go()
    one.step(0.0)
    world.run(one, two, until=lambda: len(executors[0].held) + len(executors[1].held) == 1)

    tokens = [FencingToken(it.call.attempt, it.call.epoch) for it in (sleeping, awake)]
    assert tokens[0] < tokens[1]
    assert len(world.facts(StepSucceeded)) == 1
    assert one.counts.dropped == 1


def test_writer_that_is_gone_is_fenced_before_its_partitions_are_read(world: World) -> None:
    one = world.start("a")
    world.run()
    two = world.start("b")
    for _ in range(60):
        two.step(0.0)
        world.clock.advance(timedelta(seconds=0.5))
    world.run(two, until=lambda: two.is_idle and len(two.ownership.partitions) == 2 * P)

    assert two.counts.fenced_writers == 1
    assert one.counts.fenced_writers == 0


class Chance(InlineExecutor):
    """Handlers that end in any order, and some never."""

    def __init__(self, environment: Environment, chance: random.Random) -> None:
        super().__init__(environment)
        self.chance = chance
        self.held: list[Attempt] = []

    def has_room(self, spec: AgentSpec) -> bool:
        return len(self.held) < 5

    def submit(self, attempt: Attempt) -> None:
        attempt.started = self._env.clock.monotonic()
        self.held.append(attempt)

    def end_some(self) -> None:
        for attempt in self.chance.sample(self.held, self.chance.randint(0, len(self.held))):
            self.held.remove(attempt)
            super().submit(attempt)
            attempt.ended = self._env.clock.monotonic()

    def call_off(self, attempt: Attempt) -> None:
        if attempt in self.held:
            self.held.remove(attempt)


class Chaos:
    """Processes that come, go, die and sleep, transactions that end as they like."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)
        self.executors: dict[AgentLoop, Chance] = {}
        self.asleep: dict[AgentLoop, int] = {}
        self.slots = 0

    def begin(self) -> None:
        made: list[Chance] = []

        def executor(environment: Environment) -> Chance:
            made.append(Chance(environment, self.chance))
            return made[0]

        loop = self.world.start(f"s{self.slots}", executor, window=16, release_wait=timedelta(milliseconds=100))
        self.slots += 1
        self.executors[loop] = made[0]

    def shake(self, number: int) -> None:
        """One thing that may happen."""
        draw, loops = self.chance.random(), list(self.executors)
        if draw < 0.3:
            self.world.trigger(f"r-{number}")
        elif draw < 0.33 and len(loops) < 3:
            self.begin()
        elif draw < 0.345 and len(loops) > 1:
            leaver = self.chance.choice(loops)
            del self.executors[leaver]
            leaver.close()
        elif draw < 0.355 and len(loops) > 1:
            del self.executors[self.chance.choice(loops)]  # killed: nobody hears of it again
        elif draw < 0.37 and loops:
            self.asleep[self.chance.choice(loops)] = self.chance.randrange(200)
        elif draw < 0.47 and loops:
            verdict = self.chance.choice([Verdict.ABORTED, Verdict.STALE, Verdict.DOUBT, Verdict.DOUBT])
            is_done = verdict is Verdict.DOUBT and self.chance.random() < 0.5
            self.world.shaken(self.chance.choice(loops)).verdicts = [(verdict, is_done)]

    def step(self) -> None:
        for loop, executor in list(self.executors.items()):
            if self.asleep.get(loop, 0) > 0:
                self.asleep[loop] -= 1
                continue
            executor.end_some()
            loop.step(0.0)
        self.world.clock.advance(timedelta(milliseconds=self.chance.choice([5, 50, 400])))

    def calm_down(self) -> None:
        """No more faults: everything must come to its end."""
        self.asleep.clear()
        if not self.executors:
            self.begin()
        for _ in range(3_000):
            self.step()
            idle = all(loop.is_idle for loop in self.executors)
            if idle and self.world.lag() == 0:
                return
        raise AssertionError("it does not come to rest")


@pytest.mark.parametrize("seed", range(12))
def test_every_trigger_is_answered_once_whatever_happens_to_processes_and_transactions(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path, make(total_of, timeout="30s"))
    chaos = Chaos(world, seed)
    chaos.begin()

    for number in range(600):
        chaos.shake(number)
        chaos.step()
    chaos.calm_down()

    triggers = [parse_envelope(r.headers) for name in world.agents for r in world.records(TOPICS.inbox(name))]
    facts = [(fact.run, fact.step, fact.attempt) for fact in world.facts()]
    assert sorted(facts) == sorted((it.run, it.step, it.attempt) for it in triggers), f"seed {seed}"
    assert len(set(facts)) == len(facts)
    fired = [(fact.run, name) for fact in world.facts(StepSucceeded) for name in fact.fired]
    assert sorted(fired) == sorted((it.run, it.step) for it in triggers if it.step == "second")


# --- refusals at the start ------------------------------------------------------------------------------


def test_process_of_another_unit_refuses_to_consume_an_inbox(world: World) -> None:
    world.send(NewRecord(TOPICS.definitions, b"inbox:first", b"other"))
    loop = world.start()

    with pytest.raises(ConfigError, match="other"):
        world.run(loop)


def test_missing_topic_is_refused_with_what_apply_would_do(world: World) -> None:
    with pytest.raises(ConfigError, match="apply"):
        check(world.admin, TOPICS, [*world.agents.values(), replace(second.spec, name="third")])


def test_partition_without_start_position_waits_for_apply_and_others_go_on(tmp_path: Path) -> None:
    world = World(tmp_path, make(total_of))
    third = replace(second.spec, name="third")
    world.admin.create(agent_topics(TOPICS, ["third"], 1))
    world.agents["third"] = third
    loop = world.start()
    world.trigger("r-1")
    world.run()
    assert (len(world.facts()), loop.counts.partitions_stopped) == (2, 1)

    world.admin.start_positions(GROUP, {TopicPartition(TOPICS.inbox("third"), 0): Position(0)})
    world.clock.advance(timedelta(seconds=6))
    world.run()

    assert world.position("third", 0).metadata


def test_unreadable_metadata_stops_its_partition_and_no_other(world: World) -> None:
    world.admin.create(agent_topics(TOPICS, ["third"], 1))
    world.agents["third"] = replace(second.spec, name="third")
    world.admin.start_positions(GROUP, {TopicPartition(TOPICS.inbox("third"), 0): Position(0, "f9.future")})
    loop = world.start()
    world.trigger("r-1")

    world.run()

    assert len(world.facts()) == 2
    assert loop.counts.partitions_stopped == 1
    assert world.position("third", 0).metadata == "f9.future"
