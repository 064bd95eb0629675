"""The history checker on what the real loops do in simulated worlds: nothing to find, at the end and on the way."""

import dataclasses
import logging
from collections.abc import Iterator

import pytest

from farandole.testing.history import Violation, check_history, collect
from farandole.testing.simulation.world import World
from farandole.transport.port import Isolation

SEEDS = range(700_000, 700_012)
LOOK_EVERY = 250
"""Steps of the world between two looks: often enough to meet open transactions and half-read logs."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults make the loops complain."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def strictly(world: World, isolation: Isolation) -> list[Violation]:
    """What the checker finds in what is committed now; one thread drives the world, so that this is one moment."""
    history = collect(world.transport, isolation=isolation, clock=world.clock)
    return check_history(dataclasses.replace(history, now=None))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_history_of_a_world_is_valid(seed: int) -> None:
    world = World(seed)
    try:
        ended = world.live()
        found = strictly(world, Isolation.UNCOMMITTED)
    finally:
        world.close()

    assert ended
    assert found == []


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_the_history_of_a_world_is_valid_while_it_goes_on(seed: int) -> None:
    world = World(seed)
    found: list[Violation] = []
    try:
        for step in range(world.phase_steps):
            world._move()
            if step % LOOK_EVERY == 0:
                while world.network.write_marker():
                    pass  # a transaction shows itself partition by partition: half of one is no history
                found += strictly(world, Isolation.COMMITTED)
    finally:
        world.close()

    assert found == []
