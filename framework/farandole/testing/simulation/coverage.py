"""Rare states: what a simulation must have met, or it proves nothing of them."""

from collections import Counter

from farandole.definition.graph import graph_of
from farandole.events import facts
from farandole.testing.simulation.world import World
from farandole.transport.port import Record

GOALS = (
    "commit_while_zombie",
    "rebalance_inside_transaction",
    "doubt_that_had_committed",
    "doubt_that_had_not",
    "timer_at_fail_over",
    "duplicate_completion_folded",
    "suspected_trigger",
    "late_success",
    "late_success_after_settling",
    "success_after_verdict",
    "aborted",
    "orphan_fact",
    "hold_and_replay",
    "offsets_only_interrupted",
    "crash_in_transaction",
    "stale_generation",
    "kernel_error",
    "held_for_definition",
    "begun_unread",
    "timed_out_attempt",
    "positions_went_back",
    "home_went_on",
    "forgotten",
    "torn",
    "done_once_more",
)
"""All above zero over the seeds of `make test`."""

Told = list[tuple[Record, facts.Event]]


def coverage_of(world: World) -> Counter[str]:
    """How often each rare state occurred, and everything else that was counted."""
    rare = world.rare + states_in(world.clients.events)
    for body in (process.body for process in world.processes):
        if body is not None and body.counts is not None:
            rare.update(body.counts())
    rare["doubt_that_had_committed"] = rare["reply_end"]
    rare["doubt_that_had_not"] = sum(rare[f"lost_{kind}"] for kind in ("produce", "offsets", "end"))
    rare["fused_then_alone"], rare["fused_then_by_coordinator"] = _fused_before(world)
    return +rare


def _fused_before(world: World) -> tuple[int, int]:
    """Attempts that had run with their parent's record, in vain, when they ran from their own inbox; and those of
    them to which a further attempt of a step above has led: their triggers go back to a coordinator's."""
    inboxes = {step.name: world.topics.inbox(step.agent) for step in world.definition.steps.values()}
    above = {name: graph_of(world.definition).chain_above(name) for name in inboxes}
    further = {(it.run, it.step) for it in world.ledger.calls if it.attempt > 1}
    fused: set[tuple[str, str, int, int]] = set()
    alone = led_to = 0
    for it in world.ledger.calls:
        key = it.run, it.step, it.item, it.attempt
        if not it.note.startswith(f"{inboxes[it.step]}/"):
            fused.add(key)
        elif key in fused:
            alone += 1
            led_to += any((it.run, name) in further for name in above[it.step])
    return alone, led_to


def states_in(told: Told) -> Counter[str]:
    """The rare states that `events` tells of."""
    late, after = _late(told)
    return Counter(
        timer_at_fail_over=_timers_at_fail_over(told),
        duplicate_completion_folded=_duplicates(told),
        suspected_trigger=sum(isinstance(e, facts.TriggerSuspected) for _, e in told),
        late_success=late,
        late_success_after_settling=after,
        success_after_verdict=_after_verdict(told),
        orphan_fact=_orphans(told),
        hold_and_replay=sum(isinstance(e, facts.StepScheduled) and e.fresh_budget for _, e in told),
        kernel_error=sum(isinstance(e, facts.RunHeld) and e.reason == "kernel_error" for _, e in told),
        held_for_definition=sum(isinstance(e, facts.RunHeld) and e.is_unread for _, e in told),
        begun_unread=_begun_unread(told),
        timed_out_attempt=sum(isinstance(e, facts.StepFailed) and e.kind == "timeout" for _, e in told),
    )


def _source(record: Record) -> str:
    return next((value.decode() for name, value in record.headers if name == "ce_source"), "")


def _timers_at_fail_over(told: Told) -> int:
    """Retries that were set by one coordinator and came due with another."""
    setters = {
        (e.run, e.step, e.item, e.attempt): _source(record) for record, e in told if isinstance(e, facts.RetryScheduled)
    }
    due = [(record, e) for record, e in told if isinstance(e, facts.RetryDue)]
    return sum(setters.get((e.run, e.step, e.item, e.attempt), _source(record)) != _source(record) for record, e in due)


def _duplicates(told: Told) -> int:
    """Completions of a step or item that had one: an earlier attempt comes to its end after a later one."""
    completed = Counter((e.run, e.step, e.item) for _, e in told if isinstance(e, facts.StepSucceeded))
    return sum(n - 1 for n in completed.values())


def _late(told: Told) -> tuple[int, int]:
    """Successes of runs that were stopping, and of runs that had ended."""
    stopping: set[str] = set()
    settled: set[str] = set()
    late = after = 0
    for _, event in told:
        if isinstance(event, facts.RunStopping):
            stopping.add(event.run)
        elif isinstance(event, facts.RunSettled):
            settled.add(event.run)
        elif isinstance(event, facts.StepSucceeded):
            after += event.run in settled
            late += event.run in stopping - settled
    return late, after


def _after_verdict(told: Told) -> int:
    """Successes of what had been skipped for a dead letter, its successors released."""
    skipped: set[tuple[str, str, int]] = set()
    late = 0
    for _, event in told:
        if isinstance(event, facts.StepSkipped) and event.reason == "dead_letter":
            skipped.add((event.run, event.step, event.item))
        elif isinstance(event, facts.StepSucceeded):
            late += (event.run, event.step, event.item) in skipped
    return late


def _begun_unread(told: Told) -> int:
    """Runs that were begun directly under a definition that their coordinator could not read."""
    begun = {(e.run, record.offset) for record, e in told if isinstance(e, facts.RunStarted)}
    return sum(isinstance(e, facts.RunHeld) and e.is_unread and (e.run, e.offset) in begun for _, e in told)


def _orphans(told: Told) -> int:
    """Facts of which the run was forgotten when they were written."""
    until: dict[str, float] = {}
    orphans = 0
    for record, event in told:
        if isinstance(event, facts.RunSettled):
            until[event.run] = event.forget_at.timestamp() * 1000
        elif isinstance(event, facts.AgentFact) and record.timestamp_ms > until.get(event.run, float("inf")):
            orphans += 1
    return orphans
