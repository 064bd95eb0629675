"""The reference of the metrics, written from their declarations: `python -m farandole.telemetry.reference FILE`."""

import sys
from collections.abc import Iterator
from pathlib import Path

from farandole.telemetry.catalogue import METRICS, PROCESS, Metric

_HEAD = """# Metrics

<!-- Written by `python -m farandole.telemetry.reference`; a test holds it equal to the code. -->

Each process shows its own on `/metrics` once it is told where to listen (`[metrics] listen`, see
[how to watch a deployment](../how-to/metrics.md)). Histograms have `_bucket`, `_sum` and `_count`. Everything is
counted since the process began, from what it committed; sum over processes. M1 to M9 are the usual measures of an
orchestrator: success rate, end-to-end latency, failure rate, time to restore, start delay, retries, utilisation,
latency of the state, stale runs.

An increase is seen only of a series that is there already. So what is known beforehand is there as 0 from the first
scrape: the outcomes of each applied pipeline, the retries and dead letters of each of its steps, the known words of
each label. Attempts by kind are not, for there are many kinds: alert on retries and dead letters, one of which each
failure of a live run leads to.
"""

_TITLES = {"coordinator": "Coordinators", "agent": "Agents", "both": "Both"}


def reference() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(line for process in _TITLES for line in _section(process)), *_process()]) + "\n"


def _section(process: str) -> Iterator[str]:
    yield from (f"## {_TITLES[process]}", "", "| Name | Kind | Labels | Meaning | |", "|---|---|---|---|---|")
    yield from (_row(metric) for metric in METRICS if metric.process == process)
    yield ""


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    words = " Known: " + ", ".join(f"`{word}`" for word in metric.words) + "." if metric.words else ""
    return f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.text}{words} | {metric.answers} |"


def _process() -> Iterator[str]:
    yield from ("## Added by prometheus-client (Linux)", "", "| Name | Meaning | |", "|---|---|---|")
    yield from (f"| `{name}` | {text} | {answers} |" for name, text, answers in PROCESS)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
