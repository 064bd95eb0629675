"""Handlers on real threads, event loops and processes: whatever they do, the unit's process goes on."""

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from farandole.clock import Clock, ManualClock, SystemClock
from farandole.definition.loading import load_unit
from farandole.definition.model import Definition, Input, Step
from farandole.definition.spec import AgentSpec
from farandole.errors import ClaimBroken, StoreError, TransportError
from farandole.events.avro import Schema
from farandole.events.catalogue import decode
from farandole.events.envelope import Envelope
from farandole.events.outgoing import Trigger
from farandole.events.tables import AttemptProgress
from farandole.events.topics import Topics
from farandole.runtime.attempts import Attempt, Call, Failed, Outcome, Succeeded
from farandole.runtime.handlers import parent, processes
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.executors import Executors
from farandole.runtime.handlers.parent import Child, ChildFailed
from farandole.runtime.handlers.results import Results
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.handlers.wire import Run, Setup
from farandole.runtime.partition import Partition
from farandole.runtime.settings import AgentSettings
from farandole.runtime.telemetry import Signals
from farandole.transport.port import NewRecord, Record, TopicPartition

UNIT = """
import asyncio, atexit, contextvars, ctypes, decimal, gc, json, logging, multiprocessing, os, re, resource, stat
import subprocess, sys, threading, time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from farandole.definition.agents import agent
from farandole.definition.context import Context
from farandole.errors import RetryableStepError, TerminalStepError

while Path(__file__).with_name("hangs").exists():
    logging.getLogger("unit").warning("loading the model")
    Path(__file__).with_name("loads").write_text(str(os.getpid()))
    time.sleep(0.01)

@agent
def plain(n: int) -> int:
    return n + 1

def read(text: str) -> object:
    return json.loads(text)

@agent
def parses(text: str) -> int:
    return len(read(text))

@agent(isolation="process")
def parses_apart(text: str) -> int:
    return len(read(text))

@agent
async def parses_async(text: str) -> int:
    return len(read(text))

@agent
def sleepy(n: int) -> int:
    time.sleep(n / 10)
    return n

@agent
async def quick(n: int) -> int:
    await asyncio.sleep(0)
    return n * 2

@agent
async def deaf(n: int) -> int:
    time.sleep(n / 10)
    return n

LET_GO = threading.Event()

@agent
async def stubborn(n: int) -> int:
    while not LET_GO.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
    return n

TENANT = contextvars.ContextVar("TENANT", default="none")

def surroundings(n: int) -> str:
    found = f"{decimal.Decimal(1) / 7:.10f} {TENANT.get()}"
    decimal.getcontext().prec = 3
    TENANT.set("acme")
    return found

@agent
def in_thread(n: int) -> str:
    return surroundings(n)

@agent
async def on_loop(n: int) -> str:
    return surroundings(n)

@agent(isolation="process")
def in_child(n: int) -> str:
    return surroundings(n)

class Rude(Exception):
    def __str__(self) -> str:
        return None

@agent
def rude(n: int) -> int:
    raise Rude()

@agent
async def rude_async(n: int) -> int:
    raise Rude()

@agent
async def gives_itself_up(n: int) -> int:
    asyncio.current_task().cancel()
    await asyncio.sleep(1)
    return n

async def exits() -> None:
    sys.exit(1)

@agent
async def ends_the_loop(how: str) -> int:
    match how:
        case "gather":
            await asyncio.gather(exits(), asyncio.sleep(0.1))
        case "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(exits())
        case "wait_for":
            await asyncio.wait_for(exits(), 5)
        case "forgotten":
            asyncio.create_task(exits())
        case "stop":
            asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return 1

async def raises(error: BaseException) -> None:
    raise error

@agent
async def groups(how: str) -> int:
    match how:
        case "terminal":
            errors = [TerminalStepError("card is stolen")]
        case "later":
            errors = [RetryableStepError("busy", retry_after=timedelta(hours=1))]
        case "plain":
            errors = [KeyError("sku-17")]
        case "inner":
            errors = [ExceptionGroup("inner", [ExceptionGroup("of it", [KeyError("sku-17")])])]
        case "several":
            busy = RetryableStepError("busy", retry_after=timedelta(hours=1))
            errors = [KeyError("sku-17"), busy, KeyError("sku-17")]
        case "several, in another order":
            errors = [RetryableStepError("busy", retry_after=timedelta(minutes=1)), KeyError("sku-18")]
        case "one is terminal":
            errors = [KeyError("sku-17"), TerminalStepError("card is stolen")]
        case "one is memory":
            errors = [KeyError("sku-17"), MemoryError()]
    async with asyncio.TaskGroup() as group:
        for error in errors:
            group.create_task(raises(error))
    return 1

@agent
async def endless(n: int) -> int:
    await asyncio.sleep(3600)
    return n

@agent
def holds(n: int) -> int:
    LET_GO.wait()
    return n

@agent(isolation="process", publishes=["own"])
def apart(ctx: Context, n: int) -> int:
    ctx.progress(1, 2, "half")
    ctx.publish("own", {"n": n, "key": ctx.idempotency_key})
    return os.getpid()

@dataclass
class Sum:
    total: int
    note: str = ""

@dataclass
class Dated:
    total: datetime

@agent
def dated(n: int) -> Dated:
    return Dated(datetime(2026, 1, n, tzinfo=UTC))

@agent
def noted(n: int) -> Sum:
    return Sum(n, "new")

@agent
async def noted_async(n: int) -> Sum:
    return Sum(n, "new")

@agent(isolation="process")
def noted_apart(n: int) -> Sum:
    return Sum(n, "new")

@agent(isolation="process", memory="256MiB")
def dies(how: str) -> int:
    match how:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "loop":
            while True:
                pass
        case "memory":
            return len(bytearray(2_000_000_000))
        case "raise":
            raise TerminalStepError("no")
        case "sys.exit":
            sys.exit(4)
        case "closes":
            os.closerange(3, os.sysconf('SC_OPEN_MAX'))  # a busy parent has hundreds, and the child its numbers
            time.sleep(600)
    return os.getpid()

class Session:
    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        logging.getLogger("unit").warning("unclosed session")

@agent(isolation="process")
def litters(ctx: Context, n: int) -> int:
    gc.set_threshold(20)
    for i in range(n):
        Session()
        ctx.progress(i, i)
    return n

class Mute:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__

@agent(isolation="process")
def logs(how: str) -> int:
    log = logging.getLogger("unit")
    match how:
        case "arguments":
            log.warning("%d apples", "many")
        case "integer":
            log.warning("told", extra={"field": 2**70})
        case "surrogate":
            log.warning("caf\\ud800", extra={"field\\ud800": 1})
        case "mute":
            log.warning("told", extra={"field": Mute()})
    return 1

def note(ctx: Context, how: str) -> int:
    ctx.progress(1, 1, {"surrogate": "caf\\ud800", "number": 7, "long": "x" * 1000}[how])
    return 1

@agent
def notes(ctx: Context, how: str) -> int:
    return note(ctx, how)

@agent(isolation="process")
def notes_apart(ctx: Context, how: str) -> int:
    return note(ctx, how)

@agent(isolation="process")
def prints(how: str) -> int:
    atexit.register(print, "and at its end")
    print(how)
    if how == "crash":
        os._exit(3)
    return 1

@agent(isolation="process")
def memory_here(n: int) -> int:
    return resource.getrlimit(resource.RLIMIT_AS)[0]

@agent(isolation="process", memory="256GiB")
def memory_given(n: int) -> int:
    return resource.getrlimit(resource.RLIMIT_AS)[0]

@agent(isolation="process")
def waits(n: int) -> int:
    begun, go = (Path(__file__).with_name(name) for name in ("begun", "go"))
    begun.write_text(str(os.getpid()))
    while not go.exists():
        time.sleep(0.01)
    return n

@agent(isolation="process")
def ends_workers(n: int) -> int:
    worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    worker.start()
    worker.terminate()
    program = subprocess.Popen(["sleep", "600"])
    program.terminate()
    program.wait()
    worker.join()
    return -worker.exitcode

@agent(isolation="process")
def forks(n: int) -> int:
    os.fork()
    return 1000 + n

@agent(isolation="process")
def forks_and_waits(how: str) -> int:
    copy = os.fork()
    if copy:
        return os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    sys.stderr = Path(__file__).with_name("said").open("w")
    match how:
        case "raise":
            raise ValueError("in the copy")
        case "exit":
            sys.exit(3)
        case "exit well":
            sys.exit()
    return 1

@agent(isolation="process")
def leaves(how: str) -> int:
    if "forked" in how:
        left = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        left.start()
    else:
        open_here = [fd for fd in range(3, 100) if Path(f"/dev/fd/{fd}").exists()]
        channel = [fd for fd in open_here if stat.S_ISSOCK(os.fstat(fd).st_mode)]
        left = subprocess.Popen(["sleep", "600"], pass_fds=channel)
    Path(__file__).with_name("left").write_text(str(left.pid))
    if "crash" in how:
        os._exit(3)
    time.sleep(600)

@agent(isolation="process")
def holds_the_interpreter(text: str) -> int:
    def holds() -> None:
        go, held = (Path(__file__).with_name(name) for name in ("go", "held"))
        while not go.exists():
            time.sleep(0.01)
        held.touch()
        re.match("(a+)+$", "a" * 64 + "b")
    if text == "holds":
        threading.Thread(target=holds, daemon=True).start()
    return os.getpid()

@agent(isolation="process")
def tells_late(ctx: Context, n: int) -> int:
    def late() -> None:
        while True:
            time.sleep(0.01)
            ctx.progress(n, 100, "late")
    threading.Thread(target=late, daemon=True).start()
    return n

@agent(isolation="process")
def tells(ctx: Context, n: int) -> int:
    for i in range(n):
        time.sleep(0.01)
        ctx.progress(i, n, "own")
    return n
"""


