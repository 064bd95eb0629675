"""Batches: what one transaction holds, and what becomes of it when it takes effect or is thrown away."""

import random
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farandole.coordinator.home import Refused
from farandole.coordinator.reading import give_up
from farandole.definition.graph import graph_of
from farandole.events import facts
from farandole.events.commands import CancelRun, StartRun
from farandole.events.envelope import parse_envelope
from farandole.kernel.rebuild import rebuild
from farandole.kernel.state import Status
from farandole.kernel.timers import timers
from farandole.testing.answers import Task
from farandole.testing.desk import Desk
from farandole.testing.generate import Script, Shape, random_definition
from farandole.testing.sketch import define, framed_params, node
from farandole.transport.port import TopicPartition

SECOND = timedelta(seconds=1)
ONE = define(node("a"), name="p")
CONTROL = TopicPartition("farandole.control", 0)


def started(*runs: str) -> Desk:
    """A desk with live runs."""
    desk = Desk(ONE)
    for run in runs or ("r-1",):
        desk.start(run)
    desk.turns()
    return desk


def test_batch_leaves_the_home_alone_until_it_is_published() -> None:
    desk = Desk(ONE)
    desk.start("r-1")

    batch = desk.batch()
    assert (desk.home.runs, desk.home.commands_at, desk.home.timers) == ({}, 0, [])
    desk.commit(batch)

    assert (set(desk.home.runs), desk.home.commands_at) == ({"r-1"}, 1)


def test_batch_thrown_away_is_made_again_alike() -> None:
    desk = Desk(ONE)
    desk.start("r-1")
    desk.start("r-2")

    first = desk.batch()
    first.abandon()
    second = desk.batch()

    assert second.records == first.records
    assert second.runs == first.runs


def test_batch_thrown_away_gives_its_timers_back() -> None:
    desk = started()
    desk.fail("a")
    desk.turns()
    desk.now += 2 * SECOND

    batch = desk.batch()
    assert batch.markers == [facts.RetryDue("r-1", "a", 2)]
    batch.abandon()
    again = desk.batch()

    assert again.markers == batch.markers


def test_timer_becomes_one_marker_however_often_it_is_looked_at() -> None:
    desk = started()
    desk.fail("a")
    desk.turns()
    desk.now += 2 * SECOND

    desk.turn()
    desk.home.remind(timers(desk.run()))
    desk.turn()
    desk.turns()

    assert len(desk.events(facts.RetryDue)) == 1
    assert [task.attempt for task in desk.tasks()] == [1, 2]


def test_timer_marker_has_an_id_that_a_restarted_owner_gives_it_again() -> None:
    desk = started()
    desk.fail("a")
    desk.turns()
    desk.now += 2 * SECOND
    ids = []

    for _ in range(2):
        batch = desk.batch()
        ids.append([parse_envelope(record.headers).id for record in batch.records])
        desk.restore()

    assert ids[0] == ids[1]
    assert len(ids[0]) == 1


def test_timer_of_a_step_is_not_written_by_each_owner_of_a_stopping_run() -> None:
    """Seed 2050 of the property below: a deadline that changes nothing was written again at every take-over."""
    desk = Desk(define(node("a", deadline=SECOND), name="p"))
    desk.start("r-1")
    desk.turns()
    desk.command(CancelRun("r-1"))
    desk.turns()
    desk.now += 2 * SECOND

    for _ in range(3):
        desk.turns()
        desk.turn()
        desk.restore()

    assert desk.events(facts.DeadlinePassed) == []


def test_timer_waits_until_a_restored_home_has_read_what_its_predecessor_wrote() -> None:
    """The marker stood on the log and was not read back yet: the next owner wrote it once more, with the same id."""
    desk = started()
    desk.fail("a")
    desk.turns()
    desk.now += 2 * SECOND
    desk.turn()

    desk.restore()
    late = list(desk.home.events)
    desk.home.events.clear()  # the first fetch has not come yet
    assert desk.home.next_due is None, "nobody is woken for a timer that has to wait"
    assert desk.batch().is_empty
    desk.home.events.extend(late)
    desk.turns()

    assert len(desk.events(facts.RetryDue)) == 1
    assert [task.attempt for task in desk.tasks()] == [1, 2]


