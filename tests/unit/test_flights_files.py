"""The flights' working copy: laid out from the repository's months, damaged, refused, repaired."""

import gzip
import hashlib
import importlib
import json
import re
import sys
from pathlib import Path

import pytest

FLIGHTS = Path(__file__).parents[2] / "agents" / "flights"
sys.path.insert(0, str(FLIGHTS))  # as the loader does for a unit: its modules import their siblings by name

files = importlib.import_module("flights_files")


def test_provenance_checksums_and_counts_equal_the_files_in_the_repository() -> None:
    table = (FLIGHTS / "data" / "PROVENANCE.md").read_text(encoding="utf-8")
    stated = re.findall(r"^\| `(\S+\.csv\.gz)` \| ([0-9,]+) \| `([0-9a-f]{64})` \|$", table, re.MULTILINE)

    found = []
    for name, _, _ in stated:
        content = gzip.decompress((FLIGHTS / "data" / name).read_bytes())
        found.append((name, f"{len(content.splitlines()) - 1:,}", hashlib.sha256(content).hexdigest()))

    assert found == stated
    assert [name for name, _, _ in found] == [
        "flights-2013-01.csv.gz",
        "flights-2013-02.csv.gz",
        "weather-2013-01.csv.gz",
        "weather-2013-02.csv.gz",
    ]


def test_archives_carry_no_time_and_no_name() -> None:
    headers = [path.read_bytes()[:8] for path in (FLIGHTS / "data").glob("*.csv.gz")]

    assert all(header[3] == 0 and header[4:8] == bytes(4) for header in headers)


@pytest.mark.parametrize(("month", "days", "flights"), [(1, 31, 27_004), (2, 28, 24_951)])
def test_prepare_lays_out_every_day_and_every_row_of_a_month(
    tmp_path: Path, month: int, days: int, flights: int
) -> None:
    laid = files.prepare(tmp_path, month)

    assert [day.date for day in laid] == [f"2013-{month:02}-{number:02}" for number in range(1, days + 1)]
    assert sum(day.flights.rows for day in laid) == flights
    assert all(files.describe(Path(day.folder) / day.flights.name) == day.flights for day in laid)
    assert all(files.describe(Path(day.folder) / day.weather.name) == day.weather for day in laid)


def test_prepare_twice_leaves_the_same_files(tmp_path: Path) -> None:
    files.prepare(tmp_path, 2)
    first = {path.name: path.read_bytes() for path in (tmp_path / "2013-02").iterdir()}

    files.prepare(tmp_path, 2)

    assert {path.name: path.read_bytes() for path in (tmp_path / "2013-02").iterdir()} == first
    assert len(first) == 2 * 28 + 1


def test_extract_without_working_copy_lays_it_out(tmp_path: Path) -> None:
    days = files.extract(tmp_path, 2)

    assert days == files.extract(tmp_path, 2)
    assert (tmp_path / "2013-02" / files.MANIFEST).exists()


def test_extract_of_a_damaged_working_copy_lists_the_day_and_leaves_the_damage(tmp_path: Path) -> None:
    laid = files.prepare(tmp_path, 2)
    damaged = files.truncate(tmp_path, 2, 3)
    content = damaged.read_bytes()

    days = files.extract(tmp_path, 2)

    assert days == laid
    assert damaged.read_bytes() == content


def test_extract_with_a_broken_manifest_names_the_file(tmp_path: Path) -> None:
    files.prepare(tmp_path, 2)
    (tmp_path / "2013-02" / files.MANIFEST).write_text("{")

    with pytest.raises(files.DamagedInput, match=r"^2013-02/manifest\.json: expected a list of days, found "):
        files.extract(tmp_path, 2)


