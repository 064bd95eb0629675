"""The parts of the faults' harness that need no broker: orders to die, and the report."""

import random
import signal
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from farandole.client.query import StepRow
from farandole.client.waiting import Wait
from farandole.definition.loading import load_unit
from farandole.errors import ConfigError
from farandole.testing.broker import Broker
from farandole.testing.broker.handle import BrokerControl
from farandole.testing.chaos import Report, as_json, table, trial
from farandole.testing.chaos.crowds import quantile
from farandole.testing.chaos.definitions import WIRINGS, written
from farandole.testing.chaos.disk import Disk
from farandole.testing.chaos.dying import OFFSETS, PRODUCED, order
from farandole.testing.chaos.faults import judge_late_end
from farandole.testing.chaos.growth import Growth, Sample, growths
from farandole.testing.chaos.injection import Fault
from farandole.testing.chaos.late_end import Aftermath
from farandole.testing.chaos.operator import misses_an_inbox, misses_its_trigger
from farandole.testing.chaos.recovery import moves
from farandole.testing.chaos.report import from_json
from farandole.testing.chaos.stage import CANARY
from farandole.testing.cluster import wait_until

NONE = cast(BrokerControl, None)

GOOD = Report("F1", "kill", injected=2, hit=1, recoveries=[1.0, 3.0], runs=10, executions=1_000, reruns=2)

LOOK = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from farandole.clock import SystemClock
from farandole.testing.chaos.stepping import prepare_clock, set_wrong
orders = Path(sys.argv[1])
prepare_clock(orders)
for seconds in (None, 3600.0, -5.0, 0.0):
    if seconds is not None:
        set_wrong(orders, seconds)
    print((SystemClock().now() - datetime.now(UTC)).total_seconds())
