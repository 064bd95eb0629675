"""What a test says will go wrong: failures, time-outs, deliveries that happen twice.

Rules are used up in the order in which they were given, per agent. Values only.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Mishap(Enum):
    """What becomes of one attempt."""

    FAIL = "fail"
    """The handler is not called; the attempt fails with the error of the rule."""

    TIME_OUT = "time_out"
    """The handler never answers; virtual time passes until the attempt has timed out."""

    TWICE = "twice"
    """The handler runs, its process dies before the commit, and it runs again: same attempt, same idempotency key."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One attempt's mishap; `error` is raised in place of the handler's own work (FAIL only)."""

    mishap: Mishap
    error: BaseException | None = None


@dataclass(slots=True)
class Script:
    """Rules by agent name, and functions that stand in for handlers."""

    rules: dict[str, deque[Rule]] = field(default_factory=lambda: defaultdict(deque))
    stubs: dict[str, Callable[..., object]] = field(default_factory=dict)

    def add(self, agent: str, rule: Rule, times: int) -> None:
        """The next `times` attempts of an agent.

        Raises:
            ValueError: `times` is below 1.
        """
        if times < 1:
            raise ValueError(f"{agent}: expected times of at least 1, but found {times}")
        self.rules[agent].extend([rule] * times)

    def next(self, agent: str) -> Rule | None:
        """The rule for the attempt that begins now; it is used up."""
        return self.rules[agent].popleft() if self.rules[agent] else None

    @property
    def unused(self) -> dict[str, int]:
        """Rules that no attempt has met, by agent: a test that scripted more than happened should know."""
        return {agent: len(rules) for agent, rules in self.rules.items() if rules}