@pytest.mark.parametrize("month", [-1, 0, 3, 12, 13, 10**9])
def test_a_month_without_data_is_refused_and_nothing_is_written(tmp_path: Path, month: int) -> None:
    data, home = tmp_path / "data", tmp_path / "home"
    data.mkdir()
    home.mkdir()
    for name in ("flights-2013-01.csv.gz", "flights-2013-02.csv.gz"):  # not those a whole year may have added
        (data / name).write_bytes((FLIGHTS / "data" / name).read_bytes())

    with pytest.raises(files.UnknownMonth) as refusal:
        files.extract(home, month, data)

    assert str(refusal.value) == (
        f"month: expected one of 1, 2 of 2013, found {month}. Nothing was laid out; "
        "data/make_data.py --year makes the whole year from its package."
    )
    assert list(home.iterdir()) == []


def test_a_truncated_file_is_refused_with_expected_and_found_rows(tmp_path: Path) -> None:
    day = files.prepare(tmp_path, 1)[16]
    whole = (tmp_path / "2013-01" / "flights-2013-01-17.csv").read_bytes()
    damaged = files.truncate(tmp_path, 1, 17)

    with pytest.raises(files.DamagedInput) as refusal:
        files.read_rows(day.folder, day.flights)

    assert damaged.name == "flights-2013-01-17.csv"
    assert whole.startswith(damaged.read_bytes())
    found = damaged.read_bytes().count(b"\n") - 1
    assert found < day.flights.rows
    assert str(refusal.value) == (
        f"2013-01/flights-2013-01-17.csv: expected {day.flights.rows} rows with sha256 {day.flights.sha256[:12]}, "
        f"found {found} rows and a last line cut short. The day was not read; repair the file, then replay."
    )


def test_a_file_cut_at_the_end_of_a_line_is_refused(tmp_path: Path) -> None:
    day = files.prepare(tmp_path, 1)[0]
    path = Path(day.folder) / day.flights.name
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    with pytest.raises(files.DamagedInput, match=f"found {day.flights.rows - 1} rows\\. "):
        files.read_rows(day.folder, day.flights)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    day = files.prepare(tmp_path, 1)[0]
    (Path(day.folder) / day.flights.name).write_bytes(b"")

    with pytest.raises(files.DamagedInput, match="found 0 rows and a last line cut short"):
        files.read_rows(day.folder, day.flights)


def test_a_changed_file_with_all_its_rows_is_refused_by_its_checksum(tmp_path: Path) -> None:
    day = files.prepare(tmp_path, 1)[0]
    path = Path(day.folder) / day.flights.name
    path.write_bytes(path.read_bytes().replace(b"UA", b"AA", 1))

    with pytest.raises(files.DamagedInput, match=f"found {day.flights.rows} rows with sha256 [0-9a-f]{{12}}\\. "):
        files.read_rows(day.folder, day.flights)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    day = files.prepare(tmp_path, 1)[0]
    (Path(day.folder) / day.flights.name).unlink()

    with pytest.raises(files.DamagedInput, match="found no file"):
        files.read_rows(day.folder, day.flights)


def test_repair_of_a_truncated_day_restores_what_the_manifest_says(tmp_path: Path) -> None:
    day = files.prepare(tmp_path, 1)[16]
    files.truncate(tmp_path, 1, 17)

    path = files.repair(tmp_path, 1, 17)

    assert files.describe(path) == day.flights
    assert len(files.read_rows(day.folder, day.flights)) == day.flights.rows + 1
    assert files.extract(tmp_path, 1)[16] == day


def test_write_atomically_when_it_fails_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    files.write_atomically(path, b"old")

    with pytest.raises(TypeError):
        files.write_atomically(path, "not bytes")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_manifest_names_files_relative_to_its_folder(tmp_path: Path) -> None:
    files.prepare(tmp_path, 1)

    listed = json.loads((tmp_path / "2013-01" / files.MANIFEST).read_text())["days"]

    assert listed[4]["flights"]["name"] == "flights-2013-01-05.csv"
    assert listed[4]["weather"]["name"] == "weather-2013-01-05.csv"
    assert str(tmp_path) not in json.dumps(listed)
