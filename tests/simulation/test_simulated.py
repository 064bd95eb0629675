"""Users' pipelines under faults: what is found, what is not, and that a seed says the same twice."""

import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole import Context, Retry, RetryableStepError, TerminalStepError, agent, pipeline
from farandole.cli.main import app
from farandole.cli.simulating import saying_what_is_slow
from farandole.definition.pipelines import Pipeline
from farandole.errors import DefinitionError
from farandole.events.avro import Schema
from farandole.events.facts import StepFailed
from farandole.testing.simulated import Seen, Simulation, effect
from farandole.testing.simulated.plan import Blow, Harm, Kind, drawn
from farandole.testing.simulated.sample import params_of
from farandole.testing.simulated.shrink import shrunk

REPOSITORY = Path(__file__).parents[2]


@agent(publishes=["numbers.doubled"])
def double(ctx: Context, number: int) -> int:
    """Twice a number, told to the world outside and to a topic."""
    effect("doubled", number=number, key=ctx.idempotency_key)
    ctx.publish("numbers.doubled", {"number": number}, key=ctx.run_id)
    return 2 * number


@agent(timeout="5s")
async def add_luck(number: int) -> int:
    """Waits a minute of virtual time now and then, and draws from the global generator."""
    await asyncio.sleep(0.5)
    return number + random.randrange(10)


@pipeline(owner="tests@example.org")
def numbers(number: int) -> int:
    """Two steps."""
    return add_luck(double(number))


@agent
def refuse(number: int) -> int:
    """Takes nothing."""
    raise TerminalStepError(f"{number} is not for me")


@pipeline(owner="tests@example.org")
def hopeless(number: int) -> int:
    """Never succeeds."""
    return refuse(number)


def a_number(draw: random.Random) -> dict[str, object]:
    return {"number": draw.randrange(1000)}


def test_an_effect_that_happens_twice_is_found_and_its_world_is_shrunk() -> None:
    simulation = Simulation(numbers, params=a_number)

    @simulation.invariant
    def each_run_doubles_once(seen: Seen) -> None:
        for key, effects in seen.by("doubled", "key").items():
            assert len(effects) == 1, f"{key}: {len(effects)} times"

    failure = simulation.check(seeds=60).failure

    assert failure is not None
    assert failure.repeats
    assert failure.invariant == "each_run_doubles_once"
    assert failure.smallest.size <= failure.found.size
    assert failure.smallest.size == 1, "one mishap is enough to call a handler twice"
    assert re.search(r"[23] times", failure.error)
    assert sum("→ doubled" in line for line in failure.story) >= 2


@agent
async def charge_in_an_executor(number: int) -> int:
    """As who wraps a blocking driver: no context variable comes along."""
    await asyncio.get_running_loop().run_in_executor(None, lambda: effect("charged", number=number))
    return number


@agent
def charge_in_a_thread(number: int) -> int:
    """The same with a thread of its own."""
    thread = threading.Thread(target=lambda: effect("charged", number=number))
    thread.start()
    thread.join()
    return number


@pipeline(owner="tests@example.org")
def executor_shop(number: int) -> int:
    """One step."""
    return charge_in_an_executor(number)


@pipeline(owner="tests@example.org")
def thread_shop(number: int) -> int:
    """One step."""
    return charge_in_a_thread(number)


@pytest.mark.parametrize("shop", [executor_shop, thread_shop], ids=["executor", "thread"])
def test_effects_of_threads_that_a_handler_waits_for_are_seen(shop: Pipeline[..., int]) -> None:
    """They vanished: a bank that is asked twice, by a driver that blocks, was "0 effects" and all clear."""
    simulation = Simulation(shop, params=a_number)

    @simulation.invariant
    def charged_once(seen: Seen) -> None:
        assert all(len(charges) == 1 for charges in seen.by("charged", "number").values()), "charged twice"

    report = simulation.check(seeds=60)

    assert report.effects > 0
    assert report.failure is not None
    assert "charged twice" in report.failure.error


def test_what_is_published_in_the_transaction_stands_there_once_however_often_the_handler_ran() -> None:
    simulation = Simulation(numbers, params=a_number)

    @simulation.invariant
    def each_success_is_published_once(seen: Seen) -> None:
        keys = [(record.key or b"").decode() for record in seen.published("numbers.doubled")]
        assert sorted(keys) == sorted(run.id for run in seen.runs)

    report = simulation.verify(seeds=40)

    assert report.repeated > 0
    assert report.outcomes["succeeded"] >= 40


