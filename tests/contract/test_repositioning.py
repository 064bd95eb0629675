"""All positions of a unit are lost, a person gives new ones, and the log says so to whoever judges it (F16P, small)."""

import asyncio
import dataclasses
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole import Client, Context, FencingToken, Retry, agent, pipeline
from farandole.client import coordinating, placing, stretches
from farandole.client.answered import Answers
from farandole.client.coordinating import carry_out as reposition_homes
from farandole.client.coordinating import plan_homes
from farandole.client.payload import framed_params
from farandole.client.placing import _Idle
from farandole.client.repositioning import carry_out, plan_reposition
from farandole.errors import ConfigError, TransportError
from farandole.events.commands import CancelRun, Command, StartRun
from farandole.events.facts import RetryDue, RunStarted
from farandole.events.topics import Topics
from farandole.ids import partition_of
from farandole.kernel.outbox import EPOCH_BITS
from farandole.kernel.place import KEY, Place, place_in
from farandole.lineage.entries import Entry
from farandole.testing.cluster import wait_until
from farandole.testing.history import History, check_history, collect, lag
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata, decode, encode
from farandole.transport.port import (
    Isolation,
    MemberSettings,
    NewRecord,
    Position,
    TopicPartition,
    TopicSpec,
    Transport,
)
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

if TYPE_CHECKING:
    from tests.contract.conftest import Away

AGENTS = ("begin", "left", "right", "meet", "last")
WITHIN = timedelta(seconds=30)


