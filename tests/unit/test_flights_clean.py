"""Cleaning a day: every row is a flight that departed, a cancelled one, or a refused row with its reason."""

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

FLIGHTS = Path(__file__).parents[2] / "agents" / "flights"
sys.path.insert(0, str(FLIGHTS))  # as the loader does for a unit: its modules import their siblings by name

records = importlib.import_module("flights_records")
files = importlib.import_module("flights_files")
cleaning = importlib.import_module("flights_clean")
weather = importlib.import_module("flights_weather")

INLINE_LIMIT_BYTES = 256 * 1024  # DESIGN section 4: above it a value becomes a claim check

VALID = {
    "day": "5",
    "dep_time": "1210",
    "sched_dep_time": "1200",
    "dep_delay": "10",
    "arr_time": "1430",
    "sched_arr_time": "1425",
    "arr_delay": "5",
    "carrier": "UA",
    "flight": "101",
    "origin": "EWR",
    "dest": "ORD",
    "air_time": "110",
    "distance": "719",
}
CANCELLED = {"dep_time": "", "dep_delay": "", "arr_time": "", "arr_delay": "", "air_time": ""}
DIVERTED = {"arr_delay": "", "air_time": ""}


def day_of(folder: Path, *rows: dict[str, str], readings: str = "") -> Any:
    """A day whose files are whole and hold just these rows."""
    lines = [",".join(cleaning.COLUMNS), *(",".join(row[name] for name in cleaning.COLUMNS) for row in rows)]
    (folder / "flights.csv").write_text("".join(f"{line}\n" for line in lines))
    (folder / "weather.csv").write_text(",".join(weather.COLUMNS) + "\n" + readings)
    laid = (files.describe(folder / name) for name in ("flights.csv", "weather.csv"))
    return records.Day("2013-01-05", str(folder), *laid)


def test_clean_of_january_counts_every_flight_and_every_cancelled_one(tmp_path: Path) -> None:
    days = [cleaning.clean(day) for day in files.extract(tmp_path, 1)]

    assert sum(day.rows for day in days) == 27_004
    assert sum(day.total.flights for day in days) == 27_004
    assert sum(day.total.cancelled for day in days) == 521
    assert sum(day.total.departed for day in days) == 27_004 - 521
    assert sum(day.total.diverted() for day in days) == 85
    assert [day.refused for day in days] == [[]] * 31


def test_clean_of_a_real_day_stays_far_below_the_inline_limit(tmp_path: Path) -> None:
    days = [cleaning.clean(day) for day in files.extract(tmp_path, 2)]

    sizes = [len(json.dumps(asdict(day))) for day in days]  # JSON is several times larger than Avro

    assert max(sizes) < INLINE_LIMIT_BYTES / 10


def test_clean_groups_by_carrier_and_by_slot_each_sum_to_the_total(tmp_path: Path) -> None:
    for day in files.extract(tmp_path, 2)[:5]:
        cleaned = cleaning.clean(day)

        for groups in (cleaned.by_carrier, cleaned.by_slot):
            total = records.NOTHING
            for group in groups:
                total = total.plus(group.tally)
            assert total == cleaned.total


def test_clean_of_a_truncated_day_is_refused_and_after_repair_succeeds(tmp_path: Path) -> None:
    day = files.extract(tmp_path, 1)[16]
    before = cleaning.clean(day)
    files.truncate(tmp_path, 1, 17)

    with pytest.raises(files.DamagedInput, match=f"expected {before.rows} rows"):
        cleaning.clean(day)
    files.repair(tmp_path, 1, 17)

    assert cleaning.clean(day) == before


