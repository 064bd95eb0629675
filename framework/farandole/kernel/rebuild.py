"""Runs rebuilt from `events` alone, without deciding anything.

Facts are folded in their order. A consequence is applied when the fold reaches the position
that its `ce_folded` names, so that one which answers no single fact has its place too. What a
run missed while an error held it is folded at its release, each fact before what followed from
it. What comes out must equal what `runs` held (the replay law); a checker compares them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from farandole.definition.graph import Graph
from farandole.events import facts
from farandole.kernel.evolve import evolve, start
from farandole.kernel.state import Run


@dataclass(frozen=True, slots=True)
class Logged:
    """One record of a home partition of `events`; `folded` is the position in its `ce_folded`, None for a fact.

    `id` and `cause` are those of its envelope: which fact a consequence follows from.
    """

    offset: int
    event: facts.Event
    folded: int | None = None
    id: str = ""
    cause: str = ""


def rebuild(log: Sequence[Logged], graph_of: Callable[[str], Graph]) -> dict[str, Run]:
    """The runs of one home partition after all of `log`."""
    consequences = sorted((it for it in log if it.folded is not None), key=lambda it: (it.folded or 0, it.offset))
    unfolded = {(it.event.run, it.event.offset) for it in log if isinstance(it.event, facts.RunHeld)}
    # The start of a run whose generated id was too old is refused when it is read: nothing was begun.
    refused = {(it.event.run, it.folded) for it in consequences if _is_expired(it.event)}
    made = _Made(graph_of)
    at = 0
    for fact in (it for it in log if it.folded is None):
        while at < len(consequences) and (consequences[at].folded or 0) <= fact.offset:
            made.apply(consequences[at])
            at += 1
        run_id = fact.event.run
        if isinstance(fact.event, facts.RunStarted):
            if run_id not in made.runs and (run_id, fact.offset + 1) not in refused:
                made.runs[run_id] = start(graph_of(fact.event.definition), fact.event)
        elif run_id in made.runs:
            made.fold(fact, is_missed=(run_id, fact.offset) in unfolded)
    for it in consequences[at:]:
        made.apply(it)
    for run_id in list(made.released):
        made.catch_up(run_id)
    return made.runs


def _is_expired(event: facts.Event) -> bool:
    return isinstance(event, facts.RunRefused) and event.reason == "expired_id"


@dataclass(slots=True)
class _Made:
    """Runs in the making. `missed` is what they did not fold while an error held them, in its order."""

    graph_of: Callable[[str], Graph]
    runs: dict[str, Run] = field(default_factory=dict)
    missed: dict[str, list[Logged]] = field(default_factory=dict)
    released: dict[str, int] = field(default_factory=dict)
    """Up to where the log was folded when a run was released: what follows from what it missed says the same."""

    def fold(self, fact: Logged, *, is_missed: bool) -> None:
        """Take a fact in where it stands, unless an error holds its run, or is about to."""
        run_id = fact.event.run
        self.catch_up(run_id)
        if is_missed or self.runs[run_id].head.kernel_error:
            self.missed.setdefault(run_id, []).append(fact)
        else:
            self.runs[run_id] = evolve(self.runs[run_id], fact.event)

    def apply(self, it: Logged) -> None:
        """Take a consequence in, and first what the run had missed up to what it follows from."""
        run_id, event = it.event.run, it.event
        if isinstance(event, facts.RunStarted):
            self.runs[run_id] = start(self.graph_of(event.definition), event)
        elif run_id in self.runs and not isinstance(event, facts.RunRefused):
            if run_id in self.released:
                self._catch_up_to(it)
            self.runs[run_id] = evolve(self.runs[run_id], event)
            if isinstance(event, facts.RunReleased) and event.reason == "kernel_error":
                self.released[run_id] = it.folded or 0

    def _catch_up_to(self, it: Logged) -> None:
        run_id, event, missed = it.event.run, it.event, self.missed.get(it.event.run, [])
        if (it.folded or 0) > self.released[run_id]:
            self.catch_up(run_id)
        elif isinstance(event, facts.RunHeld) and event.reason == "kernel_error":
            self._fold_missed(run_id, sum(each.offset < event.offset for each in missed))
            del self.released[run_id]  # the rest waits for the next release
        else:
            self._fold_missed(run_id, next((n for n, each in enumerate(missed, 1) if each.id == it.cause), 0))

    def catch_up(self, run_id: str) -> None:
        """All that a run has missed is folded, if it was released."""
        if self.released.pop(run_id, None) is not None:
            self._fold_missed(run_id, len(self.missed.get(run_id, [])))

    def _fold_missed(self, run_id: str, count: int) -> None:
        missed = self.missed.get(run_id, [])
        for each in missed[:count]:
            self.runs[run_id] = evolve(self.runs[run_id], each.event)
        del missed[:count]
