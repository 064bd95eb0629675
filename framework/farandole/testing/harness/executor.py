"""Handlers called at once on the harness's own thread, as the script wants it."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Attempt, Done
from farandole.runtime.handlers.calls import failure_of
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.inline import InlineExecutor
from farandole.testing.harness.script import Mishap, Script
from farandole.testing.interrupting import passing_interruptions


@dataclass(frozen=True, slots=True)
class HandlerCall:
    """One call of a handler: the same attempt twice if it was delivered twice."""

    agent: str
    run: str
    step: str
    item: int
    attempt: int


@dataclass(slots=True)
class ScriptedExecutor:
    """`calls` lists every call of a handler, in order; `hanging` are attempts that will never answer."""

    environment: Environment
    script: Script
    calls: list[HandlerCall] = field(default_factory=list)
    hanging: list[Attempt] = field(default_factory=list)

    def has_room(self, spec: AgentSpec) -> bool:
        """Always."""
        return True

    def submit(self, attempt: Attempt) -> None:
        """Call the handler now, or let happen what the script says."""
        rule = self.script.next(attempt.spec.name)
        attempt.started = self.environment.clock.monotonic()
        if rule is not None and rule.mishap is Mishap.TIME_OUT:
            self.hanging.append(attempt)
            return
        if rule is not None and rule.mishap is Mishap.FAIL and rule.error is not None:
            self.environment.results.put(attempt, failure_of(rule.error))
            return
        if (stub := self.script.stubs.get(attempt.spec.name)) is not None:
            attempt.spec = replace(attempt.spec, handler=stub, is_async=inspect.iscoroutinefunction(stub))
        if rule is not None:
            self._call(attempt)
            for done in self.environment.results.drain():
                if done.attempt is not attempt:  # the process died: nobody heard its first answer
                    self.environment.results.put(done.attempt, done.outcome)
        self._call(attempt)

    def _call(self, attempt: Attempt) -> None:
        call = attempt.call
        self.calls.append(HandlerCall(attempt.spec.name, call.run, call.step, call.item, call.attempt))
        with passing_interruptions():
            InlineExecutor(self.environment).submit(attempt)

    def call_off(self, attempt: Attempt) -> None:
        """It has timed out."""
        if attempt in self.hanging:
            self.hanging.remove(attempt)

    def drain(self) -> Sequence[Done]:
        """What has ended."""
        return self.environment.results.drain()

    @property
    def is_worn(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to stop."""