def test_timer_that_its_predecessor_did_not_write_is_written_by_a_restored_home() -> None:
    desk = started()
    desk.fail("a")
    desk.turns()
    desk.fact(facts.StepCancelled("r-9", "a", 1, "of a run that nobody knows"))
    desk.now += 2 * SECOND

    desk.restore()
    desk.turns()
    desk.turn()

    assert len(desk.events(facts.RetryDue)) == 1


def test_timer_of_a_run_that_has_gone_on_leads_to_nothing() -> None:
    desk = Desk(define(node("a", deadline=SECOND), node("b"), name="p"))
    desk.start("r-1")
    desk.turns()
    desk.succeed("a")
    desk.turns()
    desk.now += 2 * SECOND

    batch = desk.batch()

    assert batch.is_empty


def test_suspicion_is_written_as_a_marker() -> None:
    desk = started()

    desk.suspects = [facts.TriggerSuspected("r-1", "a", 1)]
    desk.turn()
    assert not desk.run().is_held
    desk.turns()

    assert desk.run().step("a").status is Status.SUSPECTED


def test_consequences_say_how_far_the_log_was_folded() -> None:
    desk = started()

    record = desk.succeed("a")
    desk.turns()

    log = desk.logs[TopicPartition("farandole.events", 0)]
    fact = next(it for it in log if parse_envelope(it.headers).type == "farandole.StepSucceeded")
    settled = next(it for it in log if parse_envelope(it.headers).type == "farandole.RunSettled")
    assert record.step == "a"
    assert parse_envelope(settled.headers).folded == f"0/{fact.offset + 1}"
    assert parse_envelope(settled.headers).cause == parse_envelope(fact.headers).id
    assert parse_envelope(settled.headers).input == fact.place


def test_stub_is_forgotten_with_its_state_and_with_what_control_says() -> None:
    desk = started("r-1", "r-2")
    desk.command(CancelRun("r-1"))
    desk.turns()
    desk.fail("a", run="r-1")
    desk.succeed("a", run="r-2")
    desk.turns()
    assert set(desk.table) == {"r-1", "r-2"}

    desk.pass_time(timedelta(hours=25))
    assert set(desk.table) == {"r-1"}, "a stopped run is remembered longer"
    desk.pass_time(timedelta(days=7))

    assert desk.table == {}
    assert [(it.key, it.value is None) for it in desk.logs[CONTROL]] == [(b"run:r-1", False), (b"run:r-1", True)]


def test_batch_takes_no_more_than_its_limit_and_events_first() -> None:
    desk = started("r-1", "r-2", "r-3")
    for run in ("r-1", "r-2", "r-3"):
        desk.succeed("a", run=run)
    desk.start("r-4")
    desk.home.limit = 2

    batch = desk.batch()

    assert set(batch.runs) == {"r-1", "r-2"}
    assert batch.commands_at == desk.home.commands_at


# --- what cannot be produced ------------------------------------------------------------------------


def refused(desk: Desk) -> None:
    """The next record, alone in its batch, could not be produced."""
    desk.home.limit, desk.home.refused = 1, Refused((*desk.home.events, *desk.home.commands)[0], "too large")


def test_give_up_of_an_event_holds_its_run_alone() -> None:
    desk = started("r-1", "r-2")
    desk.succeed("a", run="r-1")
    desk.succeed("a", run="r-2")
    offset = desk.home.events[0].offset

    refused(desk)
    batch = desk.turn()

    assert set(batch.runs) == {"r-1"}
    assert (desk.run("r-1").head.unfolded_from, desk.home.events_at) == (offset, offset + 1)
    assert "too large" in desk.run("r-1").head.kernel_error


def test_give_up_of_a_command_refuses_it() -> None:
    desk = Desk(ONE)
    desk.start("r-1")

    refused(desk)
    desk.turn()

    assert [(it.run, it.reason) for it in desk.events(facts.RunRefused)] == [("r-1", "unproducible")]
    assert desk.home.runs == {}


def test_give_up_of_a_command_holds_nothing_that_came_in_meanwhile() -> None:
    """Only the error was remembered: the event that stood first by then was given up in the command's place."""
    desk = started("r-1")
    desk.start("r-2")
    refused(desk)
    desk.succeed("a", run="r-1")

    desk.turn()
    left = (len(desk.home.events), len(desk.home.commands))

    assert [(it.run, it.reason) for it in desk.events(facts.RunRefused)] == [("r-2", "unproducible")]
    assert desk.events(facts.RunHeld) == []
    assert left == (2, 0), "the report, and the refusal"


