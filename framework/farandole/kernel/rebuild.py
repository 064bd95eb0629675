"""Runs rebuilt from `events` alone, without deciding anything.

Facts are folded in their order. A consequence is applied when the fold reaches the position
that its `ce_folded` names, so that one which answers no single fact has its place too. What
comes out must equal what `runs` held (the replay law); a checker compares them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farandole.definition.graph import Graph
from farandole.events import facts
from farandole.kernel.evolve import evolve, start
from farandole.kernel.state import Run


@dataclass(frozen=True, slots=True)
class Logged:
    """One record of a home partition of `events`; `folded` is the position in its `ce_folded`, None for a fact."""

    offset: int
    event: facts.Event
    folded: int | None = None


def rebuild(log: Sequence[Logged], graph_of: Callable[[str], Graph]) -> dict[str, Run]:
    """The runs of one home partition after all of `log`, in which a released kernel error does not occur."""
    consequences = sorted((it for it in log if it.folded is not None), key=lambda it: (it.folded or 0, it.offset))
    unfolded = {(it.event.run, it.event.offset) for it in log if isinstance(it.event, facts.RunHeld)}
    # The start of a run whose generated id was too old is refused when it is read: nothing was begun.
    refused = {(it.event.run, it.folded) for it in consequences if _is_expired(it.event)}
    runs: dict[str, Run] = {}
    at = 0
    for fact in (it for it in log if it.folded is None):
        at = _apply(runs, consequences, at, fact.offset, graph_of)
        run = runs.get(fact.event.run)
        if isinstance(fact.event, facts.RunStarted):
            if run is None and (fact.event.run, fact.offset + 1) not in refused:
                runs[fact.event.run] = start(graph_of(fact.event.definition), fact.event)
            continue
        standing = run is not None and run.head.kernel_error
        if run is not None and not standing and (run.id, fact.offset) not in unfolded:
            runs[run.id] = evolve(run, fact.event)
    _apply(runs, consequences, at, None, graph_of)
    return runs


def _is_expired(event: facts.Event) -> bool:
    return isinstance(event, facts.RunRefused) and event.reason == "expired_id"


def _apply(
    runs: dict[str, Run],
    consequences: Sequence[Logged],
    at: int,
    reached: int | None,
    graph_of: Callable[[str], Graph],
) -> int:
    """Apply the consequences folded up to `reached` (None: all); the number of those applied so far."""
    while at < len(consequences):
        it = consequences[at]
        if reached is not None and (it.folded or 0) > reached:
            break
        match it.event:
            case facts.RunStarted():
                runs[it.event.run] = start(graph_of(it.event.definition), it.event)
            case facts.RunRefused():
                pass
            case event if event.run in runs:
                runs[event.run] = evolve(runs[event.run], event)
            case _:
                pass
        at += 1
    return at
