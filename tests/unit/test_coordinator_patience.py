"""What a coordinator does while something it needs is away: it tries again, later each time, and holds nobody."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.coordinator.patience import Patience
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.errors import TransportError
from farandole.events import facts
from farandole.events.catalogue import decode, encode
from farandole.events.commands import StartRun
from farandole.events.outgoing import Origin, event_record
from farandole.events.tables import Claim
from farandole.events.topics import Topics
from farandole.ids import agent_fact_id, sha256
from farandole.testing.answers import Task, success, task_of
from farandole.testing.sketch import define, framed, framed_params, node
from farandole.transport.memory import MemoryTransport
from farandole.transport.outgoing import new_record
from farandole.transport.port import (
    Commit,
    ListMembers,
    Member,
    MemberSettings,
    NewRecord,
    Record,
    Reply,
    Request,
    TopicPartition,
    Transport,
    Verdict,
)

READS = define(node("a"), node("x"), node("y", "x"), node("j", "a.n", "y"), name="p", output="j")
"""To trigger `j` the coordinator reads the result of `a`."""

JOINS = define(node("a"), node("b"), node("j", "a", "b"), name="p")
LATE = define(node("a", deadline=timedelta(seconds=5)), node("b"), name="p")

LARGE = "x" * 200_000
"""Two of them are above the inline limit."""


class Store:
    """Artifacts in a folder that can be away, as a mount is."""

    def __init__(self, folder: Path) -> None:
        self._store, self.away, self.asked = LocalArtifacts(folder), False, 0

    def put(self, data: bytes) -> Claim:
        self._knock()
        return self._store.put(data)

    def get(self, claim: Claim) -> bytes:
        self._knock()
        return self._store.get(claim)

    def _knock(self) -> None:
        self.asked += 1
        if self.away:
            raise TransportError("artifacts: expected a store, but it is away")


class SlowMember:
    """A member whose transactions are answered in time only if they are small; the others have no effect."""

    def __init__(self, member: Member, bound: list[int]) -> None:
        self._member, self._bound, self._late = member, bound, dict[int, Request]()
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._member, name)

    def call(self, request: Request) -> int:
        if not isinstance(request, Commit):
            return self._member.call(request)
        self.sizes.append(len(request.records))
        if len(request.records) <= self._bound[0]:
            return self._member.call(request)
        ticket = self._member.call(ListMembers())
        self._late[ticket] = request
        return ticket

    def replies(self, timeout: float) -> Sequence[Reply]:
        return [self._told(each) for each in self._member.replies(timeout)]

    def _told(self, reply: Reply) -> Reply:
        request = self._late.pop(reply.ticket, None)
        if request is None:
            return reply
        return Reply(reply.ticket, request, Verdict.DOUBT, error=TransportError("timed out"))


class SlowTransport:
    """A log in memory whose members are slow; `bound` is the most records that it takes in time."""

    def __init__(self, clock: ManualClock) -> None:
        self._log = MemoryTransport(clock)
        self.bound = [1_000_000]
        self.members: list[SlowMember] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def member(self, settings: MemberSettings) -> Member:
        self.members.append(SlowMember(self._log.member(settings), self.bound))
        return cast("Member", self.members[-1])


class Town:
    """A coordinator on a log in memory with one home, on a clock that is moved by hand."""

    def __init__(self, definition: Definition, folder: Path) -> None:
        self.definition, self.topics, self.clock = definition, Topics(), ManualClock()
        self.slow, self.store = SlowTransport(self.clock), Store(folder)
        self.transport = cast("Transport", self.slow)
        wanted = Deployment("tests", tuple(definition.steps), definitions=(definition,))
        apply(self.transport, plan(self.transport, self.topics, wanted, partitions=1))
        environment = Environment(self.transport, self.clock, self.store, lambda: 0.0)
        self.loop = CoordinatorLoop(environment, CoordinatorSettings(), 1)
        self.producer, self.reader = self.transport.producer("test"), self.transport.reader("test")
        inboxes = [self.topics.inbox(step) for step in definition.steps]
        self.reader.assign({TopicPartition(topic, 0): -2 for topic in [self.topics.events, *inboxes]})
        self.records: list[Record] = []
        self.rest()

    def rest(self, steps: int = 400) -> int:
        """Step until nothing moves; how many steps that took."""
        for n in range(steps):
            if not self.loop.step(0.0):
                self.records += [each for each in self.reader.poll(0.0) if isinstance(each, Record)]
                return n
        raise AssertionError(f"still busy after {steps} steps")

    def pass_time(self, by: timedelta, parts: int = 20) -> None:
        """Let time pass in steps that nobody takes for death."""
        for _ in range(parts):
            self.clock.advance(by / parts)
            self.rest()

    def send(self, *records: NewRecord) -> None:
        for record in records:
            self.producer.send(record)
        self.producer.flush(1.0)

    def start(self, *runs: str) -> None:
        asked = [(run, encode(StartRun("p", framed_params(), run))) for run in runs]
        self.send(*(NewRecord(self.topics.commands, run.encode(), body, partition=0) for run, body in asked))
        self.rest()

    def report(self, step: str, output: bytes) -> None:
        """Every task of a step succeeds, and what its agent fires is left to the coordinator."""
        graph = graph_of(self.definition)
        for task in self.tasks(step):
            leave_out = tuple(self.definition.steps)
            fact, _ = success(graph, task, output, leave_out)
            fact_id = agent_fact_id(fact.run, fact.step, fact.item, fact.attempt, "StepSucceeded")
            origin = Origin("test", self.clock.now())
            self.send(new_record(event_record(self.topics, fact, event_id=fact_id, cause="test", origin=origin), 1))

    def tasks(self, step: str) -> list[Task]:
        return [task_of(it.headers, it.value) for it in self.records if it.topic == self.topics.inbox(step)]

    def told(self, kind: type[facts.Event]) -> list[facts.Event]:
        found = [decode(it.value or b"") for it in self.records if it.topic == self.topics.events]
        return [each for each in found if isinstance(each, kind)]


@pytest.fixture
def reads(tmp_path: Path) -> Iterator[Town]:
    """A run whose next step needs a payload from the store, and another run that needs nothing of it."""
    town = Town(READS, tmp_path)
    town.start("r-1")
    large = framed(4)
    town.store.put(large)
    town.report("a", encode(Claim(sha256(large), len(large))))
    town.report("x", framed(1))
    town.rest()
    yield town
    town.loop.close()


@pytest.fixture
def joins(tmp_path: Path) -> Iterator[Town]:
    """A town whose join makes a payload that has to be stored."""
    town = Town(JOINS, tmp_path)
    yield town
    town.loop.close()


def test_patience_waits_longer_each_time_up_to_its_cap() -> None:
    patience, waits = Patience(), []

    for _ in range(9):
        patience.failed(1_000)
        waits.append(patience.until - 1_000)

    assert waits == [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]
    assert patience.lasts(61_000) == 60_000
    patience.ended()
    assert (patience.until, patience.lasts(99_000)) == (0, 0)


def test_store_that_is_away_for_a_while_holds_no_run(reads: Town) -> None:
    """Its error was taken for one of the run, which then was held until somebody released it."""
    reads.store.away = True
    reads.report("y", framed(1))
    reads.pass_time(timedelta(seconds=30))
    assert (reads.tasks("j"), reads.told(facts.RunHeld)) == ([], [])

    reads.store.away = False
    reads.pass_time(timedelta(seconds=6))

    assert [task.run for task in reads.tasks("j")] == ["r-1"]
    assert reads.told(facts.RunHeld) == []


def test_store_that_is_away_is_asked_again_and_again_but_not_all_the_time(reads: Town) -> None:
    reads.store.away, before = True, reads.store.asked
    reads.report("y", framed(1))

    reads.pass_time(timedelta(seconds=20), parts=400)

    # After 0.1, 0.3, 0.7, 1.5, 3.1, 6.3 s, then every 5 s, and at once.
    assert 8 <= reads.store.asked - before <= 10


def test_store_that_stays_away_holds_the_run_that_needs_it_and_others_go_on(reads: Town) -> None:
    reads.store.away = True
    reads.report("y", framed(1))

    reads.pass_time(timedelta(seconds=70), parts=70)
    reads.start("r-2")

    assert [each.run for each in reads.told(facts.RunHeld)] == ["r-1"]
    assert "r-2" in {task.run for task in reads.tasks("x")}


def test_store_that_cannot_be_written_delays_the_join_and_ends_nothing(joins: Town) -> None:
    """`put` raised through the loop, and the coordinator ended; so did the next one that took the partition."""
    joins.start("r-1")
    joins.report("a", framed(1, pad=LARGE))
    joins.rest()
    joins.store.away = True
    joins.report("b", framed(1, pad=LARGE))
    joins.pass_time(timedelta(minutes=5), parts=300)
    assert (joins.tasks("j"), joins.told(facts.RunHeld)) == ([], [])

    joins.store.away = False
    joins.pass_time(timedelta(seconds=6))

    assert [task.run for task in joins.tasks("j")] == ["r-1"]


def test_timers_that_the_log_refuses_are_tried_again_later_and_records_go_on(tmp_path: Path) -> None:
    """A refused transaction made of timers alone was made again at once, for ever."""
    town = Town(LATE, tmp_path)
    town.start("r-1")
    sizes = town.slow.members[0].sizes
    town.transport.admin().configure(town.topics.events, {"max.message.bytes": "80"})
    before = len(sizes)
    town.pass_time(timedelta(seconds=25), parts=500)
    tries = sum(size > 0 for size in sizes[before:])

    town.transport.admin().configure(town.topics.events, {"max.message.bytes": "1000000"})
    town.pass_time(timedelta(seconds=6))

    # Due after 5 s, then as for the store.
    assert 8 <= tries <= 11
    assert len(town.told(facts.DeadlinePassed)) == 1
    town.loop.close()


def test_batches_of_a_log_that_is_slow_get_smaller_until_it_keeps_up_and_grow_again(tmp_path: Path) -> None:
    """Their size never changed: a home with a backlog was restored again and again, and folded nothing."""
    town = Town(JOINS, tmp_path)
    town.slow.bound[0] = 60
    runs = [f"r-{n}" for n in range(100)]
    sizes = town.slow.members[0].sizes
    town.start(*runs)
    town.pass_time(timedelta(seconds=5))
    town.rest(4_000)
    assert len(town.told(facts.RunStarted)) == len(runs)
    assert max(size for size in sizes if size <= 60) > 15, "it went no lower than it had to"

    town.slow.bound[0] = 1_000_000
    for n in range(30):
        town.start(f"small-{n}")
    before = len(sizes)
    town.start(*(f"s-{n}" for n in range(100)))

    assert max(sizes[before:]) > 300, "all in one transaction again"
    town.loop.close()
