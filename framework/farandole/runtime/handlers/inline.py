"""Handlers called at once, on the loop's own thread: for one-threaded drivers such as a test harness.

An async handler is run to its end on a loop of its own. Where one runs already, as in an async
test, handlers are called in a thread beside it. A handler cannot time out here; a
driver that wants a time-out answers the attempt itself.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Attempt, Done, Outcome
from farandole.runtime.context import AttemptContext
from farandole.runtime.handlers.calls import cancelled_itself, run_async, run_plain
from farandole.runtime.handlers.environment import Environment

T = TypeVar("T")


class InlineExecutor:
    """Runs in `submit`, so that nothing is ever under way between two steps of the loop."""

    def __init__(self, environment: Environment) -> None:
        self._env = environment

    def has_room(self, spec: AgentSpec) -> bool:
        """Always."""
        return True

    def submit(self, attempt: Attempt) -> None:
        """Call the handler now."""
        env = self._env
        attempt.started = env.clock.monotonic()
        context = env.context(attempt)
        env.results.put(attempt, without_a_loop(lambda: self._called(attempt, context)))

    def call_off(self, attempt: Attempt) -> None:
        """Nothing is ever under way."""

    def drain(self) -> Sequence[Done]:
        """What has ended."""
        return self._env.results.drain()

    @property
    def is_worn(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to stop."""

    def _called(self, attempt: Attempt, context: AttemptContext) -> Outcome:
        spec, call, payloads = attempt.spec, attempt.call, self._env.payloads
        if not spec.is_async:
            return run_plain(spec, call, context, payloads)
        try:
            return asyncio.run(run_async(spec, call, context, payloads))
        except asyncio.CancelledError:
            return cancelled_itself()


def without_a_loop(work: Callable[[], T]) -> T:
    """What a function returns that is called where no event loop runs: in this thread, or else beside it.

    A thread that runs a loop can run no second one: neither we for an async handler, nor a plain handler that calls
    `asyncio.run`. Who is interrupted meanwhile waits no longer.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # it is the caller's
            done.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="farandole-inline", daemon=True).start()
    return done.result()