def test_a_seed_tells_the_same_story_twice() -> None:
    simulation = Simulation(numbers, params=a_number)
    simulation.invariant(lambda seen: False)

    first, second = simulation.check(1, start=11).failure, simulation.check(1, start=11).failure

    assert first is not None
    assert second is not None
    assert first.error == "it returned False"
    assert first.story == second.story
    assert len(first.story) > 5


def test_what_before_draws_is_part_of_the_seed() -> None:
    """The seed was set after it: a price that `before` had drawn was another one when the seed was lived again."""
    prices: list[int] = []
    simulation = Simulation(numbers, params=a_number)
    simulation.before(lambda: prices.append(random.randrange(10**9)))

    random.seed(1)
    simulation.check(1, start=11)
    random.seed(2)
    simulation.check(1, start=11)

    assert prices[0] == prices[1]
    assert random.randrange(10**9) == random.Random(2).randrange(10**9), "and the caller's own draws are as they were"


def test_a_failure_that_does_not_repeat_says_so_and_keeps_its_own_story() -> None:
    """It was told with the story of the last world that shrinking had lived, in which nothing was broken."""
    simulation = Simulation(numbers, params=a_number)
    broken_for: list[Seen] = []

    @simulation.invariant
    def only_the_first_repetition_counts(seen: Seen) -> None:
        if seen.repeated and not broken_for:
            broken_for.append(seen)
            raise AssertionError("called twice")

    failure = simulation.check(seeds=60).failure

    assert failure is not None
    assert not failure.repeats
    assert "did not fail when it was lived again" in str(failure)
    assert any(", again" in line for line in failure.story), "the story is that of the world that was broken"
    assert failure.smallest == failure.found


def test_runs_that_no_replay_can_help_are_cancelled_and_end() -> None:
    report = Simulation(hopeless).verify(seeds=5)

    assert set(report.outcomes) == {"cancelled"}


def test_a_run_that_never_ends_is_a_failure_without_any_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farandole.testing.simulated.caller.REPLAYS_MAX", 1_000_000)
    monkeypatch.setattr("farandole.testing.simulated.world.STEPS_MAX", 2_000)

    failure = Simulation(hopeless).check(seeds=1).failure

    assert failure is not None
    assert failure.invariant == "every_run_ends"


@agent(retry=Retry(attempts=3, base="15m", cap="1h"))
def ask_a_closed_supplier(ctx: Context, number: int) -> int:
    """Answers at the third time, an hour and a half later."""
    if ctx.attempt == 1:
        raise RetryableStepError("closed", retry_after=timedelta(hours=1))
    if ctx.attempt == 2:
        raise RuntimeError("still closed, ask in a while")
    return number


@pipeline(owner="tests@example.org")
def patient(number: int) -> int:
    """One step."""
    return ask_a_closed_supplier(number)


def test_a_run_that_waits_for_hours_has_not_got_stuck() -> None:
    """The world ended after some 645 s of its time, and with it the run: "never ended, though faults had"."""
    report = Simulation(patient, params=a_number).verify(seeds=3)

    assert set(report.outcomes) == {"succeeded"}


