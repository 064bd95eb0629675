"""The reference of the metrics is written from the code, and dashboards name nothing that is not there."""

import json
import re
from pathlib import Path

from farandole.telemetry.catalogue import METRICS, PROCESS, Kind
from farandole.telemetry.reference import reference


def test_reference_of_metrics_equals_the_declarations(repository: Path) -> None:
    written = (repository / "docs/reference/metrics.md").read_text()

    assert written == reference(), "python -m farandole.telemetry.reference docs/reference/metrics.md"


def series() -> dict[str, set[str]]:
    """The labels of every series that a process shows, by the series' name."""
    found: dict[str, set[str]] = {name: set() for name, _, _ in PROCESS}
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            found |= {f"{metric.name}_{part}": set(metric.labels) for part in ("sum", "count")}
            found[f"{metric.name}_bucket"] = {*metric.labels, "le"}
        else:
            found[metric.name] = set(metric.labels)
    return found


def queries(repository: Path) -> list[tuple[str, str]]:
    """Every query of every dashboard, those of its variables included."""
    found: list[tuple[str, str]] = []
    for path in sorted((repository / "docs/dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        found += [(path.name, each["definition"]) for each in board["templating"]["list"] if "definition" in each]
        found += [(path.name, target["expr"]) for panel in board["panels"] for target in panel["targets"]]
    return found


def test_dashboards_are_three_and_name_only_metrics_that_there_are(repository: Path) -> None:
    known, asked = series(), queries(repository)

    assert {name for name, _ in asked} == {"debug.json", "executive.json", "on-call.json"}
    for name, query in asked:
        named = re.findall(r"\b((?:farandole|process)_[a-z_]+)\b", query)
        assert named, (name, query)
        assert set(named) <= known.keys(), (name, query)


def test_dashboards_select_and_group_by_labels_that_their_metrics_have(repository: Path) -> None:
    from_scraping = {"instance"}  # what a job is called is for whoever scrapes to say
    known = series()

    for name, query in queries(repository):
        allowed = from_scraping.union(*(known[each] for each in re.findall(r"\bfarandole_[a-z_]+\b", query)))
        grouped = [part.strip() for inside in re.findall(r"\bby \(([^)]*)\)", query) for part in inside.split(",")]
        selected = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query)
        assert {*grouped, *selected} <= allowed, (name, query, {*grouped, *selected} - allowed)


def test_rate_of_success_is_0_while_everything_fails_and_what_a_user_cancels_is_no_failure(repository: Path) -> None:
    """No run had succeeded, so that there was no series to sum, and the panel was empty when it mattered most."""
    rates = [query for _, query in queries(repository) if 'outcome=~"succeeded|partial"' in query]

    assert len(rates) == 3
    for query in rates:
        assert re.search(r'\(sum\(.*"succeeded\|partial"\}\[\w+\]\)\) or vector\(0\)\) / sum\(', query), query
        assert 'outcome!="cancelled"' in query, query


def test_dashboard_says_nothing_of_homes_and_partitions_where_nobody_is_there_to_tell(repository: Path) -> None:
    """`or vector(0)` was green while no coordinator ran at all."""
    gauges = {metric.name for metric in METRICS if metric.kind is Kind.GAUGE}
    of_gauges = [query for _, query in queries(repository) if gauges & {*re.findall(r"\bfarandole_[a-z_]+\b", query)}]

    assert of_gauges
    assert not [query for query in of_gauges if "vector(" in query]


def test_page_on_watching_names_only_metrics_that_there_are(repository: Path) -> None:
    page = (repository / "docs/how-to/metrics.md").read_text()

    named = set(re.findall(r"\bfarandole_[a-z_]+\b", page))

    assert named
    assert named <= series().keys()


def test_every_measure_of_an_orchestrator_is_on_a_dashboard(repository: Path) -> None:
    asked = " ".join(query for _, query in queries(repository))
    answering = {f"M{n}": [metric.name for metric in METRICS if metric.answers == f"M{n}"] for n in range(1, 10)}

    missing = [name for name, metrics in answering.items() if not any(metric in asked for metric in metrics)]

    assert not missing


def test_dashboards_find_our_processes_by_what_they_say_and_not_by_the_name_of_a_job(repository: Path) -> None:
    of_processes = [query for _, query in queries(repository) if "process_cpu" in query or "process_resident" in query]

    assert len(of_processes) == 3
    for query in of_processes:
        assert "and on (instance) farandole_process_info" in query, query
        assert "job" not in query, query
