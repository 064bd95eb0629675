"""The history checker on simulated worlds while they go on: nothing to find in a log that is read by half."""

import logging
from collections.abc import Iterator

import pytest

from farandole.testing.history import Violation, check_history
from farandole.testing.simulation.checks import history_of
from farandole.testing.simulation.world import World
from farandole.transport.port import Isolation

LOOK_EVERY = 50
"""Steps of the world between two looks."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults make the loops complain."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def found_now(world: World) -> list[Violation] | None:
    """What the checker finds in this moment; None while an open transaction hides a part of it."""
    history = history_of(world, is_over=False, isolation=Isolation.COMMITTED)
    if any(span.stable != span.end for span in history.spans.values()):
        return None
    return check_history(history)


@pytest.mark.parametrize("seed", range(700_000, 700_008))
def test_the_history_of_a_world_is_valid_while_it_goes_on(seed: int) -> None:
    world = World(seed)
    looks: list[list[Violation] | None] = []
    try:
        for step in range(1_000):
            world.move()
            if step % LOOK_EVERY == 0:
                looks.append(found_now(world))
    finally:
        world.close()

    seen = [found for found in looks if found is not None]
    assert seen
    assert [found for found in seen if found] == []
