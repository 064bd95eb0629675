"""The coordinator's loop on a log in memory: what it does when nothing follows, and when the log refuses a record."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from farandole.artifacts import LocalArtifacts
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.coordinator.patience import RETRY_S
from farandole.coordinator.refold import RefoldWanted
from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.errors import FatalTransportError, TransportError
from farandole.events import facts
from farandole.events.catalogue import decode, encode
from farandole.events.commands import CancelRun, ReleaseRun, StartRun
from farandole.events.outgoing import Origin, Outgoing, event_record
from farandole.events.tables import RunHead
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, agent_fact_id, generated_run_id, partition_of, sha256
from farandole.kernel.decision import DEDUPE_WINDOW
from farandole.kernel.snapshot import read_run
from farandole.kernel.state import CHUNK, Status, ms
from farandole.telemetry import catalogue as m
from farandole.telemetry.measures import Distribution, Labels
from farandole.testing.answers import Task, failure, success, task_of
from farandole.testing.sketch import define, framed, framed_params, node
from farandole.transport.fencing import FENCED_MAX
from farandole.transport.memory import MemoryTransport
from farandole.transport.outgoing import new_record
from farandole.transport.port import (
    Commit,
    Isolation,
    MemberSettings,
    NewRecord,
    Position,
    ReadEnds,
    ReadPositions,
    Record,
    Reply,
    Request,
    TopicPartition,
    Verdict,
)
from farandole.transport.topology import Override

PARTITIONS = 2
JOIN = define(node("a"), node("b"), node("j", "a", "b"), name="p")
NARROW = Override("farandole.inbox.j", config={"max.message.bytes": "2000"})
"""The inbox of `j` takes small records only: what follows from large results cannot be written."""


class Town:
    """A coordinator on a log in memory, on a clock that stands still."""

    def __init__(self, definition: Definition, folder: Path, overrides: Sequence[Override] = ()) -> None:
        self.definition, self.topics, self.clock = definition, Topics(), ManualClock()
        self.transport = MemoryTransport(self.clock)
        deployment = Deployment("tests", tuple(definition.steps), definitions=(definition,))
        wanted = plan(self.transport, self.topics, deployment, partitions=PARTITIONS, overrides=overrides)
        apply(self.transport, wanted)
        self.environment = Environment(self.transport, self.clock, LocalArtifacts(folder), lambda: 0.0)
        self.loop = self.begin()
        self.producer = self.transport.producer("test")
        self.reader = self.transport.reader("test")
        inboxes = [self.topics.inbox(step) for step in definition.steps]
        self.reader.assign(
            {TopicPartition(t, n): -2 for t in [self.topics.events, *inboxes] for n in range(PARTITIONS)}
        )
        self.records: list[Record] = []

    def begin(self) -> CoordinatorLoop:
        """A coordinator process; the one before must be closed."""
        return CoordinatorLoop(self.environment, CoordinatorSettings(), PARTITIONS)

    def rest(self, steps: int = 400) -> int:
        """Step until nothing moves; how many steps that took."""
        for n in range(steps):
            if not self.loop.step(0.0):
                self.records += [each for each in self.reader.poll(0.0) if isinstance(each, Record)]
                return n
        raise AssertionError(f"still busy after {steps} steps")

    def rest_until_in_flight(self) -> None:
        """Step until a batch is under way."""
        while (flight := self.loop._writer.flight) is None or not flight.batches:
            self.loop.step(0.0)

    def hide_definitions(self, polls: int) -> None:
        """Bring rows of `definitions` some polls later, as another broker's long poll does."""
        follower = self.loop._definitions._follower
        follow, left = follower.follow, iter(range(polls))
        follower.follow = lambda timeout=0.0: follow(timeout) if next(left, None) is None else 0  # type: ignore[method-assign]

    def lose_definition(self) -> None:
        """The row of the definition is gone, as for a process of a version that cannot read it."""
        self.send(NewRecord(self.topics.definitions, self.definition.hash.encode(), None, partition=0))

    def bring_definition_back(self) -> None:
        """The row is there again."""
        body = self.definition.to_json().encode()
        self.send(NewRecord(self.topics.definitions, self.definition.hash.encode(), body, partition=0))

    def succeed(self) -> None:
        """Another process takes over."""
        self.loop.close()
        self.loop = self.begin()
        self.pass_time(timedelta(seconds=30))

    def pass_time(self, by: timedelta) -> None:
        """Let time pass in steps that nobody takes for death."""
        for _ in range(10):
            self.clock.advance(by / 10)
            self.rest()

    def send(self, *records: NewRecord) -> None:
        """Write records as a client or an agent would."""
        for record in records:
            self.producer.send(record)
        self.producer.flush(1.0)

    def start(self, *runs: str) -> None:
        """Ask for runs."""
        body = [(run, encode(StartRun("p", framed_params(), run))) for run in runs]
        self.send(*(NewRecord(self.topics.commands, run.encode(), b, partition=home(run)) for run, b in body))

    def command(self, command: CancelRun | ReleaseRun | StartRun) -> None:
        """Ask for something of a run."""
        run = command.run_id or ""
        self.send(NewRecord(self.topics.commands, run.encode(), encode(command), partition=home(run)))

    def success(self, task: Task, pad: str = "") -> NewRecord:
        """The result of a task."""
        return self.report(success(graph_of(self.definition), task, framed(1, pad=pad))[0])

    def report(self, fact: facts.StepSucceeded | facts.StepFailed) -> NewRecord:
        """What an agent says of a task."""
        fact_id = agent_fact_id(fact.run, fact.step, fact.item, fact.attempt, type(fact).__name__)
        origin = Origin("test", self.clock.now())
        out: Outgoing = event_record(self.topics, fact, event_id=fact_id, cause="test", origin=origin)
        return new_record(out, PARTITIONS)

    def direct(self, run: str) -> list[NewRecord]:
        """What the agent of a single step writes about a run that a client has started directly."""
        params = framed_params()
        now, allowed = self.clock.now(), self.definition.deadline
        until = now + allowed if allowed else None
        begun = facts.RunStarted(run, "p", self.definition.hash, params, sha256(params), now, until, fired=("a",))
        origin = Origin("test", self.clock.now())
        started = event_record(self.topics, begun, event_id=f"{run}/started", cause="test", origin=origin)
        return [
            new_record(started, PARTITIONS),
            self.report(facts.StepSucceeded(run, "a", 1, framed(1), final=True)),
        ]

    def tasks(self, step: str) -> list[Task]:
        """The triggers of a step, in the order of their runs."""
        found = [task_of(it.headers, it.value) for it in self.records if it.topic == self.topics.inbox(step)]
        return sorted(found, key=lambda task: task.run)

    def transactions(self) -> int:
        """How many the coordinator has committed."""
        return self.loop.view.builder.words["transaction_committed"]

    def shown(self) -> dict[m.Metric, Mapping[Labels, float]]:
        """What a scrape gives, but for distributions."""
        given = self.loop.view.samples(self.clock.now(), timedelta(hours=24))
        return {metric: values for metric, values in given if not isinstance(values, Distribution)}

    def rows(self) -> list[str]:
        """What `runs` was told, in order: the status in each head record."""
        reader = self.transport.reader("rows")
        reader.assign({TopicPartition(self.topics.runs, n): -2 for n in range(PARTITIONS)})
        found = [each for _ in range(5) for each in reader.poll(0.0) if isinstance(each, Record) and each.value]
        heads = [row for row in map(decode, (it.value or b"" for it in found)) if isinstance(row, RunHead)]
        reader.close()
        return [row.status for row in heads]

    def events(self) -> list[object]:
        """What stands on `events`, as read by the last rest."""
        return [decode(it.value or b"") for it in self.records if it.topic == self.topics.events]

    def held(self) -> list[str]:
        """The runs that are held."""
        return sorted(it.run for it in self.events() if isinstance(it, facts.RunHeld))

    def count(self, kind: type) -> int:
        """How many events of a kind there are, as read now."""
        self.records += [each for each in self.reader.poll(0.0) if isinstance(each, Record)]
        return sum(isinstance(it, kind) for it in self.events())


