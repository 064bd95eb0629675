"""Check one day's flights row by row and tally them by carrier, origin and hour.

No row is dropped: it is a flight that departed, a flight that was cancelled, or a refused row
with its reason. Knows nothing of weather and of the framework.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flights_files import DamagedInput, read_rows
from flights_records import NOTHING, Cleaned, Day, Group, Slot, Tally
from flights_rows import CARRIERS, ORIGINS, Refusals, RowRefused, airport, clock, fields, one_of, only_if, whole

COLUMNS = (
    "day",
    "dep_time",
    "sched_dep_time",
    "dep_delay",
    "arr_time",
    "sched_arr_time",
    "arr_delay",
    "carrier",
    "flight",
    "origin",
    "dest",
    "air_time",
    "distance",
)

LATE_MIN = 15  # source: US Department of Transportation, Air Travel Consumer Report
EARLY_MAX_MIN = -180  # nothing leaves three hours early; the year's extreme is -86
DELAY_MAX_MIN = 1_500  # a day and an hour: whatever is later flies as another flight; the year's extreme is 1,301
FLIGHT_NUMBER_MAX = 9_999  # flight numbers have four digits
AIR_TIME_MAX_MIN = 1_140  # the longest scheduled flight of 2013, Newark to Singapore, took under 19 hours
DISTANCE_MAX_MI = 10_000  # the same flight covered 9,500 miles
DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True)
class Flight:
    """What the tallies need of one valid row; delays in minutes, None where there is none."""

    carrier: str
    origin: str
    hour: int
    dep_delay_min: int | None
    arr_delay_min: int | None

    def tally(self) -> Tally:
        """This flight alone as a tally."""
        departed, arrived = self.dep_delay_min is not None, self.arr_delay_min is not None
        return Tally(
            flights=1,
            cancelled=int(not departed),
            departed=int(departed),
            late=int((self.dep_delay_min or 0) >= LATE_MIN),
            dep_delay_sum_min=self.dep_delay_min or 0,
            arrived=int(arrived),
            arr_delay_sum_min=self.arr_delay_min or 0,
        )


def clean(day: Day) -> Cleaned:
    """One day's flights, checked and tallied.

    Raises:
        DamagedInput: the file is not what was laid out.
    """
    header, *rows = read_rows(day.folder, day.flights)
    if tuple(header) != COLUMNS:
        raise DamagedInput(f"{day.flights.name}: expected columns {COLUMNS}, found {header}. The day was not read.")
    refusals = Refusals()
    flights: list[Flight] = []
    lines_by_key: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(rows, start=2):
        try:
            given = fields(COLUMNS, row)
            flight = parse(given, day.date)
            _once(lines_by_key, given, line)
            flights.append(flight)
        except RowRefused as refused:
            refusals.add(line, refused)
    return _tallied(day.date, len(rows), flights, refusals)


def parse(row: Mapping[str, str], date: str) -> Flight:
    """One row as a flight.

    Raises:
        RowRefused: a field breaks its expectation, or two fields contradict each other.
    """
    today = int(date[-2:])
    whole(row, "day", today, today)
    scheduled = clock(row, "sched_dep_time")
    clock(row, "sched_arr_time")
    whole(row, "flight", 1, FLIGHT_NUMBER_MAX)
    whole(row, "distance", 1, DISTANCE_MAX_MI)
    airport(row, "dest")
    return Flight(
        carrier=one_of(row, "carrier", CARRIERS, "a known carrier"),
        origin=one_of(row, "origin", ORIGINS, "an airport of New York"),
        hour=scheduled // 60 % 24,
        dep_delay_min=_departure(row, scheduled),
        arr_delay_min=_arrival(row),
    )


def _departure(row: Mapping[str, str], scheduled: int) -> int | None:
    """Departure delay; None for a cancelled flight, which has no departure time."""
    departed = row["dep_time"] != ""
    condition = "of a flight that departed" if departed else "of a cancelled flight"
    only_if(row, "dep_delay", departed, condition)
    if not departed:
        only_if(row, "arr_time", False, condition)
        return None
    delay = whole(row, "dep_delay", EARLY_MAX_MIN, DELAY_MAX_MIN)
    if (clock(row, "dep_time") - scheduled - delay) % DAY_MIN:
        found = f"{row['dep_time']} for {row['sched_dep_time']} with delay {delay}"
        raise RowRefused("dep_delay: expected dep_time minus sched_dep_time", found)
    return delay


def _arrival(row: Mapping[str, str]) -> int | None:
    """Arrival delay; None for a flight that was cancelled or diverted."""
    if row["arr_time"] != "":
        clock(row, "arr_time")
    else:
        only_if(row, "arr_delay", False, "without arr_time")
    if not only_if(row, "air_time", row["arr_delay"] != "", "exactly when there is arr_delay"):
        return None
    whole(row, "air_time", 1, AIR_TIME_MAX_MIN)
    return whole(row, "arr_delay", EARLY_MAX_MIN, DELAY_MAX_MIN)


def _once(lines_by_key: dict[tuple[str, ...], int], row: Mapping[str, str], line: int) -> None:
    """Refuse the second row of one flight: counted twice, it would be two."""
    key = tuple(row[name] for name in ("carrier", "flight", "origin", "sched_dep_time"))
    first = lines_by_key.setdefault(key, line)
    if first != line:
        raise RowRefused("row: expected each flight once", f"{' '.join(key)} as on line {first}")


def _tallied(date: str, rows: int, flights: Iterable[Flight], refusals: Refusals) -> Cleaned:
    total = NOTHING
    carriers: dict[str, Tally] = {}
    slots: dict[tuple[str, int], Tally] = {}
    for flight in flights:
        one, slot = flight.tally(), (flight.origin, flight.hour)
        total = total.plus(one)
        carriers[flight.carrier] = carriers.get(flight.carrier, NOTHING).plus(one)
        slots[slot] = slots.get(slot, NOTHING).plus(one)
    return Cleaned(
        date=date,
        rows=rows,
        total=total,
        refused=refusals.listed(),
        by_carrier=[Group(key, carriers[key]) for key in sorted(carriers)],
        by_slot=[Slot(origin, hour, slots[origin, hour]) for origin, hour in sorted(slots)],
    )
