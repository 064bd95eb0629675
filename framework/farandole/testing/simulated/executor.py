"""Users' handlers, called in one thread: at once or late, and with what the plan has in store for them.

A handler's effects happen when it is called; its result is handed over later, so that its
process can die, stand still or lose its partition between the two. Exactly this gap is what a
handler has to be written for.
"""

import asyncio
import contextvars
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from farandole.clock import Clock
from farandole.definition.context import FencingToken
from farandole.definition.spec import AgentSpec
from farandole.errors import RetryableStepError, TerminalStepError
from farandole.runtime.attempts import Attempt, Call, Done, Outcome
from farandole.runtime.handlers.calls import cancelled_itself, failure_of, run_async, run_plain, timed_out
from farandole.runtime.handlers.environment import Environment
from farandole.testing.interrupting import passing_interruptions
from farandole.testing.simulated.effects import Effect, telling
from farandole.testing.simulated.plan import DOOMED, Kind, Plan
from farandole.testing.simulated.story import fields_text, step_text
from farandole.testing.simulated.virtual_loop import EndlessWait

ROOM = 6
"""Attempts at a time, so that some wait with the loop."""

LATE_MAX_S = 12.0
"""Longest delay of a slow handler: past a session, and past usual time-outs."""

MOMENT_S = 0.001
"""Least time of a handler that is called: a step of the world."""

Key = tuple[str, str, int, int]
"""Run, step, item, attempt."""


class HandlerWaitsForEver(Exception):
    """A handler without a time-out awaits what never comes. No `FarandoleError`: no process may survive it."""

    def __init__(self, spec: AgentSpec) -> None:
        expected = f"agent {spec.name}: expected what it awaits to come, but nothing is left that could wake it"
        super().__init__(f"{expected}. It would hang in the same way in production: give the agent a `timeout`")
        self.place = spec.place


@dataclass(slots=True)
class Journal:
    """What all processes of a world write down together. `tell` gets who, what and the run."""

    tell: Callable[[str, str, str], None]
    clock: Clock
    effects: list[Effect] = field(default_factory=list)
    calls: list[tuple[str, Key]] = field(default_factory=list)

    @property
    def now(self) -> timedelta:
        """Virtual time since the beginning."""
        return timedelta(seconds=self.clock.monotonic())


@dataclass(slots=True)
class Held:
    """An attempt under way: `outcome` once the handler was called, `due` is when it may be handed over."""

    attempt: Attempt
    due: float
    outcome: Outcome | None = None
    dropped: bool = False


