"""The four laws of STYLE section 7, over random pipelines and random orders of what happens to them."""

import random
from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farandole.events import facts
from farandole.ids import NO_ITEM
from farandole.kernel.decide import follow
from farandole.kernel.rebuild import Logged, rebuild
from farandole.kernel.snapshot import group_by_run, read_run, state_records
from farandole.kernel.state import HOLDING, TERMINAL, Run, Status
from farandole.kernel.timers import Timer, marker, timers
from farandole.kernel.values import Values
from farandole.testing.generate import Script, Shape, random_definition, random_items, random_pad
from farandole.testing.schedule import Manners, play
from farandole.testing.sketch import define, node
from farandole.testing.stage import Stage

SEEDS = st.integers(0, 2**32)
LAW = settings(
    max_examples=60, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
ANY_SHAPE = Shape()
ANYTHING = Manners(hasty=True, people=True)


def staged(seed: int, shape: Shape = ANY_SHAPE) -> Stage:
    """A run of the pipeline that a seed names."""
    rng = random.Random(seed)
    definition = random_definition(rng, shape)
    return Stage(definition, n=rng.randint(0, 9), items=random_items(rng), pad=random_pad(rng), luck=rng.random())


def log_folded_by(log: Sequence[Logged], at: int) -> list[Logged]:
    """The log as far as it was folded: facts before a position, and the consequences of these."""
    return [it for it in log if (it.offset if it.folded is None else it.folded - 1) < at]


def test_facts_that_are_written_together_stand_at_offsets_one_after_the_other() -> None:
    """The second stood two further, for the log grew while it was counted: a rebuild left such facts out."""
    stage = Stage(define(node("a")))
    stage.write(*(facts.CancelRequested(stage.run.id) for _ in range(3)))

    assert [it.offset for it in stage.log] == list(range(len(stage.log)))


def counted_anew(run: Run) -> tuple[int, int, int]:
    """`pending`, `waiting` and `holds` of the head, from the units."""
    units = list(run.units())
    pending = sum(unit.status not in TERMINAL for _, item, unit in units if item == NO_ITEM)
    return pending, sum(len(unit.waiting) for *_, unit in units), sum(unit.status in HOLDING for *_, unit in units)


def assert_counts(run: Run) -> None:
    """The head's counters and those of mapped steps are what the units say."""
    if run.is_settled:
        return
    assert (run.head.pending, run.head.waiting, run.head.holds) == counted_anew(run)
    for name in run.graph.names:
        items = [unit.status for _, unit in run.items(name)]
        unit = run.step(name)
        assert (unit.done, unit.succeeded) == (sum(s in TERMINAL for s in items), items.count(Status.SUCCEEDED))


# --- replay ---------------------------------------------------------------------------------


@LAW
@given(SEEDS)
def test_replay_of_any_prefix_of_the_log_equals_having_lived_it(seed: int) -> None:
    stage = staged(seed)
    lived: list[tuple[int, int, Run]] = [(len(stage.log), stage.at, stage.run)]

    play(
        stage,
        Script(seed),
        random.Random(seed),
        ANYTHING,
        lambda it: lived.append((len(it.log), it.at, it.run)),
    )

    for length, at, run in random.Random(seed).sample(lived, min(len(lived), 8)) + lived[-1:]:
        assert rebuild(log_folded_by(stage.log[:length], at), lambda _: stage.graph) == {run.id: run}


@LAW
@given(SEEDS)
def test_state_records_read_back_at_any_moment_give_the_run(seed: int) -> None:
    def assert_readable(it: Stage) -> None:
        parts = group_by_run(it.table.items())[it.run.id]
        assert read_run(lambda _: it.graph, parts, it.run.id) == it.run

    stage = staged(seed)

    play(stage, Script(seed), random.Random(seed), ANYTHING, assert_readable)

    assert set(stage.table) == {stage.run.id}, "only the stub is left of an ended run"


@LAW
@given(SEEDS)
def test_counters_of_a_run_always_equal_a_recount(seed: int) -> None:
    stage = staged(seed)
    assert_counts(stage.run)

    play(stage, Script(seed), random.Random(seed), ANYTHING, lambda it: assert_counts(it.run))

    assert stage.outcome


# --- redelivery -----------------------------------------------------------------------------


@LAW
@given(SEEDS)
def test_redelivery_of_any_fact_at_any_time_changes_nothing(seed: int) -> None:
    rng = random.Random(seed)
    again = (facts.TriggerSuspected, facts.ReleaseRequested)  # both may be meant anew, and are judged anew

    def assert_idempotent(it: Stage) -> None:
        folded = [known.event for known in it.log[: it.at] if known.folded is None]
        for event in rng.sample(folded, min(3, len(folded))):
            if not isinstance(event, again):
                repeated = follow(it.run, event, it.moment, Values())
                assert (repeated.run, repeated.events) == (it.run, [])

    stage = staged(seed)

    play(stage, Script(seed), rng, ANYTHING, assert_idempotent)

    assert stage.outcome


# --- silence --------------------------------------------------------------------------------


@LAW
@given(SEEDS)
def test_restore_of_a_run_produces_no_record(seed: int) -> None:
    stage = staged(seed)

    def assert_silent(it: Stage) -> None:
        parts = group_by_run(it.table.items())[it.run.id]
        restored = read_run(lambda _: it.graph, parts, it.run.id)
        assert list(state_records(restored, restored, it.now)) == []
        not_due = [timer for timer in timers(restored) if timer.due > max(t.due for t in [*it.timers, timer])]
        assert not_due == [], "a restored run waits for nothing that the living one did not wait for"

    play(stage, Script(seed), random.Random(seed), ANYTHING, assert_silent)

    assert stage.outcome


# --- interleaving -----------------------------------------------------------------------------


@LAW
@given(SEEDS, st.lists(SEEDS, min_size=2, max_size=4, unique=True))
def test_interleaving_in_any_order_ends_in_the_same_run(seed: int, orders: list[int]) -> None:
    ends = set()
    for order in orders:
        stage = staged(seed, Shape(timed=False))
        play(stage, Script(seed), random.Random(order))
        final = stage.final()
        ends.add((final.outcome, None if final.outcome == "failed" else (final.steps, final.output)))

    assert len(ends) == 1


@LAW
@given(SEEDS)
def test_interleaving_fires_every_edge_once_and_attempts_have_no_gaps(seed: int) -> None:
    stage = staged(seed)

    play(stage, Script(seed), random.Random(seed), Manners(hasty=True))

    attempts: dict[tuple[str, int], list[int]] = defaultdict(list)
    for task in [*stage.kept.triggers, *stage.kept.fired_by_agents]:
        attempts[task.is_of].append(task.attempt)
    for found in attempts.values():
        assert sorted(found) == list(range(1, len(found) + 1))
    assert len(stage.events(facts.RunSettled)) == 1


# --- timers ---------------------------------------------------------------------------------


@LAW
@given(SEEDS)
def test_timers_told_event_by_event_are_those_of_the_state(seed: int) -> None:
    told: set[Timer] = set()

    def assert_covered(it: Stage) -> None:
        told.update(it.timers)
        current = set(timers(it.run))
        assert {timer for timer in current if timer.due > 0 and timer.kind != "forget"} <= told | taken
        for timer in told | current:
            assert (marker(it.run, timer) is not None) == (timer in current and timer.kind != "forget")

    taken: set[Timer] = set()
    stage = staged(seed)
    told.update(stage.timers)

    play(stage, Script(seed), random.Random(seed), ANYTHING, assert_covered)

    assert stage.outcome


if __name__ == "__main__":
    pytest.main([__file__])
