"""The flights pipeline: one month of flights from New York, their delays against the visibility.

Only what the framework needs to know stands here: agents, their retries, and the graph. The work
is done in the plain modules beside this file. Reads `FLIGHTS_HOME`, the folder of the working
copy and the reports (default `.farandole/flights` below the folder the process started in).
"""

import os
from pathlib import Path

import flights_clean
import flights_files
import flights_report
import flights_weather
from flights_records import Archived, Cleaned, Day, DayWeather, Published, Report

from farandole import Retry, TerminalStepError, agent, pipeline


def home() -> Path:
    """Where this pipeline reads and writes; the same folder for all processes of the unit."""
    return Path(os.environ.get("FLIGHTS_HOME") or Path(".farandole", "flights"))


@agent(timeout="1m")
def extract(month: int) -> list[Day]:
    """List the days of the month; the working copy is laid out if it is not there yet."""
    try:
        return flights_files.extract(home(), month)
    except flights_files.UnknownMonth as error:
        raise TerminalStepError(str(error)) from error


@agent(timeout="30s", retry=Retry(attempts=3, base="200ms", cap="2s"))
def clean(day: Day) -> Cleaned:
    """Check and tally one day's flights. A damaged file may be replaced meanwhile, so it is retried."""
    return flights_clean.clean(day)


@agent(timeout="30s", retry=Retry(attempts=3, base="200ms", cap="2s"))
def join_weather(day: Day) -> DayWeather:
    """Join one day's readings of the three stations."""
    return flights_weather.join_weather(day)


@agent(timeout="1m")
def summarise(flights: list[Cleaned], weather: list[DayWeather]) -> Report:
    """Add up the days and set the delays against the visibility."""
    return flights_report.summarise(flights, weather)


@agent(timeout="1m")
def archive(report: Report) -> Archived:
    """Put the report where it stays, under its checksum."""
    return flights_report.archive(report, home())


@agent(timeout="1m")
def publish(report: Report) -> Published:
    """Put the report where readers look for it."""
    return flights_report.publish(report, home())


@pipeline(owner="data@example.org", deadline="1h")
def nightly(month: int) -> Report:
    """One month's report: archived first, then published."""
    days = extract(month)
    report = summarise(clean.map(days), join_weather.map(days))
    publish.after(archive(report))(report)
    return report
