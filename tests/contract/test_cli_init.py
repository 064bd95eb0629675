"""`farandole init`: what it lays out works at once, and what it must not touch it leaves alone."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from farandole.cli.init.laying import TEMPLATES, template_names
from farandole.cli.leaving import LEAVE_S
from farandole.cli.main import app
from farandole.definition.policy import duration
from farandole.runtime.settings import AgentLimits

REPOSITORY = Path(__file__).parents[2]


def init(*words: str) -> tuple[int, str]:
    """Exit code and all that was printed."""
    told = CliRunner().invoke(app, ["init", *words])
    return told.exit_code, told.output


@pytest.mark.parametrize("template", template_names())
def test_project_of_a_template_passes_its_own_tests_and_check(template: str, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    code, told = init(str(folder), "--template", template)
    assert code == 0, told
    unit = next((folder / "agents").iterdir())

    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder, capture_output=True, text=True
    )
    checked = subprocess.run(
        [sys.executable, "-m", "farandole.cli", "check", str(unit)], cwd=folder, capture_output=True, text=True
    )

    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert checked.returncode == 0, checked.stderr
    assert tomllib.loads((folder / "farandole.toml").read_text())["namespace"] == "shop"
    assert "__" not in (folder / "docker-compose.yml").read_text()
    assert unit.name in (folder / "docker-compose.yml").read_text()


def test_processes_of_the_compose_file_share_one_artifact_store(tmp_path: Path) -> None:
    """Each container had a folder of its own: payloads above 256 KiB were missing in all others."""
    assert init(str(tmp_path / "shop"))[0] == 0
    compose = yaml.safe_load((tmp_path / "shop" / "docker-compose.yml").read_text())

    for name in ("apply", "coordinator", "agents"):
        service = compose["services"][name]
        (volume,) = service["volumes"]
        source, target = volume.split(":")
        assert source in compose["volumes"], name
        assert Path(service["environment"]["FARANDOLE_ARTIFACTS"]).is_relative_to(target), name
    base = (REPOSITORY / "Dockerfile").read_text()
    assert f"chown -R 10001:10001 {target}" in base, "a new volume belongs to whom the folder of the image belongs to"


def test_processes_of_the_compose_file_may_finish_what_they_have_begun(tmp_path: Path) -> None:
    """Compose kills after 10 s, and a process drains for 20: what ran then ran again elsewhere, at each `up`."""
    assert init(str(tmp_path / "shop"))[0] == 0
    services = yaml.safe_load((tmp_path / "shop" / "docker-compose.yml").read_text())["services"]

    for name in ("coordinator", "agents"):
        grace = duration(services[name]["stop_grace_period"]).total_seconds()
        assert grace >= AgentLimits().drain_budget.total_seconds() + LEAVE_S, name


def test_project_asks_no_index_for_farandole(tmp_path: Path) -> None:
    """It cannot be had there: the image could not be built, and whoever took the name would have been installed."""
    assert init(str(tmp_path / "shop"))[0] == 0
    image = (tmp_path / "shop" / "Dockerfile").read_text()
    project = tomllib.loads((tmp_path / "shop" / "pyproject.toml").read_text())["project"]
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]

    begins, *lines = [line for line in image.splitlines() if not line.startswith("#")]

    assert begins == "FROM farandole:local"
    assert services["coordinator"]["image"] == "${FARANDOLE_IMAGE:-farandole:local}"
    assert "docker build --tag farandole:local" in image
    assert not any("pip install" in line for line in lines)
    assert lines[-1] in (REPOSITORY / "Dockerfile").read_text().splitlines(), "the user of our own image"
    assert project["dependencies"] == []


def test_simulation_beside_the_agents_is_a_test_of_the_project(tmp_path: Path) -> None:
    """`farandole simulate` finds it there, and `python -m pytest` looked into `tests` alone: nobody ran it."""
    assert init(str(tmp_path / "shop"))[0] == 0
    (tmp_path / "shop" / "agents" / "greetings" / "test_simulation.py").write_text(
        "from greetings import greetings\nfrom farandole.testing.simulated import Simulation\n\n\n"
        "def test_greetings_survive(simulated):\n    simulated(Simulation(greetings), seeds=1)\n"
    )

    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only"],
        cwd=tmp_path / "shop",
        capture_output=True,
        text=True,
    )

    assert "agents/greetings/test_simulation.py::test_greetings_survive" in told.stdout, told.stdout + told.stderr


def test_orders_template_is_the_reference_pipeline() -> None:
    template = TEMPLATES / "orders" / "agents" / "orders" / "orders.py"

    assert template.read_text() == (REPOSITORY / "agents" / "orders" / "agents.py").read_text()


def test_init_in_a_folder_that_holds_something_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")

    code, told = init(str(folder))

    assert code == 2
    assert "expected a new or an empty folder" in told
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["shop", "-t", "dags"], "expected one of flights-small, minimal, orders"),
        (["My Shop"], "expected a name of a-z"),
    ],
)
def test_init_with_a_wrong_word_says_what_is_right(
    words: list[str], fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, told = init(*words)

    assert code == 2
    assert fault in told
    assert not list(tmp_path.iterdir())


def test_dry_run_lists_the_files_and_writes_none(tmp_path: Path) -> None:
    folder = tmp_path / "shop"

    code, told = init(str(folder), "--dry-run", "--json")

    listed = json.loads(told)
    assert code == 0
    assert "farandole.toml" in listed["files"]
    assert ".gitignore" in listed["files"]
    assert not folder.exists()
