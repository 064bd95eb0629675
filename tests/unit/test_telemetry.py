"""Measures, their text form, and when a process calls itself alive and ready."""

import ast
import inspect
from collections.abc import Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from farandole.errors import ConfigError
from farandole.runtime import inbound
from farandole.telemetry.catalogue import METRICS, QUARANTINED, Kind, Metric
from farandole.telemetry.exposition import Exposition
from farandole.telemetry.health import Pulse
from farandole.telemetry.measures import LABELS_MAX, Distribution, Totals
from farandole.telemetry.samples import plain
from farandole.telemetry.settings import parse_address

COUNTER = Metric("things_total", Kind.COUNTER, "Things.", ("kind",))
SPREAD = Metric("waits_seconds", Kind.HISTOGRAM, "Waits.", ("kind",))
LEVEL = Metric("level", Kind.GAUGE, "How high.")


def read(text: bytes) -> dict[tuple[str, ...], float]:
    """Samples by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_totals_beyond_the_bound_go_to_other_and_nothing_is_lost() -> None:
    totals = Totals()

    for n in range(LABELS_MAX + 50):
        totals.add((f"p{n}", "x"))
        totals.add((f"p{n}", "x"), 2.0)

    assert sum(totals.values.values()) == 3 * (LABELS_MAX + 50)
    assert totals.values["other", "other"] == 150
    assert len(totals.values) == LABELS_MAX + 1


def test_distribution_puts_a_value_on_a_bound_below_it() -> None:
    spread = Distribution((1.0, 2.0))

    for value in (0.5, 1.0, 1.5, 7.0):
        spread.observe(value, ("x",))

    assert spread.copy() == {("x",): [2, 1, 1, 10.0]}


def test_distribution_beyond_the_bound_goes_to_other() -> None:
    spread = Distribution((1.0,))

    for n in range(LABELS_MAX + 5):
        spread.observe(0.5, (str(n),))

    assert spread.cells["other",] == [5, 0, 2.5]


def test_exposition_is_read_by_a_prometheus_parser_as_it_was_counted() -> None:
    totals, spread = Totals(), Distribution((1.0, 2.0))
    totals.add(('a"b\nc',), 3)
    for value in (0.5, 1.5, 9.0):
        spread.observe(value, ("x",))

    found = read(Exposition([lambda: [(COUNTER, totals.copy()), (SPREAD, spread), plain(LEVEL, 7)]]).text())

    assert found["things_total", 'a"b\nc'] == 3
    assert found["level",] == 7
    buckets = {key[-1]: value for key, value in found.items() if key[0] == "waits_seconds_bucket"}
    assert buckets == {"1.0": 1, "2.0": 2, "+Inf": 3}
    assert (found["waits_seconds_sum", "x"], found["waits_seconds_count", "x"]) == (11.0, 3)


def test_exposition_measures_at_each_scrape_and_not_before() -> None:
    scrapes: list[int] = []

    def source() -> Sequence[tuple[Metric, dict[tuple[str, ...], float]]]:
        scrapes.append(1)
        return [(LEVEL, {(): float(len(scrapes))})]

    exposition = Exposition([source])
    assert scrapes == []

    assert [read(exposition.text())["level",] for _ in range(2)] == [1.0, 2.0]


def test_every_declared_metric_follows_the_naming_rules() -> None:
    for metric in METRICS:
        assert metric.name.startswith("farandole_"), metric
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric
        assert bool(metric.bounds) == (metric.kind is Kind.HISTOGRAM), metric
        assert metric.text.endswith("."), metric
        assert not {"run", "run_id", "item", "key", "slot", "offset"} & set(metric.labels), metric


def test_every_measure_of_an_orchestrator_is_answered() -> None:
    answered = {metric.answers for metric in METRICS}

    assert answered >= {f"M{n}" for n in range(1, 10)}


def test_process_without_a_step_for_too_long_is_not_live_and_says_since_when() -> None:
    now = [100.0]
    pulse = Pulse(lambda: now[0], live_within_s=30)
    pulse.beat(list)

    now[0] += 30
    assert (pulse.not_live(), pulse.not_ready()) == ((), ())
    now[0] += 1

    (reason,) = pulse.not_live()
    assert "31 s ago" in reason
    assert pulse.not_ready() == (reason,)


def test_process_is_not_ready_before_its_loop_said_so() -> None:
    pulse = Pulse(lambda: 0.0)

    assert pulse.not_live() == ()
    assert pulse.not_ready() == ("the loop has not begun",)


def test_loop_is_asked_for_its_reasons_now_and_then_only() -> None:
    now, asked = [0.0], [0]

    def unready() -> list[str]:
        asked[0] += 1
        return ["tables"]

    pulse = Pulse(lambda: now[0])
    for _ in range(1000):
        now[0] += 0.001
        pulse.beat(unready)

    assert asked[0] == 2
    assert pulse.not_ready() == ("tables",)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("127.0.0.1:9464", ("127.0.0.1", 9464)), (":0", ("", 0)), ("[::1]:80", ("::1", 80)), ("box:1", ("box", 1))],
)
def test_address_is_host_and_port(text: str, parsed: tuple[str, int]) -> None:
    assert parse_address(text) == parsed


@pytest.mark.parametrize("text", ["", "9464", "box", "box:", "box:http", "box:70000", "::1:80", "box:-1"])
def test_address_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT such as"):
        parse_address(text)


def test_reasons_of_quarantine_are_known_to_the_metrics() -> None:
    """One that is not begins with its first record, whose increase nobody sees."""
    calls = [each for each in ast.walk(ast.parse(inspect.getsource(inbound))) if isinstance(each, ast.Call)]
    given = [each.args[1] for each in calls if getattr(each.func, "id", "") == "_quarantine"]

    reasons = {each.value for each in given if isinstance(each, ast.Constant)}

    assert {"unreadable", "no_run", "unknown"} <= reasons <= set(QUARANTINED.words)
