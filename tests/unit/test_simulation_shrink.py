"""Shrinking: the smallest part of a failing seed that fails the same way."""

from collections import Counter

from farandole.testing.simulation.checks import Finding
from farandole.testing.simulation.outcome import Outcome
from farandole.testing.simulation.shrink import Shrinking
from farandole.testing.simulation.world import Part

FAULTS = tuple(f"crash@{n}" for n in range(20)) + tuple(f"lost@{n}" for n in range(20))
RUNS = ("run-0", "run-1", "run-2")


def outcome(faults: tuple[str, ...], runs: tuple[str, ...], *predicates: str) -> Outcome:
    found = tuple(Finding(each, "") for each in predicates)
    return Outcome(1, found, Counter(), Counter(), 0, "", faults, runs)


def fails_with(*needed: str) -> "type[Lives]":
    class Needs(Lives):
        wanted = frozenset(needed)

    return Needs


class Lives:
    """Fails while all that is wanted is there; otherwise in another way, which must not count."""

    wanted: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.lived = 0

    def __call__(self, seed: int, part: Part) -> Outcome:
        self.lived += 1
        faults, runs = tuple(part.faults or ()), tuple(part.runs or ())
        predicate = "doubled" if self.wanted <= {*faults, *runs} else "another"
        return outcome(faults, runs, predicate)


def test_two_faults_of_forty_and_one_run_of_three_are_left() -> None:
    live = fails_with("crash@7", "lost@13", "run-1")()

    small = Shrinking(outcome(FAULTS, RUNS, "doubled"), live).run()

    assert small.faults == ("crash@7", "lost@13")
    assert small.runs == ("run-1",)
    assert live.lived < 100


def test_a_failure_that_needs_no_fault_has_none_left() -> None:
    live = fails_with("run-0")()

    small = Shrinking(outcome(FAULTS, RUNS, "doubled"), live).run()

    assert (small.faults, small.runs) == ((), ("run-0",))


def test_the_budget_bounds_the_search() -> None:
    live = fails_with(*FAULTS)()
    shrinking = Shrinking(outcome(FAULTS, RUNS, "doubled"), live, most=10)

    small = shrinking.run()

    assert live.lived == shrinking.tries == 10
    assert set(small.faults) == set(FAULTS)
