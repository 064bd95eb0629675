"""From measures to Prometheus' text, at the moment of a scrape; a registry of its own, never the global one."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from farandole.telemetry.catalogue import Kind, Metric
from farandole.telemetry.measures import Distribution
from farandole.telemetry.samples import Sample, Values

Source = Callable[[], Iterable[Sample]]
"""Called in the thread that scrapes; gives all that one part of the process measures."""


class Exposition(Collector):
    """The metrics of one process, from its sources."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Family]:
        """Nothing in advance: registering must not measure."""
        return ()

    def collect(self) -> Iterator[Family]:
        """One family for each sample."""
        for source in self._sources:
            for metric, values in source():
                yield family(metric, values)


def family(metric: Metric, values: Values) -> Family:
    """A metric with its values, as prometheus-client wants it."""
    if isinstance(values, Distribution):
        return _histogram(metric, values)
    made: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is Kind.COUNTER:
        made = CounterMetricFamily(metric.name, metric.text, labels=metric.labels)
    else:
        made = GaugeMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made


def _histogram(metric: Metric, values: Distribution) -> Family:
    made = HistogramMetricFamily(metric.name, metric.text, labels=metric.labels)
    for labels, cell in values.copy().items():
        buckets, sofar = [], 0.0
        for bound, count in zip((*values.bounds, float("inf")), cell, strict=False):
            sofar += count
            buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), sofar))
        made.add_metric(labels, buckets, cell[-1])
    return made
