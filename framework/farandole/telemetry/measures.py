"""Plain numbers that a loop adds to: one dictionary look-up each, no locks.

Written by one thread. A reader in another one takes copies and may see them a moment old; nothing
here is exact across two numbers.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LABELS_MAX = 1_000
"""Label sets of one metric: what comes beyond goes to `other`. A page of them stays below a second of scraping."""

OTHER = "other"

Labels = tuple[str, ...]


@dataclass(slots=True)
class Totals:
    """Sums by label values."""

    values: dict[Labels, float] = field(default_factory=dict)

    def add(self, labels: Labels, by: float = 1.0) -> None:
        """Count; `labels` in the order in which the metric declares them."""
        known = self.values.get(labels)
        if known is None and len(self.values) >= LABELS_MAX:
            labels = (OTHER,) * len(labels)
            known = self.values.get(labels)
        self.values[labels] = by if known is None else known + by

    def copy(self) -> dict[Labels, float]:
        """The sums as of now."""
        return self.values.copy()


@dataclass(slots=True)
class Distribution:
    """How often values fell between `bounds`, by label values. The last two of a cell: above all bounds, the sum."""

    bounds: Sequence[float]
    cells: dict[Labels, list[float]] = field(default_factory=dict)

    def observe(self, value: float, labels: Labels = ()) -> None:
        """Add a value."""
        cell = self.cells.get(labels)
        if cell is None:
            cell = self._cell(labels)
        cell[bisect_left(self.bounds, value)] += 1
        cell[-1] += value

    def copy(self) -> Mapping[Labels, Sequence[float]]:
        """The cells as of now."""
        return {labels: cell.copy() for labels, cell in self.cells.copy().items()}

    def _cell(self, labels: Labels) -> list[float]:
        if len(self.cells) >= LABELS_MAX:
            labels = (OTHER,) * len(labels)
        return self.cells.setdefault(labels, [0.0] * (len(self.bounds) + 2))
