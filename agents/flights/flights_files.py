"""The working copy: the months of the repository laid out as one plain CSV file a day.

A manifest says of each file how many rows and which checksum it has, and `extract` hands that on
with the day, so that whoever reads a file later notices that it was cut short or changed.
Files are replaced whole or not at all. Knows nothing of what the rows mean.
"""

import csv
import gzip
import hashlib
import json
import os
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path

from flights_records import Day, DayFile

DATA = Path(__file__).with_name("data")
"""The months the repository carries; `data/make_data.py` makes the others."""

YEAR = 2013
MANIFEST = "manifest.json"


class UnknownMonth(ValueError):
    """The repository has no data for this month, and no retry will bring it."""


class DamagedInput(Exception):
    """A file is not what was laid out; once it is repaired, the same attempt succeeds."""


def months_available(data: Path = DATA) -> list[int]:
    """Months that can be laid out, in order."""
    return sorted(int(path.name[-9:-7]) for path in data.glob(f"flights-{YEAR}-[01][0-9].csv.gz"))


def extract(home: Path, month: int, data: Path = DATA) -> list[Day]:
    """The days of a month, laid out first if there is no working copy of it yet.

    An existing working copy is taken as it is, damaged days included: finding that is for their readers.

    Raises:
        UnknownMonth: the repository has no data for `month`, and nobody laid it out.
        DamagedInput: the manifest cannot be read.
    """
    folder = _folder(home, month)
    if not (folder / MANIFEST).exists():
        return prepare(home, month, data)
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["days"]
        return [Day(day["date"], str(folder), DayFile(**day["flights"]), DayFile(**day["weather"])) for day in listed]
    except (ValueError, TypeError, KeyError) as error:
        place = f"{folder.name}/{MANIFEST}"
        raise DamagedInput(f"{place}: expected a list of days, found {error!r}. No day was listed.") from error


def prepare(home: Path, month: int, data: Path = DATA) -> list[Day]:
    """Lay out every day of a month afresh, in whatever state the working copy was.

    Raises:
        UnknownMonth: the repository has no data for `month`.
    """
    flights, weather = _split("flights", month, data), _split("weather", month, data)
    folder = _folder(home, month)
    folder.mkdir(parents=True, exist_ok=True)
    days = [
        Day(
            date=_date(month, number),
            folder=str(folder),
            flights=_lay(folder, "flights", month, number, flights),
            weather=_lay(folder, "weather", month, number, weather),
        )
        for number in sorted(set(flights) - {0})
    ]
    listed = [{name: value for name, value in asdict(day).items() if name != "folder"} for day in days]
    # Last, so that a manifest never speaks of files that are not there yet.
    write_atomically(folder / MANIFEST, json.dumps({"days": listed}, indent=1).encode() + b"\n")
    return days


def repair(home: Path, month: int, day: int, data: Path = DATA) -> Path:
    """Lay out one day's flights again; the file is then what the manifest says."""
    folder = _folder(home, month)
    return folder / _lay(folder, "flights", month, day, _split("flights", month, data)).name


def truncate(home: Path, month: int, day: int) -> Path:
    """Cut one day's flights to half their bytes, as a full disk or a broken copy would."""
    path = _folder(home, month) / _name("flights", month, day)
    content = path.read_bytes()
    write_atomically(path, content[: len(content) // 2])
    return path


def read_rows(folder: str, file: DayFile) -> list[list[str]]:
    """The rows of a file, its header first, once the file is known to be whole.

    Raises:
        DamagedInput: the file is missing, has other rows than were laid out, or other content.
    """
    path = Path(folder) / file.name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DamagedInput(_damage(path, file, "no file")) from None
    fault = _fault(content, file)
    if fault:
        raise DamagedInput(_damage(path, file, fault))
    return list(csv.reader(content.decode("utf-8").splitlines()))


def describe(path: Path) -> DayFile:
    """A file as its manifest entry: the header is no row."""
    content = path.read_bytes()
    return DayFile(path.name, _rows(content), hashlib.sha256(content).hexdigest())


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file whole: readers see the old content or the new, never a part of either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _fault(content: bytes, file: DayFile) -> str | None:
    """What is wrong with this content, as found; None if it is what was laid out."""
    rows = _rows(content)
    if rows != file.rows:
        cut = "" if content.endswith(b"\n") else " and a last line cut short"
        return f"{rows} rows{cut}"
    found = hashlib.sha256(content).hexdigest()
    return None if found == file.sha256 else f"{rows} rows with sha256 {found[:12]}"


def _damage(path: Path, file: DayFile, found: str) -> str:
    place = f"{path.parent.name}/{path.name}"
    expected = f"{file.rows} rows with sha256 {file.sha256[:12]}"
    return f"{place}: expected {expected}, found {found}. The day was not read; repair the file, then replay."


def _rows(content: bytes) -> int:
    """Complete lines below the header: a line that was cut short is not a row."""
    return max(content.count(b"\n") - 1, 0)


def _split(kind: str, month: int, data: Path) -> dict[int, str]:
    """A month's lines by day of the month, each text with its header; the header alone is day 0.

    `day` is the first column and no field holds a comma, so the text is cut and never rewritten.
    """
    archive = data / f"{kind}-{YEAR}-{month:02}.csv.gz"
    if month not in months_available(data):
        have = ", ".join(map(str, months_available(data))) or "none"
        raise UnknownMonth(
            f"month: expected one of {have} of {YEAR}, found {month}. Nothing was laid out; "
            "data/make_data.py --year makes the whole year from its package."
        )
    header, *lines = gzip.decompress(archive.read_bytes()).decode("utf-8").splitlines(keepends=True)
    days: dict[int, list[str]] = {0: [header]}
    for line in lines:
        days.setdefault(int(line.partition(",")[0]), [header]).append(line)
    return {day: "".join(texts) for day, texts in days.items()}


def _lay(folder: Path, kind: str, month: int, day: int, texts: dict[int, str]) -> DayFile:
    """Write one day's file; a day without a reading gets the header alone."""
    path = folder / _name(kind, month, day)
    write_atomically(path, texts.get(day, texts[0]).encode("utf-8"))
    return describe(path)


def _folder(home: Path, month: int) -> Path:
    return home.absolute() / f"{YEAR}-{month:02}"


def _name(kind: str, month: int, day: int) -> str:
    return f"{kind}-{_date(month, day)}.csv"


def _date(month: int, day: int) -> str:
    return date(YEAR, month, day).isoformat()