def test_give_up_of_a_release_keeps_what_the_run_has_missed() -> None:
    """The hold began anew at the release, and what lay before it was lost."""
    desk = started()
    desk.raw_event(b"?", desk.record_of(facts.StepCancelled("r-1", "a", 1, "")).headers)
    desk.turns()
    before = desk.run()
    desk.fact(facts.ReleaseRequested("r-1"))

    refused(desk)
    batch = desk.batch()
    desk.commit(batch)

    assert desk.run() == before
    assert desk.home.events == type(desk.home.events)()


def test_give_up_of_an_event_of_an_ended_run_leaves_its_stub_alone() -> None:
    desk = started()
    desk.succeed("a")
    desk.turns()
    desk.succeed("a")

    refused(desk)
    batch = desk.batch()

    assert batch.records == []


def test_give_up_of_an_event_that_nobody_can_read_passes_over_it() -> None:
    desk = started()
    desk.raw_event(b"?", [("ce_id", b"x")])

    refused(desk)
    batch = desk.batch()

    assert (batch.is_empty, batch.events_at) == (True, desk.home.events[0].offset + 1)
    assert desk.home.refused is not None
    assert give_up(batch, desk.home.refused) == "unreadable"


def test_timers_wait_while_a_culprit_is_looked_for() -> None:
    desk = started()
    desk.fail("a")
    desk.turns()
    desk.now += 2 * SECOND
    desk.command(StartRun("p", framed_params(), "r-2"))
    desk.home.limit = 1

    assert desk.batch().taken == []


def test_suspicions_wait_while_a_culprit_is_looked_for() -> None:
    """They stood in the batch of a record that was tried alone, which was blamed if the log refused them."""
    desk = started()
    desk.start("r-2")
    desk.suspects = [facts.TriggerSuspected("r-1", "a", 1)]
    desk.home.limit = 1

    alone = desk.batch()
    desk.commit(alone)
    desk.home.limit = 0

    assert alone.markers == []
    assert desk.batch().markers == [facts.TriggerSuspected("r-1", "a", 1)]


# --- the laws, over whole homes -----------------------------------------------------------------------


@settings(max_examples=12, deadline=None, print_blob=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32))
def test_home_survives_aborts_and_takeovers_at_any_moment(seed: int) -> None:
    rng = random.Random(seed)
    definition = random_definition(rng, Shape(steps_max=5))
    desk = Desk(definition, luck=rng.random())
    runs = [f"r-{n}" for n in range(3)]
    for run in runs:
        desk.start(run, n=rng.randint(0, 9), items=[1, 2])
    answered: set[Task] = set()
    script = Script(seed)

    for _ in range(20_000):
        if desk.home.runs and all(run.is_settled for run in desk.home.runs.values()) and not desk.home.events:
            break
        _happen(desk, rng, script, answered)

    assert {run: bool(desk.outcome(run)) for run in runs} == dict.fromkeys(runs, True)
    assert set(desk.table) == set(runs), "only stubs are left"
    ids = [parse_envelope(it.headers).id for it in desk.logs[TopicPartition("farandole.events", 0)]]
    assert len(ids) == len(set(ids))
    assert rebuild(desk.logged(), lambda _: graph_of(definition)) == desk.home.runs


def _happen(desk: Desk, rng: random.Random, script: Script, answered: set[Task]) -> None:
    """An agent answers, a batch takes effect or is thrown away, the home changes hands, or time passes."""
    open_tasks = [task for task in desk.tasks() if task not in answered]
    dead = [
        facts.ReplayRequested(run.id, step, unit.attempt, "dead", None, item)
        for run in desk.home.runs.values()
        if not run.is_settled
        for step, item, unit in run.units()
        if unit.status is Status.DEAD
    ]
    turn = rng.random()
    if turn < 0.4 and open_tasks:
        task = rng.choice(open_tasks)
        answered.add(task)
        result = script.result(task.step, task.item, task.attempt)
        if result.output is None:
            desk.fail(task.step, task.item, run=task.run, retryable=result.retryable)
        else:
            desk.report(task, result.output)
    elif turn < 0.5:
        desk.batch().abandon()
    elif turn < 0.55:
        desk.restore()
    elif dead and turn < 0.65:
        marker = rng.choice(dead)
        if marker not in desk.events(facts.ReplayRequested):
            desk.fact(marker)
    elif turn < 0.95 or open_tasks:
        desk.turn()
    else:
        desk.now += timedelta(seconds=rng.choice([1, 10, 300]))
