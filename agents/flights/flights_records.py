"""The records that travel between the agents of the flights pipeline.

Plain frozen dataclasses of plain types, so that each of them has an Avro schema. Delays travel
as sums and counts, never as means: only those can be added up over days. Knows nothing of files,
of CSV and of the framework.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DayFile:
    """One file of the working copy, as it was laid out: what a reader must find, or refuse."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Day:
    """One day to work on: `date` is ISO, `folder` holds the two files."""

    date: str
    folder: str
    flights: DayFile
    weather: DayFile


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts and sums over a group of flights; `flights == cancelled + departed`.

    `arrived` counts the flights whose arrival delay is known: one that was diverted has departed
    and never arrived. `late` counts departures of 15 minutes or more after schedule.
    Source of the 15 minutes: US Department of Transportation, Air Travel Consumer Report.
    """

    flights: int
    cancelled: int
    departed: int
    late: int
    dep_delay_sum_min: int
    arrived: int
    arr_delay_sum_min: int

    def plus(self, other: "Tally") -> "Tally":
        """The tally of both groups together."""
        return Tally(
            flights=self.flights + other.flights,
            cancelled=self.cancelled + other.cancelled,
            departed=self.departed + other.departed,
            late=self.late + other.late,
            dep_delay_sum_min=self.dep_delay_sum_min + other.dep_delay_sum_min,
            arrived=self.arrived + other.arrived,
            arr_delay_sum_min=self.arr_delay_sum_min + other.arr_delay_sum_min,
        )

    def dep_delay_mean_min(self) -> float | None:
        """Mean departure delay of those that departed; None if none did."""
        return self.dep_delay_sum_min / self.departed if self.departed else None

    def arr_delay_mean_min(self) -> float | None:
        """Mean arrival delay of those that arrived; None if none did."""
        return self.arr_delay_sum_min / self.arrived if self.arrived else None

    def diverted(self) -> int:
        """Flights that departed and have no arrival delay."""
        return self.departed - self.arrived


NOTHING = Tally(0, 0, 0, 0, 0, 0, 0)
"""The tally of no flights: where every sum starts."""


@dataclass(frozen=True, slots=True)
class Group:
    """The tally of the flights that share `key`: a carrier, an origin, an hour, a visibility."""

    key: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Slot:
    """The tally of one origin in one scheduled local hour (0 to 23): the key weather joins on."""

    origin: str
    hour: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows refused for one reason, with the first of them as an example."""

    reason: str
    rows: int
    example: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """One day's flights, checked and tallied: `rows` is `total.flights` plus all refused rows."""

    date: str
    rows: int
    total: Tally
    refused: list[Refused]
    by_carrier: list[Group]
    by_slot: list[Slot]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one airport's station saw in one local hour; visibility in statute miles, 10 at most."""

    origin: str
    hour: int
    visibility_mi: float


@dataclass(frozen=True, slots=True)
class DayWeather:
    """One day's readings of all stations in one table, at most one for each origin and hour."""

    date: str
    rows: int
    refused: list[Refused]
    readings: list[Reading]


@dataclass(frozen=True, slots=True)
class Report:
    """One month: every row is in `total` or in `refused`, and each grouping sums to `total`."""

    month: str
    days: int
    rows: int
    total: Tally
    refused: list[Refused]
    weather_rows: int
    weather_refused: list[Refused]
    by_carrier: list[Group]
    by_origin: list[Group]
    by_hour: list[Group]
    by_visibility: list[Group]


@dataclass(frozen=True, slots=True)
class Archived:
    """Where a report was put for good; the name carries the checksum of the JSON."""

    json_path: str
    csv_path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Published:
    """Where readers find the month's current report."""

    json_path: str
    csv_path: str