@pytest.fixture(autouse=True)
def _certain_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker starts here, so that nobody need wait before a second look."""
    monkeypatch.setattr(placing, "CERTAIN_S", 0.0)


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """`events` does not tell where a unit stood, as where it was emptied; then an inbox is read again on purpose."""
    monkeypatch.setattr(Answers, "named", lambda self, done: {})


TOKENS: dict[str, list[FencingToken]] = defaultdict(list)
"""What handlers of the first step were given, in order."""


@agent
def begin(ctx: Context, number: int) -> int:
    """The first step."""
    TOKENS[ctx.idempotency_key].append(ctx.fencing_token)
    return number


@agent
def left(number: int) -> int:
    """One side."""
    return number


@agent(retry=Retry(attempts=3, base="10ms"))
def right(ctx: Context, number: int) -> int:
    """The other; every run needs a second attempt."""
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return number


@agent
def meet(one: int, other: int) -> int:
    """A join."""
    return one + other


@agent
def last(number: int) -> int:
    """Follows it, and runs at once with it where it may."""
    return number


@pipeline(owner="tests@example.org")
def forked(number: int) -> int:
    """Every kind of edge once."""
    start = begin(number)
    return last(meet(left(start), right(start)))


def stood_still(transport: Transport, folder: Path) -> InProcess:
    """A deployment on which ten runs have ended, and that stands still now."""

    async def run() -> None:
        async with Client(it.transport, "farandole") as client:
            runs = [await client.start(forked, n, run_id=f"r-{n}") for n in range(10)]
            for each in runs:
                await each.result(timeout="30s")

    TOKENS.clear()
    with InProcess(transport, [forked], namespace="farandole", folder=folder) as it:
        asyncio.run(run())
        wait_until(lambda: lag(it.transport) == 0, WITHIN, "a lag of 0")
    return it


@pytest.fixture
def stopped(tmp_path: Path) -> InProcess:
    """In memory."""
    return stood_still(MemoryTransport(), tmp_path)


def forget(it: InProcess, folder: Path) -> None:
    """The unit was away for too long."""
    group = it.topics.group("tests")
    if isinstance(it.transport, MemoryTransport):
        with it.transport.hub as broker:
            broker.forget_positions(group)
    else:
        with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as db:
            db.execute("DELETE FROM positions WHERE grp = ?", (group,))


@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_nothing_is_answered_again_where_events_tells_where_lost_positions_stood(log: str, tmp_path: Path) -> None:
    embedded = SqliteTransport(SqliteSettings(tmp_path / "log.db"))
    stopped = stood_still(MemoryTransport() if log == "memory" else embedded, tmp_path)
    before = collect(stopped.transport, quiescent=True)
    forget(stopped, tmp_path)
    for name in AGENTS:
        carry_out(stopped.transport, plan_reposition(stopped.transport, stopped.topics, name))
    with InProcess(stopped.transport, [forked], namespace="farandole", folder=tmp_path) as again:
        wait_until(lambda: lag(again.transport) == 0, WITHIN, "a lag of 0")

    history = collect(stopped.transport, quiescent=True)

    assert {len(each) for each in TOKENS.values()} == {1}
    assert len(history.events) == len(before.events)
    assert check_history(dataclasses.replace(history, repositions=())) == []


@pytest.mark.usefixtures("untold")
@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_everything_is_answered_again_and_the_log_says_why(log: str, tmp_path: Path) -> None:
    embedded = SqliteTransport(SqliteSettings(tmp_path / "log.db"))
    stopped = stood_still(MemoryTransport() if log == "memory" else embedded, tmp_path)
    before = collect(stopped.transport, quiescent=True)
    assert {len(each) for each in TOKENS.values()} == {1}
    forget(stopped, tmp_path)
    for name in AGENTS:
        carry_out(stopped.transport, plan_reposition(stopped.transport, stopped.topics, name))
    with InProcess(stopped.transport, [forked], namespace="farandole", folder=tmp_path) as again:
        wait_until(lambda: lag(again.transport) == 0, WITHIN, "a lag of 0")

    history = collect(stopped.transport, quiescent=True)

    assert check_history(before) == []
    assert all(first < second for first, second in TOKENS.values()), "fencing tokens rise whatever happens to positions"
    assert {act.agent for act in history.repositions} == set(AGENTS)
    assert len(history.events) > len(before.events)
    assert check_history(history) == []
    assert {each.invariant for each in check_history(dataclasses.replace(history, repositions=()))} >= {
        "I4",
        "I5",
        "I10",
    }


@pytest.mark.usefixtures("untold")
def test_every_single_doubling_more_than_the_acts_allow_is_told(stopped: InProcess, tmp_path: Path) -> None:
    """Each record of a run, doubled in turn in a history in which all of it was answered again on purpose."""
    forget(stopped, tmp_path)
    for name in AGENTS:
        carry_out(stopped.transport, plan_reposition(stopped.transport, stopped.topics, name))
    with InProcess(stopped.transport, [forked], namespace="farandole", folder=tmp_path) as again:
        wait_until(lambda: lag(again.transport) == 0, WITHIN, "a lag of 0")
    whole = collect(stopped.transport, quiescent=False)
    history = of_run(whole, "r-3")
    ends = {at: span.end for at, span in whole.spans.items()}
    assert check_history(history) == []

    def doubled(it: Entry) -> Entry:
        return dataclasses.replace(it, offset=ends[it.topic, it.partition])

    events, inboxes = history.events, history.inboxes
    changed = [(each, dataclasses.replace(history, events=(*events, doubled(each)))) for each in events]
    changed += [(each, dataclasses.replace(history, inboxes=(*inboxes, doubled(each)))) for each in inboxes]
    missed = [each for each, it in changed if not check_history(it)]

    assert [type(each.fact) for each in missed] == [RetryDue], "a marker of a timer, which may always stand twice"


def of_run(history: History, run: str) -> History:
    """What there is of one run."""

    def kept(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return tuple(each for each in entries if each.run == run)

    return dataclasses.replace(
        history,
        events=kept(history.events),
        commands=kept(history.commands),
        inboxes=kept(history.inboxes),
        settled=kept(history.settled),
        runs=(),
    )


def test_only_what_was_answered_above_a_position_that_is_behind_the_log_may_be_answered_again(
    stopped: InProcess,
) -> None:
    at = TopicPartition(stopped.topics.inbox("left"), 0)
    producer = stopped.transport.producer("test")
    for _ in range(9):
        producer.send(NewRecord(at.topic, b"k", b"unread", partition=0))
    producer.flush(1.0)
    end = stopped.transport.admin().ends([at], Isolation.UNCOMMITTED)[at]
    begin, stale = end - 6, end - 9
    assert isinstance(stopped.transport, MemoryTransport)
    with stopped.transport.hub as broker:
        broker.truncate_before(at, begin)
        done = encode(Metadata("farandole.tests.0", 1, epoch=7, bitmap=b"\x10"))  # the fifth from the position on
        broker.restore_position(stopped.topics.group("tests"), at, Position(stale, done))

    it = plan_reposition(stopped.transport, stopped.topics, "left")

    kept = encode(Metadata("farandole.tests.0", 1, epoch=8))  # not that of the position before
    assert (it.stale, it.fresh, it.answered) == ({at: stale}, {at: Position(begin, kept)}, {at: stale + 5})


def test_epoch_of_a_lost_position_fits_into_what_a_fencing_token_has_for_it(stopped: InProcess, tmp_path: Path) -> None:
    # It was larger, so that a step that had run at once with the one above got a lower token from the coordinator.
    forget(stopped, tmp_path)

    planned = plan_reposition(stopped.transport, stopped.topics, "last")

    epochs = {decode(position.metadata).epoch for position in planned.fresh.values()}
    assert all(1_700_000_000 < epoch < 1 << EPOCH_BITS for epoch in epochs)
    assert epochs


@pytest.mark.usefixtures("untold")
def test_positions_that_cannot_be_committed_leave_no_act_behind(stopped: InProcess, tmp_path: Path) -> None:
    forget(stopped, tmp_path)
    it = plan_reposition(stopped.transport, stopped.topics, "left")
    beyond = {at: Position(position.offset, "x" * 5_000) for at, position in it.fresh.items()}

    with pytest.raises(Exception, match="expected the positions to be committed"):
        carry_out(stopped.transport, dataclasses.replace(it, fresh=beyond))

    assert collect(stopped.transport).repositions == ()


GROUP = "coordinator"


def of_coordinators(it: InProcess) -> dict[TopicPartition, Position]:
    admin = it.transport.admin()
    places = [
        TopicPartition(topic, number)
        for topic, spec in admin.topics([it.topics.events, it.topics.commands]).items()
        for number in range(spec.partitions)
    ]
    return dict(admin.positions(it.topics.group(GROUP), places))


def forget_coordinators(it: InProcess) -> dict[TopicPartition, Position]:
    """All coordinators were away for longer than Kafka keeps their positions; what these were."""
    before = of_coordinators(it)
    assert isinstance(it.transport, MemoryTransport)
    with it.transport.hub as broker:
        broker.forget_positions(it.topics.group(GROUP))
    return before


def command(it: InProcess, what: Command) -> None:
    """As a client writes it."""

    async def send() -> None:
        async with Client(it.transport, "farandole") as client:
            await client.session.send(what)

    asyncio.run(send())


def goes_on(it: InProcess, folder: Path) -> History:
    """The deployment runs once more until nothing is left to do."""
    with InProcess(it.transport, [forked], namespace="farandole", folder=folder) as again:
        wait_until(lambda: lag(again.transport) == 0, WITHIN, "a lag of 0")
    return collect(it.transport, quiescent=True)


def begun(history: History) -> list[str]:
    return sorted(each.run for each in history.events if isinstance(each.fact, RunStarted))


def test_coordinators_go_on_where_they_stood_and_start_nothing_again(
    stopped: InProcess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A namespace that was paused for a week was lost: its homes said `apply`, which did nothing; no command did.

    Then they were given positions behind those that `runs` tells, and said that the broker had lost some.
    """
    before = forget_coordinators(stopped)
    command(stopped, StartRun("forked", framed_params(forked.definition, {"number": 3}), "r-new"))
    forget_stubs(stopped)

    it = plan_homes(stopped.transport, stopped.topics)
    reposition_homes(stopped.transport, it)

    assert set(it.stale.values()) == {None}
    assert {at: position.offset for at, position in it.fresh.items()} == {at: it.offset for at, it in before.items()}
    assert of_coordinators(stopped) == it.fresh
    assert not plan_homes(stopped.transport, stopped.topics).fresh
    history = goes_on(stopped, tmp_path)
    assert begun(history) == sorted(["r-new", *(f"r-{n}" for n in range(10))])
    assert check_history(history) == []
    assert "went back" not in caplog.text


