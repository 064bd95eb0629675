"""From a plan that fails to a smaller one that fails in the same way."""

from collections.abc import Callable
from dataclasses import replace

from farandole.testing.simulated.plan import Blow, Kind, Plan

TRIES_MAX = 100
"""Worlds lived to shrink one failure: seconds."""


def shrunk(plan: Plan, fails: Callable[[Plan], bool]) -> tuple[Plan, int]:
    """The smallest plan found, and how many were tried."""
    tries = 0

    def still(smaller: Plan) -> bool:
        nonlocal tries
        tries += 1
        return tries <= TRIES_MAX and fails(smaller)

    for runs in range(1, plan.runs):
        if still(replace(plan, runs=runs)):
            plan = replace(plan, runs=runs)
            break
    went_on = True
    while went_on:
        went_on = False
        parts: list[Kind | Blow] = [*sorted(plan.kinds, key=str), *plan.blows]
        for part in parts:
            if still(smaller := plan.without(part)):
                plan, went_on = smaller, True
    return plan, min(tries, TRIES_MAX)
