"""The real loops on the simulated broker, with faults: seeds in a row. `make sim` runs more of them."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from farandole.testing.simulation.checks import violations
from farandole.testing.simulation.world import World

SEEDS = 60
"""In `make test`; about a quarter of a second each."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults are logged; here they are meant."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def lived(seed: int) -> tuple[World, bool]:
    world = World(seed)
    try:
        return world, world.live()
    finally:
        world.close()


def trace_of(world: World) -> str:
    told = [(r.partition, r.offset, event) for r, event in world.clients.events]
    return hashlib.sha256(repr((told, world.executions, world.steps)).encode()).hexdigest()


def test_runs_under_faults_end_and_their_history_is_valid() -> None:
    seen = Counter[str]()
    wrong: dict[int, list[str]] = {}

    for seed in range(SEEDS):
        world, ended = lived(seed)
        found = [str(each) for each in violations(world)] + ([] if ended else ["stuck"])
        if found:
            wrong[seed] = found
        seen += world.rare

    assert not wrong, f"replay one with `python -m farandole.testing.simulation SEED SEED+1`: {wrong}"
    # A simulation in which nothing went wrong would prove nothing.
    for rare in ("crash_in_transaction", "zombie_commit", "stale_generation", "doubt_done_end", "doubt_lost_end"):
        assert seen[rare] > 0, rare


def test_a_seed_lived_twice_leaves_the_same_trace() -> None:
    first, second = lived(7)[0], lived(7)[0]

    assert trace_of(first) == trace_of(second)


def test_an_agent_that_keeps_results_over_a_reassignment_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks can fail: a doubt taken for an abort (R4) doubles results within a few seeds."""
    monkeypatch.setattr("farandole.runtime.committing.judge_all", lambda *_: False)

    wrong = next((seed for seed in range(400) if violations(lived(seed)[0])), None)

    assert wrong is not None
