"""How runs stop and end.

A run settles only when every attempt that was ever triggered has reported, or at `stop_max`.
One whose steps have all ended while an attempt has not reported (a verdict went over it) is
stopping too: what it will end with is known, and its agents are told.
"""

from datetime import timedelta

from farandole.definition.expressions import compile_expression
from farandole.errors import RecordError
from farandole.events.facts import RunSettled, RunStopping
from farandole.ids import generated_at
from farandole.kernel.decision import Decision
from farandole.kernel.state import Phase, Status
from farandole.kernel.values import roots_of

WITH_OUTPUT = frozenset({"succeeded", "partial"})
"""Outcomes of runs that came to their end, and have a result."""


def stop(it: Decision, outcome: str, reason: str) -> None:
    """Fire nothing more; the run will end with `outcome`."""
    if it.run.head.phase is Phase.RUNNING:
        until = it.moment.after(it.run.graph.definition.stop_max)
        it.emit(RunStopping(it.run.id, outcome, reason, until))


def settle_if_over(it: Decision) -> None:
    """End the run if nothing is left of it."""
    head = it.run.head
    if head.phase is Phase.STOPPING and not head.waiting:
        settle(it, head.outcome, head.reason)
    elif head.phase is Phase.RUNNING and not head.pending:
        outcome = "partial" if head.partial else "succeeded"
        if head.waiting:
            stop(it, outcome, "every step has ended, but an attempt has not reported")
        else:
            settle(it, outcome, "")


def settle(it: Decision, outcome: str, reason: str) -> None:
    """End the run now."""
    kept: timedelta = it.moment.dedupe_window
    if it.run.head.phase is Phase.STOPPING:
        kept = max(kept, it.moment.stopped_window)
    output = _output(it) if outcome in WITH_OUTPUT else None
    # A generated id is admitted until a window after it was made, which our clock may not have reached yet.
    since = max(it.now, generated_at(it.run.id) or it.now)
    it.emit(RunSettled(it.run.id, outcome, it.now, since + kept, reason, output))


def _output(it: Decision) -> bytes | None:
    """The pipeline's result, framed; None if it has none or what gives it was skipped.

    An expression that reads what was skipped may guard itself, as in `quick == null ? slow : quick`.
    """
    definition, graph = it.run.graph.definition, it.run.graph
    text = definition.output
    if text is None or definition.output_schema is None:
        return None
    if text in graph.number and not graph.step(text).is_mapped:
        return it.run.step(text).output
    expression, env = compile_expression(text), it.values.env(it.run, roots_of(text))
    is_lacking = any(it.run.step(r).status is not Status.SUCCEEDED for r in expression.roots if r in graph.number)
    if is_lacking and expression.is_path:
        return None
    try:
        return it.values.encode(definition.output_schema, expression.evaluate(env))
    except RecordError:
        if is_lacking:
            return None
        raise