def home(run: str) -> int:
    """The home partition of a run."""
    return partition_of(run, PARTITIONS)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Town]:
    """A town whose inbox of `j` is narrow."""
    town = Town(JOIN, tmp_path, [NARROW])
    town.rest()
    yield town
    town.loop.close()


def runs_at(number: int, count: int) -> list[str]:
    """Ids of runs that live on a home."""
    return [run for run in (f"r-{n}" for n in range(200)) if home(run) == number][:count]


def test_refused_record_holds_the_run_that_led_to_it_among_many(narrow: Town) -> None:
    runs = runs_at(0, 20)
    narrow.start(*runs)
    narrow.rest()
    culprit = runs[13]

    narrow.send(*(narrow.success(task) for task in narrow.tasks("a")))
    narrow.send(*(narrow.success(t, "x" * 3000 if t.run == culprit else "") for t in narrow.tasks("b")))
    narrow.rest()

    assert narrow.held() == [culprit]
    assert [task.run for task in narrow.tasks("j")] == sorted(set(runs) - {culprit})


def test_refused_record_of_one_home_holds_nothing_of_another(narrow: Town) -> None:
    """Each home of the refused transaction was searched: one record of another home was alone, and so was guilty."""
    (culprit,), (innocent,) = runs_at(0, 1), runs_at(1, 1)
    narrow.start(culprit, innocent)
    narrow.rest()
    narrow.send(*(narrow.success(task) for task in narrow.tasks("a")))
    narrow.rest()

    narrow.send(*(narrow.success(t, "x" * 3000 if t.run == culprit else "") for t in narrow.tasks("b")))
    narrow.rest()

    assert narrow.held() == [culprit]
    assert [task.run for task in narrow.tasks("j")] == [innocent]


def test_refused_records_of_two_runs_hold_both_and_others_go_on(narrow: Town) -> None:
    runs = sorted(runs_at(0, 6) + runs_at(1, 6))
    narrow.start(*runs)
    narrow.rest()
    culprits = [runs[2], runs[9]]

    narrow.send(*(narrow.success(task) for task in narrow.tasks("a")))
    narrow.send(*(narrow.success(t, "x" * 3000 if t.run in culprits else "") for t in narrow.tasks("b")))
    narrow.rest()

    assert narrow.held() == culprits
    assert len(narrow.tasks("j")) == 10


def test_refused_start_holds_nothing_of_a_run_whose_report_comes_in_meanwhile(narrow: Town) -> None:
    # The story: the start went alone, and was refused. A report had come in by then; events are read first, so that it
    # was the report which stood first when the culprit was given up, and its run was held.
    innocent, culprit = runs_at(0, 2)
    narrow.start(innocent)
    narrow.rest()
    narrow.transport.admin().configure(narrow.topics.inbox("a"), {"max.message.bytes": "100"})

    narrow.start(culprit)
    narrow.rest_until_in_flight()
    narrow.send(*(narrow.success(task) for task in narrow.tasks("a")))
    narrow.rest()

    assert narrow.held() == []
    assert [(it.run, it.reason) for it in narrow.events() if isinstance(it, facts.RunRefused)] == [
        (culprit, "unproducible")
    ]


def test_refused_marker_of_a_timer_holds_nothing_of_the_record_that_was_with_it(tmp_path: Path) -> None:
    """A record alone in its batch was blamed, whatever timers had written beside it."""
    late = define(node("a", deadline=timedelta(seconds=5)), node("b"), node("j", "a", "b"), name="p")
    town = Town(late, tmp_path)
    town.rest()
    waiting, reporting = runs_at(0, 2)
    town.start(waiting)
    town.rest()
    town.pass_time(timedelta(seconds=3))
    town.start(reporting)
    town.rest()

    town.send(*(town.success(task) for task in town.tasks("a") if task.run == reporting))
    town.transport.admin().configure(town.topics.events, {"max.message.bytes": "80"})
    town.clock.advance(timedelta(seconds=3))
    town.rest()
    town.transport.admin().configure(town.topics.events, {"max.message.bytes": "1000000"})
    town.pass_time(timedelta(seconds=10))

    assert town.held() == [waiting], "by its deadline"
    assert town.count(facts.DeadlinePassed) == 1
    town.loop.close()


def test_release_that_was_given_up_does_not_keep_later_ones_from_being_written(narrow: Town) -> None:
    # The story: a run was released before the inbox was mended. Its release was given up without being noted as read
    # back. It stood as written but unread until the coordinator was restarted: every later release was taken for it.
    (run,) = runs_at(0, 1)
    narrow.start(run)
    narrow.rest()
    narrow.send(*(narrow.success(task) for task in narrow.tasks("a")))
    narrow.send(*(narrow.success(task, "x" * 3000) for task in narrow.tasks("b")))
    narrow.rest()

    narrow.command(ReleaseRun(run))
    narrow.rest()
    given_up = narrow.tasks("j")
    narrow.transport.admin().configure(narrow.topics.inbox("j"), {"max.message.bytes": "1000000"})
    narrow.command(ReleaseRun(run))
    narrow.rest()

    assert given_up == []
    assert [task.run for task in narrow.tasks("j")] == [run]


def test_release_of_a_run_whose_missed_facts_were_deleted_leaves_it_held_and_others_go_on(
    narrow: Town, caplog: pytest.LogCaptureFixture
) -> None:
    # The story: what the run had missed had expired. It was waited for for ever, at the release: nothing behind that
    # was folded, no run of any other home could be released, and a restart began the same again.
    (run, other), (elsewhere,) = runs_at(0, 2), runs_at(1, 1)
    narrow.start(run, other, elsewhere)
    narrow.rest()
    narrow.send(*(narrow.success(task) for task in narrow.tasks("a")))
    narrow.send(*(narrow.success(task, "x" * 3000) for task in narrow.tasks("b") if task.run != other))
    narrow.rest()
    narrow.transport.admin().configure(narrow.topics.inbox("j"), {"max.message.bytes": "1000000"})
    since = narrow.loop.homes[0].runs[run].head.unfolded_from
    with narrow.transport.hub as broker:
        broker.truncate_before(TopicPartition(narrow.topics.events, 0), since + 1)

    narrow.command(ReleaseRun(run))
    narrow.rest()
    narrow.command(ReleaseRun(elsewhere))
    narrow.send(*(narrow.success(task) for task in narrow.tasks("b") if task.run == other))
    narrow.rest()

    assert sorted(task.run for task in narrow.tasks("j")) == sorted([other, elsewhere])
    assert f"expected what run {run} missed while it was held, but it was deleted" in caplog.text
    assert narrow.loop._refold.found == {}, "a release that was given up leaves nothing behind"
    narrow.command(CancelRun(run))
    narrow.rest()
    assert [(it.run, it.outcome) for it in narrow.events() if isinstance(it, facts.RunSettled)] == [(run, "cancelled")]