def test_clean_counts_departed_cancelled_and_diverted_flights(tmp_path: Path) -> None:
    late = VALID | {"flight": "2", "dep_time": "15", "sched_dep_time": "2359", "dep_delay": "16"}
    day = day_of(tmp_path, VALID, late, VALID | CANCELLED | {"flight": "3"}, VALID | DIVERTED | {"flight": "4"})

    cleaned = cleaning.clean(day)

    assert cleaned.total == records.Tally(
        flights=4, cancelled=1, departed=3, late=1, dep_delay_sum_min=36, arrived=2, arr_delay_sum_min=10
    )
    assert [(slot.origin, slot.hour, slot.tally.flights) for slot in cleaned.by_slot] == [
        ("EWR", 12, 3),
        ("EWR", 23, 1),
    ]


@pytest.mark.parametrize(
    ("change", "reason", "found"),
    [
        ({"day": "6"}, "day: expected a whole number from 5 to 5", "'6'"),
        ({"dep_time": "1261"}, "dep_time: expected a time hhmm from 0 to 2400", "'1261'"),
        ({"dep_time": "2401"}, "dep_time: expected a time hhmm from 0 to 2400", "'2401'"),
        ({"dep_time": "noon"}, "dep_time: expected a time hhmm from 0 to 2400", "'noon'"),
        ({"sched_dep_time": ""}, "sched_dep_time: expected a time hhmm from 0 to 2400", "''"),
        ({"sched_arr_time": "99"}, "sched_arr_time: expected a time hhmm from 0 to 2400", "'99'"),
        ({"dep_delay": "1501"}, "dep_delay: expected a whole number from -180 to 1500", "'1501'"),
        ({"dep_delay": "1e1"}, "dep_delay: expected a whole number from -180 to 1500", "'1e1'"),
        (
            {"dep_delay": "11"},
            "dep_delay: expected dep_time minus sched_dep_time",
            "1210 for 1200 with delay 11",
        ),
        ({"dep_delay": ""}, "dep_delay: expected a value of a flight that departed", "''"),
        ({"dep_time": ""}, "dep_delay: expected no value of a cancelled flight", "'10'"),
        (
            CANCELLED | {"arr_time": "1430"},
            "arr_time: expected no value of a cancelled flight",
            "'1430'",
        ),
        ({"arr_time": ""}, "arr_delay: expected no value without arr_time", "'5'"),
        ({"arr_delay": ""}, "air_time: expected no value exactly when there is arr_delay", "'110'"),
        ({"air_time": ""}, "air_time: expected a value exactly when there is arr_delay", "''"),
        ({"air_time": "0"}, "air_time: expected a whole number from 1 to 1140", "'0'"),
        ({"arr_delay": "٥"}, "arr_delay: expected a whole number from -180 to 1500", "'٥'"),
        ({"carrier": "ZZ"}, "carrier: expected a known carrier", "'ZZ'"),
        ({"flight": "1_0"}, "flight: expected a whole number from 1 to 9999", "'1_0'"),
        ({"origin": "BOS"}, "origin: expected an airport of New York", "'BOS'"),
        ({"dest": "ord"}, "dest: expected an airport code of three capital letters", "'ord'"),
        ({"distance": "-1"}, "distance: expected a whole number from 1 to 10000", "'-1'"),
        ({"dest": "ORD,ORD"}, "row: expected 13 fields", "14"),
    ],
)
def test_clean_of_a_bad_row_counts_it_under_its_reason(
    tmp_path: Path, change: dict[str, str], reason: str, found: str
) -> None:
    day = day_of(tmp_path, VALID | {"flight": "1"}, VALID | change)

    cleaned = cleaning.clean(day)

    assert cleaned.refused == [records.Refused(reason, 1, f"line 3: found {found}")]
    assert cleaned.rows == 2
    assert cleaned.total.flights == 1


def test_clean_of_a_flight_listed_twice_counts_it_once_and_refuses_the_second(tmp_path: Path) -> None:
    cleaned = cleaning.clean(day_of(tmp_path, VALID, VALID))

    assert cleaned.total.flights == 1
    assert cleaned.refused == [
        records.Refused("row: expected each flight once", 1, "line 3: found UA 101 EWR 1200 as on line 2")
    ]


