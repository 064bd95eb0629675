"""The agent loop driven in real time: threads, draining, recycling."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.artifacts import LocalArtifacts
from farandole.clock import SystemClock
from farandole.definition.agents import agent
from farandole.definition.context import Context
from farandole.definition.model import Definition, Input, Step
from farandole.definition.spec import AgentSpec
from farandole.events.avro import Schema
from farandole.events.catalogue import decode
from farandole.events.facts import StepFailed, StepSucceeded
from farandole.events.outgoing import Origin, Trigger, trigger_record
from farandole.events.tables import AttemptProgress, AttemptStarted
from farandole.events.topics import Topics
from farandole.runtime.driver import WORN_EXIT, Stop, drive
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import decode as decode_metadata
from farandole.transport.outgoing import new_record
from farandole.transport.port import NewRecord, Position, Record, TopicPartition
from farandole.transport.topology import agent_topics, system_topics

TOPICS, P = Topics(), 2
GATE = threading.Event()
BEGUN = threading.Semaphore(0)


@agent
def gated(ctx: Context, n: int) -> int:
    """Waits for the test."""
    BEGUN.release()
    ctx.progress(1, 1)
    GATE.wait(60)
    return n


@agent
async def quick(n: int) -> int:
    """Gives what it got."""
    return n


class Process:
    """One unit's process, in a thread."""

    def __init__(self, folder: Path, *specs: AgentSpec) -> None:
        self.transport = MemoryTransport()
        self.settings = AgentSettings("unit", threads=2, stuck_max=2, drain_budget=timedelta(seconds=5))
        agents = {spec.name: spec for spec in specs}
        admin = self.transport.admin()
        admin.create([*system_topics(TOPICS, P), *agent_topics(TOPICS, agents, P)])
        start = {TopicPartition(TOPICS.inbox(name), n): Position(0) for name in agents for n in range(P)}
        admin.start_positions(self.settings.group, start)
        steps = {
            spec.name: Step(
                spec.name,
                spec.name,
                {"n": Input("params.n")},
                spec.input_schema,
                spec.output_schema,
                timeout=spec.timeout,
            )
            for spec in specs
        }
        params = {"type": "record", "name": "p", "fields": [{"name": "n", "type": "long"}]}
        self.definition = Definition("pipe", json.dumps(params), steps)
        self.send(NewRecord(TOPICS.definitions, self.definition.hash.encode(), self.definition.to_json().encode()))
        layout = check(admin, TOPICS, agents.values())
        given = Surrounding(self.transport, SystemClock(), LocalArtifacts(folder), layout)
        self.loop = AgentLoop(agents, given, self.settings)
        self.stop = Stop()
        self.status: int | None = None
        self._thread = threading.Thread(target=self._drive, daemon=True)
        self._thread.start()

    def _drive(self) -> None:
        self.status = drive(self.loop, self.settings, self.stop)

    def send(self, record: NewRecord) -> None:
        producer = self.transport.producer("test")
        producer.send(record)
        producer.close()

    def trigger(self, name: str, run: str, item: int = -1) -> None:
        framed = Schema.parse(self.definition.steps[name].input_schema).encode({"n": 3})
        origin = Origin("test", SystemClock().now(), definition=self.definition.hash)
        self.send(
            new_record(trigger_record(TOPICS, Trigger(run, name, name, 1, framed, item), cause="c", origin=origin), P)
        )

    def found(self, topic: str, count: int = 0) -> list[object]:
        """What stands on a topic, once it is that much."""
        reader = self.transport.reader("look")
        reader.assign({TopicPartition(topic, n): -2 for n in range(P)})
        found: list[object] = []

        def enough() -> bool:
            found.extend(decode(each.value or b"") for each in reader.poll(0.02) if isinstance(each, Record))
            return len(found) >= count

        wait(enough)
        reader.close()
        return found

    def end(self) -> int | None:
        self._thread.join(30)
        return self.status


