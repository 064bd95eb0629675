"""What a test may ask of a run in the harness; everything is read from the topics."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from farandole.definition.agents import Agent
from farandole.definition.model import Definition
from farandole.errors import DefinitionError, RunCancelled, RunError, RunFailed, RunHeld, RunRefused, RunTimedOut
from farandole.events import facts
from farandole.testing.harness.executor import HandlerCall

R = TypeVar("R")

_ENDINGS: dict[str, type[RunError]] = {
    "failed": RunFailed,
    "cancelled": RunCancelled,
    "timed_out": RunTimedOut,
    "held": RunHeld,
}


def name_of(step: "Agent[..., object] | str") -> str:
    """A step's name, given as text or by its agent."""
    return step if isinstance(step, str) else step.spec.name


def _known(given: "Agent[..., object] | str", definition: Definition, what: str, known: Collection[str]) -> str:
    """Its name: of one that does not exist, `== 0` would hold whatever happened."""
    name = name_of(given)
    if name not in known:
        raise DefinitionError(
            f"{definition.name}: expected one of its {what} ({', '.join(sorted(known))}), but found {name}"
        )
    return name


@dataclass(slots=True)
class HarnessRun(Generic[R]):
    """One run. `events` are its facts in the order of the log; `decode` makes the typed result."""

    id: str
    definition: Definition
    decode: Callable[[bytes | None], R]
    calls_of: Callable[[], Sequence[HandlerCall]]
    events: list[facts.Event] = field(default_factory=list)

    @property
    def outcome(self) -> str | None:
        """`succeeded`, `partial`, `failed`, `cancelled`, `timed_out`, `refused`, or None while it is live."""
        for event in self.events:
            if isinstance(event, facts.RunSettled):
                return event.outcome
        if any(isinstance(event, facts.RunRefused) for event in self.events):
            return None if self._is_started else "refused"
        return None

    @property
    def status(self) -> str:
        """The outcome, or `running`, `held`, `stopping` while it is live."""
        if self.outcome is not None:
            return self.outcome
        if any(isinstance(event, facts.RunStopping) for event in self.events):
            return "stopping"
        return "held" if self._holds > 0 else "running"

    @property
    def result(self) -> R:
        """What the pipeline returned; None where it has no result, or the step that gives it was skipped.

        Raises:
            RunError: the run did not succeed (yet); its class says how it ended.
        """
        for event in self.events:
            if isinstance(event, facts.RunSettled) and event.outcome in ("succeeded", "partial"):
                return self.decode(event.output)
        raise _ENDINGS.get(self.status, RunRefused if self.status == "refused" else RunError)(
            f"run {self.id} is {self.status}: {self.why}", run_id=self.id
        )

    @property
    def why(self) -> str:
        """The reason that the log gives for where the run stands."""
        for event in reversed(self.events):
            if isinstance(event, facts.RunSettled | facts.RunStopping) and event.reason:
                return event.reason
            if isinstance(event, facts.RunHeld | facts.RunRefused):
                return f"{event.reason}: {event.detail}"
            if isinstance(event, facts.StepFailed):
                return event.error
        return ""

    def attempts(self, step: "Agent[..., object] | str") -> int:
        """How many attempts of a step, or of all steps of an agent, have reported, all items together.

        Raises:
            DefinitionError: the pipeline has no such step.
        """
        if isinstance(step, str):
            steps = {_known(step, self.definition, "steps", self.definition.steps)}
        else:
            agent = self._agent(step)
            steps = {name for name, each in self.definition.steps.items() if each.agent == agent}
        return sum(isinstance(e, facts.AgentFact) and e.step in steps for e in self.events)

    def calls(self, agent: "Agent[..., object] | str") -> int:
        """How many times an agent's handler ran for this run: more than its attempts if it was delivered twice.

        Raises:
            DefinitionError: the pipeline has no such agent.
        """
        name = self._agent(agent)
        return sum(call.agent == name and call.run == self.id for call in self.calls_of())

    def _agent(self, given: "Agent[..., object] | str") -> str:
        return _known(given, self.definition, "agents", {each.agent for each in self.definition.steps.values()})

    def dead_letters(self) -> list[facts.StepDeadLettered]:
        """The attempts that were given up on."""
        return [event for event in self.events if isinstance(event, facts.StepDeadLettered)]

    def steps(self) -> Counter[str]:
        """Accepted successes by step: a mapped one has one for each item."""
        won = {(e.step, e.item) for e in self.events if isinstance(e, facts.StepSucceeded)}
        return Counter(step for step, _ in won)

    @property
    def waits_for_a_person(self) -> bool:
        """Whether it has ended, or is held with no retry ahead: only time limits are left."""
        return self.outcome is not None or (self.status == "held" and not self._retrying)

    @property
    def _retrying(self) -> set[tuple[str, int]]:
        ahead: set[tuple[str, int]] = set()
        for event in self.events:
            if isinstance(event, facts.RetryScheduled):
                ahead.add((event.step, event.item))
            elif isinstance(event, facts.StepScheduled):
                ahead.discard((event.step, event.item))
        return ahead

    @property
    def _is_started(self) -> bool:
        return any(isinstance(event, facts.RunStarted) for event in self.events)

    @property
    def _holds(self) -> int:
        held: set[tuple[str, int]] = set()
        for event in self.events:
            if isinstance(event, facts.RunHeld):
                held.add((event.step, event.item))
            elif isinstance(event, facts.StepScheduled):
                held.discard((event.step, event.item))
            elif isinstance(event, facts.RunReleased):
                held.clear()
        return len(held)
