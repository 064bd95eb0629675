"""The page of the configuration says what the code says, and `config show` who set what."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.configuration import page, settings_known
from farandole.cli.main import app
from farandole.cli.settings import load
from farandole.settings.sources import nested

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without settings."""
    for name in [each for each in os.environ if each.startswith("FARANDOLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run: farandole config reference > docs/reference/configuration.md"
    )


def test_every_setting_has_a_reason_and_its_own_variable() -> None:
    known = list(settings_known())

    assert [each.key for each in known if not each.reason or not each.type] == []
    assert len({each.variable for each in known}) == len(known) > 50


def test_every_documented_variable_sets_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"boolean": "false", "integer": "3", "duration": "7s", "path": "x", "text": "text"}
    special = {
        "registry.url": "http://there",
        "log.level": "debug",
        "namespace": "ns",
        "profile": "development",
        "log.format": "text",
        "embedded.synchronous": "full",
        "embedded.bytes_max": "1000000",
        "metrics.listen": ":9464",
    }
    for each in settings_known():
        value = special.get(each.key, values.get(each.type, "text"))
        monkeypatch.setenv(each.variable, value)

    loaded = load()

    assert set(loaded.origins) == {each.key for each in settings_known()}
    assert loaded.settings.agent.threads == 3
    assert loaded.settings.registry is not None
    assert loaded.settings.registry.wait.total_seconds() == 7


def test_flat_keys_become_sections_cut_at_the_first_dot() -> None:
    assert nested({"a": 1, "kafka.sasl.password": "x", "kafka.acks": 1}) == {
        "a": 1,
        "kafka": {"sasl.password": "x", "acks": 1},
    }


def test_config_show_names_origins_and_hides_secrets(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / "farandole.toml").write_text('[kafka]\n"sasl.password" = "hunter2"\n[agent]\nthreads = 4\n')
    monkeypatch.setenv("FARANDOLE_AGENT__PROCESSES", "3")
    monkeypatch.setenv("FARANDOLE_SERVICE_PORT", "80")

    text = CliRunner().invoke(app, ["config", "show", "--namespace", "shop"])
    told = CliRunner().invoke(app, ["config", "show", "--json", "--namespace", "shop"])

    assert text.exit_code == told.exit_code == 0
    assert "hunter2" not in text.stdout + told.stdout
    assert "note: FARANDOLE_SERVICE_PORT" in text.stdout
    shown = json.loads(told.stdout)["settings"]
    assert shown["kafka.sasl.password"] == {"value": "******", "origin": "file"}
    assert shown["agent.threads"] == {"value": "4", "origin": "file"}
    assert shown["agent.processes"] == {"value": "3", "origin": "environment"}
    assert shown["namespace"] == {"value": "shop", "origin": "flag"}
    assert shown["agent.window"]["origin"] == "default"


def test_config_reference_prints_the_page() -> None:
    assert CliRunner().invoke(app, ["config", "reference"]).stdout == page()