def wait(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until, "it does not become so"


@pytest.fixture(autouse=True)
def closed_gate() -> Iterator[None]:
    GATE.clear()
    yield
    GATE.set()


def test_process_that_is_asked_to_stop_finishes_what_has_begun_and_leaves_clean(tmp_path: Path) -> None:
    process = Process(tmp_path, gated.spec)
    process.trigger("gated", "r-1")
    assert BEGUN.acquire(timeout=30)

    process.stop.set()
    wait(lambda: not process.loop.is_drained and not process.loop._intake.is_open)
    GATE.set()

    assert process.end() == 0
    assert [type(fact) for fact in process.found(TOPICS.events)] == [StepSucceeded]
    positions = process.transport.admin().positions(process.settings.group)
    assert all(decode_metadata(position.metadata).clean for position in positions.values())
    assert sum(position.offset for position in positions.values()) >= 1


def test_process_with_too_many_stuck_threads_drains_and_asks_to_be_replaced(tmp_path: Path) -> None:
    process = Process(tmp_path, replace(gated.spec, timeout=timedelta(milliseconds=50)), quick.spec)
    process.trigger("gated", "r-1")
    process.trigger("gated", "r-2")

    failed = process.found(TOPICS.events, 2)

    assert process.end() == WORN_EXIT
    assert [(type(fact), getattr(fact, "kind", "")) for fact in failed] == [(StepFailed, "timeout")] * 2


def test_long_attempt_is_told_to_telemetry_and_a_short_one_is_not(tmp_path: Path) -> None:
    process = Process(tmp_path, gated.spec, quick.spec)
    process.trigger("quick", "r-short")
    process.found(TOPICS.events, 1)
    process.trigger("gated", "r-long")

    told = process.found(TOPICS.telemetry, 2)
    GATE.set()
    process.stop.set()
    process.end()

    assert {type(signal) for signal in told} == {AttemptStarted, AttemptProgress}
    assert {getattr(signal, "run", "") for signal in told} == {"r-long"}


def test_item_of_a_mapped_step_is_answered_as_that_item(tmp_path: Path) -> None:
    process = Process(tmp_path, quick.spec)
    process.trigger("quick", "r-1", item=7)

    (fact,) = process.found(TOPICS.events, 1)
    process.stop.set()
    process.end()

    assert isinstance(fact, StepSucceeded)
    assert (fact.item, fact.step, fact.fired) == (7, "quick", ())


def test_many_records_go_through_in_few_transactions(tmp_path: Path) -> None:
    """Adaptive group commit: while one transaction is in flight results pile up, and the next takes them all."""
    process = Process(tmp_path, quick.spec)
    for n in range(500):
        process.trigger("quick", f"r-{n}")

    facts = process.found(TOPICS.events, 500)
    process.stop.set()
    process.end()

    assert len({getattr(fact, "run", "") for fact in facts}) == len(facts) == 500
    assert process.loop.counts.handler_runs == 500
    assert process.loop.counts.transactions["committed"] < 250


UNIT = """
import asyncio, sys, threading, time
from farandole import agent, pipeline

async def aside():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)
    await asyncio.sleep(0)

if "run" in sys.argv:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(aside())

@agent
def same(n: int) -> int:
    return n

@pipeline(owner="us@example.org")
def numbers(n: int) -> int:
    return same(n)
"""


def test_process_that_has_drained_ends_whatever_threads_are_left_in_it(tmp_path: Path) -> None:
    """One `asyncio.to_thread` that never returned: the interpreter waited for it until the process was killed."""
    (tmp_path / "unit.py").write_text(UNIT)
    command = [sys.executable, "-m", "farandole.cli"]
    applied = subprocess.run([*command, "apply", "unit.py", "--yes"], cwd=tmp_path, capture_output=True, check=False)
    assert applied.returncode == 0, applied.stderr
    run = [*command, "agent", "run", "unit.py", "--log-level", "info"]

    with subprocess.Popen(run, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = next(line for line in process.stderr if "has started" in line)
            process.send_signal(signal.SIGTERM)
            status = process.wait(60)
        finally:
            process.kill()

    assert "has started" in said
    assert status == 0
