"""Add up the days of a month, join them with the weather, and write the report.

The report depends on its input alone (no clock, no host), so that writing it twice writes the
same bytes under the same names. Knows nothing of CSV input and of the framework.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from flights_files import write_atomically
from flights_records import NOTHING, Archived, Cleaned, DayWeather, Group, Published, Refused, Report, Tally
from flights_rows import by_rows
from flights_weather import BUCKETS, bucket


def summarise(flights: list[Cleaned], weather: list[DayWeather]) -> Report:
    """The month's report; both lists hold the same days in the same order.

    Raises:
        ValueError: the days differ, are of several months, or there are none.
    """
    dates = [day.date for day in flights]
    if not dates or dates != [day.date for day in weather] or len({date[:7] for date in dates}) > 1:
        found = f"flights of {dates} and weather of {[day.date for day in weather]}"
        raise ValueError(f"summarise: expected the same days of one month twice, found {found}. No report was made.")
    pairs = list(zip(flights, weather, strict=True))
    slots = [slot for day in flights for slot in day.by_slot]
    seen = [group for day, readings in pairs for group in _by_visibility(day, readings)]
    return Report(
        month=dates[0][:7],
        days=len(flights),
        rows=sum(day.rows for day in flights),
        total=_sum(day.total for day in flights),
        refused=_refused([(day.date, each) for day in flights for each in day.refused]),
        weather_rows=sum(day.rows for day in weather),
        weather_refused=_refused([(day.date, each) for day in weather for each in day.refused]),
        by_carrier=_grouped(group for day in flights for group in day.by_carrier),
        by_origin=_grouped(Group(slot.origin, slot.tally) for slot in slots),
        by_hour=_grouped(Group(f"{slot.hour:02}", slot.tally) for slot in slots),
        by_visibility=sorted(_grouped(seen), key=lambda group: BUCKETS.index(group.key)),
    )


def archive(report: Report, home: Path) -> Archived:
    """Put the report where it stays: the name is its content's, so a second time changes nothing."""
    content = to_json(report)
    sha256 = hashlib.sha256(content).hexdigest()
    paths = _write(home.absolute() / "archive" / f"nightly-{report.month}-{sha256[:12]}", content, to_csv(report))
    return Archived(*paths, sha256)


def publish(report: Report, home: Path) -> Published:
    """Put the report where readers look for the month, in place of an earlier one."""
    return Published(*_write(published_path(home, report.month).with_suffix(""), to_json(report), to_csv(report)))


def published_path(home: Path, month: str) -> Path:
    """Where the JSON of a month, such as `2013-01`, is published; the CSV lies beside it."""
    return home.absolute() / "reports" / f"nightly-{month}.json"


def to_json(report: Report) -> bytes:
    """The report with its means beside the sums they come from."""
    document = asdict(report)
    document["total"] = _figures(report.total)
    for name in ("by_carrier", "by_origin", "by_hour", "by_visibility"):
        groups: list[Group] = getattr(report, name)
        document[name] = [{"key": group.key, **_figures(group.tally)} for group in groups]
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"


def to_csv(report: Report) -> bytes:
    """The report as one long table: the first two columns say which group a row is about."""
    listed = [
        ("total", Group(report.month, report.total)),
        *(("carrier", group) for group in report.by_carrier),
        *(("origin", group) for group in report.by_origin),
        *(("hour", group) for group in report.by_hour),
        *(("visibility", group) for group in report.by_visibility),
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["by", "key", *_figures(NOTHING)])
    writer.writerows([by, group.key, *_figures(group.tally).values()] for by, group in listed)
    return text.getvalue().encode("utf-8")


def _by_visibility(day: Cleaned, weather: DayWeather) -> list[Group]:
    """A day's slots by what their origin's station saw in their hour."""
    seen = {(reading.origin, reading.hour): reading.visibility_mi for reading in weather.readings}
    return [Group(bucket(seen.get((slot.origin, slot.hour))), slot.tally) for slot in day.by_slot]


def _grouped(groups: Iterable[Group]) -> list[Group]:
    """One group for each key, in the order of the keys."""
    tallies: dict[str, Tally] = {}
    for group in groups:
        tallies[group.key] = tallies.get(group.key, NOTHING).plus(group.tally)
    return [Group(key, tallies[key]) for key in sorted(tallies)]


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = NOTHING
    for tally in tallies:
        total = total.plus(tally)
    return total


def _refused(dated: list[tuple[str, Refused]]) -> list[Refused]:
    """Refused rows of all days by reason; the example is the first day's."""
    summed: dict[str, Refused] = {}
    for date, each in dated:
        before = summed.get(each.reason, Refused(each.reason, 0, f"{date}, {each.example}"))
        summed[each.reason] = Refused(each.reason, before.rows + each.rows, before.example)
    return by_rows(summed.values())


def _figures(tally: Tally) -> dict[str, int | float | None]:
    dep, arr = tally.dep_delay_mean_min(), tally.arr_delay_mean_min()
    return {
        **asdict(tally),
        "diverted": tally.diverted(),
        "dep_delay_mean_min": None if dep is None else round(dep, 2),
        "arr_delay_mean_min": None if arr is None else round(arr, 2),
    }


def _write(stem: Path, as_json: bytes, as_csv: bytes) -> tuple[str, str]:
    """Write both forms; a file that already has the content is left alone."""
    paths = (stem.parent / f"{stem.name}.json", stem.parent / f"{stem.name}.csv")
    for path, content in zip(paths, (as_json, as_csv), strict=True):
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)
    return str(paths[0]), str(paths[1])