@pytest.mark.parametrize("how", ["revoked", "in_doubt"])
def test_release_that_waits_does_not_outlive_its_home(narrow: Town, how: str) -> None:
    """Runs of other homes waited behind it, for a release that somebody else folded by then."""
    refold, at = narrow.loop._refold, TopicPartition(narrow.topics.events, 0)
    refold.want(RefoldWanted("r-1", at, 0, 1_000))

    if how == "revoked":
        narrow.loop.gone([at], lost=False)
    else:
        narrow.loop._doubted(frozenset({0}), frozenset())

    assert refold.wanted is None


class Refusing:
    """A member whose transactions have no effect while `is_refusing`: the broker takes nothing from this machine."""

    def __init__(self, member: Any) -> None:
        self.member = member
        self.is_refusing = False
        self.kind: type[Request] = Commit
        self.verdict: Verdict | None = Verdict.ABORTED
        self.refused = 0
        self._replies: list[Reply] = []

    def call(self, request: Request) -> int:
        if not (self.is_refusing and isinstance(request, self.kind)):
            return int(self.member.call(request))
        self.refused += 1
        self._replies.append(Reply(-self.refused, request, self.verdict, error=TransportError("INVALID_TIMESTAMP")))
        return -self.refused

    def replies(self, timeout: float) -> Sequence[Reply]:
        made, self._replies = self._replies, []
        return [*made, *self.member.replies(0.0)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.member, name)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Refusing]:
    """The members that are made from now on: each may be told to refuse."""
    made: list[Refusing] = []
    member = MemoryTransport.member

    def refusing(transport: MemoryTransport, settings: MemberSettings) -> Any:
        made.append(Refusing(member(transport, settings)))
        return made[-1]

    monkeypatch.setattr(MemoryTransport, "member", refusing)
    return made


def test_log_that_takes_nothing_from_us_holds_no_run_and_is_not_asked_all_the_time(
    tmp_path: Path, made: list[Refusing]
) -> None:
    # The story: the clock of a machine was two hours ahead. The broker refused whatever was written there, each run was
    # found guilty of its record in turn, and the loop tried again as fast as it could.
    town = Town(JOIN, tmp_path)
    town.rest()
    made[0].is_refusing = True

    town.start("r-1", "r-2")
    for _ in range(200):
        town.loop.step(0.0)
    assert made[0].refused == 1, "no time has passed"
    town.pass_time(timedelta(seconds=60))
    tried = made[0].refused
    made[0].is_refusing = False
    town.pass_time(timedelta(seconds=10))

    assert 5 <= tried <= 20
    assert town.held() == []
    assert [task.run for task in town.tasks("a")] == ["r-1", "r-2"]
    town.loop.close()


def test_right_that_is_lost_for_a_while_holds_no_run_and_the_log_is_not_asked_all_the_time(
    tmp_path: Path, made: list[Refusing], caplog: pytest.LogCaptureFixture
) -> None:
    # The story: an ACL was taken away for a minute. Each transaction was refused, that of giving up a record too, and
    # made again at once, with a line each. When the ACL was back, the run of that record was held, which was as good as
    # any other.
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    made[0].is_refusing, made[0].verdict = True, Verdict.REFUSED

    town.send(town.success(town.tasks("a")[0]))
    town.start("r-2", "r-3", "r-4")
    for _ in range(1_000):
        town.loop.step(0.0)
    at_once = made[0].refused
    town.pass_time(timedelta(seconds=60))
    lines = len(caplog.records)
    made[0].is_refusing = False
    town.pass_time(timedelta(seconds=10))

    assert at_once < 20, "no time has passed"
    assert lines < 20
    assert town.held() == []
    assert town.count(facts.RunRefused) == 0
    assert [task.run for task in town.tasks("a")] == ["r-1", "r-2", "r-3", "r-4"]
    town.loop.close()


def test_home_whose_epoch_is_refused_is_not_tried_all_the_time(tmp_path: Path, made: list[Refusing]) -> None:
    """There is no record to look for: it was tried again at once."""
    town = Town(JOIN, tmp_path)
    made[0].is_refusing, made[0].verdict = True, Verdict.REFUSED

    for _ in range(1_000):
        town.loop.step(0.0)
    at_once = made[0].refused
    made[0].is_refusing = False
    town.pass_time(timedelta(seconds=10))

    assert at_once == 1, "no time has passed"
    assert sorted(town.loop.homes) == [0, 1]
    town.loop.close()


@pytest.mark.parametrize("kind", [ReadPositions, ReadEnds])
def test_questions_that_are_refused_are_asked_again_after_a_pause_and_the_loop_sleeps(
    tmp_path: Path, made: list[Refusing], kind: type[Request]
) -> None:
    """While no broker took connections, they were asked again at once, as often as they were refused."""
    town = Town(JOIN, tmp_path)
    made[0].is_refusing, made[0].kind, made[0].verdict = True, kind, None

    for _ in range(1_000):
        town.loop.step(0.0)
    at_once, due = made[0].refused, town.loop.next_due()
    made[0].is_refusing = False
    town.pass_time(timedelta(seconds=10))

    assert at_once <= 2, "no time has passed"
    assert due == town.clock.now() - timedelta(seconds=10) + timedelta(seconds=RETRY_S)
    assert sorted(town.loop.homes) == [0, 1]
    town.loop.close()


def test_timer_that_is_due_while_the_log_takes_nothing_lets_the_loop_sleep(
    tmp_path: Path, made: list[Refusing]
) -> None:
    """It was told as due at once, though nothing was tried: the loop polled without waiting, up to 5 s at a time."""
    town = Town(define(node("a", deadline=timedelta(seconds=5)), node("b"), name="p"), tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()

    made[0].is_refusing = True
    town.clock.advance(timedelta(seconds=6))
    town.rest()

    assert made[0].refused == 1
    assert town.loop.next_due() == town.clock.now() + timedelta(milliseconds=100)
    town.loop.close()


class Fenced(Refusing):
    """A member of which the next `most` transactions are fenced."""

    def __init__(self, member: Any) -> None:
        super().__init__(member)
        self.most = 0

    def call(self, request: Request) -> int:
        if not (self.refused < self.most and isinstance(request, Commit)):
            return int(self.member.call(request))
        self.refused += 1
        self._replies.append(Reply(-self.refused, request, Verdict.FENCED, error=TransportError("_FENCED")))
        return -self.refused


@pytest.fixture
def fenced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Town, Fenced]]:
    """A town with a run asked for, and its coordinator's member."""
    member, made = MemoryTransport.member, []

    def fencing(transport: MemoryTransport, settings: MemberSettings) -> Any:
        made.append(Fenced(member(transport, settings)))
        return made[-1]

    monkeypatch.setattr(MemoryTransport, "member", fencing)
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    yield town, made[0]
    town.loop.close()