"""

WALK = """
import sys
from pathlib import Path
from farandole.testing.chaos.dying import OFFSETS, PRODUCED, prepare, reach
prepare(Path(sys.argv[1]), Path("unused"))
reach(PRODUCED)
print("produced", flush=True)
reach(OFFSETS)
print("sent", flush=True)
"""


def walk(orders: Path) -> tuple[int, list[str]]:
    """A process that comes by two places; how it ended, and how far it had come."""
    ran = subprocess.run([sys.executable, "-c", WALK, str(orders)], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout.split()


def test_process_dies_at_the_place_that_was_ordered_and_its_heir_lives(tmp_path: Path) -> None:
    orders = tmp_path / "a1.orders"
    order(orders, OFFSETS)

    first, second = walk(orders), walk(orders)
    order(orders, PRODUCED)
    third = walk(orders)

    assert first == (-signal.SIGKILL, ["produced"])
    assert second == (0, ["produced", "sent"])
    assert third == (-signal.SIGKILL, [])


def test_report_is_good_only_if_something_was_injected_and_nothing_was_found() -> None:
    assert GOOD.is_good
    for bad in (
        {"injected": 0},
        {"lost": 1},
        {"stuck": 1},
        {"doubled": 1},
        {"violations": ["I5: …"]},
        {"trouble": "it did not come up"},
    ):
        assert not replace(GOOD, **bad).is_good, bad


def test_report_tells_quantiles_and_what_ran_again() -> None:
    """Of two recoveries the longer was told as their median, and of ten the longest as their 99th percentile."""
    assert Report("F1", "kill", recoveries=[9, 1]).recovery(0.5) == 5
    assert [GOOD.recovery(share) for share in (0.5, 0.99, 1.0)] == [2.0, None, 3.0]
    many = replace(GOOD, recoveries=[float(n) for n in range(101)])
    assert [many.recovery(share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert replace(GOOD, recoveries=[]).recovery(0.5) is None
    assert GOOD.reruns_per_million == 2_000
    assert "| F1 kill | 2 | 1 | 10 | 0 | 0 | 0 | 2000 | 2.0 / - / 3.0 |" in table([GOOD])
    assert "- F1: three were held" in table([replace(GOOD, notes=["three were held"])])
    assert "- **F1: stuck in the mud**" in table([replace(GOOD, trouble="stuck in the mud")])
    assert from_json(as_json([GOOD])) == [GOOD]


def test_aftermath_is_torn_if_effects_and_position_do_not_go_together() -> None:
    assert not Aftermath("committed", 1, ("1", "2"), 2).is_torn
    assert Aftermath("committed", 1, ("1", "2", "3"), 2).is_torn
    assert Aftermath("committed", 1, ("1", "2"), 3).is_torn


@pytest.mark.parametrize(
    ("after", "is_guarded", "is_good"),
    [
        (Aftermath("committed", 1, ("1", "2"), 2), True, True),
        (Aftermath("committed", 1, ("1", "2", "3"), 2), True, False),
        (Aftermath("committed", 1, ("1", "2", "3"), 2), False, True),
        (Aftermath("committed", 1, ("1", "2"), 2), False, False),
        (Aftermath("committed", 0, ("1", "2"), 2), True, False),
        (Aftermath("aborted", 1, ("1", "2"), 2), True, False),
    ],
)
def test_late_end_proves_something_only_if_it_was_held_and_its_transaction_committed(
    after: Aftermath, is_guarded: bool, is_good: bool
) -> None:
    """What was held was only summed: one that held nothing was as good as one that was not torn."""
    report = Report("F5", "late end", injected=1)

    judge_late_end(report, after, is_guarded=is_guarded)

    assert report.is_good is is_good


def test_disk_that_cannot_be_filled_for_another_reason_than_its_size_says_so(tmp_path: Path) -> None:
    """Every error counted as a full disk: one that was never mounted was as full as any."""
    with pytest.raises(FileNotFoundError):
        Disk(tmp_path / "nowhere", 1).fill()


def test_clock_of_a_process_is_as_wrong_as_it_is_told_and_right_again(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path / "c1.orders")], capture_output=True, text=True, check=True
    )
    found = [float(line) for line in ran.stdout.split()]

    assert [round(each, -1) for each in found[:2]] == [0, 3600]
    assert [round(each) for each in found[2:]] == [-5, 0]


def test_each_wiring_of_the_canary_is_a_definition_of_its_own(tmp_path: Path) -> None:
    found = [load_unit(written(tmp_path, n, wiring)).pipelines["canary"].definition for n, wiring in enumerate(WIRINGS)]

    assert len({str(each.hash) for each in found}) == len(WIRINGS)
    assert found[-1].hash == load_unit(CANARY).pipelines["canary"].definition.hash
    assert [sorted(each.steps) for each in found][1] == ["begin", "left", "meet", "right"]


@pytest.mark.parametrize(
    ("held", "is_given_up"),
    [
        ({"left": "suspected"}, True),
        ({"left": "suspected", "right": "succeeded"}, True),
        ({"meet": "suspected"}, False),
        ({"left": "dead"}, False),
        ({"left": "suspected", "meet": "dead"}, False),
        ({"left": "waiting"}, False),
    ],
)
def test_person_gives_up_only_runs_that_miss_a_trigger_in_a_damaged_inbox(
    held: dict[str, str], is_given_up: bool
) -> None:
    """Every run that was held was cancelled, and told of as one whose trigger had been deleted."""
    steps = [StepRow(name, name, status, 1, 0, 0, None) for name, status in held.items()]

    assert misses_its_trigger(steps, lambda agent: agent in ("left", "right")) is is_given_up


@pytest.mark.parametrize(
    ("kind", "text", "is_released"),
    [
        ("kernel_error", "RecordError: what follows cannot be written: _UNKNOWN_TOPIC: x.inbox.left: …", True),
        ("kernel_error", "RecordError: what follows cannot be written: _UNKNOWN_TOPIC: x.inbox.right: …", False),
        ("kernel_error", "ExpressionError: steps.left", False),
        ("agent", "attempt 1 is with agent x.inbox.left", False),
    ],
)
def test_operator_releases_only_runs_that_met_no_inbox(kind: str, text: str, is_released: bool) -> None:
    """They stayed held, and were told as stuck: their triggers had never been written."""
    assert misses_an_inbox([Wait(kind, text)], {"x.inbox.left"}) is is_released


def test_quantile_of_latencies() -> None:
    assert [quantile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99)] == [1.0, 2.0, 3.0]
    assert quantile([], 0.5) == 0.0


def test_disk_that_may_not_be_mounted_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Run this fault as root"), Disk(tmp_path / "disk", -1):
        pass


HOLDS = """
import sys, signal
from pathlib import Path
from farandole.testing.chaos.disk import Disk
with Disk(Path(sys.argv[1]), 1):
    print("mounted", flush=True)
    signal.pause()
