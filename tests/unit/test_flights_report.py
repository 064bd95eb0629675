"""The month's report: every sum equals the whole, and writing it twice changes nothing."""

import csv
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FLIGHTS = Path(__file__).parents[2] / "agents" / "flights"
sys.path.insert(0, str(FLIGHTS))  # as the loader does for a unit: its modules import their siblings by name

records: ModuleType = importlib.import_module("flights_records")
files = importlib.import_module("flights_files")
cleaning = importlib.import_module("flights_clean")
weather = importlib.import_module("flights_weather")
reporting = importlib.import_module("flights_report")
text = importlib.import_module("flights_head")

GROUPINGS = ("by_carrier", "by_origin", "by_hour", "by_visibility")


def month_of(home: Path, month: int) -> tuple[list[Any], list[Any]]:
    """A month's cleaned days and their weather."""
    days = files.extract(home, month)
    return [cleaning.clean(day) for day in days], [weather.join_weather(day) for day in days]


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[list[Any], list[Any]]]:
    """Both months, read once for all tests here."""
    home = tmp_path_factory.mktemp("flights")
    return {month: month_of(home, month) for month in (1, 2)}


@pytest.fixture(scope="module")
def january(months: dict[int, tuple[list[Any], list[Any]]]) -> Any:
    """January's report."""
    return reporting.summarise(*months[1])


@pytest.fixture(scope="module")
def february(months: dict[int, tuple[list[Any], list[Any]]]) -> Any:
    """February's report."""
    return reporting.summarise(*months[2])


def test_report_of_january_has_27004_flights_and_521_cancelled(january: Any) -> None:
    assert (january.month, january.days, january.rows) == ("2013-01", 31, 27_004)
    assert (january.total.flights, january.total.cancelled, january.total.diverted()) == (27_004, 521, 85)
    assert january.refused == []
    assert (january.weather_rows, january.weather_refused) == (2_226, [])


def test_report_of_february_has_24951_flights_and_1261_cancelled(february: Any) -> None:
    assert (february.month, february.days, february.rows) == ("2013-02", 28, 24_951)
    assert (february.total.flights, february.total.cancelled, february.total.diverted()) == (24_951, 1_261, 79)
    assert february.refused == []


def test_report_of_february_counts_the_one_reading_that_cannot_be(february: Any) -> None:
    assert february.weather_rows == 2_010
    assert february.weather_refused == [
        records.Refused("wind_speed: expected a number from 0 to 231", 1, "2013-02-12, line 5: found '1048.36058'")
    ]


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_every_grouping_sums_to_the_whole(january: Any, february: Any, grouping: str) -> None:
    for report in (january, february):
        total = records.NOTHING
        for group in getattr(report, grouping):
            total = total.plus(group.tally)

        assert total == report.total


def test_mean_delay_of_january_equals_the_mean_over_the_rows_themselves(january: Any, tmp_path: Path) -> None:
    delays = []
    for day in files.extract(tmp_path, 1):
        with (Path(day.folder) / day.flights.name).open(newline="") as rows:
            delays += [int(row["dep_delay"]) for row in csv.DictReader(rows) if row["dep_delay"]]

    assert len(delays) == january.total.departed
    assert january.total.dep_delay_mean_min() == pytest.approx(sum(delays) / len(delays))


def test_visibility_joins_each_slot_with_its_own_station_and_hour() -> None:
    one = records.Tally(1, 0, 1, 0, 7, 1, 3)
    slots = [records.Slot("EWR", 6, one), records.Slot("EWR", 7, one), records.Slot("JFK", 6, one)]
    flights = records.Cleaned("2013-01-05", 3, one.plus(one).plus(one), [], [], slots)
    readings = [records.Reading("EWR", 6, 0.5), records.Reading("JFK", 6, 10.0), records.Reading("LGA", 7, 2.0)]

    report = reporting.summarise([flights], [records.DayWeather("2013-01-05", 3, [], readings)])

    assert [group.key for group in report.by_visibility] == ["under 1 mi", "10 mi or more", "unknown"]
    assert [group.tally for group in report.by_visibility] == [one] * 3


def test_summarise_adds_up_refused_rows_by_reason_with_the_first_days_example() -> None:
    days = [
        records.Cleaned(f"2013-01-0{n}", n, records.NOTHING, [records.Refused("why", n, "line 2")], [], [])
        for n in (1, 2)
    ]

    report = reporting.summarise(days, [records.DayWeather(day.date, 0, [], []) for day in days])

    assert report.refused == [records.Refused("why", 3, "2013-01-01, line 2")]
    assert report.rows == 3


