"""The table of invariants says what there is; and every predicate has been seen to find something."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from farandole.testing.history.check import PREDICATES
from farandole.testing.simulation.checks import CHECKS, OF_HISTORIES
from farandole.testing.simulation.outcome import STUCK

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "explanation" / "invariants.md"
NOT_YET = {"I18", "I19"}
"""Of features that do not exist."""

HUNT = """
import sys, pytest
from farandole.testing.history import check
seen, plain = set(), check._named
def note(violation, judge):
    seen.add(judge.__name__)
    return plain(violation, judge)
check._named = note
options = ["-q", "-p", "no:cacheprovider", "-p", "no:farandole", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
code = pytest.main([*options, *sys.argv[1:]])
print("FOUND", *sorted(seen))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def rows() -> Mapping[str, tuple[list[str], list[str]]]:
    """Predicates and checks by invariant, as the table has them."""
    found = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and re.fullmatch(r"[IL]\d+", cells[0]):
            found[cells[0]] = re.findall(r"`(\w+)`", cells[2]), re.findall(r"`(\w+)`", cells[3])
    return found


def test_the_table_has_every_invariant_with_predicates(rows: Mapping[str, tuple[list[str], list[str]]]) -> None:
    assert list(rows) == [*(f"I{n}" for n in range(1, 21)), "L1"]
    assert {name for name, (predicates, _) in rows.items() if not predicates} == NOT_YET


def test_the_table_maps_predicates_as_their_docstrings_do(rows: Mapping[str, tuple[list[str], list[str]]]) -> None:
    said = {(name, each) for name, (predicates, _) in rows.items() if name != "L1" for each in predicates}

    documented = {
        (name, judge.__name__)
        for judge in PREDICATES
        for name in re.findall(r"I\d+", (judge.__doc__ or "").partition(":")[0])
    }
    assert said == documented
    assert {judge.__name__ for judge in PREDICATES} == {name for _, name in documented}


def test_the_table_names_checks_of_the_simulation_that_exist(
    rows: Mapping[str, tuple[list[str], list[str]]],
) -> None:
    named = {each for _, checks in rows.values() for each in checks}

    assert named <= {check.__name__ for check in (*CHECKS, *OF_HISTORIES)} | {STUCK}
    assert STUCK in rows["L1"][1]


def test_every_predicate_finds_something_in_the_unit_tests_of_the_checker() -> None:
    files = sorted(
        str(path) for path in Path(__file__).parent.glob("test_history_*.py") if path.name != Path(__file__).name
    )

    told = subprocess.run([sys.executable, "-c", HUNT, *files], cwd=ROOT, capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stdout
    found = set(told.stdout.rpartition("FOUND ")[2].split())
    assert {judge.__name__ for judge in PREDICATES} - found == set()