"""


def test_disk_is_unmounted_when_whoever_mounted_it_is_killed(tmp_path: Path) -> None:
    """A `kill -9` of `make chaos` left its disks behind, for good."""
    path = tmp_path / "disk"
    try:
        with Disk(tmp_path / "probe", 1):
            pass
    except ConfigError as refused:
        pytest.skip(str(refused))
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        said = holder.stdout.readline()
        was_mounted = path.is_mount()

        holder.kill()

        wait_until(lambda: not path.is_mount(), timedelta(seconds=20), "the guard to unmount it")
    assert (said, was_mounted) == ("mounted\n", True)
    assert not (tmp_path / "probe").is_mount()


def refused(bootstrap: str, report: Report) -> None:
    """A fault that cannot be played here."""
    raise ConfigError("Run this fault as root")


@pytest.mark.parametrize("is_good", [True, False])
def test_trial_that_cannot_be_played_is_a_row_of_the_report_and_the_next_one_follows(
    is_good: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without root `make chaos` ended at F9 with a traceback; and no folder was ever removed, though all was well."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = sys.modules[trial.__module__]
    monkeypatch.setattr(module, "cluster_for", lambda *given: nullcontext(Broker("", "", NONE)))
    played = Fault("plays alone", None, alone=lambda bootstrap, report: setattr(report, "injected", 1))

    report = trial("F9", fault=played if is_good else replace(played, alone=refused))

    assert report.is_good is is_good
    assert ("Run this fault as root" in report.trouble) is not is_good
    assert bool(list(tmp_path.glob("farandole-chaos-F9-*"))) is not is_good


def test_home_that_its_owner_restored_although_it_had_it_in_memory_is_found() -> None:
    line = "12:00:00.000 INFO coordinator: home {}: 3 runs, epoch {}, {}\n"
    kept, restored = "kept in memory", "restored"
    logs = {
        "c1": "".join(line.format(*it) for it in [(0, 1, restored), (0, 2, kept), (1, 1, restored), (1, 4, restored)]),
        "c2": line.format(1, 2, restored) + line.format(1, 3, restored),
    }

    found = moves(logs)

    assert (found.kept, found.moved) == (1, 4)
    assert found.again == ["home 1, epoch 3, by c2"]
    assert not found.is_good
    assert not moves({"c1": "no line that is known"}).is_good
    assert moves({"c1": line.format(0, 1, restored)}).is_good


def soaked(minutes: float, leak: float, *, is_spared: bool, seed: int = 1, waiting: int = 0) -> dict[str, Growth]:
    """What is found in a soak that samples every 13 s, some of whose processes live two minutes or so.

    Each life starts at 70 MiB with noise and grows by `leak` a minute; in each sample `waiting` more records wait.
    """
    dice = random.Random(seed)
    born, generation = dict.fromkeys(("a1", "a2", "c1", "c2"), 0.0), dict.fromkeys(("a1", "a2", "c1", "c2"), 1)
    samples = list[Sample]()
    for n in range(int(minutes * 60 / 13)):
        at = n * 13.0
        for slot in born:
            if dice.random() < 13 / 130 and not (is_spared and slot.endswith("1")):
                born[slot], generation[slot] = at, generation[slot] + 1
        memory = {slot: 70 + leak * (at - since) / 60 + dice.gauss(0, 2) for slot, since in born.items()}
        samples.append(Sample(at, memory, dice.randint(12, 40) + n * waiting, dice.randint(0, 9), dict(generation)))
    return {each.what: each for each in growths(samples)}


@pytest.mark.parametrize("is_spared", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_leak_in_the_life_of_each_process_is_found_though_they_are_restarted_all_the_while(
    seed: int, is_spared: bool
) -> None:
    """The last third was compared with the middle one: processes are as old in both, so a constant leak cancelled."""
    found = soaked(60, 5.0, is_spared=is_spared, seed=seed)

    assert [name for name, it in found.items() if it.is_found] == ["memory of agents", "memory of coordinators"]


@pytest.mark.parametrize("seed", range(5))
def test_memory_that_is_flat_but_for_noise_is_judged_and_does_not_grow(seed: int) -> None:
    found = soaked(60, 0.0, is_spared=True, seed=seed)

    assert all(it.is_judged and not it.is_found for it in found.values()), list(map(str, found.values()))


def test_lag_that_is_never_worked_off_has_grown() -> None:
    found = soaked(60, 0.0, is_spared=True, waiting=1)["least lag and runs waiting"]

    assert found.is_found


def test_soak_that_is_too_short_to_tell_a_leak_from_noise_is_not_judged() -> None:
    found = soaked(1, 5.0, is_spared=True)

    assert [it.is_judged for it in found.values()] == [False, False, False]
    assert not any(it.is_judged for it in growths([]))