def last_places(it: InProcess) -> dict[int, tuple[int, int]]:
    """Where homes stand by the last record of each partition of `runs`."""
    found: dict[int, tuple[int, int]] = {}
    assert isinstance(it.transport, MemoryTransport)
    with it.transport.hub as broker:
        for number in range(broker.partitions(it.topics.runs)):
            at = TopicPartition(it.topics.runs, number)
            records, _ = broker.read(at, 0, 10_000, Isolation.COMMITTED)
            place = place_in(records[-1].headers)
            assert place is not None
            found[number] = place.events_at, place.commands_at
    return found


def test_place_of_a_log_that_was_cut_counts_no_more_once_a_person_has_given_positions(stopped: InProcess) -> None:
    # The story: `events` had lost its end, and grew past it again before a coordinator began: the place of the old end
    # counted before what `coordinator reposition` had given, and eleven of thirty runs never ended.
    homes = {at.partition for at in forget_coordinators(stopped)}
    producer = stopped.transport.producer("before the cut")
    for number in homes:
        header = Place(10_000, 10_000, 9, 1).header()
        producer.send(NewRecord(stopped.topics.runs, KEY, b"", (header,), number))
    producer.flush(1)

    it = plan_homes(stopped.transport, stopped.topics)
    reposition_homes(stopped.transport, it)

    names = (stopped.topics.events, stopped.topics.commands)
    given = {n: tuple(it.fresh[TopicPartition(name, n)].offset for name in names) for n in homes}
    assert last_places(stopped) == given
    assert max(given.values()) < (10_000, 10_000)


