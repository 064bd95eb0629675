"""Hop fusion: which successor an agent runs at once, instead of writing its trigger and reading it back (DESIGN 9).

The only successor, fired by the agent and hosted in the same process, runs with the record that
is in hand; its facts join that record's transaction. It is a matter of speed alone: whatever
speaks against it (a pause, an unclean partition, a slow or isolated handler) leads to the
trigger being written as ever. Belongs to the loop's thread.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.definition.spec import AgentSpec
from farandole.events.outgoing import Outgoing, Trigger
from farandole.runtime.attempts import Attempt, Chain
from farandole.runtime.inbound import call_of
from farandole.runtime.partition import Stage
from farandole.runtime.reactions import success_id
from farandole.runtime.settings import FusionSettings

OBSERVED = 200
"""Latest runs of a handler of which its p99 is told: two of them are above it."""


@dataclass(slots=True)
class _Pace:
    """The latest runs of one agent's handler: whether each was slow."""

    slow: deque[bool] = field(default_factory=lambda: deque(maxlen=OBSERVED))
    count: int = 0

    def add(self, *, is_slow: bool) -> None:
        if len(self.slow) == OBSERVED:
            self.count -= self.slow[0]
        self.slow.append(is_slow)
        self.count += is_slow


@dataclass(slots=True)
class Fusion:
    """Decides for one process; `agents` by name. `is_open` is false once the process drains."""

    settings: FusionSettings | None
    agents: Mapping[str, AgentSpec]
    is_open: bool = True
    _paces: dict[str, _Pace] = field(default_factory=dict)
    _allowed: dict[tuple[str, str], str] = field(default_factory=dict)

    def observe(self, attempt: Attempt, now: float) -> None:
        """A handler has ended."""
        if self.settings is None or attempt.started is None:
            return
        lasted = (now if attempt.ended is None else attempt.ended) - attempt.started
        pace = self._paces.get(attempt.spec.name)
        if pace is None:
            pace = self._paces[attempt.spec.name] = _Pace()
        pace.add(is_slow=lasted >= self.settings.p99_max.total_seconds())

    def may_follow(self, attempt: Attempt) -> bool:
        """Whether a success of this attempt might go on at once, as far as definitions and agents tell."""
        return self.settings is not None and self.is_open and bool(self._successor(attempt))

    def follows(self, attempt: Attempt, children: Sequence[Trigger], *, is_free: bool) -> Trigger | None:
        """The one successor to run at once, or None. `is_free`: `control` has nothing to say about the run."""
        if self.settings is None or not self.is_open or not is_free or len(children) != 1:
            return None
        hops = attempt.chain.hops if attempt.chain is not None else 0
        partition = attempt.partition
        if hops >= self.settings.hops_max or partition.stage is not Stage.RUNNING or not partition.is_clean:
            return None
        if children[0].step != self._successor(attempt) or not self._is_quick(children[0].agent):
            return None
        return children[0]

    def _successor(self, attempt: Attempt) -> str:
        key = attempt.definition.hash, attempt.step.name
        if key not in self._allowed:
            self._allowed[key] = self._found(attempt.definition, attempt.step.name)
        return self._allowed[key]

    def _found(self, definition: Definition, name: str) -> str:
        """The successor that may be fused, if any may; empty if not. Deadlines: agents never fire such an edge."""
        assert self.settings is not None
        graph = graph_of(definition)
        if len(graph.children[name]) != 1 or graph.fired_by_agent[name] != graph.children[name]:
            return ""
        child = graph.step(graph.children[name][0])
        specs = [self.agents.get(graph.step(name).agent), spec := self.agents.get(child.agent)]
        if spec is None or any(each is None or each.isolation == "process" for each in specs):
            return ""
        timeout = child.timeout or spec.timeout
        return child.name if timeout is not None and timeout <= self.settings.timeout_max else ""

    def _is_quick(self, agent: str) -> bool:
        assert self.settings is not None
        pace = self._paces.get(agent) or _Pace()
        return len(pace.slow) >= self.settings.observed_min and pace.count * 100 <= len(pace.slow)

    def go_on(
        self, attempt: Attempt, child: Trigger, told: Sequence[Outgoing], apart: Sequence[Callable[[], list[Outgoing]]]
    ) -> Attempt:
        """The attempt that runs now with the same record, after `told`. Its fact follows from its parent's."""
        before = attempt.chain
        first, hops, so_far = (attempt, 0, ()) if before is None else (before.first, before.hops, before.told)
        chain = Chain(first, hops + 1, (*so_far, *told), apart if before is None else before.apart)
        spec, step = self.agents[child.agent], attempt.definition.steps[child.step]
        envelope = replace(
            attempt.envelope, id=success_id(attempt), step=child.step, attempt=1, agent=child.agent, epoch=child.epoch
        )
        traceparent = attempt.envelope.traceparent
        call = call_of(attempt.definition, step, spec, child, child.epoch, attempt.record, traceparent)
        definition = attempt.definition
        return Attempt(attempt.partition, attempt.record, spec, envelope, child, definition, step, call, chain=chain)
