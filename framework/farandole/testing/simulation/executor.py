"""Handlers as the seed has them: each takes a while, then comes to what the script says."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from farandole.definition.context import Context
from farandole.definition.model import Definition, Step
from farandole.definition.policy import OnDeadLetter, Retry
from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Attempt, Done, Failed, Succeeded
from farandole.runtime.handlers.environment import Environment
from farandole.testing.generate import Script


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a handler: what a side-effect ledger would hold."""

    run: str
    step: str
    item: int
    attempt: int
    epoch: int
    place: str = ""
    """The inbox record that was in hand: that of the first hop, where hops are fused."""


@dataclass(slots=True)
class SimExecutor:
    """`finish` is the world's: one attempt that is under way comes to its end."""

    environment: Environment
    script: Script
    rng: random.Random
    executions: list[Execution]
    rare: Counter[str]
    running: list[Attempt] = field(default_factory=list)

    def has_room(self, spec: AgentSpec) -> bool:
        """A few at a time, so that some wait with the loop."""
        return len(self.running) < 6

    def submit(self, attempt: Attempt) -> None:
        """Begin; the handler's effects happen now."""
        call = attempt.call
        attempt.started = self.environment.clock.monotonic()
        place = attempt.record.place
        self.executions.append(Execution(call.run, call.step, call.item, call.attempt, call.epoch, place))
        self.rare["fused"] += attempt.chain is not None
        self.rare["fused_twice"] += attempt.chain is not None and attempt.chain.hops > 1
        self.running.append(attempt)

    def finish(self) -> None:
        """A random one ends."""
        if not self.running:
            return
        attempt = self.running.pop(self.rng.randrange(len(self.running)))
        if attempt.is_over:
            return
        call = attempt.call
        result = self.script.result(call.step, call.item, call.attempt)
        if result.output is not None:
            self.environment.results.put(attempt, Succeeded(result.output))
        else:
            self.environment.results.put(
                attempt, Failed("exception", "scripted", "f00d", result.retryable, timedelta(milliseconds=5))
            )

    def call_off(self, attempt: Attempt) -> None:
        """It timed out."""
        if attempt in self.running:
            self.running.remove(attempt)

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
        publishes=(),
        memory_limit=None,
        input_schema=step.input_schema,
        output_schema=step.output_schema,
        whole=step.whole,
        place="simulation",
    )


def _never(_: Context) -> None:
    raise AssertionError("a simulated handler is not called")