def test_summarise_of_different_days_is_refused(months: dict[int, tuple[list[Any], list[Any]]]) -> None:
    flights, readings = months[1]

    for bad in ((flights, readings[1:]), (flights, readings[::-1]), ([], [])):
        with pytest.raises(ValueError, match="expected the same days of one month twice"):
            reporting.summarise(*bad)


def test_summarise_of_two_months_is_refused(months: dict[int, tuple[list[Any], list[Any]]]) -> None:
    flights, readings = (months[1][part] + months[2][part] for part in (0, 1))

    with pytest.raises(ValueError, match="No report was made"):
        reporting.summarise(flights, readings)


def test_archive_twice_is_one_archive_and_rewrites_nothing(january: Any, tmp_path: Path) -> None:
    first = reporting.archive(january, tmp_path)
    stamps = {path: path.stat().st_ino for path in (tmp_path / "archive").iterdir()}

    second = reporting.archive(january, tmp_path)

    assert second == first
    assert {path: path.stat().st_ino for path in (tmp_path / "archive").iterdir()} == stamps
    assert sorted(map(str, stamps)) == sorted([first.csv_path, first.json_path])
    assert first.sha256[:12] in Path(first.json_path).name


def test_archive_of_another_report_keeps_the_first(january: Any, tmp_path: Path) -> None:
    first = reporting.archive(january, tmp_path)
    second = reporting.archive(replace(january, rows=january.rows + 1), tmp_path)

    assert first.json_path != second.json_path
    assert len(list((tmp_path / "archive").iterdir())) == 4


def test_archive_of_a_damaged_copy_puts_it_right(january: Any, tmp_path: Path) -> None:
    archived = reporting.archive(january, tmp_path)
    Path(archived.json_path).write_text("cut")

    reporting.archive(january, tmp_path)

    assert Path(archived.json_path).read_bytes() == reporting.to_json(january)


def test_publish_puts_the_latest_report_under_the_months_name(january: Any, tmp_path: Path) -> None:
    reporting.publish(replace(january, rows=0), tmp_path)

    published = reporting.publish(january, tmp_path)

    assert Path(published.json_path) == reporting.published_path(tmp_path, "2013-01")
    assert json.loads(Path(published.json_path).read_bytes())["rows"] == 27_004
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == [
        "nightly-2013-01.csv",
        "nightly-2013-01.json",
    ]


def test_json_and_csv_say_the_same(february: Any) -> None:
    document = json.loads(reporting.to_json(february))
    rows = list(csv.DictReader(reporting.to_csv(february).decode().splitlines()))

    assert document["total"]["cancelled"] == 1_261
    assert rows[0]["by"] == "total"
    assert rows[0]["key"] == "2013-02"
    groups = [document["total"], *(group for name in GROUPINGS for group in document[name])]
    figures = [name for name in rows[0] if name not in ("by", "key")]
    assert [[row[name] for name in figures] for row in rows] == [
        ["" if group[name] is None else str(group[name]) for name in figures] for group in groups
    ]


def test_head_says_totals_and_groups_within_100_columns(january: Any, february: Any) -> None:
    heads = [text.head(january), text.head(february)]

    assert all(len(line) <= 100 for head in heads for line in head.splitlines())
    assert "Flights that left New York, January 2013" in heads[0]
    assert "  27,004 flights " in heads[0]
    assert "     521 cancelled  1.9 %" in heads[0]
    assert "   1,261 cancelled  5.1 %" in heads[1]
    assert "1 refused: wind_speed: expected a number from 0 to 231" in heads[1]
    for name in ("ExpressJet Airlines", "EWR", "JFK", "LGA", "under 1 mi", "unknown", "hour"):
        assert name in heads[0]


def test_head_leaves_out_carriers_with_a_handful_of_flights(january: Any) -> None:
    assert "OO" in [group.key for group in january.by_carrier]
    assert "SkyWest" not in text.head(january)


def test_head_of_an_empty_report_has_no_means() -> None:
    empty = records.Report("2013-01", 0, 0, records.NOTHING, [], 0, [], [], [], [], [])

    assert "- min behind schedule" in text.head(empty)
