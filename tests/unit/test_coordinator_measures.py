"""What a coordinator counts: committed facts only, live runs by state, and nothing twice."""

import ast
import inspect
from datetime import timedelta

import pytest

from farandole.coordinator import batch, reading, releasing
from farandole.coordinator.measures import Measures
from farandole.events.commands import CancelRun, Command, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope, parse_envelope
from farandole.events.facts import RunStarted, StepSucceeded
from farandole.kernel import admission
from farandole.kernel.state import ms
from farandole.telemetry.catalogue import COMMANDS, EVENTS, RUNS_REFUSED
from farandole.testing.desk import Desk
from farandole.testing.sketch import define, framed_params, node

ONE = define(node("a"), name="p")


def measures(desk: Desk) -> Measures:
    return desk.builder.measures


def test_run_is_counted_when_it_starts_and_when_it_ends() -> None:
    desk = Desk(ONE)
    desk.start("r-1")
    desk.turns()
    assert measures(desk).states() == {("p", "running"): 1}

    desk.now += timedelta(seconds=3)
    desk.succeed("a")
    desk.turns()

    it = measures(desk)
    assert it.started.values == {("p",): 1}
    assert it.settled.values == {("p", "succeeded"): 1}
    assert it.attempts.values == {("p", "a", "succeeded"): 1}
    assert it.duration.cells["p",][-1] == 3.0
    assert it.states() == {("p", "running"): 0}


def test_batch_that_is_thrown_away_is_not_counted() -> None:
    desk = Desk(ONE)
    desk.start("r-1")

    desk.batch().abandon()
    assert measures(desk).started.values == {}
    desk.turns()

    assert measures(desk).started.values == {("p",): 1}


def test_result_that_comes_twice_is_counted_once() -> None:
    desk = Desk(define(node("a"), node("b", "a"), name="p"))
    desk.start("r-1")
    desk.turns()

    desk.succeed("a")
    desk.succeed("a")
    desk.turns()

    assert measures(desk).attempts.values == {("p", "a", "succeeded"): 1}


def test_retries_dead_letters_and_the_hold_are_counted() -> None:
    desk = Desk(ONE)
    desk.start("r-1")
    desk.turns()

    desk.fail("a")
    desk.turns()
    desk.pass_time(timedelta(minutes=1))
    desk.fail("a", retryable=False)
    desk.turns()

    it = measures(desk)
    assert it.retries.values == {("p", "a"): 1}
    assert sum(it.dead_letters.values.values()) == 1
    assert it.states() == {("p", "running"): 0, ("p", "held"): 1}

    desk.now += timedelta(minutes=10)
    desk.command(CancelRun("r-1"), key="r-1")
    desk.turns()

    assert it.settled.values == {("p", "cancelled"): 1}
    assert it.hold.cells["p",][-1] == 600.0


def test_refused_start_is_counted_by_reason_and_no_pipeline_a_stranger_names_becomes_a_label() -> None:
    desk = Desk(ONE)

    desk.start("r-1", "nobody-knows-it")
    desk.turns()

    it = measures(desk)
    assert it.refused.values == {("unknown_pipeline",): 1}
    assert it.started.values == {}


def test_runs_older_than_the_threshold_are_stale_until_they_end() -> None:
    desk = Desk(ONE)
    desk.start("r-1")
    desk.turns()
    desk.now += timedelta(hours=2)
    desk.start("r-2")
    desk.turns()
    hour_ago = ms(desk.now - timedelta(hours=1))

    assert measures(desk).stale(hour_ago) == {("p",): 1}
    desk.succeed("a", run="r-1")
    desk.turns()

    assert measures(desk).stale(hour_ago) == {}


def test_home_that_is_taken_over_counts_its_live_runs_anew_and_its_totals_not() -> None:
    desk = Desk(ONE)
    desk.start("r-1")
    desk.start("r-2")
    desk.turns()
    desk.succeed("a", run="r-1")
    desk.turns()
    desk.restore()
    fresh = Measures()

    fresh.claimed(0, 10.0)
    fresh.running(desk.home, 12.5, ms(desk.now))

    assert fresh.states() == {("p", "running"): 1}
    assert fresh.settled.values == {}
    assert fresh.restore.cells[()][-1] == 2.5
    fresh.left(0)
    assert fresh.states() == {}


