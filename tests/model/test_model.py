"""The protocol as a model that spin checks exhaustively: it holds, each guard is needed, each state can be reached.

`make model` checks the larger sizes and prints what it counted; docs/explanation/model.md keeps the figures.
"""

import atexit
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "protocol.pml"
LARGE = os.environ.get("FARANDOLE_MODEL") == "large"

pytestmark = pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("gcc") is None,
    reason="spin or gcc is missing: apt-get install spin gcc",
)

STILL = ("NO_STOPPING",)
"""Retries and the join, without deadlines and cancellation."""

ONE_FAILS = ("FAILING=B",)
"""Everything, but only B can fail."""

SIZES = [("REBALANCES=2", *STILL), ("REBALANCES=1", *ONE_FAILS)]
LARGE_SIZES = [("REBALANCES=4", *STILL), ("REBALANCES=2", *ONE_FAILS), ("REBALANCES=1",)]
"""6 to 60 s each on an idle core."""

GUARDS = {
    "NO_FENCE": STILL,
    "NO_FIRED": STILL,
    "NO_ATOMICITY": STILL,
    "FOLD_MARKERS": ONE_FAILS,
    "NO_STATE": STILL,
    "STALE_STATE": STILL,
    "SETTLE_EARLY": ONE_FAILS,
}
ONE_RESULT = "(ok[s]<=1)"
ONE_TRIGGER_B = "(trig[(((1*2)+out_b)-1)]==1)"
ONE_TRIGGER_C = "(trig[(((2*2)+out_c)-1)]==1)"
VIOLATED = {
    "NO_FENCE": ONE_RESULT,
    "NO_FIRED": ONE_TRIGGER_B,
    "NO_ATOMICITY": ONE_RESULT,
    "FOLD_MARKERS": "((k_deadline_at==0)||((k_deadline_at-1)<o))",
    "NO_STATE": ONE_TRIGGER_C,
    "STALE_STATE": ONE_TRIGGER_C,
    "SETTLE_EARLY": "!(c_settled)",
}
"""The claim that each guard holds up, as the verifier writes it: another one that fails is another bug."""

NUMBERS = {
    name: int(number)
    for name, number in re.findall(r"#define (\w+) +(\d) +/\* ", MODEL.read_text().partition("#if WITHOUT")[0])
}

STATES = {
    "reach_join": STILL,
    "reach_retry": STILL,
    "reach_left_out": STILL,
    "reach_zombie": STILL,
    "reach_marker_twice": ONE_FAILS,
    "reach_late": ONE_FAILS,
    "reach_settled": ONE_FAILS,
}


@dataclass(frozen=True, slots=True)
class Search:
    """What spin's verifier said."""

    errors: int
    states: int
    seconds: float
    is_whole: bool
    text: str


@cache
def verifier(defines: tuple[str, ...], *, claims: bool, fair: bool, large: bool) -> Path:
    """The folder with the compiled verifier of a size, made once; small searches are not worth optimising."""
    folder = Path(tempfile.mkdtemp(prefix="farandole-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copy(MODEL, folder)
    _run(["spin", *(f"-D{each}" for each in defines), "-a", MODEL.name], folder)
    flags = ["-DNFAIR=3"] if fair else ["-DSAFETY"]
    flags += [] if claims else ["-DNOCLAIM"]
    _run(["gcc", "-O2" if large else "-O0", "-w", "-DCOLLAPSE", *flags, "-o", "pan", "pan.c"], folder)
    return folder


def search(defines: tuple[str, ...], *, claim: str = "", fair: bool = False, large: bool = False) -> Search:
    """Search all of the model, or until the first error."""
    folder = verifier(defines, claims=bool(claim), fair=fair, large=large)
    wanted = ["-a", "-f"] if fair else []
    told = _run(["./pan", "-m200000", *wanted, *(["-N", claim] if claim else [])], folder)
    states = re.search(r"([\d.e+]+) states, stored", told)
    errors = re.search(r"errors: (\d+)", told)
    seconds = re.search(r"elapsed time ([\d.]+)", told)
    assert states, told
    assert errors, told
    is_whole = "Search not completed" not in told and "max search depth too small" not in told
    spent = float(seconds[1]) if seconds else 0.0
    found = Search(int(errors[1]), int(float(states[1])), spent, is_whole, told)
    print(f"{' '.join(defines)} {claim}: {found.states} states, {found.seconds} s, {found.errors} errors")
    return found


def _run(command: list[str], folder: Path) -> str:
    limit = 3600 if LARGE else 110
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("defines", LARGE_SIZES if LARGE else SIZES, ids=" ".join)
def test_the_protocol_holds_whatever_the_order(defines: tuple[str, ...]) -> None:
    found = search(defines, large=True)

    assert found.errors == 0, found.text
    assert found.is_whole, found.text


def test_a_run_ends_whatever_happens_once_rebalances_have_an_end() -> None:
    found = search(("REBALANCES=2" if LARGE else "REBALANCES=1", *STILL), claim="live", fair=True)

    assert found.errors == 0, found.text
    assert found.is_whole, found.text


@pytest.mark.parametrize("guard", GUARDS)
def test_without_this_guard_there_is_a_counter_example(guard: str) -> None:
    found = search((f"WITHOUT={NUMBERS[guard]}", "REBALANCES=2", *GUARDS[guard]))

    assert found.errors == 1, found.text
    violated = re.search(r"assertion violated +(.*) \(at depth", found.text)
    assert violated, found.text
    assert violated[1] == VIOLATED[guard], found.text


def test_without_timers_in_the_state_a_run_may_wait_for_ever() -> None:
    defines = (f"WITHOUT={NUMBERS['MEMORY_TIMERS']}", "REBALANCES=1", *STILL)

    found = search(defines, claim="live", fair=True)

    assert found.errors == 1, found.text
    assert "acceptance cycle" in found.text


@pytest.mark.parametrize("state", STATES)
def test_this_state_can_be_reached(state: str) -> None:
    """A model in which nothing can go wrong proves nothing: an earlier one held without its fence."""
    rebalances = "REBALANCES=1" if STATES[state] == ONE_FAILS else "REBALANCES=2"

    found = search(("REACH", rebalances, *STATES[state]), claim=state)

    assert found.errors == 1, found.text


def test_every_guard_of_the_model_is_removed_by_a_test() -> None:
    assert NUMBERS.keys() == GUARDS.keys() | {"MEMORY_TIMERS"}