def test_clean_of_many_bad_rows_sends_each_reason_once_with_its_first_example(tmp_path: Path) -> None:
    bad = [VALID | {"carrier": "Z" * 1_000, "flight": str(n)} for n in range(1, 901)]

    cleaned = cleaning.clean(day_of(tmp_path, *bad, VALID, VALID | {"dest": "?"}))

    assert [(each.reason.partition(":")[0], each.rows) for each in cleaned.refused] == [("carrier", 900), ("dest", 1)]
    assert cleaned.refused[0].example.startswith("line 2: found 'ZZZ")
    assert cleaned.rows == cleaned.total.flights + 901
    assert len(json.dumps(asdict(cleaned))) < INLINE_LIMIT_BYTES / 100


def test_clean_of_other_columns_is_refused_whole(tmp_path: Path) -> None:
    day = day_of(tmp_path, VALID)
    path = tmp_path / "flights.csv"
    path.write_text(path.read_text().replace("dep_delay", "delay", 1))
    changed = records.Day(day.date, day.folder, files.describe(path), day.weather)

    with pytest.raises(files.DamagedInput, match=r"^flights\.csv: expected columns "):
        cleaning.clean(changed)


def test_join_weather_reads_no_flights_so_that_their_damage_is_one_dead_letter(tmp_path: Path) -> None:
    day = files.extract(tmp_path, 1)[16]
    before = weather.join_weather(day)
    files.truncate(tmp_path, 1, 17)

    assert weather.join_weather(day) == before


def test_join_weather_of_a_truncated_weather_file_is_refused(tmp_path: Path) -> None:
    day = files.extract(tmp_path, 1)[16]
    path = Path(day.folder) / day.weather.name
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(files.DamagedInput, match=r"weather-2013-01-17\.csv: expected .* cut short"):
        weather.join_weather(day)


def test_join_weather_gives_each_station_hour_once_and_refuses_what_no_station_can_see(tmp_path: Path) -> None:
    lines = ["5,1,JFK,,,,10", "5,1,EWR,50,5.7,0,0.25", "5,1,EWR,50,5.7,0,9", "5,2,EWR,50,1048.36058,0,10"]
    lines += ["5,3,EWR,50,5,0,nan", "5,24,EWR,50,5,0,10", "5,4,BOS,50,5,0,10", "5,4,EWR,50,5,0"]

    day = weather.join_weather(day_of(tmp_path, readings="".join(f"{line}\n" for line in lines)))

    assert day.rows == 8
    assert day.readings == [records.Reading("EWR", 1, 0.25), records.Reading("JFK", 1, 10.0)]
    assert {each.reason: each.example for each in day.refused} == {
        "hour: expected a whole number from 0 to 23": "line 7: found '24'",
        "origin: expected an airport of New York": "line 8: found 'BOS'",
        "row: expected 7 fields": "line 9: found 6",
        "row: expected one reading for each origin and hour": "line 4: found 5,1,EWR,50,5.7,0,9",
        "visib: expected a number from 0 to 10": "line 6: found 'nan'",
        "wind_speed: expected a number from 0 to 231": "line 5: found '1048.36058'",
    }


@pytest.mark.parametrize(
    ("visibility_mi", "expected"),
    [
        (0.0, "under 1 mi"),
        (0.99, "under 1 mi"),
        (1.0, "1 to 3 mi"),
        (3.0, "3 to 5 mi"),
        (5.0, "3 to 5 mi"),
        (5.1, "5 to 10 mi"),
        (10.0, "10 mi or more"),
        (None, "unknown"),
    ],
)
def test_bucket_of_a_visibility_is_its_flight_category(visibility_mi: float | None, expected: str) -> None:
    assert weather.bucket(visibility_mi) == expected
    assert expected in weather.BUCKETS
