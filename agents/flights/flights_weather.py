"""Join one day's hourly readings of the three stations into one table, keyed as flights are.

Reads only the weather file: a day whose flights are damaged still has its weather, and the join
with the flights is made where both are known to be good. Knows nothing of the framework.
"""

from collections.abc import Mapping

from flights_files import DamagedInput, read_rows
from flights_records import Day, DayWeather, Reading
from flights_rows import ORIGINS, Refusals, RowRefused, decimal, fields, one_of, whole

COLUMNS = ("day", "hour", "origin", "temp", "wind_speed", "precip", "visib")

TEMP_MIN_F, TEMP_MAX_F = -80.0, 135.0  # beyond every temperature measured in the United States
WIND_MAX_MPH = 231.0  # the strongest wind measured in the United States (Mount Washington, 1934)
PRECIP_MAX_IN = 12.0  # the most rain in one hour measured in the United States (Holt, 1947)
VISIBILITY_MAX_MI = 10.0  # stations report nothing above: "10" is "10 or more"

BUCKETS = ("under 1 mi", "1 to 3 mi", "3 to 5 mi", "5 to 10 mi", "10 mi or more", "unknown")
"""Visibility in statute miles, poorest first.

The first four limits are the flight categories LIFR, IFR, MVFR and VFR of the US National Weather
Service: under 1, under 3, up to 5 and above 5.
"""


def join_weather(day: Day) -> DayWeather:
    """One day's readings, at most one for each origin and local hour.

    Raises:
        DamagedInput: the file is not what was laid out.
    """
    header, *rows = read_rows(day.folder, day.weather)
    if tuple(header) != COLUMNS:
        raise DamagedInput(f"{day.weather.name}: expected columns {COLUMNS}, found {header}. The day was not read.")
    refusals = Refusals()
    readings: dict[tuple[str, int], Reading] = {}
    for line, row in enumerate(rows, start=2):
        try:
            reading = parse(fields(COLUMNS, row), day.date)
            if (reading.origin, reading.hour) in readings:
                # Happens in the hour that is repeated when daylight saving ends.
                raise RowRefused("row: expected one reading for each origin and hour", ",".join(row))
            readings[reading.origin, reading.hour] = reading
        except RowRefused as refused:
            refusals.add(line, refused)
    return DayWeather(day.date, len(rows), refusals.listed(), [readings[key] for key in sorted(readings)])


def parse(row: Mapping[str, str], date: str) -> Reading:
    """One row as a reading. A station that reports an impossible value is not believed at all.

    Raises:
        RowRefused: a field breaks its expectation.
    """
    today = int(date[-2:])
    whole(row, "day", today, today)
    for field, low, high in (
        ("temp", TEMP_MIN_F, TEMP_MAX_F),
        ("wind_speed", 0.0, WIND_MAX_MPH),
        ("precip", 0.0, PRECIP_MAX_IN),
    ):
        if row[field] != "":
            decimal(row, field, low, high)
    return Reading(
        origin=one_of(row, "origin", ORIGINS, "an airport of New York"),
        hour=whole(row, "hour", 0, 23),
        visibility_mi=decimal(row, "visib", 0.0, VISIBILITY_MAX_MI),
    )


def bucket(visibility_mi: float | None) -> str:
    """The bucket of a visibility; None, where no station reported, is `unknown`."""
    match visibility_mi:
        case None:
            return "unknown"
        case miles if miles < 1:
            return "under 1 mi"
        case miles if miles < 3:
            return "1 to 3 mi"
        case miles if miles <= 5:
            return "3 to 5 mi"
        case miles if miles < VISIBILITY_MAX_MI:
            return "5 to 10 mi"
        case _:
            return "10 mi or more"
