"""The smallest part of a failing seed that still fails the same way: fewer faults, then fewer runs.

Whole kinds of faults go first, then halves, quarters and single ones (delta debugging); each try
is a world of its own, lived from the beginning.
"""

from collections.abc import Callable, Sequence

from farandole.testing.simulation.faults import kind_of
from farandole.testing.simulation.outcome import Outcome, simulate
from farandole.testing.simulation.world import Part

TRIES_MAX = 200
"""Worlds lived in search of a smaller one: a quarter of a minute."""


class Shrinking:
    """A search. `best` is the smallest part so far; `tries` how many worlds were lived."""

    def __init__(
        self, outcome: Outcome, live: Callable[[int, Part], Outcome] = simulate, most: int = TRIES_MAX
    ) -> None:
        self._wanted = outcome.predicates[0]
        self._live = live
        self._most = most
        self.best = outcome
        self.tries = 0

    def run(self) -> Outcome:
        """Search until nothing more can go, or the budget is spent."""
        for kind in sorted({kind_of(name) for name in self.best.faults}):
            self._try([name for name in self.best.faults if kind_of(name) != kind], self.best.runs)
        size = len(self.best.faults) // 2
        while size:
            self._without_pieces(size)
            size //= 2
        for run in self.best.runs:
            self._try(self.best.faults, [each for each in self.best.runs if each != run])
        return self.best

    def _without_pieces(self, size: int) -> None:
        at = 0
        while at < len(self.best.faults) and self.tries < self._most:
            if not self._try([*self.best.faults[:at], *self.best.faults[at + size :]], self.best.runs):
                at += size

    def _try(self, faults: Sequence[str], runs: Sequence[str]) -> bool:
        if self.tries >= self._most or not runs:
            return False
        self.tries += 1
        found = self._live(self.best.seed, Part(faults, runs))
        if self._wanted not in found.predicates:
            return False
        self.best = found
        return True
