"""Check the fields of one row: type, range, code. What fails is refused with a reason and counted.

A reason names the field and the expectation, so that rows refused for the same reason add up;
the value that was found goes into the example. Knows nothing of files and of the framework.
"""

import math
import re
from collections.abc import Iterable, Mapping

from flights_records import Refused

ORIGINS = ("EWR", "JFK", "LGA")
"""The airports of New York: Newark, Kennedy, La Guardia."""

CARRIERS: Mapping[str, str] = {
    "9E": "Endeavor Air",
    "AA": "American Airlines",
    "AS": "Alaska Airlines",
    "B6": "JetBlue Airways",
    "DL": "Delta Air Lines",
    "EV": "ExpressJet Airlines",
    "F9": "Frontier Airlines",
    "FL": "AirTran Airways",
    "HA": "Hawaiian Airlines",
    "MQ": "Envoy Air",
    "OO": "SkyWest Airlines",
    "UA": "United Air Lines",
    "US": "US Airways",
    "VX": "Virgin America",
    "WN": "Southwest Airlines",
    "YV": "Mesa Airlines",
}
"""The carriers that flew from New York in 2013. Source: `airlines.csv` of the data's package."""

_EXAMPLE_CHARS_MAX = 200  # an example is shown to a person, and one bad field can be a whole file


class RowRefused(ValueError):
    """This row breaks an expectation; `reason` is the same for all rows that break it so."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(f"{reason}, found {found}")
        self.reason = reason
        self.found = found


class Refusals:
    """Refused rows counted by reason, each with its first example."""

    def __init__(self) -> None:
        self._counted: dict[str, Refused] = {}

    def add(self, line: int, refused: RowRefused) -> None:
        """Count one row; `line` is its 1-based line in the file."""
        example = f"line {line}: found {refused.found}"[:_EXAMPLE_CHARS_MAX]
        before = self._counted.get(refused.reason, Refused(refused.reason, 0, example))
        self._counted[refused.reason] = Refused(before.reason, before.rows + 1, before.example)

    def listed(self) -> list[Refused]:
        """All reasons, most rows first."""
        return by_rows(self._counted.values())


def by_rows(refused: Iterable[Refused]) -> list[Refused]:
    """Most rows first, then by reason, so that equal input gives equal output."""
    return sorted(refused, key=lambda each: (-each.rows, each.reason))


def fields(columns: tuple[str, ...], row: list[str]) -> dict[str, str]:
    """The row's fields by column."""
    if len(row) != len(columns):
        raise RowRefused(f"row: expected {len(columns)} fields", str(len(row)))
    return dict(zip(columns, row, strict=True))


def whole(row: Mapping[str, str], field: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    text = row[field]
    if re.fullmatch(r"-?[0-9]{1,9}", text) and low <= int(text) <= high:
        return int(text)
    raise RowRefused(f"{field}: expected a whole number from {low} to {high}", repr(text))


def decimal(row: Mapping[str, str], field: str, low: float, high: float) -> float:
    """A finite number from `low` to `high`."""
    text = row[field]
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if low <= number <= high:  # false for nan
        return number
    raise RowRefused(f"{field}: expected a number from {low:g} to {high:g}", repr(text))


def clock(row: Mapping[str, str], field: str) -> int:
    """A local time written hhmm without leading zeros, as minutes after midnight; 2400 is allowed."""
    text = row[field]
    if re.fullmatch(r"[0-9]{1,4}", text) and int(text) % 100 < 60 and int(text) <= 2400:
        return int(text) // 100 * 60 + int(text) % 100
    raise RowRefused(f"{field}: expected a time hhmm from 0 to 2400", repr(text))


def one_of(row: Mapping[str, str], field: str, allowed: Iterable[str], noun: str) -> str:
    """One of the `allowed` codes; `noun` says in the reason what they are."""
    text = row[field]
    if text in allowed:
        return text
    raise RowRefused(f"{field}: expected {noun}", repr(text))


def airport(row: Mapping[str, str], field: str) -> str:
    """An airport code: three capital letters (IATA)."""
    text = row[field]
    if re.fullmatch(r"[A-Z]{3}", text):
        return text
    raise RowRefused(f"{field}: expected an airport code of three capital letters", repr(text))


def only_if(row: Mapping[str, str], field: str, given: bool, condition: str) -> bool:
    """Whether `field` has a value, which it must have exactly when `given`."""
    if (row[field] != "") == given:
        return given
    verb = "a value" if given else "no value"
    raise RowRefused(f"{field}: expected {verb} {condition}", repr(row[field]))