def test_a_run_of_which_nothing_more_can_come_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody replays it, and it does not have to be stirred to be found."""
    monkeypatch.setattr("farandole.testing.simulated.caller.PATIENCE", 10**12)

    failure = Simulation(hopeless, runs_max=1).check(seeds=1).failure

    assert failure is not None
    assert failure.invariant == "every_run_ends"


@agent(timeout="1s", retry=Retry(attempts=2))
async def ask_a_slow_bank(number: int) -> int:
    """Gives its answer long after nobody waits for it."""
    effect("asked", number=number)
    await asyncio.sleep(3600)
    effect("answered", number=number)
    return number


@agent(timeout="2s", retry=Retry(attempts=2))
async def await_nothing(number: int) -> int:
    """Its event is never set."""
    await asyncio.Event().wait()
    return number


@agent
async def await_nothing_without_end(number: int) -> int:
    """The same without a time-out."""
    await asyncio.Event().wait()
    return number


@agent(timeout="100ms", retry=Retry(attempts=2))
async def poll_without_waiting(number: int) -> int:
    """As a loop over `asyncio.sleep(0)` does: it is done after seconds, so that a test that fails comes to an end."""
    for _ in range(200_000):
        await asyncio.sleep(0)
    return number


@agent(timeout="1m")
async def wait_for_a_thread(number: int) -> int:
    """Is done in no time, if the thread is given some."""
    await asyncio.wait_for(asyncio.to_thread(time.sleep, 0.01), 30)
    return number


@agent
async def wait_for_hours(number: int) -> int:
    """Has no time-out, and comes to its end."""
    await asyncio.sleep(7200)
    return number


@pipeline(owner="tests@example.org")
def slow_bank(number: int) -> int:
    """One step."""
    return ask_a_slow_bank(number)


@pipeline(owner="tests@example.org")
def hanging(number: int) -> int:
    """One step."""
    return await_nothing(number)


@pipeline(owner="tests@example.org")
def hanging_without_end(number: int) -> int:
    """One step."""
    return await_nothing_without_end(number)


@pipeline(owner="tests@example.org")
def polling(number: int) -> int:
    """One step."""
    return poll_without_waiting(number)


@pipeline(owner="tests@example.org")
def threaded(number: int) -> int:
    """One step."""
    return wait_for_a_thread(number)


@pipeline(owner="tests@example.org")
def hours(number: int) -> int:
    """One step."""
    return wait_for_hours(number)


def test_a_handler_that_awaits_longer_than_its_timeout_is_given_up() -> None:
    """An hour passed in no time, and an agent with one second for it succeeded, here and nowhere else."""
    simulation = Simulation(slow_bank, params=a_number, runs_max=1)

    @simulation.invariant
    def each_failure_of_its_own_is_a_time_out(seen: Seen) -> None:
        failed = [each for run in seen.runs for each in run.events if isinstance(each, StepFailed)]
        assert failed
        assert all(each.kind == "timeout" for each in failed if "simulated:" not in each.error)
        assert seen.of("asked")
        assert not seen.of("answered")

    report = simulation.verify(seeds=4)

    assert set(report.outcomes) == {"cancelled"}


def test_a_handler_with_a_timeout_that_waits_for_ever_does_not_hang_the_simulation() -> None:
    assert set(Simulation(hanging, runs_max=1).verify(seeds=2).outcomes) == {"cancelled"}


def test_a_handler_that_polls_for_longer_than_its_timeout_is_given_up() -> None:
    """Time passed only where something was waited for: its time-out never came, and the simulation hung."""
    assert set(Simulation(polling, runs_max=1).verify(seeds=1).outcomes) == {"cancelled"}


def test_a_handler_without_a_timeout_that_waits_for_ever_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farandole.testing.simulated.virtual_loop.STILL_MAX_S", 0.05)

    with pytest.raises(DefinitionError, match=r"test_simulated.py:\d+: agent await_nothing_without_end: .*`timeout`"):
        Simulation(hanging_without_end, runs_max=1).check(seeds=2)


@pytest.mark.parametrize("waiting", [threaded, hours])
def test_handlers_that_wait_within_their_time_succeed(waiting: Pipeline[..., int]) -> None:
    """A time-out on virtual time comes at once, unless the loop knows that a thread is still at work for it."""
    assert set(Simulation(waiting, params=a_number, runs_max=1).verify(seeds=3).outcomes) == {"succeeded"}


MISHAPS = ("is killed, before", "stands still", "goes on", "is slow", ", again", "poison", "replays", "after its work")


def test_handlers_are_called_late_and_twice_and_after_others_took_over() -> None:
    """A simulation in which nothing goes wrong would prove nothing."""
    simulation = Simulation(numbers, params=a_number)

    told = "\n".join(line for seed in range(40) for line in simulation._lived(drawn(seed, 3, 3))[2].lines())

    assert [mishap for mishap in MISHAPS if mishap not in told] == []


async def awaits(seen: Seen) -> None:
    """An invariant that a call does not run."""
    raise AssertionError


def yields(seen: Seen) -> Iterator[str]:
    """The same as a generator."""
    yield "never reached"
    raise AssertionError


class Awaits:
    """The same behind a `__call__`, which only its result gives away."""

    async def __call__(self, seen: Seen) -> None:
        raise AssertionError


@pytest.mark.parametrize("given", [awaits, yields], ids=["async", "generator"])
def test_functions_that_a_call_would_not_run_are_refused_at_once(given: Callable[..., object]) -> None:
    """`assert False` in an `async def` passed: nothing awaited it."""
    for register in (Simulation(numbers).invariant, Simulation(numbers).before):
        with pytest.raises(DefinitionError, match=rf"expected {given.__name__} to be a plain function"):
            register(given)


def test_an_invariant_that_returns_what_has_yet_to_be_run_is_refused() -> None:
    simulation = Simulation(numbers, params=a_number)
    simulation.invariant(Awaits())

    with pytest.raises(DefinitionError, match="returns a coroutine"):
        simulation.check(seeds=1)


def test_a_broken_invariant_says_which_line_it_was(tmp_path: Path) -> None:
    """In files that pytest does not rewrite, as the command reads them, a bare `assert` was "AssertionError: "."""
    (tmp_path / "picky.py").write_text(PICKY.replace('raise ValueError("an order\'s id begins with o-")', "pass"))
    (tmp_path / "test_simul_shop.py").write_text(
        "from picky import shop\n"
        "from farandole.testing.simulated import Simulation\n"
        "simulation = Simulation(shop)\n"
        "@simulation.invariant\n"
        "def all_is_well(seen):\n"
        "    assert seen.runs\n"
        "    assert not seen.runs\n"
    )

    told = CliRunner().invoke(app, ["simulate", str(tmp_path), "--seeds", "1"])

    assert "shop, seed 0: all_is_well\n  AssertionError (test_simul_shop.py:7)\n" in told.output


@pytest.mark.parametrize("says", [pytest.fail, pytest.skip], ids=["fail", "skip"])
def test_an_invariant_that_speaks_pytest_is_broken_with_seed_and_story(says: Callable[[str], object]) -> None:
    """What they raise is no `Exception`: `skip` made a red test green, `fail` told neither seed nor story."""
    simulation = Simulation(numbers, params=a_number)

    @simulation.invariant
    def charged_once(seen: Seen) -> None:
        says("two charges")

    failure = simulation.check(seeds=1, start=3).failure

    assert failure is not None
    assert (failure.seed, failure.invariant) == (3, "charged_once")
    assert "two charges" in failure.error
    assert failure.story


def test_shrinking_leaves_out_what_is_not_needed() -> None:
    plan = drawn(3, 3, 3)
    needed = Blow(5, 0, Harm.KILL)
    plan = type(plan)(3, 3, frozenset(Kind), (Blow(1, 1, Harm.FREEZE, 10), needed, Blow(9, 2, Harm.STOP)))

    smallest, tries = shrunk(plan, lambda each: needed in each.blows and Kind.LATE in each.kinds)

    assert smallest.runs == 1
    assert smallest.kinds == {Kind.LATE}
    assert smallest.blows == (needed,)
    assert tries < 40


@pytest.mark.parametrize(
    "schema",
    [
        '{"type":"record","name":"P","fields":[{"name":"a","type":["null","long"]},{"name":"b","type":'
        '{"type":"map","values":{"type":"enum","name":"E","symbols":["X","Y"]}}},{"name":"c","type":"E"}]}',
        '{"type":"record","name":"P","fields":[{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},'
        '{"name":"d","type":{"type":"int","logicalType":"date"}},'
        '{"name":"u","type":{"type":"string","logicalType":"uuid"}},{"name":"x","type":{"type":"array","items":"double"}},'
        '{"name":"raw","type":"bytes"},{"name":"yes","type":"boolean"},'
        '{"name":"m","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}',
    ],
)
def test_params_drawn_from_a_schema_fit_it(schema: str) -> None:
    known = Schema.parse(schema)

    for seed in range(50):
        plain = params_of(schema, random.Random(seed))

        assert known.decode(known.encode(plain)) is not None


def test_the_command_prints_the_story_and_how_to_live_it_again() -> None:
    shop = REPOSITORY / "docs" / "how-to" / "shop"

    told = CliRunner().invoke(app, ["simulate", str(shop), "--pipeline", "naive"])

    assert told.exit_code == 1
    assert "no_order_is_charged_twice" in told.output
    assert "→ charged" in told.output
    assert f"again: farandole simulate {shop} --pipeline naive --from" in told.output


PICKY = """
from dataclasses import dataclass
from farandole import agent, pipeline

