"""Test runs of our own `conftest.py`, in one process and in several: one broker, and what the last line says."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

INI = """
[pytest]
markers =
    kafka: needs a real broker
"""

SAMPLE = """
import pytest

def test_plain() -> None:
    assert True

@pytest.mark.parametrize("number", range(4))
def test_kafka(number: int, kafka: str) -> None:
    with open("addresses", "a") as file:
        file.write(kafka + "\\n")
"""

NOWHERE: Mapping[str, str] = {
    # No broker given, no Java, no Docker.
    "FARANDOLE_TEST_BOOTSTRAP": "",
    "JAVA_HOME": "",
    "PATH": "",
    "DOCKER_HOST": "tcp://127.0.0.1:9",
}

PARALLEL = ("-n", "2", "--dist", "loadgroup")


def run(folder: Path, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A test run of a few tests under our conftest; no variable of this run's own xdist gets through."""
    shutil.copy(CONFTEST, folder / "conftest.py")
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_sample.py").write_text(SAMPLE)
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CI"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**mine, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("extra", [(), PARALLEL], ids=["one", "parallel"])
def test_run_with_kafka_tests_says_last_how_many_ran_on_what(
    kafka: str, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    ran = run(tmp_path, *extra, environment={"FARANDOLE_TEST_BOOTSTRAP": kafka})

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "kafka tests: 4 ran, on FARANDOLE_TEST_BOOTSTRAP"
    assert (tmp_path / "addresses").read_text().split() == [kafka] * 4


@pytest.mark.parametrize("extra", [(), PARALLEL], ids=["one", "parallel"])
def test_run_without_a_selected_kafka_test_looks_for_no_broker(tmp_path: Path, extra: tuple[str, ...]) -> None:
    # Were it looked for, the line would name the refusal.
    ran = run(tmp_path, *extra, "-m", "not kafka", environment=NOWHERE)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "kafka tests: none was selected"


@pytest.mark.parametrize("extra", [(), PARALLEL], ids=["one", "parallel"])
def test_run_without_any_broker_skips_and_says_why(tmp_path: Path, extra: tuple[str, ...]) -> None:
    ran = run(tmp_path, *extra, environment=NOWHERE)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed, 4 skipped" in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("kafka tests: SKIPPED: no Kafka broker for tests: given: ")


@pytest.mark.parametrize("extra", [(), PARALLEL], ids=["one", "parallel"])
def test_run_of_ci_without_any_broker_fails(tmp_path: Path, extra: tuple[str, ...]) -> None:
    ran = run(tmp_path, *extra, environment={**NOWHERE, "CI": "true"})

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "1 passed, 4 errors" in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("kafka tests: FAILED, since CI=true: no Kafka broker for tests: ")
