"""Handlers as the seed has them: each takes a while, then comes to what the script says."""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from farandole.definition.context import Context
from farandole.definition.model import Definition, Step
from farandole.definition.policy import OnDeadLetter, Retry
from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Attempt, Call, Done, Failed, Outcome, Published, Succeeded
from farandole.runtime.handlers.environment import Environment
from farandole.testing.generate import Script
from farandole.testing.ledger import Execution

OWN_TOPIC = "shop.done"
"""A topic of the user's, to which some handlers publish."""


@dataclass(slots=True)
class Ledger:
    """What handlers did, as a file that they append to would hold it; `instant` is the world's.

    The note of a call is the inbox record that was in hand: that of the first hop, where hops are fused.
    """

    instant: Callable[[], float]
    rare: Counter[str]
    calls: list[Execution] = field(default_factory=list)
    runs: Counter[tuple[str, str, int, int]] = field(default_factory=Counter)
    """How often each attempt has begun."""

    def begin(self, attempt: Attempt) -> int:
        """A handler has begun; the place of its line."""
        call = attempt.call
        token = call.attempt, call.epoch
        place = attempt.record.place
        self.runs[call.run, call.step, call.item, call.attempt] += 1
        self.calls.append(Execution(call.run, call.step, call.item, call.attempt, token, 0, self.instant(), note=place))
        if attempt.chain is not None:
            self.rare[f"fused_{min(attempt.chain.hops, 2)}"] += 1
        return len(self.calls) - 1

    def end(self, at: int) -> None:
        """It came to its end, whatever became of its result."""
        self.calls[at] = dataclasses.replace(self.calls[at], ended=self.instant())


class Underway(NamedTuple):
    """An attempt that has begun: its line in the ledger, and when it may end at the earliest, as its process counts."""

    line: int
    until: float


@dataclass(slots=True)
class SimExecutor:
    """`finish` is the world's: one attempt that is under way comes to its end."""

    environment: Environment
    script: Script
    rng: random.Random
    ledger: Ledger
    running: dict[Attempt, Underway] = field(default_factory=dict)

    def has_room(self, spec: AgentSpec) -> bool:
        """A few at a time, so that some wait with the loop."""
        return len(self.running) < 6

    def submit(self, attempt: Attempt) -> None:
        """Begin; the handler's effects happen now."""
        call = attempt.call
        attempt.started = self.environment.clock.monotonic()
        until = attempt.started + self.script.duration(call.step, call.item, call.attempt)
        self.running[attempt] = Underway(self.ledger.begin(attempt), until)

    def finish(self) -> bool:
        """A random one of those that have lasted long enough ends; whether there was one."""
        if not self.has_ended():
            return False
        now = self.environment.clock.monotonic()
        ready = [attempt for attempt, it in self.running.items() if it.until <= now]
        for attempt in self.rng.sample(ready, self.rng.randint(1, len(ready))):
            self.ledger.end(self.running.pop(attempt).line)
            if not attempt.is_over:
                self.environment.results.put(attempt, self._outcome(attempt.call))
        return True

    def has_ended(self) -> bool:
        """Whether one of them has lasted long enough."""
        now = self.environment.clock.monotonic() if self.running else 0.0
        return any(it.until <= now for it in self.running.values())

    def _outcome(self, call: Call) -> Outcome:
        before = self.ledger.runs[call.run, call.step, call.item, call.attempt] - 1
        result = self.script.result(call.step, call.item, call.attempt, before)
        if result.output is None:
            return Failed("exception", "scripted", "f00d", result.retryable, timedelta(milliseconds=5))
        told = [Published(OWN_TOPIC, call.run, b"{}", "application/json")] if self.script.publishes(call.step) else []
        return Succeeded(result.output, told)

    def call_off(self, attempt: Attempt) -> None:
        """It timed out, or its partition went: a plain function goes on all the same, and nobody takes its result."""

    def die(self) -> None:
        """The process is gone, and what ran in it."""
        for it in self.running.values():
            self.ledger.end(it.line)
        self.running.clear()

    def drain(self) -> Sequence[Done]:
        """What has ended."""
        return self.environment.results.drain()

    @property
    def is_worn(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to stop."""


def specs_of(definition: Definition, timeout: timedelta | None = None) -> dict[str, AgentSpec]:
    """Agents that fit a definition's steps; their handlers are never called."""
    return {step.agent: _spec(step, timeout) for step in definition.steps.values()}


def _spec(step: Step, timeout: timedelta | None) -> AgentSpec:
    handler: Callable[[Context], None] = _never
    return AgentSpec(
        name=step.agent,
        handler=handler,
        is_async=False,
        context_parameter=None,
        parameters=(),
        result=None,
        retry=Retry(),
        timeout=timeout,
        deadline=None,
        on_dead_letter=OnDeadLetter.HOLD,
        isolation="thread",
        publishes=(OWN_TOPIC,),
        memory_limit=None,
        input_schema=step.input_schema,
        output_schema=step.output_schema,
        whole=step.whole,
        place="simulation",
    )


def _never(_: Context) -> None:
    raise AssertionError("a simulated handler is not called")
