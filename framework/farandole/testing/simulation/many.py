"""Many seeds, spread over the cores, their outcomes in order."""

import logging
import multiprocessing
from collections.abc import Iterator

from farandole.testing.simulation.outcome import Outcome, simulate

CHUNK = 8
"""Seeds that a process takes at a time."""


def lived(seeds: range, jobs: int) -> Iterator[Outcome]:
    """What became of each seed."""
    if jobs <= 1:
        yield from map(simulate, seeds)
        return
    # A fork would carry over locks that other threads of a test run may hold.
    with multiprocessing.get_context("spawn").Pool(jobs, _quiet) as pool:
        yield from pool.imap(simulate, seeds, CHUNK)


def _quiet() -> None:
    """Faults make the loops complain; here they are meant."""
    logging.disable(logging.CRITICAL)
