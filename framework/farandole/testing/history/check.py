"""The checker: every predicate, in the order of the invariants, over one history.

Pure and independent of the kernel: it reads what is on the topics and the rules of DESIGN,
never the code that decides. Background: docs on reliability, invariants I1 to I20.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from farandole.testing.history import (
    attempts,
    conditions,
    dead_letters,
    edges,
    fused,
    ledger,
    markers,
    order,
    outputs,
    positions,
    runs,
    stopping,
    timers,
    triggers,
)
from farandole.testing.history.cases import Case, Docket, docket_of
from farandole.testing.history.report import History, Violation

OfRun = Callable[[Case], Iterator[Violation]]
OfLog = Callable[[Docket], Iterator[Violation]]

OF_RUNS: tuple[OfRun, ...] = (
    runs.a_run_ends_at_most_once,
    runs.an_outcome_fits_its_steps,
    runs.an_end_waits_for_every_attempt,
    outputs.final_facts_end_their_runs,
    outputs.outputs_are_the_runs,
    runs.an_end_leaves_its_record,
    runs.a_run_keeps_its_definition,
    triggers.triggers_are_unique,
    triggers.triggers_are_well_formed,
    triggers.agents_fire_only_their_edges,
    edges.steps_go_when_their_parents_allow,
    edges.nothing_that_may_go_waits,
    stopping.a_run_stops_for_a_reason,
    stopping.requests_to_stop_are_heeded,
    conditions.conditions_are_obeyed,
    conditions.conditions_exist,
    conditions.lists_are_run_over_whole,
    attempts.results_are_unique,
    attempts.results_belong_to_triggers,
    attempts.results_without_effect_have_none,
    attempts.attempts_have_no_gaps,
    attempts.retries_keep_to_the_policy,
    attempts.failures_are_answered,
    attempts.budgets_count_from_the_first_failure,
    dead_letters.giving_up_has_a_reason,
    dead_letters.dead_letters_lead_on,
    dead_letters.holds_have_a_reason,
    timers.timers_were_set,
    timers.deadlines_judge_what_is_open,
    timers.due_retries_are_triggered,
    timers.deadlines_are_set,
    markers.markers_are_heeded,
    order.consequences_say_how_far,
    order.consequences_follow_what_was_read,
    order.consequences_are_written_once,
    order.commands_are_marked_once,
    positions.final_failures_are_dead_lettered,
)
"""Judge one run whose story can be followed."""

OF_LOGS: tuple[OfLog, ...] = (
    runs.acknowledged_runs_are_known,
    runs.starts_are_answered,
    runs.a_run_starts_once,
    runs.every_run_ends,
    runs.ends_are_on_settled,
    runs.ended_runs_leave_no_state,
    runs.live_runs_have_state,
    runs.steps_are_of_the_definition,
    runs.definitions_of_runs_exist,
    triggers.triggers_follow_from_facts,
    triggers.what_was_fired_was_triggered,
    fused.fused_steps_report_with_their_parent,
    triggers.direct_starts_come_with_a_report,
    triggers.facts_have_causes,
    triggers.runs_are_started,
    triggers.facts_stand_at_home,
    stopping.requests_are_marked,
    stopping.stopping_runs_are_told,
    timers.timers_come_due,
    order.events_can_be_read,
    order.headers_say_what_values_say,
    order.folding_never_goes_back,
    order.rebuilt_runs_equal_state,
    positions.consumed_records_have_one_outcome,
    positions.outcomes_have_records,
    positions.positions_can_be_read,
    positions.positions_exist,
    positions.positions_are_within_the_log,
    positions.nothing_is_left_unconsumed,
    positions.nothing_is_left_open,
    positions.dead_letters_have_causes,
    positions.only_strangers_are_quarantined,
    positions.given_up_attempts_have_dead_letters,
    ledger.results_were_worked_for,
    ledger.calls_were_triggered,
    ledger.tokens_tell_owners_apart,
)
"""Judge what only all records together show."""


PREDICATES: tuple[OfRun | OfLog, ...] = (*OF_RUNS, *OF_LOGS)
"""All of them. The first words of each one's docstring name its invariant."""


def check_history(history: History) -> list[Violation]:
    """Every violation of the history, by invariant and run; none if it is valid."""
    return judge(docket_of(history))


def judge(docket: Docket) -> list[Violation]:
    """As `check_history`, of a history that has been sorted."""
    found = [_named(violation, of_log) for of_log in OF_LOGS for violation in of_log(docket)]
    for case in docket.judged:
        found += [_named(violation, of_run) for of_run in OF_RUNS for violation in of_run(case)]
    return sorted(dict.fromkeys(found), key=lambda each: (int(each.invariant[1:]), each.run, each.message))


def _named(violation: Violation, predicate: OfRun | OfLog) -> Violation:
    return replace(violation, predicate=predicate.__name__)