@pytest.mark.parametrize("by", ["dead letter", "kernel error"])
def test_hold_that_another_coordinator_takes_over_began_when_it_began(by: str) -> None:
    """It began anew with each take-over: a run that was held over a deployment was never held for long."""
    desk = Desk(ONE)
    desk.start("r-1")
    desk.turns()
    if by == "dead letter":
        desk.fail("a", retryable=False)
    else:
        desk.fact(StepSucceeded("r-1", "nobody_has_it", 1, b""))
    desk.turns()
    assert desk.home.runs["r-1"].is_held
    desk.now += timedelta(minutes=10)
    desk.restore()
    desk.builder.measures = fresh = Measures()
    fresh.running(desk.home, 0.0, ms(desk.now))
    desk.now += timedelta(minutes=1)

    desk.command(CancelRun("r-1"), key="r-1")
    desk.turns()

    assert fresh.hold.cells["p",][-1] == pytest.approx(660.0, abs=1)


def test_batch_that_stands_after_its_home_has_left_is_counted_and_its_runs_are_not_live_here() -> None:
    """They were live for as long as the process lived: their home was counted by its new owner too."""
    desk = Desk(ONE)
    desk.start("r-1")
    batch = desk.batch()

    measures(desk).left(0)
    desk.commit(batch)

    assert (measures(desk).states(), measures(desk).started.values) == ({}, {("p",): 1})


def test_start_delay_is_measured_from_the_commands_timestamp() -> None:
    desk = Desk(ONE)
    desk.start("r-1")
    batch = desk.batch()
    batch.asked["r-1"] = ms(desk.now) - 1500

    desk.commit(batch)

    assert measures(desk).start_delay.cells["p",][-1] == 1.5


def test_trace_of_a_command_goes_on_with_its_run() -> None:
    """It was dropped at the first hop: the coordinator's answers to commands named no trace."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    desk = Desk(ONE)
    asked = Envelope("cmd-1", "farandole.StartRun", "test", desk.now, run="r-1", traceparent=trace)
    command = desk.start("r-1")
    desk.home.commands.clear()

    desk.command(command.value, key="r-1", headers=asked.headers())
    written = desk.turn().records

    assert desk.events(RunStarted)
    assert {parse_envelope(record.headers).traceparent for record in written} == {trace}


def test_words_that_reading_says_are_known_to_the_metrics() -> None:
    """What is not known beforehand begins with its first case, and that one is not seen."""
    said = {
        (function.name, each.value.value)
        for module in (reading, releasing)
        for function in ast.parse(inspect.getsource(module)).body
        if isinstance(function, ast.FunctionDef)
        for each in ast.walk(function)
        if isinstance(each, ast.Return) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str)
    }
    of_events = ("read_event", "_begun", "_started", "release")
    events = {word for name, word in said if name in of_events}
    commands = {word for name, word in said if name not in (*of_events, "give_up")}

    assert {"unreadable", "started", "released"} <= events <= set(EVENTS.words)
    assert {"forwarded", "marked", "refused"} <= commands <= set(COMMANDS.words)


def test_reasons_of_refusals_are_known_to_the_metrics() -> None:
    source = inspect.getsource(admission) + inspect.getsource(reading) + inspect.getsource(batch)
    calls = [each for each in ast.walk(ast.parse(source)) if isinstance(each, ast.Call)]
    named = {"refused": 0, "RunRefused": 2, "_refuse": 2}
    given = [
        each.args[at]
        for each in calls
        if (at := named.get(getattr(each.func, "id", getattr(each.func, "attr", "")), -1)) >= 0
    ]

    reasons = {each.value for each in given if isinstance(each, ast.Constant)}

    assert reasons == set(RUNS_REFUSED.words)


@pytest.mark.parametrize(
    ("command", "moves"),
    [
        (ReplayDeadLetter("r-1", "nobody_has_it", 1, "letter"), False),
        (ReplayDeadLetter("r-2", "a", 1, "letter"), False),
        (StartRun("p", b"", "r-1"), False),
        (StartRun("nobody-knows-it", b"", "r-2"), False),
        (CancelRun("r-1"), True),
    ],
)
def test_run_goes_on_in_the_trace_of_a_command_that_has_an_effect_alone(command: Command, moves: bool) -> None:
    """Whoever replayed a step that there is not took the run's retries and deadlines into a trace of his own."""
    own, theirs = (f"00-{n * 32}-b7ad6b7169203331-01" for n in "12")
    desk = Desk(ONE)
    command_in_trace(desk, StartRun("p", framed_params(0, ()), "r-1"), own)
    desk.turns()
    assert desk.home.traces == {"r-1": own}

    command_in_trace(desk, command, theirs)
    desk.turns()

    assert desk.home.traces == {"r-1": theirs if moves else own}


def command_in_trace(desk: Desk, command: Command, trace: str) -> None:
    """Somebody asks for something within a trace."""
    asked = Envelope("cmd", "farandole.Command", "test", desk.now, run=command.run_id or "", traceparent=trace)
    desk.command(command, key=command.run_id, headers=asked.headers())