def keep_places(it: InProcess) -> None:
    """`runs` says where each home stands."""


def forget_places(it: InProcess) -> None:
    """Coordinators of before 0122 left none."""
    assert isinstance(it.transport, MemoryTransport)
    with it.transport.hub as broker:
        for number in range(broker.partitions(it.topics.runs)):
            at = TopicPartition(it.topics.runs, number)
            broker.truncate_before(at, broker.end(at, Isolation.COMMITTED))


def outgrow_places(it: InProcess) -> None:
    """Their topics were made anew, and are shorter."""
    producer = it.transport.producer("tests")
    place = Place(1_000_000, 1_000_000, 1, 0)
    for number in range(it.transport.admin().topics([it.topics.runs])[it.topics.runs].partitions):
        producer.send(NewRecord(it.topics.runs, KEY, b"", [place.header()], number))
    producer.flush(20)


@pytest.mark.parametrize(("places", "passed"), [(keep_places, 0), (forget_places, 3), (outgrow_places, 3)])
def test_start_that_was_repeated_and_left_no_answer_is_not_begun_anew(
    stopped: InProcess, tmp_path: Path, places: Callable[[InProcess], None], passed: int
) -> None:
    """What a coordinator says tells only of commands that were answered, but for its place; this one leaves nothing."""
    params = framed_params(forked.definition, {"number": 3})
    for what in (StartRun("forked", params, "r-3"), CancelRun("r-3"), StartRun("forked", params, "r-3")):
        command(stopped, what)
    goes_on(stopped, tmp_path)
    before = forget_coordinators(stopped)
    forget_stubs(stopped)
    places(stopped)

    it = plan_homes(stopped.transport, stopped.topics)
    reposition_homes(stopped.transport, it)

    assert it.passed == passed
    at = TopicPartition(stopped.topics.commands, partition_of("r-3", len(before) // 2))
    assert it.fresh[at].offset == before[at].offset
    assert begun(goes_on(stopped, tmp_path)) == sorted(f"r-{n}" for n in range(10))


def forget_stubs(it: InProcess) -> None:
    """A day has passed: of no ended run it is known any more that it was started."""
    producer = it.transport.producer("tests")
    admin = it.transport.admin()
    for number in range(admin.topics([it.topics.runs])[it.topics.runs].partitions):
        for run in range(10):
            producer.send(NewRecord(it.topics.runs, f"r-{run}".encode(), None, partition=number))
    producer.flush(20)


def test_coordinators_whose_positions_stand_or_who_run_are_left_alone(stopped: InProcess, tmp_path: Path) -> None:
    assert not plan_homes(stopped.transport, stopped.topics).fresh

    forget_coordinators(stopped)
    member = stopped.transport.member(MemberSettings(stopped.topics.group(GROUP), "farandole.coordinator.a"))
    member.subscribe([stopped.topics.events], _Idle())
    member.poll(0.1)
    with pytest.raises(ConfigError, match="unit coordinator: expected no process of it to run"):
        plan_homes(stopped.transport, stopped.topics)
    member.close()


def test_log_that_goes_away_while_homes_are_looked_for_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, away: "Away"
) -> None:
    """Each time that it said so counted as a sign of life, and the command waited for ever."""
    transport, topics = MemoryTransport(), Topics()
    transport.admin().create([TopicSpec(topics.events, 1), TopicSpec(topics.commands, 1)])
    transport.producer("tests").send(NewRecord(topics.events, b"k", b"v", partition=0))
    log = coordinating._Log(transport, transport.admin(), topics)
    monkeypatch.setattr(transport, "reader", lambda client_id: away)
    monkeypatch.setattr(stretches, "time", away)

    with pytest.raises(TransportError, match=r"up to offset 1, .* \(unreachable: no broker answers\)\..*do it again"):
        list(log._read({TopicPartition(topics.events, 0): 0}))

    assert stretches.SILENCE_MAX_S < away.now < stretches.SILENCE_MAX_S + 1
