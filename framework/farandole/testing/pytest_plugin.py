"""The pytest plugin that comes with farandole: the fixture `simulated`.

    def test_the_shop_survives(simulated):
        simulated(Simulation(shop))

`pytest --simulate-seeds 5000` lives through more seeds than a test asks for, `--simulate-from` through others.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from farandole.testing.simulated import Report, Simulation

SEEDS = 100


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options."""
    group = parser.getgroup("farandole")
    group.addoption("--simulate-seeds", type=int, default=None, metavar="N", help="seeds that `simulated` lives")
    group.addoption("--simulate-from", type=int, default=None, metavar="SEED", help="first seed of `simulated`")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a number of seeds with which every simulation would be green and nothing lived."""
    seeds = config.getoption("--simulate-seeds")
    if seeds is not None and seeds < 1:
        raise pytest.UsageError(f"--simulate-seeds: expected at least 1, but found {seeds}; nothing would be lived")


@pytest.fixture
def simulated(request: pytest.FixtureRequest) -> "Callable[..., Report]":
    """A function that lives through seeds of a `Simulation`, and fails the test with the story of the first bad one."""

    def run(simulation: "Simulation", seeds: int = SEEDS, start: int = 0) -> "Report":
        option = request.config.getoption
        wanted, first = option("--simulate-seeds"), option("--simulate-from")
        return simulation.verify(seeds if wanted is None else wanted, start if first is None else first)

    return run
