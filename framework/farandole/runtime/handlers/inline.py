"""Handlers called at once, on the loop's own thread: for one-threaded drivers such as a test harness.

An async handler is run to its end on a loop of its own; where one runs already, as in an async
test, that needs a thread of its own too. A handler cannot time out here; a
driver that wants a time-out answers the attempt itself.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Attempt, Done, Outcome
from farandole.runtime.handlers.calls import run_async, run_plain
from farandole.runtime.handlers.environment import Environment


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
        if attempt.spec.is_async:
            outcome = _to_its_end(run_async(attempt.spec, attempt.call, context, env.payloads))
        else:
            outcome = run_plain(attempt.spec, attempt.call, context, env.payloads)
        env.results.put(attempt, outcome)

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


def _to_its_end(work: Coroutine[object, object, Outcome]) -> Outcome:
    """What a coroutine returns. A thread that runs a loop can run no second one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1, "farandole-inline") as aside:
        return aside.submit(copy_context().run, asyncio.run, work).result()
