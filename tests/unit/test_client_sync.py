"""The blocking client promises the same methods as the asynchronous one, and never waits for itself."""

import asyncio
import gc
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Future
from typing import TypeVar, cast

import pytest

from farandole import Client, SyncClient
from farandole.client.sync import LoopThread, iterate

T = TypeVar("T")

PATIENCE = 30.0
"""Longest wait for what takes milliseconds, seconds: what does not come within it never comes."""


def methods(of: type) -> dict[str, list[tuple[str, object]]]:
    """Public methods with their parameters' names and kinds."""
    return {
        name: [(each.name, each.kind) for each in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(of, inspect.isfunction)
        if not name.startswith("_")
    }


def test_the_blocking_client_has_the_methods_of_the_other_one() -> None:
    """It had no `rerun`: a method that came to `Client` alone."""
    assert methods(SyncClient) == methods(Client)


def bounded(call: Callable[[], T]) -> T:
    """What a call gives or raises, from a thread that may be left behind: TimeoutError if it does not return."""
    told: Future[T] = Future()

    def ask() -> None:
        try:
            told.set_result(call())
        except BaseException as error:
            told.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return told.result(PATIENCE)


class Source:
    """Numbers for ever, and whether they were closed; `lock` is taken for that, as that of a log is."""

    def __init__(self) -> None:
        self.is_closed = threading.Event()
        self.lock = threading.Lock()

    async def numbers(self) -> AsyncGenerator[int, None]:
        """They stand for the events of a run."""
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            with self.lock:
                self.is_closed.set()


def watched(loop: LoopThread, source: Source) -> Generator[int, None, None]:
    """What `SyncRun.watch` gives, with its first event taken."""
    events = cast(Generator[int, None, None], iterate(loop, source.numbers()))
    assert next(events) == 0
    return events


async def nothing() -> None:
    """What is left to do when a client is closed."""


async def answer() -> str:
    """What a client is asked for."""
    return "answered"


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    """A loop with its thread; one that hangs is left behind."""
    it = LoopThread("tests")
    yield it
    bounded(lambda: it.stop(nothing))


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The collector runs when it is told to."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_watch_that_the_collector_ends_on_the_clients_own_thread_leaves_the_client_at_work(loop: LoopThread) -> None:
    """A page and its row knew each other, and the row had a `run.watch()`. The collector found both while the client's
    thread asked for memory: closing the watch was handed to that very thread, which waited for itself, for ever. After
    a dozen of runs no call of the client came back any more.
    """
    source = Source()
    events = watched(loop, source)
    cycle: list[object] = [events]
    cycle.append(cycle)
    del events, cycle

    loop._loop.call_soon_threadsafe(gc.collect)

    assert bounded(lambda: loop.call(answer())) == "answered"
    assert source.is_closed.wait(PATIENCE)


def test_watch_that_ends_where_a_lock_is_held_does_not_wait_for_who_wants_the_lock(loop: LoopThread) -> None:
    """The collector ran in a thread of the application that held the lock of the log in memory: it waited for the
    client's thread, and that for the lock.
    """
    source = Source()
    events = watched(loop, source)

    def close() -> None:
        with source.lock:
            events.close()

    bounded(close)

    assert source.is_closed.wait(PATIENCE)


def test_loop_that_is_left_early_closes_what_it_was_over(loop: LoopThread) -> None:
    source = Source()

    for number in iterate(loop, source.numbers()):
        if number == 2:
            break

    assert source.is_closed.wait(PATIENCE)


def test_watch_that_is_left_after_the_client_was_closed_says_nothing() -> None:
    """It said "Exception ignored in generator", of a client that was closed as it should be."""
    loop, source = LoopThread("tests"), Source()
    events = watched(loop, source)
    loop.stop(nothing)

    events.close()

    assert source.is_closed.is_set(), "with the client"


ELSEWHERE = """
import os
import sys
from farandole.client.sync import LoopThread, iterate

async def numbers():
    while True:
        yield 0

loop = LoopThread()
events, other = iterate(loop, numbers()), iterate(loop, numbers())
next(events), next(other)
child = os.fork()
if child == 0:
    try:
        events.close()
        os._exit(0)
    finally:
        os._exit(1)
status = os.waitpid(child, 0)[1]
sys.modules["kept to the very end"] = other
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_watch_that_is_left_in_a_fork_and_at_the_end_of_a_process_is_passed_over() -> None:
    """No thread outlives a fork, and none serves when modules are torn down: there was an error of each."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, timeout=4 * PATIENCE)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("what", ["call", "stop"])
def test_call_from_the_clients_own_thread_is_refused(loop: LoopThread, what: str) -> None:
    """It waited for itself, for ever: so does any call of a finalizer (`__del__`) that the collector runs there."""

    async def inside() -> None:
        if what == "call":
            loop.call(nothing())
        else:
            loop.stop(nothing)

    with pytest.raises(RuntimeError, match="would wait for itself"):
        bounded(lambda: loop.call(inside()))

    assert bounded(lambda: loop.call(answer())) == "answered"


def test_what_is_begun_and_fails_is_nobodys_trouble(loop: LoopThread, caplog: pytest.LogCaptureFixture) -> None:
    done = threading.Event()

    async def fail() -> None:
        done.set()
        raise ValueError("nobody asked")

    loop.begin(fail)

    assert done.wait(PATIENCE)
    assert bounded(lambda: loop.call(asyncio.sleep(0, "answered"))) == "answered"
    gc.collect()
    assert caplog.text == ""