def test_coordinator_fenced_by_its_own_late_initialisations_goes_on_and_doubles_nothing(
    fenced: tuple[Town, Fenced],
) -> None:
    # The story: an InitProducerId that was held up on its way arrived, twice. The second time the process ended.
    town, member = fenced
    member.most = FENCED_MAX - 1

    town.rest()
    town.send(*(town.success(task) for step in "ab" for task in town.tasks(step)))
    town.rest()

    assert member.refused == FENCED_MAX - 1
    assert [town.count(kind) for kind in (facts.RunStarted, facts.StepScheduled)] == [1, 3]
    assert [task.run for task in town.tasks("j")] == ["r-1"]


def test_coordinator_fenced_again_and_again_gives_way(fenced: tuple[Town, Fenced]) -> None:
    town, member = fenced
    member.most = FENCED_MAX

    with pytest.raises(FatalTransportError, match="slot of its own"):
        town.rest()


def test_timer_that_leads_to_nothing_does_not_keep_the_loop_busy(tmp_path: Path) -> None:
    """It was given back with its empty batch, was due again at once, and kept a core busy for ever."""
    town = Town(define(node("a", deadline=timedelta(seconds=5)), node("b"), name="p"), tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.send(*(town.success(task) for task in town.tasks("a")))
    town.rest()

    town.pass_time(timedelta(seconds=20))

    assert all(home.next_due is None for home in town.loop.homes.values())
    town.loop.close()


def test_marker_that_was_not_read_back_is_not_written_again_by_the_next_owner(tmp_path: Path) -> None:
    """The next owner wrote whatever was due in the very step that ended its restore, before it had read anything."""
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.send(town.report(failure(town.tasks("a")[0], retryable=True)))
    town.rest()
    town.clock.advance(timedelta(seconds=2))
    while not town.count(facts.RetryDue):
        town.loop.step(0.0)

    town.loop.close()
    town.loop = town.begin()
    town.rest()

    assert town.count(facts.RetryDue) == 1
    assert [task.attempt for task in town.tasks("a")] == [1, 2]
    town.loop.close()


# --- commands after a take-over -----------------------------------------------------------------------


CHAIN = define(node("a"), node("b", "a"), name="p")


class Bystander:
    """What a member does that lets its partitions come and go."""

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        pass

    def releasing(self, partitions: Sequence[TopicPartition]) -> bool:
        return True

    def gone(self, partitions: Sequence[TopicPartition], *, lost: bool) -> None:
        pass


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Town]:
    """A town of two steps, the first of which starts runs directly."""
    town = Town(CHAIN, tmp_path)
    town.rest()
    yield town
    town.loop.close()


def serve_with_late_events(town: Town, number: int) -> None:
    """Step until a home is served, and on while the first fetch of its `events` has not come yet."""
    while number not in town.loop.homes:
        town.loop.step(0.0)
    late = [TopicPartition(town.topics.events, number)]
    town.loop._member.pause(late)
    for _ in range(5):
        town.loop.step(0.0)
    town.loop._member.resume(late)
    town.rest()
    town.pass_time(timedelta(seconds=1))


def test_cancel_that_is_fetched_before_the_start_of_its_run_is_not_lost(chain: Town) -> None:
    # The story: an agent began a run while no coordinator served its home. The client saw it begun and cancelled it.
    # The first poll of the next owner brought `commands` before `events`: no such run was known, and it went on.
    (run,) = runs_at(0, 1)
    chain.loop.close()
    chain.send(chain.direct(run)[0])
    chain.command(CancelRun(run, "please"))

    chain.loop = chain.begin()
    serve_with_late_events(chain, 0)

    assert chain.count(facts.CancelRequested) == 1


def test_cancel_is_not_lost_when_a_home_comes_back_whose_state_was_kept(chain: Town) -> None:
    """What agents wrote while the home was away is as unread as after a restore."""
    before = dict(chain.loop.homes)
    other = chain.transport.member(CoordinatorSettings(slot="1").member())
    other.subscribe([chain.topics.commands, chain.topics.events], Bystander())
    while len(other.assignment()) < 2 or len(chain.loop.homes) < PARTITIONS - 1:
        other.poll(0.0)
        chain.loop.step(0.0)
    (away,) = set(before) - set(chain.loop.homes)
    (run,) = runs_at(away, 1)

    chain.send(chain.direct(run)[0])
    chain.command(CancelRun(run, "please"))
    other.close()
    serve_with_late_events(chain, away)

    assert chain.loop.homes[away] is before[away], "it was kept"
    assert chain.count(facts.CancelRequested) == 1