class Listening:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[NewRecord] = []
        self.is_full = False

    def send(self, record: NewRecord) -> None:
        if self.is_full:
            raise TransportError("queue full")
        self.sent.append(record)

    def flush(self, timeout: float) -> int:
        return 0

    def close(self) -> None:
        pass


class Store:
    """An artifact store that takes everything for what it is, unless it is away for the next few calls."""

    def __init__(self) -> None:
        self.away = 0
        self.asked = 0
        self.is_broken = False

    def pass_on(self, payload: bytes) -> bytes:
        self.asked += 1
        if self.is_broken:
            raise ClaimBroken("artifacts/x: expected its payload, but it is missing")
        if self.away:
            self.away -= 1
            raise StoreError("no space left on device")
        return payload


class Bench:
    """An executor and what it needs, without a loop."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        unit = folder / "unit.py"
        unit.write_text(textwrap.dedent(UNIT))
        self.agents = load_unit(unit).agents
        self.woken = threading.Event()
        self.producer = Listening()
        self.clock = clock or SystemClock()
        self.signals = Signals(self.producer, Topics(), "test", 3)
        self.store = Store()
        payloads = Payloads(self.store.pass_on, self.store.pass_on)
        environment = Environment(
            payloads, self.clock, self.signals, Results(self.woken.set), timedelta(milliseconds=1)
        )
        given = AgentSettings("unit", processes=1, threads=2, stuck_max=2)
        self.executor = Executors(environment, given, list(self.agents.values()), unit)
        self.number = 0

    def attempt(self, name: str, value: object, timeout_s: float | None = None) -> Attempt:
        spec: AgentSpec = self.agents[name]
        self.number += 1
        framed = Schema.parse(spec.input_schema).encode({next(iter(spec.parameters)).name: value})
        step = Step(name, name, {"n": Input("params.n")}, spec.input_schema, spec.output_schema)
        definition = Definition("pipe", json.dumps({"type": "record", "name": "p", "fields": []}), {name: step})
        partition = Partition(TopicPartition("inbox", 0), 1)
        record = Record("inbox", 0, self.number, b"r", framed)
        call = Call("r", "pipe", name, -1, 1, 4, framed, spec.input_schema, spec.output_schema, timeout_s)
        envelope = Envelope("i", "farandole.Trigger", "t", self.clock.now(), run="r", step=name, attempt=1)
        trigger = Trigger("r", name, name, 1, framed)
        return Attempt(partition, record, spec, envelope, trigger, definition, step, call)

    def submit(self, name: str, value: object, timeout_s: float | None = None) -> Attempt:
        it = self.attempt(name, value, timeout_s)
        self.executor.submit(it)
        return it

    def results(self, count: int = 1) -> dict[Attempt, Outcome]:
        found: dict[Attempt, Outcome] = {}

        def enough() -> bool:
            found.update({done.attempt: done.outcome for done in self.executor.drain()})
            return len(found) >= count

        self.wait(enough)
        return found

    def outcome(self, name: str, value: object) -> Outcome:
        it = self.submit(name, value)
        return self.results()[it]

    def wait(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < until, "it does not become so"
            self.woken.wait(0.02)
            self.woken.clear()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.executor.close()


def number(outcome: Outcome) -> object:
    assert isinstance(outcome, Succeeded), outcome
    return Schema.parse('"long"').decode(outcome.output)


def failure(outcome: Outcome) -> Failed:
    assert isinstance(outcome, Failed), outcome
    return outcome


def test_plain_and_async_handlers_give_their_results_and_wake_the_loop(bench: Bench) -> None:
    sent = {bench.submit("plain", n): n + 1 for n in range(20)}
    sent |= {bench.submit("quick", n): n * 2 for n in range(20)}

    found = bench.results(40)

    assert {it: number(outcome) for it, outcome in found.items()} == sent


def sum_schema(*fields: str) -> Schema:
    """A version of the type `Sum`."""
    return Schema.parse(f'{{"type": "record", "name": "Sum", "fields": [{", ".join(fields)}]}}')


TOTAL = '{"name": "total", "type": "long"}'
KIND = '{"name": "kind", "type": "string", "default": "usual"}'


@pytest.mark.parametrize("name", ["noted", "noted_async", "noted_apart"])
def test_result_of_code_that_has_gone_on_is_written_as_the_runs_definition_describes_it(
    bench: Bench, name: str
) -> None:
    """The story: a result type got a field with a default, which `schema check` found compatible. The new processes
    failed every run that was under way with `contract`, which nobody retries, and each replay failed alike.
    """
    began = sum_schema(TOTAL, KIND)
    it = bench.attempt(name, 3)
    it.call = replace(it.call, output_schema=began.text)
    bench.executor.submit(it)

    outcome = bench.results()[it]

    assert isinstance(outcome, Succeeded), outcome
    assert began.decode(outcome.output) == {"total": 3, "kind": "usual"}


def test_result_is_written_though_its_type_is_called_otherwise_than_when_the_run_began(bench: Bench) -> None:
    began = Schema.parse(bench.agents["noted"].output_schema.replace('"Sum"', '"Total"'))
    it = bench.attempt("noted", 3)
    it.call = replace(it.call, output_schema=began.text)
    bench.executor.submit(it)

    outcome = bench.results()[it]

    assert isinstance(outcome, Succeeded), outcome
    assert began.decode(outcome.output) == {"total": 3, "note": "new"}


def test_result_that_the_runs_definition_cannot_have_meant_fails_for_good_and_says_so(bench: Bench) -> None:
    it = bench.attempt("noted", 3)
    it.call = replace(it.call, output_schema=sum_schema(TOTAL, '{"name": "mean", "type": "double"}').text)
    bench.executor.submit(it)

    failed = failure(bench.results()[it])

    assert (failed.kind, failed.retryable) == ("contract", False)
    assert failed.error.startswith("result, of which the run's definition has another type: ")
    assert "mean" in failed.error


LONG, INSTANT = '"long"', '{"type": "long", "logicalType": "timestamp-micros"}'


@pytest.mark.parametrize("more", [(), (KIND,)])
@pytest.mark.parametrize(
    ("name", "began"),
    [("noted", INSTANT), ("noted", f'["null", {INSTANT}]'), ("dated", LONG), ("dated", f'["null", {LONG}]')],
)
def test_result_has_no_instant_where_the_runs_definition_means_a_number_or_the_reverse(
    bench: Bench, name: str, began: str, more: tuple[str, ...]
) -> None:
    """The story: new code returned a `datetime` where it had returned an `int`. Avro lets one pass for the other, so
    runs under way went on with a result of 1767225600000000, for good, where a `contract` can be replayed.
    """
    it = bench.attempt(name, 5)
    text = sum_schema(f'{{"name": "total", "type": {began}}}', *more).text
    it.call = replace(it.call, output_schema=text.replace("Sum", Schema.parse(it.spec.output_schema).name))
    bench.executor.submit(it)

    failed = failure(bench.results()[it])

    assert (failed.kind, failed.retryable) == ("contract", False)
    assert "total: written as " in failed.error


@pytest.mark.parametrize("name", ["plain", "quick", "apart"])
def test_attempt_waits_for_a_store_that_is_away_before_and_after_its_handler(bench: Bench, name: str) -> None:
    # The story: while the store's disk was full for ten seconds, every result that went there was a failed attempt;
    # three of them later its run was held with a dead letter, though the handler had done its work each time.
    bench.outcome(name, 1)
    bench.store.away = 2
    before = bench.store.asked

    again = bench.submit(name, 1)
    found = bench.results()

    assert isinstance(found[again], Succeeded), found[again]
    assert bench.store.asked == before + 4, "two calls that failed, one each for input and output"


@pytest.mark.parametrize("name", ["plain", "quick", "apart"])
def test_input_that_its_claim_no_longer_finds_is_undecodable_wherever_it_is_fetched(bench: Bench, name: str) -> None:
    """With `isolation="process"` it was an exception like any: all attempts were spent on it, and a child for each."""
    before = number(bench.outcome("dies", "not"))

    bench.store.is_broken = True
    failed = failure(bench.outcome(name, 1))
    bench.store.is_broken = False

    assert (failed.kind, failed.retryable) == ("undecodable", False)
    assert failed.error == "input: artifacts/x: expected its payload, but it is missing"
    assert number(bench.outcome("dies", "not")) == before, "the child is as good as ever"


@pytest.mark.parametrize("name", ["plain", "quick", "apart"])
def test_attempt_has_ended_before_the_loop_is_told(bench: Bench, name: str) -> None:
    """Those in child processes never had: a replay that came before the loop looked threw their success away."""
    it = bench.submit(name, 1)

    assert isinstance(bench.results()[it], Succeeded)
    assert it.started is not None
    assert it.ended is not None
    assert it.ended >= it.started


def test_attempt_that_nobody_waits_for_any_more_gives_its_thread_back_while_the_store_is_away(bench: Bench) -> None:
    bench.store.away = 1_000_000
    attempts = [bench.submit("plain", n) for n in range(2)]
    bench.wait(lambda: bench.store.asked >= 2)

    for attempt in attempts:
        bench.executor.call_off(attempt)
    bench.store.away = 0
    third = bench.submit("plain", 5)

    assert number(bench.results()[third]) == 6
    bench.wait(lambda: not bench.executor.is_worn)


def test_thread_that_is_left_behind_frees_its_place_and_too_many_wear_the_process_out(bench: Bench) -> None:
    stuck = [bench.submit("sleepy", 8, timeout_s=0.01) for _ in range(2)]
    bench.wait(lambda: all(it.started is not None for it in stuck))
    time.sleep(0.01)
    bench.wait(lambda: all(it.started is not None for it in stuck))
    for it in stuck:
        bench.executor.call_off(it)

    assert bench.executor.is_worn
    assert number(bench.outcome("plain", 1)) == 2
    bench.wait(lambda: not bench.executor.is_worn)
    assert bench.executor.drain() == []


def test_threads_whose_partitions_went_free_their_places_and_are_not_stuck(bench: Bench) -> None:
    """Two rebalances in a minute, and both threads were left to results that nobody took: what came waited for them."""
    doomed = [bench.submit("sleepy", 8) for _ in range(2)]
    bench.wait(lambda: all(it.started is not None for it in doomed))
    for it in doomed:
        bench.executor.call_off(it)

    assert number(bench.outcome("plain", 1)) == 2
    assert not bench.executor.is_worn, "they are within their time"
    bench.wait(lambda: all(it.ended is not None for it in doomed))
    assert bench.executor.drain() == []


def test_threads_that_are_left_behind_again_and_again_are_not_replaced_without_end(bench: Bench) -> None:
    before = threading.active_count()
    for _ in range(5):
        doomed = [bench.submit("sleepy", 5) for _ in range(2)]
        bench.wait(lambda: threading.active_count() > before)
        for it in doomed:
            bench.executor.call_off(it)

    assert threading.active_count() - before <= 2 * 2 + 2


def leave_threads_behind(bench: Bench) -> None:
    """A rebalance while handlers run; three of them, as in a rolling deployment, come to the bound."""
    doomed = [bench.submit("holds", n) for n in range(2)]
    bench.wait(lambda: all(it.started is not None for it in doomed))
    for it in doomed:
        bench.executor.call_off(it)


def let_go(bench: Bench) -> None:
    bench.agents["holds"].handler.__globals__["LET_GO"].set()


def test_attempts_that_find_all_threads_left_behind_are_run_when_those_end(bench: Bench) -> None:
    """Nobody took the places of the threads that ended, so that the process stood still for good, and said that it was
    ready: its attempts had not begun, and never timed out."""
    for _ in range(3):
        leave_threads_behind(bench)
    waiting = {bench.submit("plain", n): n + 1 for n in range(4)}
    assert not bench.executor.has_room(bench.agents["plain"])

    let_go(bench)

    assert {it: number(outcome) for it, outcome in bench.results(4).items()} == waiting


def test_process_whose_threads_are_all_left_behind_while_attempts_wait_is_worn_after_a_while(tmp_path: Path) -> None:
    """Handlers without a time-out are never late: where none of them ever ended, nobody replaced the process."""
    clock = ManualClock()
    bench = Bench(tmp_path, clock)
    with closing(bench.executor):
        for _ in range(3):
            leave_threads_behind(bench)
        before = looks_of(bench, clock, 700)
        bench.submit("plain", 1)

        looks = looks_of(bench, clock, 601)
        let_go(bench)
        bench.wait(lambda: bool(bench.executor.drain()))

    assert not any(before), "nothing waits"
    assert looks == [False] * 600 + [True]
    assert not bench.executor.is_worn


def looks_of(bench: Bench, clock: ManualClock, seconds: int) -> list[bool]:
    """Whether the process is worn, second by second."""
    looks = []
    for _ in range(seconds):
        looks.append(bench.executor.is_worn)
        clock.advance(timedelta(seconds=1))
    return looks


@pytest.mark.parametrize("name", ["in_thread", "on_loop", "in_child"])
def test_what_a_handler_sets_of_its_context_is_not_the_next_attempts(bench: Bench, name: str) -> None:
    """A precision of three digits stayed with the thread, and invoices of others were rounded by it."""
    found = [bench.outcome(name, n) for n in range(4)]

    texts = [Schema.parse('"string"').decode(outcome.output) for outcome in found if isinstance(outcome, Succeeded)]
    assert texts == ["0.1428571429 none"] * 4


@pytest.mark.parametrize("name", ["parses", "parses_async", "parses_apart"])
def test_failure_names_the_line_of_the_unit_and_brings_its_traceback_for_the_log(bench: Bench, name: str) -> None:
    """One read `JSONDecodeError: … (decoder.py:353 in raw_decode)` and nothing else, wherever one looked."""
    failed = failure(bench.outcome(name, "{"))

    assert re.search(r"\(unit\.py:\d+ in read\)$", failed.error)
    called, read, *library = [line.strip() for line in failed.trace.splitlines() if line.startswith("  File ")]
    assert called.endswith(f", in {name}")
    assert re.search(r'unit\.py", line \d+, in read$', read)
    assert library[-1].endswith(", in raw_decode")
    assert failed.trace.splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting")


@pytest.mark.parametrize("name", ["rude", "rude_async", "gives_itself_up"])
def test_whatever_a_handler_raises_its_attempt_has_an_outcome(bench: Bench, name: str) -> None:
    """One whose text cannot be had ended its thread without a word, and after sixteen of them nothing ran any more."""
    for _ in range(3):
        outcome = failure(bench.outcome(name, 1))
        assert outcome.kind == "exception"
        assert outcome.retryable

    assert number(bench.outcome("plain", 1)) == 2


@pytest.mark.parametrize(
    ("how", "told"),
    [("gather", "SystemExit"), ("group", "SystemExit"), ("wait_for", "SystemExit"), ("forgotten", ""), ("stop", "")],
)
def test_async_handler_that_exits_in_a_task_or_stops_the_event_loop_is_alone_with_it(
    bench: Bench, how: str, told: str
) -> None:
    """asyncio lets an exit of a task out of the loop: its thread ended, and all async handlers with it, as did those
    of each process that was given the record after it."""
    neighbour = bench.submit("endless", 1)
    bench.wait(lambda: neighbour.started is not None)

    outcome = bench.outcome("ends_the_loop", how)

    if told:
        assert told in failure(outcome).error
    else:
        assert number(outcome) == 1
    assert number(bench.outcome("quick", 4)) == 8
    assert neighbour.ended is None, "it runs on"


@pytest.mark.parametrize(
    ("how", "kind", "told", "retryable", "retry_after"),
    [
        ("terminal", "exception", ["TerminalStepError: card is stolen (unit.py:"], False, None),
        ("later", "exception", ["RetryableStepError: busy (unit.py:"], True, timedelta(hours=1)),
        ("plain", "exception", ["KeyError: 'sku-17' (unit.py:"], True, None),
        ("inner", "exception", ["KeyError: 'sku-17'"], True, None),
        (
            "several",
            "exception",
            ["KeyError: 'sku-17'", "; RetryableStepError: busy"],
            True,
            timedelta(hours=1),
        ),
        ("one is terminal", "exception", ["KeyError: 'sku-17'", "; TerminalStepError: card is stolen"], False, None),
        ("one is memory", "memory", ["KeyError: 'sku-17'", "; MemoryError"], True, None),
    ],
)
def test_failure_of_a_task_group_is_what_its_tasks_failed_with(
    bench: Bench, how: str, kind: str, told: list[str], retryable: bool, retry_after: timedelta | None
) -> None:
    """It was "unhandled errors in a TaskGroup (1 sub-exception)": a stolen card was charged three times, and all causes
    were one."""
    failed = failure(bench.outcome("groups", how))

    assert (failed.kind, failed.retryable, failed.retry_after) == (kind, retryable, retry_after)
    assert all(text in failed.error for text in told), failed.error
    assert "TaskGroup" not in failed.error


def test_failures_of_a_task_group_are_of_one_cause_whatever_their_order_and_number(bench: Bench) -> None:
    names = ["several", "several, in another order", "plain", "one is terminal"]

    several, reordered, plain, other = [failure(bench.outcome("groups", how)).fingerprint for how in names]

    assert several == reordered
    assert len({several, plain, other}) == 3


def test_child_that_cannot_be_begun_fails_its_attempt_and_the_next_has_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory for a new process, just after a handler had eaten it: the keeper of the children ended for ever."""
    assert number(bench.outcome("apart", 1))
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", _no_memory)
    assert failure(bench.outcome("dies", "exit")).kind == "crash"
    refused = failure(bench.outcome("apart", 1))
    monkeypatch.setattr(subprocess, "Popen", popen)

    assert (refused.kind, refused.retryable) == ("crash", True)
    assert "Cannot allocate memory" in refused.error
    assert number(bench.outcome("apart", 1))