@dataclass
class Order:
    id: str

    def __post_init__(self) -> None:
        if not self.id.startswith("o-"):
            raise ValueError("an order's id begins with o-")

@agent
def charge(order: Order) -> str:
    return order.id

@pipeline(owner="tests@example.org")
def shop(order: Order) -> str:
    return charge(order)
"""


def test_worlds_in_which_no_handler_ever_ran_are_not_all_clear(tmp_path: Path) -> None:
    """Params drawn from the schema were none that the record takes: "40 calls of handlers", none of which was one."""
    (tmp_path / "agents.py").write_text(PICKY)

    told = CliRunner().invoke(app, ["simulate", str(tmp_path), "--seeds", "3"])

    assert told.exit_code == 1, told.output
    assert " 0 calls of handlers" in told.output
    assert "no run came to its end: give `params=`" in told.output


def test_no_seeds_at_all_are_a_usage_error(tmp_path: Path) -> None:
    """`--simulate-seeds 0`, a slip of who counts them, was green."""
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    command = [sys.executable, "-m", "pytest", "--simulate-seeds", "0", "-p", "no:cacheprovider", str(tmp_path)]

    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    assert told.returncode == pytest.ExitCode.USAGE_ERROR, told.stdout
    assert "--simulate-seeds: expected at least 1, but found 0" in told.stderr
    with pytest.raises(ValueError, match="expected at least 1 seed"):
        Simulation(numbers).check(seeds=0)


def test_the_command_s_json_says_what_was_lived_through() -> None:
    told = CliRunner().invoke(app, ["simulate", str(REPOSITORY / "agents" / "orders"), "--seeds", "2", "--json"])

    assert told.exit_code == 0, told.output
    (only,) = json.loads(told.output)["pipelines"]
    assert only["pipeline"] == "orders"
    assert only["seeds"] == 2
    assert only["calls"] > 0
    assert only["failure"] is None


@agent
def press_ctrl_c(number: int) -> int:
    """As who sits before the terminal while a handler runs."""
    signal.raise_signal(signal.SIGINT)
    return number


@agent
async def press_ctrl_c_while_it_waits(number: int) -> int:
    """The same in a coroutine, which goes on to wait."""
    signal.raise_signal(signal.SIGINT)
    await asyncio.sleep(1)
    return number


@pipeline(owner="tests@example.org")
def interrupted(number: int) -> int:
    """One step, a function."""
    return press_ctrl_c(number)


@pipeline(owner="tests@example.org")
def interrupted_while_it_waits(number: int) -> int:
    """One step, a coroutine."""
    return press_ctrl_c_while_it_waits(number)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("it", [interrupted, interrupted_while_it_waits])
def test_ctrl_c_in_a_handler_ends_the_simulation(it: Pipeline[..., int]) -> None:
    """It was a failed attempt like any other: `farandole simulate` went on to its last seed, and exited with 0."""
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Simulation(it, params=a_number).check(seeds=1)

    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("interruptible")
def test_the_command_ends_by_ctrl_c_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / "agents.py").write_text(
        "import signal\nfrom farandole import agent, pipeline\n\n@agent\ndef press(n: int) -> int:\n"
        "    signal.raise_signal(signal.SIGINT)\n    return n\n\n"
        "@pipeline(owner='a@b')\ndef once(n: int) -> int:\n    return press(n)\n"
    )

    program = str(Path(sys.executable).with_name("farandole"))
    done = subprocess.run(
        [program, "simulate", "unit"], cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
    )

    assert (done.returncode, done.stderr.strip()) == (130, "interrupted")


LONG_ENOUGH = threading.Event()


@agent
def dawdle(number: int) -> int:
    """Takes as long as its test wants."""
    LONG_ENOUGH.wait(30)
    return number


@pipeline(owner="tests@example.org")
def slow(number: int) -> int:
    """One step."""
    return dawdle(number)


def test_a_seed_that_takes_long_is_named_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said for minutes, and nobody knew which pipeline it was."""
    told: list[str] = []

    def tell(line: str, err: bool) -> None:
        told.append(line)
        LONG_ENOUGH.set()

    monkeypatch.setattr("farandole.cli.simulating.typer.echo", tell)
    simulation = Simulation(slow, params=a_number)
    with saying_what_is_slow(simulation, 0.2):
        simulation.check(seeds=1, start=7)
    in_time = len(told)
    with saying_what_is_slow(simulation, 60.0):
        simulation.check(seeds=1, start=8)

    assert told[0].startswith("still at work: slow, seed 7, for ")
    assert len(told) == in_time
    assert simulation.seed is None
