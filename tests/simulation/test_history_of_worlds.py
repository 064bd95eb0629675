"""The history checker on what the real loops do in simulated worlds: nothing to find, at the end and on the way."""

import dataclasses
import logging
from collections.abc import Iterator

import pytest

from farandole.testing.history import Violation, check_history, collect
from farandole.testing.simulation.world import World
from farandole.transport.port import Isolation

SEEDS = range(700_000, 700_012)
LOOK_EVERY = 50
"""Steps of the world between two looks: often enough to meet logs that are read by half."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults make the loops complain."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def strictly(world: World, isolation: Isolation = Isolation.UNCOMMITTED) -> list[Violation] | None:
    """What the checker finds now, in one moment of the world; None while an open transaction hides a part of it."""
    history = collect(world.transport, isolation=isolation, clock=world.clock)
    if any(span.stable != span.end for span in history.spans.values()):
        return None
    return check_history(dataclasses.replace(history, now=None))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_history_of_a_world_is_valid(seed: int) -> None:
    world = World(seed)
    try:
        ended = world.live()
        found = strictly(world)
    finally:
        world.close()

    assert ended
    assert found == []


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_the_history_of_a_world_is_valid_while_it_goes_on(seed: int) -> None:
    world = World(seed)
    looks: list[list[Violation] | None] = []
    try:
        for step in range(world.phase_steps):
            world._move()
            if step % LOOK_EVERY == 0:
                looks.append(strictly(world, Isolation.COMMITTED))
    finally:
        world.close()

    seen = [found for found in looks if found is not None]
    assert seen
    assert [found for found in seen if found] == []