def test_entry_of_the_import_path_that_is_no_text_is_no_reason_not_to_begin(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sys.path.append(Path(...))`, which Python passes over in silence: each keeper ended before its first attempt."""
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])

    assert failure(bench.outcome("dies", "exit")).kind == "crash"

    assert number(bench.outcome("apart", 1))


def test_unit_that_logs_while_it_loads_for_ever_is_given_up(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first line on it had all the time of the world, and its attempts waited."""
    assert number(bench.outcome("apart", 1))
    (tmp_path / "hangs").touch()
    monkeypatch.setattr(parent, "START_S", 2.0)

    assert failure(bench.outcome("dies", "exit")).kind == "crash"
    refused = failure(bench.outcome("apart", 1))

    assert "expected the unit to be loaded in 2 s" in refused.error


def _no_memory(*_: object, **__: object) -> None:
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


def test_attempt_called_off_before_it_began_never_begins(bench: Bench) -> None:
    busy = [bench.submit("sleepy", 5) for _ in range(2)]
    waiting = bench.submit("plain", 1)
    bench.wait(lambda: all(it.started is not None for it in busy))

    bench.executor.call_off(waiting)
    found = bench.results(2)

    assert set(found) == set(busy)
    assert waiting.started is None


def test_async_handler_that_is_called_off_is_cancelled(bench: Bench) -> None:
    it = bench.submit("endless", 1)
    bench.wait(lambda: it.started is not None)

    bench.executor.call_off(it)

    assert number(bench.outcome("quick", 4)) == 8
    assert not bench.executor.is_worn


def test_async_handlers_that_are_called_off_together_and_let_go_do_not_wear_the_process_out(bench: Bench) -> None:
    """Twenty that waited for the same service timed out in one step of the loop, and it looked before they could go."""
    together = [bench.submit("endless", n) for n in range(20)]
    bench.wait(lambda: all(it.started is not None for it in together))

    for it in together:
        bench.executor.call_off(it)

    assert not bench.executor.is_worn
    assert number(bench.outcome("quick", 4)) == 8


def test_async_handlers_that_ignore_their_cancellation_wear_the_process_out(tmp_path: Path) -> None:
    clock = ManualClock()
    bench = Bench(tmp_path, clock)
    with closing(bench.executor):
        stubborn = [bench.submit("stubborn", n) for n in range(2)]
        bench.wait(lambda: all(it.started is not None for it in stubborn))
        for it in stubborn:
            bench.executor.call_off(it)

        looks = []
        for _ in range(7):
            looks.append(bench.executor.is_worn)
            clock.advance(timedelta(seconds=1))
        clock.advance(timedelta(minutes=1))
        after_a_stop = bench.executor.is_worn
        bench.agents["stubborn"].handler.__globals__["LET_GO"].set()
        bench.wait(lambda: all(it.ended is not None for it in stubborn))

    assert looks == [False] * 6 + [True]
    assert not after_a_stop, "they had no time to go"


def test_threads_that_time_out_because_the_process_stood_still_do_not_wear_it_out(tmp_path: Path) -> None:
    clock = ManualClock()
    bench = Bench(tmp_path, clock)
    with closing(bench.executor):
        running = [bench.submit("sleepy", 20, timeout_s=30) for _ in range(2)]
        bench.wait(lambda: all(it.started is not None for it in running))

        clock.advance(timedelta(minutes=1))
        for it in running:
            bench.executor.call_off(it)
        looks = []
        for _ in range(7):
            looks.append(bench.executor.is_worn)
            clock.advance(timedelta(seconds=1))

    assert looks == [False] * 6 + [True], "they are as stuck as any others once they had the time to go"


def test_blocked_event_loop_wears_the_process_out_but_a_process_that_stood_still_is_not_worn(tmp_path: Path) -> None:
    """After 60 s of SIGSTOP an agent took its event loop for deaf, drained and ended (seen in fault F3L)."""
    clock = ManualClock()
    bench = Bench(tmp_path, clock)
    with closing(bench.executor):
        first = bench.submit("deaf", 20)
        bench.wait(lambda: first.started is not None)
        bench.submit("quick", 1)

        clock.advance(timedelta(minutes=1))
        after_a_stop = bench.executor.is_worn
        looks = []
        for _ in range(31):
            clock.advance(timedelta(seconds=1))
            looks.append(bench.executor.is_worn)

    assert not after_a_stop
    assert looks == [False] * 30 + [True]


def test_isolated_handler_runs_in_a_child_with_its_context(bench: Bench) -> None:
    outcome = bench.outcome("apart", 7)

    assert number(outcome) != os.getpid()
    assert isinstance(outcome, Succeeded)
    (published,) = outcome.published
    assert json.loads(published.value) == {"n": 7, "key": "r:apart:-"}
    assert [record.topic for record in bench.producer.sent] == ["farandole.telemetry"]


@pytest.mark.parametrize(
    ("how", "kind", "retryable", "told"),
    [
        ("exit", "crash", True, "status 3"),
        ("segfault", "crash", True, "SIGSEGV"),
        ("closes", "crash", True, "its process let go of its channel"),
        ("memory", "memory", True, "MemoryError"),
        ("sys.exit", "exception", True, "SystemExit"),
        ("raise", "exception", False, "no"),
    ],
)
def test_whatever_an_isolated_handler_does_is_a_failure_of_its_attempt_alone(
    bench: Bench, how: str, kind: str, retryable: bool, told: str
) -> None:
    failed = failure(bench.outcome("dies", how))

    assert (failed.kind, failed.retryable) == (kind, retryable)
    assert told in failed.error
    assert number(bench.outcome("dies", "not")) != os.getpid()


def test_endless_loop_of_an_isolated_handler_is_killed_and_replaced(bench: Bench) -> None:
    before = number(bench.outcome("dies", "not"))
    it = bench.submit("dies", "loop")
    bench.wait(lambda: it.started is not None)

    bench.executor.call_off(it)

    assert number(bench.outcome("dies", "not")) != before
    assert isinstance(before, int)
    bench.wait(lambda: not alive(before))


def test_child_ends_with_its_executor(bench: Bench) -> None:
    child = number(bench.outcome("dies", "not"))
    assert isinstance(child, int)
    assert alive(child)

    bench.executor.close()

    bench.wait(lambda: not alive(child))
    assert not alive(child)


def test_child_that_loads_ends_with_its_executor(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody knew it before it was loaded: closing waited for each in turn, for longer than Kubernetes does."""
    monkeypatch.setattr(parent, "START_S", 3_600.0)
    assert number(bench.outcome("apart", 1))
    (tmp_path / "hangs").touch()
    assert failure(bench.outcome("dies", "exit")).kind == "crash"
    loads = tmp_path / "loads"
    bench.wait(lambda: loads.exists() and loads.read_text() != "")

    bench.executor.close()

    bench.wait(lambda: is_gone(int(loads.read_text())))
    assert "could not be started" not in caplog.text


def test_child_killed_from_outside_fails_its_attempt_only(bench: Bench) -> None:
    child = number(bench.outcome("dies", "not"))
    assert isinstance(child, int)
    it = bench.submit("dies", "loop")
    bench.wait(lambda: it.started is not None)

    os.kill(child, signal.SIGKILL)

    assert failure(bench.results()[it]).kind == "crash"
    assert number(bench.outcome("plain", 1)) == 2


def test_attempt_that_finds_its_child_dead_goes_to_a_new_one(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The kernel had taken an idle child for its memory, and with `attempts=1` that was a dead letter of a handler that
    had never been called."""
    child = number(bench.outcome("apart", 1))
    assert isinstance(child, int)
    os.kill(child, signal.SIGKILL)
    bench.wait(lambda: is_gone(child))

    again = number(bench.outcome("apart", 2))

    assert again not in (child, os.getpid())
    assert "SIGKILL (memory, perhaps). It had not begun: a new one does" in caplog.text


@pytest.mark.parametrize("size", [1, 2_000_000], ids=["small", "larger than the channel holds"])
def test_attempt_that_its_child_never_begins_goes_to_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    """The story: a handler left a thread behind that held the interpreter. Its own attempt ended well, and the next
    was handed to a child that could not even say that it began: its timeout counts from there, so that it waited, and
    its run with it, for as long as the thread lasted."""
    for module in (parent, processes):
        monkeypatch.setattr(module, "BEGIN_S", 1.0)
    bench = Bench(tmp_path)
    with closing(bench.executor):
        before = number(bench.outcome("holds_the_interpreter", "holds"))
        (tmp_path / "go").touch()
        bench.wait((tmp_path / "held").exists)

        after = number(bench.outcome("holds_the_interpreter", "x" * size))

    assert after != before
    assert re.search(r"expected the attempt to be (begun|taken) in 1 s, but it was not\. It had not begun", caplog.text)


def test_attempt_that_a_new_child_does_not_begin_either_has_failed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order that no child survives would end one after the other."""
    asked: list[Run] = []

    def say(child: Child, order: Setup | Run) -> None:
        if isinstance(order, Run):
            asked.append(order)
            raise ChildFailed("it cannot be told")
        before(child, order)

    before = Child.say
    monkeypatch.setattr(Child, "say", say)
    failed = failure(bench.outcome("apart", 1))
    monkeypatch.undo()

    assert (failed.kind, failed.retryable, len(asked)) == ("crash", True, 2)
    assert number(bench.outcome("apart", 1)) != os.getpid()


def test_copy_of_a_child_that_a_handler_forked_and_forgot_answers_nothing(bench: Bench) -> None:
    """The copy went on as a child, on the same channel: each later attempt was given the answer of the one before."""
    assert number(bench.outcome("forks", 1)) == 1001

    later = [number(bench.outcome("forks", n)) for n in range(2, 6)]

    assert later == [1002, 1003, 1004, 1005]


@pytest.mark.parametrize(("how", "status"), [("raise", 1), ("exit", 3), ("exit well", 0), ("return", 0)])
def test_copy_of_a_child_ends_with_the_status_that_it_would_have_anywhere(
    bench: Bench, tmp_path: Path, how: str, status: int
) -> None:
    """A handler that waited for the copy that it had forked was told that all was well, whatever that had died of."""
    assert number(bench.outcome("forks_and_waits", how)) == status

    assert ("ValueError: in the copy" in (tmp_path / "said").read_text()) == (how == "raise")


@pytest.mark.parametrize("how", ["forked crash", "forked loop", "started crash", "started loop"])
def test_child_ends_with_what_its_handler_left_running_and_is_replaced(bench: Bench, tmp_path: Path, how: str) -> None:
    """A worker of a pool held the channel of the child that had died: its keeper waited for it for ever."""
    left = tmp_path / "left"
    it = bench.submit("leaves", how)
    bench.wait(lambda: left.exists() and left.read_text() != "")

    if "loop" in how:
        bench.executor.call_off(it)
    else:
        assert "status 3" in failure(bench.results()[it]).error

    assert number(bench.outcome("apart", 1)) != os.getpid()
    bench.wait(lambda: is_gone(int(left.read_text())))


def test_progress_that_an_isolated_attempt_tells_late_is_not_the_next_ones(bench: Bench) -> None:
    bench.outcome("tells_late", 1)

    bench.outcome("tells", 20)

    told = [decode(record.value or b"") for record in bench.producer.sent]
    notes = {(signal.step, signal.note) for signal in told if isinstance(signal, AttemptProgress)}
    assert ("tells", "own") in notes
    assert ("tells", "late") not in notes


@pytest.mark.parametrize("number_of", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_all_processes_of_a_service_lets_an_isolated_handler_finish(
    bench: Bench, tmp_path: Path, number_of: signal.Signals
) -> None:
    """systemd sends SIGTERM to the whole group: the unit's process drained, and what it waited for was dead."""
    it = bench.submit("waits", 5)
    begun = tmp_path / "begun"
    bench.wait(lambda: begun.exists() and begun.read_text() != "")

    os.kill(int(begun.read_text()), number_of)
    (tmp_path / "go").touch()

    assert number(bench.results()[it]) == 5


def test_what_an_isolated_handler_starts_heeds_signals(bench: Bench) -> None:
    assert number(bench.outcome("ends_workers", 1)) == signal.SIGTERM


def test_child_that_logs_in_the_midst_of_a_word_says_both(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A `__del__` that the collector ran while progress was told logged, and waited for its own thread's lock."""
    assert number(bench.outcome("litters", 3_000)) == 3_000
    assert "unclosed session" in caplog.messages


@pytest.mark.parametrize(
    ("how", "message", "fields"),
    [
        ("arguments", None, {}),
        ("integer", "told", {"field": "1180591620717411303424"}),
        ("surrogate", "caf\\ud800", {"field\\ud800": 1}),
        ("mute", None, {}),
    ],
)
def test_whatever_an_isolated_handler_logs_its_attempt_does_not_fail_of_it(
    bench: Bench, caplog: pytest.LogCaptureFixture, how: str, message: str | None, fields: dict[str, object]
) -> None:
    """Logging never raises; in a child it did, and good work was done again until its run was held."""
    assert number(bench.outcome("logs", how)) == 1

    told = [record for record in caplog.records if record.name == "unit"]
    assert [record.getMessage() for record in told] == [message] * (message is not None)
    assert all(vars(record)[name] == value for record in told for name, value in fields.items())


@pytest.mark.parametrize("name", ["notes", "notes_apart"])
@pytest.mark.parametrize(("how", "told"), [("surrogate", "caf\\ud800"), ("number", "7"), ("long", "x" * 500)])
def test_any_note_on_progress_can_be_told(bench: Bench, name: str, how: str, told: str) -> None:
    assert number(bench.outcome(name, how)) == 1

    (signal_told,) = [decode(record.value or b"") for record in bench.producer.sent]
    assert isinstance(signal_told, AttemptProgress)
    assert signal_told.note == told


def test_what_an_isolated_handler_prints_is_seen_however_its_child_ends(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child's output waited in its buffer for a child that ended by itself, and all of them were killed."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    bench = Bench(tmp_path)
    with closing(bench.executor):
        assert failure(bench.outcome("prints", "crash")).kind == "crash"
        assert number(bench.outcome("prints", "idle")) == 1

    assert capfd.readouterr().out.splitlines() == ["crash", "idle", "and at its end"]


@pytest.mark.parametrize("name", ["memory_here", "memory_given"])
def test_isolated_handler_stays_below_the_limit_of_memory_that_its_process_was_started_with(
    bench: Bench, name: str
) -> None:
    """`ulimit -v` was lifted by the first attempt in a child, for a handler without a limit of its own too."""
    found = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, found[1]))
    try:
        assert failure(bench.outcome("dies", "exit")).kind == "crash"
        limits = [number(bench.outcome(name, n)) for n in range(2)]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, found)

    assert limits == [64 << 30] * 2


def test_full_telemetry_queue_drops_signals_and_nothing_else(bench: Bench) -> None:
    bench.producer.is_full = True

    assert isinstance(bench.outcome("apart", 7), Succeeded)
    assert bench.signals.dropped == 1


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_gone(pid: int) -> bool:
    """Whether it is a process no more; one that nobody reaps, as in a container without an init, is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return not alive(pid)