@dataclass(slots=True)
class PipelineExecutor:
    """The executor of one simulated process."""

    process: str
    environment: Environment
    plan: Plan
    rng: random.Random
    journal: Journal
    runner: asyncio.Runner
    held: list[Held] = field(default_factory=list)

    def has_room(self, spec: AgentSpec) -> bool:
        """A few at a time."""
        return len(self.held) < ROOM

    def submit(self, attempt: Attempt) -> None:
        """Begin: fail it, call the handler now, or keep it for later."""
        call = attempt.call
        attempt.started = now = self.environment.clock.monotonic()
        luck = self.plan.attempt_rng(call.run, call.step, call.item, call.attempt)
        fails, poison, late, delay = (luck.random() for _ in range(4))
        doomed = call.attempt <= DOOMED
        where = f"{step_text(call.run, call.step, call.item)}, attempt {call.attempt}"
        if Kind.POISON in self.plan.kinds and call.attempt == 1 and poison < 0.3:
            self.journal.tell(self.process, f"cannot use the input of {where}: poison", call.run)
            self.environment.results.put(attempt, failure_of(TerminalStepError("simulated: poison")))
        elif Kind.FAIL in self.plan.kinds and doomed and fails < 0.3:
            self.journal.tell(self.process, f"fails before {where}", call.run)
            self.environment.results.put(attempt, failure_of(RetryableStepError("simulated: failed before its work")))
        elif Kind.LATE in self.plan.kinds and doomed and late < 0.5:
            self.journal.tell(self.process, f"takes {where}, and is slow", call.run)
            self.held.append(Held(attempt, now + delay * LATE_MAX_S))
        else:
            held = Held(attempt, now)
            self._call(held)
            self.held.append(held)

    def finish(self) -> bool:
        """A random attempt whose time has come goes on: its handler is called, or its result handed over."""
        now = self.environment.clock.monotonic()
        ready = [each for each in self.held if each.due <= now]
        if not ready:
            return False
        it = self.rng.choice(ready)
        if it.outcome is None:
            self._call(it)
            return True
        self.held.remove(it)
        if not it.dropped and not it.attempt.is_over:
            self.environment.results.put(it.attempt, it.outcome)
        return True

    def has_ended(self) -> bool:
        """Whether the time of one has come."""
        now = self.environment.clock.monotonic()
        return any(each.due <= now for each in self.held)

    def die(self) -> None:
        """The process is gone, and what ran in it."""
        self.held.clear()

    def call_off(self, attempt: Attempt) -> None:
        """It timed out. A plain function cannot be stopped: what it has not done yet, it still does."""
        for each in [held for held in self.held if held.attempt is attempt]:
            each.dropped = True
            if attempt.spec.is_async or each.outcome is not None:
                self.held.remove(each)

    def drain(self) -> Sequence[Done]:
        """What has ended."""
        return self.environment.results.drain()

    @property
    def is_worn(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to stop."""

    def _call(self, held: Held) -> None:
        """Call the handler; what it came to is handed over when the time that it waited for has passed."""
        began = self.runner.get_loop().time()
        held.outcome = self._called(held.attempt)
        held.due = self.environment.clock.monotonic() + self.runner.get_loop().time() - began

    def _called(self, attempt: Attempt) -> Outcome:
        call, key = attempt.call, key_of(attempt.call)
        calls_before = len(self.journal.calls)
        with telling(lambda kind, fields: self._effect(call, kind, fields)), passing_interruptions():
            outcome = self._run(attempt, self._announced(attempt))
        if len(self.journal.calls) == calls_before:
            where = f"{step_text(call.run, call.step, call.item)}, attempt {call.attempt}"
            self.journal.tell(self.process, f"cannot read the input of {where}: its handler is not called", call.run)
            return outcome
        luck = random.Random(f"{self.plan.seed}/late/{key}")
        if Kind.FAIL_LATE in self.plan.kinds and call.attempt <= DOOMED and luck.random() < 0.4:
            self.journal.tell(self.process, "  … and fails after its work", call.run)
            return failure_of(RetryableStepError("simulated: failed after its work was done"))
        return outcome

    def _announced(self, attempt: Attempt) -> AgentSpec:
        """The agent with a handler that is written down when it is entered: an input may be one that it never sees."""
        call, handler = attempt.call, attempt.spec.handler

        def entered(**given: object) -> object:
            key = key_of(call)
            again = ", again" if any(done == key for _, done in self.journal.calls) else ""
            self.journal.calls.append((self.process, key))
            what = f"calls {step_text(call.run, call.step, call.item)}, attempt {call.attempt}{again}"
            self.journal.tell(self.process, f"{what} (token {call.attempt}.{call.epoch})", call.run)
            return handler(**given)

        return replace(attempt.spec, handler=entered)

    def _run(self, attempt: Attempt, spec: AgentSpec) -> Outcome:
        context = self.environment.context(attempt)
        if not spec.is_async:
            return run_plain(spec, attempt.call, context, self.environment.payloads)
        work = run_async(spec, attempt.call, context, self.environment.payloads)
        try:
            return self.runner.run(asyncio.wait_for(work, self._left_s(attempt)), context=contextvars.copy_context())
        except TimeoutError:
            return timed_out(attempt.call)
        except asyncio.CancelledError:
            return cancelled_itself()
        except EndlessWait:
            raise HandlerWaitsForEver(spec) from None

    def _left_s(self, attempt: Attempt) -> float | None:
        """What is left of an attempt's time; a moment at least, so that its handler begins: nobody called it off."""
        if attempt.call.timeout_s is None or attempt.started is None:
            return None
        return max(MOMENT_S, attempt.started + attempt.call.timeout_s - self.environment.clock.monotonic())

    def _effect(self, call: Call, kind: str, fields: Mapping[str, object]) -> None:
        token = FencingToken(call.attempt, call.epoch)
        at = (call.run, call.step, call.item, call.attempt)
        self.journal.effects.append(Effect(kind, fields, *at, token, self.process, self.journal.now))
        self.journal.tell(self.process, f"  → {kind} {fields_text(fields)}", call.run)


def key_of(call: Call) -> Key:
    """What tells attempts apart."""
    return call.run, call.step, call.item, call.attempt
