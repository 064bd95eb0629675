"""What parts of a process hand to a scrape: a metric with its values. Knows nothing of who asks, or in which form."""

from collections.abc import Mapping

from farandole.telemetry.catalogue import Metric
from farandole.telemetry.measures import Distribution, Labels

Values = Mapping[Labels, float] | Distribution
Sample = tuple[Metric, Values]


def plain(metric: Metric, value: float) -> Sample:
    """The only value of a metric without labels."""
    return metric, {(): value}


def by_word(metric: Metric, counted: Mapping[str, float]) -> Sample:
    """The values of a metric with one label."""
    return metric, {(word,): value for word, value in dict(counted).items()}
