"""`farandole demo` as a user runs it, with processes of its own: on the embedded log, and on a real Kafka."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LAST_LINE = re.compile(
    r"demo: runs=1 succeeded=1 steps=66 attempts=69 dead_letters=1 replayed=1 seconds=\d+\.\d report=(\S+)"
)


def farandole(*arguments: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    """The command line in the repository, without settings from the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}
    return subprocess.run(
        [sys.executable, "-m", "farandole.cli", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def check_demo(ran: subprocess.CompletedProcess[str]) -> None:
    """All acts, in their order, and a report that says what January was."""
    assert ran.returncode == 0, ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    found = LAST_LINE.fullmatch(lines[-1])
    assert found, lines[-1]
    acts = ["day 17 cut to half", "started demo-2013-01", "attempt 3 failed", "held by a dead letter", "repaired"]
    places = [
        next(n for n, line in enumerate(lines) if act in line) for act in [*acts, "replayed it", "27,004 flights"]
    ]
    assert places == sorted(places)
    assert any("521 cancelled" in line for line in lines)
    assert any(line.startswith("run demo-2013-01") and "succeeded" in line for line in lines)
    report = json.loads(Path(found[1]).read_text())
    assert (report["total"]["flights"], report["total"]["cancelled"]) == (27_004, 521)
    assert "Traceback" not in ran.stderr


def test_demo_on_the_embedded_log_repairs_replays_and_reports(tmp_path: Path) -> None:
    ran = farandole("demo", "--home", str(tmp_path))

    check_demo(ran)
    listed = farandole("run", "list", "--config", str(tmp_path / "farandole.toml"), "--json")
    assert [run["status"] for run in json.loads(listed.stdout)] == ["succeeded"], listed.stdout + listed.stderr


@pytest.mark.kafka
def test_demo_on_kafka_does_the_same_with_processes(kafka: str, unique: str, tmp_path: Path) -> None:
    ran = farandole("demo", "--home", str(tmp_path), "--bootstrap", kafka, "--namespace", unique)

    logs = "\n".join(path.read_text()[-2000:] for path in sorted((tmp_path / "logs").glob("*.log")))
    assert ran.returncode == 0, ran.stdout + ran.stderr + logs
    check_demo(ran)


def test_demo_of_february_counts_its_cancelled_flights_and_prints_json(tmp_path: Path) -> None:
    ran = farandole("demo", "--month", "2", "--home", str(tmp_path), "--json")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(ran.stdout)
    assert (told["succeeded"], told["dead_letters"], told["replayed"]) == (1, 1, 1)
    assert told["dead_letter"]["step"] == "clean"
    report = json.loads(Path(told["report"]).read_text())
    assert (report["total"]["flights"], report["total"]["cancelled"]) == (24_951, 1_261)


def test_demo_away_from_the_repository_says_what_is_missing(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "farandole.cli", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 2
    assert "agents/flights" in ran.stderr
    assert "--path" in ran.stderr
