"""The head of a report as text for a terminal of 100 columns.

Pure: a report in, a string out. Knows nothing of colours, files and the framework.
"""

from collections.abc import Iterable
from datetime import date
from itertools import zip_longest

from flights_records import Group, Refused, Report, Tally
from flights_rows import CARRIERS

COLUMNS = 100
CARRIERS_SHOWN = 11  # as many lines as origins and visibilities take beside them
CARRIER_FLIGHTS_SHARE_MIN = 0.01  # a mean over a handful of flights says nothing about a carrier
REFUSED_SHOWN = 3
CARRIER_CHARS, PLACE_CHARS, GAP_CHARS, BAR_CHARS = 20, 14, 3, 6
LEFT_CHARS = CARRIER_CHARS + len(" flights cancelled delay ") + BAR_CHARS + GAP_CHARS
STEPS = "▁▂▃▄▅▆▇█"


def head(report: Report) -> str:
    """Totals, the carriers with the longest delays, delays by origin, visibility and hour."""
    left = _table("carrier", _carriers(report), CARRIER_CHARS)
    right = [
        *_table("origin", report.by_origin, PLACE_CHARS),
        "",
        *_table("visibility", report.by_visibility, PLACE_CHARS),
    ]
    beside = [f"{a:<{LEFT_CHARS}}{b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]
    return "\n".join([*_totals(report), "", *beside, "", *_hours(report)])


def _totals(report: Report) -> list[str]:
    total = report.total
    refused, weather_refused = (sum(each.rows for each in rows) for rows in (report.refused, report.weather_refused))
    facts = [
        (total.flights, "flights", f"on {report.days} days; {report.rows:,} rows read, {refused:,} refused"),
        (total.cancelled, "cancelled", f"{_share(total.cancelled, total.flights)}, without departure time"),
        (total.departed, "departed", f"{_mean(total)} min behind schedule on average"),
        (total.late, "late", f"{_share(total.late, total.departed)} of them, by 15 min or more"),
        (total.diverted(), "diverted", "departed, without arrival delay"),
        (report.weather_rows, "readings", f"of the weather, {weather_refused:,} refused"),
    ]
    width = max(len(f"{number:,}") for number, _, _ in facts)
    title = f"Flights that left New York, {date.fromisoformat(f'{report.month}-01'):%B %Y}"
    lines = [f"  {number:>{width},} {noun:<10} {text}" for number, noun, text in facts]
    return [title, "─" * len(title), *lines, *_refused([*report.refused, *report.weather_refused])]


def _refused(refused: list[Refused]) -> list[str]:
    """The first reasons, one line each."""
    lines = [f"  {each.rows:,} refused: {each.reason} ({each.example})" for each in refused[:REFUSED_SHOWN]]
    return [line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…" for line in lines]


def _carriers(report: Report) -> list[Group]:
    """The carriers with the longest mean delays, longest first, by their names."""
    least = report.total.flights * CARRIER_FLIGHTS_SHARE_MIN
    large = [group for group in report.by_carrier if group.tally.flights >= least]
    large.sort(key=lambda group: (-_delay(group.tally), group.key))
    return [Group(CARRIERS.get(group.key, group.key), group.tally) for group in large[:CARRIERS_SHOWN]]


def _table(noun: str, groups: Iterable[Group], name_chars: int) -> list[str]:
    """One line a group: name, flights, share cancelled, mean departure delay in minutes with a bar."""
    listed = list(groups)
    most = max((_delay(group.tally) for group in listed), default=0.0)
    lines = [f"{noun:<{name_chars}}{'flights':>8}{'cancelled':>10}{'delay':>6}"]
    lines.extend(
        f"{group.key[: name_chars - 1]:<{name_chars}}{group.tally.flights:>8,}"
        f"{_share(group.tally.cancelled, group.tally.flights):>10}{_mean(group.tally):>6} "
        f"{_bar(_delay(group.tally), most)}".rstrip()
        for group in listed
    )
    return lines


def _hours(report: Report) -> list[str]:
    """Mean departure delay by scheduled hour, in figures and as a row of small columns."""
    delays = [_delay(group.tally) for group in report.by_hour]
    most = max([*delays, 0.0]) or 1.0
    steps = [STEPS[round(max(delay, 0.0) / most * (len(STEPS) - 1))] * 2 for delay in delays]
    rows = {
        "hour": [group.key for group in report.by_hour],
        "delay, min": [f"{delay:.0f}" for delay in delays],
        "": steps,
    }
    return [f"{name:<14}" + "".join(f"{cell:>4}" for cell in cells) for name, cells in rows.items()]


def _delay(tally: Tally) -> float:
    return tally.dep_delay_mean_min() or 0.0


def _mean(tally: Tally) -> str:
    mean = tally.dep_delay_mean_min()
    return "-" if mean is None else f"{mean:.1f}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _bar(value: float, most: float) -> str:
    return "█" * round(max(value, 0.0) / most * BAR_CHARS) if most > 0 else ""
