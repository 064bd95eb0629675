"""Handlers on real threads, event loops and processes: whatever they do, the unit's process goes on."""

import errno
import json
import os
import re
import signal
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.clock import Clock, ManualClock, SystemClock
from farandole.definition.loading import load_unit
from farandole.definition.model import Definition, Input, Step
from farandole.definition.spec import AgentSpec
from farandole.errors import StoreError, TransportError
from farandole.events.avro import Schema
from farandole.events.envelope import Envelope
from farandole.events.outgoing import Trigger
from farandole.events.topics import Topics
from farandole.runtime.attempts import Attempt, Call, Failed, Outcome, Succeeded
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.executors import Executors
from farandole.runtime.handlers.results import Results
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.partition import Partition
from farandole.runtime.settings import AgentSettings
from farandole.runtime.telemetry import Signals
from farandole.transport.port import NewRecord, Record, TopicPartition

UNIT = """
import asyncio, ctypes, json, os, sys, threading, time
from pathlib import Path
from farandole.definition.agents import agent
from farandole.definition.context import Context
from farandole.errors import TerminalStepError

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

@agent
async def endless(n: int) -> int:
    await asyncio.sleep(3600)
    return n

@agent(isolation="process", publishes=["own"])
def apart(ctx: Context, n: int) -> int:
    ctx.progress(1, 2, "half")
    ctx.publish("own", {"n": n, "key": ctx.idempotency_key})
    return os.getpid()

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
    return os.getpid()
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

    def pass_on(self, payload: bytes) -> bytes:
        self.asked += 1
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


def test_child_killed_from_outside_fails_its_attempt_only(bench: Bench) -> None:
    child = number(bench.outcome("dies", "not"))
    assert isinstance(child, int)
    it = bench.submit("dies", "loop")
    bench.wait(lambda: it.started is not None)

    os.kill(child, signal.SIGKILL)

    assert failure(bench.results()[it]).kind == "crash"
    assert number(bench.outcome("plain", 1)) == 2


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
