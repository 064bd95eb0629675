"""The real loops on the simulated broker, with faults: seeds in a row, and what makes a failure readable.

`make sim` runs more of them, `make mutants` shows that they find what they are for.
"""

import fcntl
import logging
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from farandole.testing.simulation.__main__ import replay_command
from farandole.testing.simulation.coverage import GOALS
from farandole.testing.simulation.faults import CALL_FATES, kind_of
from farandole.testing.simulation.many import lived
from farandole.testing.simulation.outcome import Outcome, simulate
from farandole.testing.simulation.shrink import Shrinking
from farandole.testing.simulation.world import Part

SEEDS = range(800)
"""Some 60 to 90 ms of one core each; they are spread over the cores."""


# One worker lives through the seeds, once; how long that takes is the machine's to say, and decides nothing.
pytestmark = [pytest.mark.xdist_group("seeds"), pytest.mark.timeout(900)]


TOLD_AS = {
    "crash": "killed",
    "pause": "frozen",
    "leave": "told to end",
    "skew": "wall clock is wrong",
    "leap": "nobody moves",
    "deaf": "hears nothing of its group",
    "cut": "does not reach",
    "stall": "is not told how",
    "scale": "scaled",
    "rewind": "positions are those of",
    "forget": "comes back",
    **dict.fromkeys(CALL_FATES, "is befallen"),
}
"""How a trace tells of faults by kind. Late fetches, and what retention takes, are told in words of their own."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Faults are logged; here they are meant."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """Lived by the first worker that needs them, read by the others (pytest 9.2 takes no groups from xdist 3.8)."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return list(lived(SEEDS, os.cpu_count() or 1))
    kept = tmp_path_factory.getbasetemp().parent / "outcomes.pickle"
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(list(lived(SEEDS, os.cpu_count() or 1))))
    found: list[Outcome] = pickle.loads(kept.read_bytes())
    return found


@pytest.mark.timeout(900)
def test_runs_under_faults_end_and_leave_a_valid_history(outcomes: list[Outcome]) -> None:
    wrong = {each.seed: [str(finding) for finding in each.findings] for each in outcomes if each.findings}

    assert not wrong, f"replay one with `python -m farandole.testing.simulation --replay SEED`: {wrong}"


@pytest.mark.timeout(900)
def test_every_rare_state_was_met(outcomes: list[Outcome]) -> None:
    """A simulation in which nothing went wrong would prove nothing."""
    seen = sum((each.rare for each in outcomes), Counter[str]())

    assert {goal: seen[goal] for goal in GOALS if not seen[goal]} == {}


@pytest.mark.timeout(900)
def test_every_end_and_every_kind_of_fault_occurred(outcomes: list[Outcome]) -> None:
    ended = sum((each.ended for each in outcomes), Counter[str]())
    kinds = {name.partition("@")[0] for each in outcomes for name in each.faults}

    assert set(ended) == {"succeeded", "partial", "failed", "cancelled", "timed_out"}
    assert kinds == {
        *("crash", "pause", "leave", "skew", "leap", "deaf", "expire", "cut", "stall", "scale"),
        *("fetch", "lost", "reply", "late", "twice", "refused", "older", "rewind", "forget"),
    }


def test_a_seed_lived_twice_leaves_the_same_trace(outcomes: list[Outcome]) -> None:
    assert [simulate(seed).trace for seed in (3, 7)] == [outcomes[seed].trace for seed in (3, 7)]


def test_a_seed_leaves_the_same_trace_whatever_the_order_of_sets() -> None:
    """A trace is worth something only if another process leaves it too: names hash anew in each."""
    program = "from farandole.testing.simulation.outcome import simulate; print([simulate(n).trace for n in (5, 11)])"

    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in (1, 2)
    }

    assert len(told) == 1


def test_the_faults_of_a_seed_as_a_schedule_are_the_seed(outcomes: list[Outcome]) -> None:
    most = max(outcomes[:50], key=lambda each: len(each.faults))

    again = simulate(most.seed, Part(most.faults, most.runs))

    assert most.faults
    assert again.trace == most.trace


def test_a_part_of_a_seed_has_only_its_faults_and_runs(outcomes: list[Outcome]) -> None:
    most = max(outcomes[:50], key=lambda each: (len(each.runs), len(each.faults)))
    first = most.faults[0]

    part = simulate(most.seed, Part([first], most.runs[:1]))

    assert (part.faults, part.runs) == ((first,), most.runs[:1])
    assert sum(part.ended.values()) == 1


def test_a_failure_is_shrunken_and_its_command_tells_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A doubt taken for an abort (R4) doubles results; how small a part can get is a matter of the unit tests."""
    monkeypatch.setattr("farandole.runtime.committing.judge_all", lambda *_: False)
    failed = next(found for found in map(simulate, range(300)) if found.findings and len(found.faults) > 3)

    small = Shrinking(failed, most=40).run()

    assert failed.predicates[0] in small.predicates
    assert set(small.faults) < set(failed.faults)
    assert set(small.runs) <= set(failed.runs)
    lines: list[str] = []
    told = simulate(small.seed, Part(small.faults, small.runs), lines.append)
    assert told.findings == small.findings
    kinds = {kind_of(fault) for fault in small.faults} & TOLD_AS.keys()
    assert kinds
    assert all(any(TOLD_AS[kind] in line for line in lines) for kind in kinds)
    command = replay_command(small)
    assert f"--replay {small.seed}" in command
    assert small.faults[0] in command


def test_the_command_replays_a_seed_as_a_readable_trace() -> None:
    command = [sys.executable, "-m", "farandole.testing.simulation", "--replay", "2", "--faults", ""]

    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert any("RunStarted" in line for line in told)
    assert any("coordinator-0: begins" in line for line in told)
    assert told[-1].startswith(f"trace {simulate(2, Part(())).trace[:16]}, ")
