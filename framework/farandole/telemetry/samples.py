"""What parts of a process hand to a scrape: a metric with its values. Knows nothing of who asks, or in which form."""

from collections.abc import Iterable, Mapping
from itertools import islice

from farandole.telemetry.catalogue import Metric
from farandole.telemetry.measures import LABELS_MAX, Distribution, Labels

Values = Mapping[Labels, float] | Distribution
Sample = tuple[Metric, Values]


def plain(metric: Metric, value: float) -> Sample:
    """The only value of a metric without labels."""
    return metric, {(): value}


def by_word(metric: Metric, counted: Mapping[str, float]) -> Sample:
    """The values of a metric with one label; the words that the metric names are there from the beginning."""
    return from_zero(metric, {(word,): value for word, value in dict(counted).items()}, words_of(metric))


def from_zero(metric: Metric, counted: Mapping[Labels, float], expected: Iterable[Labels]) -> Sample:
    """What was counted, and 0 for what may be.

    A series that begins with its first failure has no increase: `rate()` and `increase()` do not see that one.
    """
    return metric, {**dict.fromkeys(islice(expected, LABELS_MAX), 0.0), **counted}


def words_of(metric: Metric) -> list[Labels]:
    """The label sets that a metric with one label names beforehand."""
    return [(word,) for word in metric.words]