def test_commands_beyond_what_is_buffered_wait_for_late_events_and_are_all_answered(
    chain: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farandole.coordinator.intake.BUFFER_MAX", 4)
    (direct, *asked) = runs_at(0, 20)
    chain.loop.close()
    chain.send(*chain.direct(direct))
    chain.start(*asked)

    chain.loop = chain.begin()
    serve_with_late_events(chain, 0)

    assert chain.count(facts.RunStarted) == 20


def test_large_results_fill_neither_memory_nor_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five thousand were buffered, and five hundred folded in one transaction, of whatever size: a backlog of results
    of 200 kB was a gigabyte for each home."""
    monkeypatch.setattr("farandole.coordinator.intake.BUFFER_BYTES_MAX", 10_000)
    monkeypatch.setattr("farandole.coordinator.building.BATCH_BYTES_MAX", 4_000)
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    town.start(*runs_at(0, 40))
    town.rest()
    before, writer = town.transactions(), town.loop._writer

    writer.renewing = True  # nothing is folded
    town.send(*(town.success(task, "x" * 1000) for task in town.tasks("a")))
    for _ in range(5):
        town.loop.step(0.0)
    is_full = 0 in town.loop._intake.full
    writer.renewing = False
    town.rest()

    assert is_full
    assert town.count(facts.RunSettled) == 40
    assert town.transactions() - before >= 10
    assert town.loop._intake.full == set()
    town.loop.close()


def test_cancel_is_not_lost_while_the_start_of_its_run_stands_behind_a_backlog(chain: Town) -> None:
    # The story: a client saw its run begin and cancelled it. More events stood before that than one poll brings, and
    # the command came with the first of them: it was said to be about nothing. Only after a take-over was `events` read
    # to its end first.
    *others, run = [each for each in (f"d-{n}" for n in range(1200)) if home(each) == 0][:261]
    chain.send(*(record for other in others for record in chain.direct(other)))
    chain.send(chain.direct(run)[0])
    chain.command(CancelRun(run, "please"))

    chain.pass_time(timedelta(seconds=1))

    assert chain.count(facts.CancelRequested) == 1


def test_commands_about_no_run_are_passed_and_the_one_behind_them_is_answered(chain: Town) -> None:
    strangers = [each for each in (f"nobody-{n}" for n in range(60)) if home(each) == 0]
    for each in strangers:
        chain.command(CancelRun(each))
    chain.start(*runs_at(0, 1))

    chain.rest()

    words = chain.loop.view.builder.words
    assert (words["command_no_such_run"], words["command_started"]) == (len(strangers), 1)


def test_end_of_events_is_asked_for_again_until_it_is_told(chain: Town) -> None:
    """A command about no run waits for it, and with it all that are behind."""
    ask, refused = chain.loop._member.call, iter(range(2))

    def call(request: Request) -> int:
        is_end = isinstance(request, ReadEnds) and next(refused, None) is not None
        return ask(ReadEnds([TopicPartition("nowhere", 0)], Isolation.UNCOMMITTED) if is_end else request)

    chain.loop._member.call = call  # type: ignore[method-assign]
    chain.command(CancelRun(runs_at(0, 1)[0]))
    chain.rest()
    waiting = chain.loop.view.builder.words["command_no_such_run"]
    chain.pass_time(timedelta(seconds=10 * RETRY_S))

    assert (waiting, chain.loop.view.builder.words["command_no_such_run"]) == (0, 1)
    assert next(refused, None) is None, "it was refused twice"


# --- definitions that come meanwhile --------------------------------------------------------------------


def test_pipeline_that_is_applied_while_the_table_is_read_for_another_start_is_known(tmp_path: Path) -> None:
    # The story: home 0 was asked for a pipeline that nobody has, and the table was read once more. A pipeline was
    # applied after its end had been asked for, and started on home 1: refused, as if the table had been read for it.
    town = Town(JOIN, tmp_path)
    town.rest()
    (typo,), (late,) = runs_at(0, 1), runs_at(1, 1)
    town.command(StartRun("typo", framed_params(), typo))
    while town.loop._definitions.is_fresh:
        town.loop.step(0.0)
    ends = town.loop._member.replies(0.0)

    new = define(node("a"), node("b"), node("j", "a", "b"), name="late")
    deployment = Deployment("tests", tuple(new.steps), definitions=(new,))
    apply(town.transport, plan(town.transport, town.topics, deployment, partitions=PARTITIONS))
    town.command(StartRun("late", framed_params(), late))
    town.hide_definitions(polls=3)
    for reply in ends:
        town.loop._asking._answered(reply)
    for _ in range(50):
        town.loop.step(0.0)
    town.rest()

    assert [(it.run, it.reason) for it in town.events() if isinstance(it, facts.RunRefused)] == [
        (typo, "unknown_pipeline")
    ]
    assert [(it.run, it.pipeline) for it in town.events() if isinstance(it, facts.RunStarted)] == [(late, "late")]
    town.loop.close()


def test_table_is_read_once_for_all_starts_that_were_seen_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(JOIN, tmp_path)
    town.rest()
    refresh, asked = town.loop._definitions.refresh, []

    def counted() -> None:
        asked.append(1)
        refresh()

    monkeypatch.setattr(town.loop._definitions, "refresh", counted)

    for run in runs_at(0, 20):
        town.command(StartRun("typo", framed_params(), run))
    town.rest()

    assert (town.count(facts.RunRefused), len(asked)) == (20, 1)
    town.loop.close()


def test_cancel_waits_for_the_start_of_its_run_while_that_waits_for_its_definition(chain: Town) -> None:
    # The story: a run was begun directly under a definition that had just been applied, and cancelled by whoever saw it
    # begun. Its start waited until the table was read once more; the cancel was answered meanwhile: no such run.
    chain.definition = define(node("a"), node("b", "a"), node("c", "b"), name="p")
    deployment = Deployment("tests", tuple(chain.definition.steps), definitions=(chain.definition,))
    apply(chain.transport, plan(chain.transport, chain.topics, deployment, partitions=PARTITIONS))
    (run,) = runs_at(0, 1)

    chain.hide_definitions(polls=3)
    chain.send(chain.direct(run)[0])
    chain.command(CancelRun(run, "please"))
    chain.rest()
    chain.pass_time(timedelta(seconds=1))

    assert [chain.count(kind) for kind in (facts.CancelRequested, facts.RunStopping)] == [1, 1]


# --- what no record leads to ------------------------------------------------------------------------------


def test_suspicion_is_written_where_nothing_else_comes(chain: Town) -> None:
    """It was written with the next record of its home. Where a trigger is lost, that may never come."""
    (run,) = runs_at(0, 1)
    chain.start(run)
    chain.rest()
    suspected = facts.TriggerSuspected(run, "a", 1)
    chain.loop._watchdog.suspected[0][suspected] = None

    chain.pass_time(timedelta(seconds=1))

    assert [each for each in chain.events() if isinstance(each, facts.TriggerSuspected)] == [suspected]
    assert chain.held() == [run]


# --- what can wait ------------------------------------------------------------------------------------


def test_fact_from_which_nothing_follows_waits_and_goes_with_the_one_that_ends_the_run(tmp_path: Path) -> None:
    """Each used to cost a transaction, and the fact behind it, which somebody waits for, stood in line for that."""
    town = Town(define(node("a"), node("b", "a"), name="p"), tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    before = town.rows()

    town.send(town.success(town.tasks("a")[0]))
    town.rest()
    waiting = town.rows()
    fired = Task("r-1", "b", NO_ITEM, 1, b"")
    town.send(town.success(fired))
    town.rest()

    assert waiting == before, "nothing is written for the first"
    assert town.rows() == [*before, "settled"], "one state record for both"
    town.loop.close()


def test_fact_that_waits_is_written_when_its_patience_is_over(tmp_path: Path) -> None:
    town = Town(define(node("a"), node("b", "a"), name="p"), tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    before = town.rows()
    town.send(town.success(town.tasks("a")[0]))
    town.rest()

    due = town.loop.next_due()
    assert due == town.clock.now() + CoordinatorSettings().patience
    town.pass_time(CoordinatorSettings().patience)

    assert town.rows() == [*before, "running"]
    town.loop.close()


def test_ends_that_clients_of_direct_starts_know_already_wait_and_go_in_one_transaction(tmp_path: Path) -> None:
    # The story: started and waited for one after the other, each run met the transaction that settled the one before.
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    (first,), (second,) = runs_at(0, 1), runs_at(1, 1)
    town.send(*town.direct(first))
    town.rest()
    town.clock.advance(CoordinatorSettings().patience / 2)
    town.send(*town.direct(second))
    town.rest()
    waiting, before = town.count(facts.RunSettled), town.transactions()

    town.clock.advance(CoordinatorSettings().patience / 2)
    town.rest()

    assert (waiting, town.count(facts.RunSettled)) == (0, 2)
    assert town.transactions() == before + 1
    town.loop.close()


def test_end_that_waits_goes_at_once_with_what_somebody_waits_for(tmp_path: Path) -> None:
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    known, asked = runs_at(0, 2)
    town.send(*town.direct(known))
    town.rest()
    waiting, before = town.count(facts.RunSettled), town.transactions()

    town.start(asked)
    town.rest()

    assert (waiting, town.count(facts.RunSettled)) == (0, 1)
    assert town.transactions() == before + 1
    town.loop.close()


def test_end_of_a_run_that_was_asked_for_is_written_at_once(tmp_path: Path) -> None:
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()

    task = town.tasks("a")[0]
    town.send(town.report(facts.StepSucceeded("r-1", "a", 1, framed(1), (), task.item, final=True)))
    town.rest()

    assert town.count(facts.RunSettled) == 1
    town.loop.close()


def test_run_whose_state_is_damaged_is_folded_anew_from_its_events_when_its_home_is_restored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The story: one record on `runs` that was not ours ended every coordinator that took the home over, one after the
    # other, and all runs of the home stood still.
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1", "r-2")
    town.rest()
    town.send(*(town.success(task) for task in town.tasks("a")))
    town.rest()
    town.loop.close()
    for run in ("r-1", "ghost"):
        town.send(NewRecord(town.topics.runs, run.encode(), b"\0not ours", partition=home(run)))

    town.loop = town.begin()
    town.pass_time(timedelta(seconds=30))
    town.send(*(town.success(task) for task in town.tasks("b")))
    town.rest()

    assert [task.run for task in town.tasks("j")] == ["r-1", "r-2"]
    assert town.held() == []
    assert "run r-1: its state could not be read and was folded anew" in caplog.text
    assert "run ghost: its state cannot be read, and its beginning is not on" in caplog.text
    named = {vars(line).get("run_id") for line in caplog.records if "its state " in line.getMessage()}
    assert named == {"r-1", "ghost"}
    town.loop.close()


def test_run_that_was_folded_anew_is_written_whole_with_its_next_change(tmp_path: Path) -> None:
    """What had not changed was taken for written: the next owner found it as damaged as before."""
    wide = define(*(node(f"s{n}") for n in range(2 * CHUNK)), name="p")
    town = Town(wide, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.loop.close()
    for key in (b"r-1", b"r-1#c/1"):
        town.send(NewRecord(town.topics.runs, key, b"\0not ours", partition=home("r-1")))

    town.loop = town.begin()
    town.pass_time(timedelta(seconds=30))
    town.send(*(town.success(task) for task in town.tasks("s0")))
    town.pass_time(timedelta(seconds=2))
    before = town.loop.homes[home("r-1")].runs["r-1"]
    rows = town.transport.reader("rows")
    rows.assign({TopicPartition(town.topics.runs, home("r-1")): -2})
    found = [it for _ in range(5) for it in rows.poll(0.0) if isinstance(it, Record)]
    state = {(it.key or b"").decode().partition("#")[2]: it.value or b"" for it in found}

    assert read_run(lambda _: graph_of(wide), state, "r-1") == before
    rows.close()
    town.loop.close()


def test_run_whose_definition_is_gone_stands_still_and_is_there_again_when_its_definition_is(tmp_path: Path) -> None:
    # The story: `definitions` was made anew from newer code. One live run of an older definition ended every
    # coordinator that took its home over, one after the other.
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.loop.close()
    town.send(NewRecord(town.topics.definitions, JOIN.hash.encode(), None, partition=0))

    town.loop = town.begin()
    town.pass_time(timedelta(seconds=30))
    served = sorted(town.loop.homes)
    town.command(StartRun("p", framed_params(), "r-1"))
    town.rest()
    town.send(NewRecord(town.topics.definitions, JOIN.hash.encode(), JOIN.to_json().encode(), partition=0))
    town.rest()
    town.send(*(town.success(task) for step in "ab" for task in town.tasks(step)))
    town.rest()

    assert served == [0, 1]
    refused = [(it.run, it.reason) for it in town.events() if isinstance(it, facts.RunRefused)]
    assert refused == [("r-1", "definition_gone")], "the id is taken"
    assert [task.run for task in town.tasks("j")] == ["r-1"]
    town.loop.close()


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Town]:
    """A town with a run under way, whose next coordinator finds the definition gone."""
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.lose_definition()
    town.succeed()
    yield town
    town.loop.close()


def test_what_is_reported_while_the_definition_is_gone_is_folded_once_it_is_back(gone: Town) -> None:
    # The story: a process of another version could not read a definition. It passed over what agents reported of its
    # runs and committed that, so that they waited for ever for what had long been done, their definition back or not.
    gone.send(*(gone.success(task) for step in "ab" for task in gone.tasks(step)))
    gone.rest()
    held = gone.held()
    states = dict(gone.loop.view.builder.measures.states())

    gone.bring_definition_back()
    gone.rest()

    assert held == ["r-1"]
    assert states == {("p", "held"): 1.0, ("p", "running"): 0.0}
    assert [task.run for task in gone.tasks("j")] == ["r-1"]
    assert (gone.count(facts.ReleaseRequested), gone.count(facts.RunReleased)) == (1, 1)
    gone.send(gone.success(gone.tasks("j")[0]))
    gone.rest()
    assert [(it.run, it.outcome) for it in gone.events() if isinstance(it, facts.RunSettled)] == [("r-1", "succeeded")]


def test_successors_of_a_coordinator_without_the_definition_come_to_the_same(gone: Town) -> None:
    gone.send(*(gone.success(task) for task in gone.tasks("a")))
    gone.rest()
    gone.succeed()
    gone.send(*(gone.success(task) for task in gone.tasks("b")))
    gone.rest()

    gone.bring_definition_back()
    while not gone.count(facts.ReleaseRequested):
        gone.loop.step(0.0)
    gone.lose_definition()  # of the next one, which reads the release
    gone.succeed()
    before = gone.count(facts.RunReleased)
    gone.bring_definition_back()
    gone.rest()

    assert (gone.count(facts.RunHeld), before, gone.count(facts.RunReleased)) == (1, 0, 1)
    headers = [dict(it.headers) for it in gone.records if it.topic == gone.topics.events]
    asked = [it["ce_id"] for it in headers if it["ce_type"] == b"farandole.ReleaseRequested"]
    assert len(set(asked)) == len(asked) == 2, "two askings are two events (seed 5005065)"
    assert [task.run for task in gone.tasks("j")] == ["r-1"]


def test_run_whose_definition_is_gone_is_released_by_whoever_takes_its_home_over_with_it(gone: Town) -> None:
    """Nothing tells it that the definition was ever gone, but the state of the run."""
    gone.send(*(gone.success(task) for step in "ab" for task in gone.tasks(step)))
    gone.rest()

    gone.bring_definition_back()
    gone.succeed()

    assert [task.run for task in gone.tasks("j")] == ["r-1"]


def test_run_whose_definition_is_gone_can_be_cancelled_and_whoever_asks_for_more_is_told(gone: Town) -> None:
    """Commands about it were dropped, and nothing could end it if its definition was never there again."""
    gone.command(ReleaseRun("r-1"))
    gone.rest()
    gone.command(CancelRun("r-1"))
    gone.rest()
    gone.bring_definition_back()
    gone.rest()

    refused = [(it.run, it.reason) for it in gone.events() if isinstance(it, facts.RunRefused)]
    assert refused == [("r-1", "definition_gone")]
    assert [(it.run, it.outcome) for it in gone.events() if isinstance(it, facts.RunSettled)] == [("r-1", "cancelled")]
    assert gone.loop.homes[home("r-1")].runs["r-1"].is_settled


def test_damaged_run_whose_definition_is_gone_misses_nothing_either(tmp_path: Path) -> None:
    """There is no state to remember what it missed: `events` does, from which it is folded anew."""
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.send(NewRecord(town.topics.runs, b"r-1", b"\0not ours", partition=home("r-1")))
    town.lose_definition()
    town.succeed()

    town.send(*(town.success(task) for step in "ab" for task in town.tasks(step)))
    town.command(CancelRun("r-1"))
    town.rest()
    town.bring_definition_back()
    town.pass_time(timedelta(seconds=30))

    assert [task.run for task in town.tasks("j")] == ["r-1"]
    refused = [(it.run, it.reason) for it in town.events() if isinstance(it, facts.RunRefused)]
    assert refused == [("r-1", "definition_gone")], "nobody can read what there is to end"
    town.loop.close()


def test_release_from_another_error_that_nobody_can_fold_is_refused_and_not_only_passed_over(tmp_path: Path) -> None:
    """A person had asked for it while the definition was there; who read that could not read the definition, and
    nobody was told (seed 5037268)."""
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    (task,) = town.tasks("a")
    others = encode(facts.StepSucceeded("r-2", "a", 1, framed(1)))
    town.send(structs.replace(town.success(task), value=others))  # its headers say that it is of `r-1`
    town.rest()
    held = town.count(facts.RunHeld)
    town.lose_definition()
    town.succeed()

    asked, origin = facts.ReleaseRequested("r-1"), Origin("test", town.clock.now())
    town.send(new_record(event_record(town.topics, asked, event_id="asked", cause="c", origin=origin), PARTITIONS))
    town.rest()

    assert (held, town.count(facts.RunReleased)) == (1, 0)
    refused = [(it.run, it.reason) for it in town.events() if isinstance(it, facts.RunRefused)]
    assert refused == [("r-1", "definition_gone")]
    town.loop.close()


@pytest.fixture
def unread(chain: Town) -> Town:
    """A town whose coordinator cannot read the definition under which a client has just begun `r-1` directly."""
    chain.lose_definition()
    chain.rest()
    chain.send(chain.direct("r-1")[0])
    chain.rest()
    return chain


def finish_chain(town: Town) -> list[tuple[str, str]]:
    """The agent of `b` does what it was asked to; how runs have ended then."""
    town.send(*(town.report(facts.StepSucceeded(task.run, "b", 1, framed(2))) for task in town.tasks("b")))
    town.rest()
    return [(it.run, it.outcome) for it in town.events() if isinstance(it, facts.RunSettled)]


@pytest.mark.parametrize("who", ["the same coordinator", "its successor"])
def test_run_begun_directly_under_a_definition_that_nobody_can_read_yet_goes_on_once_somebody_can(
    unread: Town, who: str
) -> None:
    # The story: clients and agents were upgraded first. An older coordinator dropped the runs that they began, with a
    # line in its log: the first step was done, and the others never were.
    unread.send(unread.report(facts.StepSucceeded("r-1", "a", 1, framed(1))))
    unread.rest()
    held, tasks = unread.held(), unread.tasks("b")

    unread.bring_definition_back()
    if who == "its successor":
        unread.succeed()
    unread.rest()

    assert (held, tasks, unread.tasks("a")) == (["r-1"], [], [])
    assert [task.run for task in unread.tasks("b")] == ["r-1"]
    assert finish_chain(unread) == [("r-1", "succeeded")]
    assert (unread.count(facts.RunHeld), unread.count(facts.RunReleased)) == (1, 1)


def test_run_of_many_steps_that_was_begun_unread_is_whole_for_the_next_owner(tmp_path: Path) -> None:
    # The story: of such a run `runs` held a head alone. After its release what had not changed of its later steps was
    # not written, as if it stood there: the next owner found the state damaged, folded it anew, and lost results.
    long = define(node("a"), *(node(f"s{n}", f"s{n - 1}" if n else "a") for n in range(2 * CHUNK)), name="p")
    town = Town(long, tmp_path)
    town.lose_definition()
    town.rest()
    town.send(town.direct("r-1")[0], town.report(facts.StepSucceeded("r-1", "a", 1, framed(1), ("s0",))))
    town.rest()

    town.bring_definition_back()
    town.pass_time(timedelta(seconds=30))
    before = town.loop.homes[home("r-1")].runs["r-1"]
    town.succeed()

    assert before.step("s0").status is Status.SCHEDULED
    assert town.loop.homes[home("r-1")].runs["r-1"] == before
    town.loop.close()


def test_run_that_was_begun_unread_keeps_its_deadline(tmp_path: Path) -> None:
    """It was made anew from its definition, as if nothing had held it: the release then took the deadline away."""
    town = Town(define(node("a"), node("b", "a"), name="p", deadline=timedelta(hours=1)), tmp_path)
    town.lose_definition()
    town.rest()
    begun_at = town.clock.now()
    town.send(town.direct("r-1")[0])
    town.rest()

    town.bring_definition_back()
    town.pass_time(timedelta(seconds=30))
    head = town.loop.homes[home("r-1")].runs["r-1"].head
    town.pass_time(timedelta(hours=2))

    assert (head.kernel_error, head.due) == ("", ms(begun_at + timedelta(hours=1)))
    assert town.count(facts.RunStopping) == 1, "nobody has done `b` by then"
    town.loop.close()


def test_ended_run_whose_definition_is_gone_is_forgotten_in_its_time(tmp_path: Path) -> None:
    """It was known for ever, and so were all others: a start with its id was refused however late it came."""
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.send(*(town.success(task) for task in town.tasks("a")))
    town.rest()
    town.lose_definition()

    town.succeed()
    known = town.loop.homes[home("r-1")].run("r-1")
    town.pass_time(DEDUPE_WINDOW + timedelta(hours=3))

    assert known is not None
    assert town.loop.homes[home("r-1")].run("r-1") is None
    town.loop.close()


def test_run_begun_unread_is_known_to_the_next_coordinator_that_cannot_read_it_either(unread: Town) -> None:
    unread.succeed()
    unread.send(unread.direct("r-1")[0], unread.report(facts.StepSucceeded("r-1", "a", 1, framed(1))))
    unread.command(ReleaseRun("r-1"))
    unread.rest()

    unread.bring_definition_back()
    unread.rest()

    assert [(it.run, it.reason) for it in unread.events() if isinstance(it, facts.RunRefused)] == [
        ("r-1", "definition_gone")
    ]
    assert unread.loop.view.builder.words["event_second_start"] == 1
    assert unread.count(facts.RunHeld) == 1
    assert finish_chain(unread) == [("r-1", "succeeded")]


def test_all_that_comes_in_one_batch_with_a_start_that_cannot_be_read_waits_with_it(chain: Town) -> None:
    chain.lose_definition()
    chain.rest()
    told = chain.report(facts.StepSucceeded("r-1", "a", 1, framed(1)))
    chain.send(chain.direct("r-1")[0], told, chain.direct("r-1")[0])
    chain.command(StartRun("p", framed_params(), "r-1"))
    chain.command(ReleaseRun("r-1"))
    chain.rest()

    chain.bring_definition_back()
    chain.rest()

    refused = [(it.run, it.reason) for it in chain.events() if isinstance(it, facts.RunRefused)]
    assert refused == [("r-1", "definition_gone")] * 2
    assert finish_chain(chain) == [("r-1", "succeeded")]


def test_run_begun_unread_can_be_cancelled(unread: Town) -> None:
    unread.command(CancelRun("r-1"))
    unread.rest()
    unread.bring_definition_back()
    unread.send(unread.report(facts.StepSucceeded("r-1", "a", 1, framed(1))))
    unread.rest()

    assert finish_chain(unread) == [("r-1", "cancelled")]
    assert unread.loop.homes[home("r-1")].runs["r-1"].is_settled


def test_run_begun_unread_whose_client_knows_its_result_is_not_cancelled_any_more(unread: Town) -> None:
    """Its agents had come to its end, and said so: a cancellation took that back (seeds 17 and 48)."""
    unread.send(
        unread.report(facts.StepSucceeded("r-1", "a", 1, framed(1), ("b",))),
        unread.report(facts.StepSucceeded("r-1", "b", 1, framed(2), final=True)),
    )
    unread.command(CancelRun("r-1"))
    unread.rest()
    ended = unread.count(facts.RunSettled)
    asked = unread.count(facts.CancelRequested)

    unread.bring_definition_back()
    unread.rest()

    assert (ended, asked) == (0, 1)
    assert finish_chain(unread) == [("r-1", "succeeded")]
    assert unread.loop._builder.refold.found == {}, "what was read again is let go of"


def test_home_whose_commands_are_gone_is_not_ready_and_goes_on_from_a_new_position(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The story: no coordinator ran for longer than `commands` keeps its records. Afterwards the home said that it was
    # ready, one line told that a partition does not deliver, and no command was ever answered.
    town = Town(JOIN, tmp_path)
    town.rest()
    number = home("r-1")
    commands = TopicPartition(town.topics.commands, number)
    town.loop.close()
    town.start("r-1")
    with town.transport.hub as broker:
        gone = broker.end(commands, Isolation.COMMITTED)
        broker.truncate_before(commands, gone)

    town.loop = town.begin()
    town.pass_time(timedelta(seconds=30))
    town.start("r-1")
    town.pass_time(timedelta(seconds=30))
    served, unready = sorted(town.loop.homes), town.loop.view.unready()
    moved = {commands: Position(gone, ""), TopicPartition(town.topics.events, number): Position(0, "")}
    with town.transport.hub as broker:
        broker.forget_positions(town.topics.group("coordinator"))
    town.transport.admin().start_positions(town.topics.group("coordinator"), moved)
    town.pass_time(timedelta(seconds=30))

    assert served == [1 - number]
    assert unready == [f"homes are stopped and need a person, the log says why: {number}"]
    assert sum("farandole coordinator reposition" in line for line in caplog.messages) == 1
    assert sorted(town.loop.homes) == [0, 1]
    assert [task.run for task in town.tasks("a")] == ["r-1"]
    town.loop.close()


def test_direct_start_that_is_read_again_after_the_window_is_refused_and_makes_no_second_run(tmp_path: Path) -> None:
    # The story: an agent's inbox, which keeps its records for 7 days, was read again by `agent reposition`. The stub of
    # a run that was started directly and had ended was long gone, and the run was lived once more.
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    run = generated_run_id(town.clock.now(), 12345)
    both = town.direct(run)
    town.send(*both)
    town.rest()
    for _ in range(30):
        town.pass_time(timedelta(hours=1))
    known = [run for home in town.loop.homes.values() for run in home.runs]

    town.send(*both)
    town.pass_time(timedelta(seconds=2))

    assert known == []
    assert [town.count(kind) for kind in (facts.RunStarted, facts.RunSettled)] == [2, 1]
    assert [(it.run, it.reason) for it in town.events() if isinstance(it, facts.RunRefused)] == [(run, "expired_id")]
    town.loop.close()


def test_start_is_admitted_after_the_machine_has_slept_and_its_id_is_known_for_as_long_as_it_may_come_again(
    tmp_path: Path,
) -> None:
    # The story: a laptop slept for half an hour, and its wall clock was put forward. The coordinator's sense of now
    # follows that slowly: for five hours each start with a generated id was refused, as one from the future.
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    town.clock._start += timedelta(minutes=30)
    run = generated_run_id(town.clock.now(), 12345)

    town.start(run)
    town.rest()
    town.send(*(town.success(task) for task in town.tasks("a")))
    town.rest()

    (end,) = [it for it in town.events() if isinstance(it, facts.RunSettled)]
    assert end.settled_at < town.clock.now() - timedelta(minutes=29), "it still lags"
    assert end.forget_at >= town.clock.now() + DEDUPE_WINDOW - timedelta(seconds=1)
    town.loop.close()


def test_direct_start_that_waited_for_its_coordinator_is_taken_however_late(tmp_path: Path) -> None:
    """Chains go on without coordinators; what is late is not what was begun, but who reads it."""
    town = Town(define(node("a"), name="p"), tmp_path)
    town.rest()
    town.loop.close()
    town.send(*town.direct(generated_run_id(town.clock.now(), 12345)))
    town.clock.advance(timedelta(hours=60))

    town.loop = town.begin()
    town.pass_time(timedelta(seconds=30))

    assert [town.count(kind) for kind in (facts.RunSettled, facts.RunRefused)] == [1, 0]
    town.loop.close()


def test_everything_that_may_fail_is_at_zero_before_the_first_run(tmp_path: Path) -> None:
    """Each counter was born with its first failure, at 1: `increase()` was 0, and nobody was woken for it."""
    town = Town(JOIN, tmp_path)
    town.rest()

    shown = town.shown()
    town.loop.close()

    ends = {("p", outcome): 0 for outcome in ("succeeded", "partial", "failed", "cancelled", "timed_out")}
    assert shown[m.RUNS_SETTLED] == ends
    assert shown[m.RUNS_STARTED] == {("p",): 0}
    assert shown[m.RETRIES] == shown[m.DEAD_LETTERS] == {("p", step): 0 for step in ("a", "b", "j")}
    assert shown[m.RUNS] == {("p", state): 0 for state in ("running", "held", "stopping")}
    for metric in (m.RUNS_REFUSED, m.EVENTS, m.COMMANDS):
        assert shown[metric] == {(word,): 0 for word in metric.words}


def test_what_was_counted_stands_instead_of_its_zero(tmp_path: Path) -> None:
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    town.command(CancelRun("r-1"))
    town.rest()

    shown = town.shown()
    town.loop.close()

    assert {word for (word,), n in shown[m.COMMANDS].items() if n} == {"started", "marked"}
    assert shown[m.RUNS]["p", "stopping"] == 1
    assert shown[m.RUNS_SETTLED]["p", "cancelled"] == 0


def test_record_whose_transaction_had_no_effect_is_counted_once(tmp_path: Path, made: list[Refusing]) -> None:
    """It was counted at each try: a log that took nothing looked like one that is read as never before."""
    town = Town(JOIN, tmp_path)
    town.rest()
    town.start("r-1")
    town.rest()
    made[0].is_refusing = True
    town.send(*(town.success(task) for task in town.tasks("a")))
    town.pass_time(timedelta(seconds=5))
    before = dict(town.shown()[m.EVENTS])

    made[0].is_refusing = False
    town.pass_time(timedelta(seconds=30))
    after = town.shown()[m.EVENTS]
    town.loop.close()

    assert made[0].refused > 0
    assert before["folded",] == 0
    assert after["folded",] == 1


def test_record_that_is_given_up_is_counted_as_such(narrow: Town) -> None:
    """Its word was without the prefix by which events and commands are told from each other, and was not shown."""
    (culprit,) = runs_at(0, 1)
    narrow.start(culprit)
    narrow.rest()
    narrow.send(*(narrow.success(task) for task in narrow.tasks("a")))
    narrow.send(*(narrow.success(task, "x" * 3000) for task in narrow.tasks("b")))
    narrow.rest()

    shown = narrow.shown()[m.EVENTS]

    assert narrow.held() == [culprit]
    assert shown["unproducible",] == 1
