"""Where a setting comes from, and what happens to one that nobody knows."""

from pathlib import Path

import pytest

from farandole.cli.connect import transport_of
from farandole.cli.settings import load_settings, nearest_file
from farandole.errors import ConfigError
from farandole.transport.kafka import KafkaTransport
from farandole.transport.sqlite import SqliteSettings, SqliteTransport


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without settings, and an environment without ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("BOOTSTRAP", "NAMESPACE", "ARTIFACTS", "PARTITIONS", "LOG", "SYNCHRONOUS"):
        monkeypatch.delenv(f"FARANDOLE_{name}", raising=False)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    """A settings file."""
    path = folder / "farandole.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_file() -> None:
    settings = load_settings()

    assert (settings.bootstrap, settings.namespace, settings.partitions) == (None, "farandole", None)
    assert (settings.log, settings.synchronous) == (Path(".farandole/log.db"), "normal")


def test_flag_goes_before_environment_before_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(elsewhere, 'bootstrap = "file:1"\nnamespace = "from-file"\npartitions = 6')
    monkeypatch.setenv("FARANDOLE_BOOTSTRAP", "environment:1")
    monkeypatch.setenv("FARANDOLE_NAMESPACE", "from-environment")

    settings = load_settings(bootstrap="flag:1", namespace=None)

    assert (settings.bootstrap, settings.namespace, settings.partitions) == ("flag:1", "from-environment", 6)


def test_nearest_file_above_is_found(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(elsewhere, "")
    (elsewhere / "a" / "b").mkdir(parents=True)

    assert nearest_file(elsewhere / "a" / "b") == path


def test_paths_of_the_file_are_relative_to_the_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(elsewhere, 'artifacts = "store"')
    (elsewhere / "below").mkdir()
    monkeypatch.chdir(elsewhere / "below")

    assert load_settings().artifacts == elsewhere / "store"


def test_project_log_and_artifacts_are_beside_the_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(elsewhere, "")
    (elsewhere / "below").mkdir()
    monkeypatch.chdir(elsewhere / "below")

    settings = load_settings()

    assert settings.log == elsewhere / ".farandole" / "log.db"
    assert settings.artifacts == elsewhere / ".farandole" / "artifacts"


def test_without_kafka_the_log_is_the_project_s_file_and_with_one_it_is_not(elsewhere: Path) -> None:
    write(elsewhere, 'synchronous = "full"')

    embedded, kafka = transport_of(load_settings()), transport_of(load_settings(bootstrap="nowhere:1"))

    assert isinstance(embedded, SqliteTransport)
    assert embedded.settings == SqliteSettings(elsewhere / ".farandole" / "log.db", "full")
    assert isinstance(kafka, KafkaTransport)


def test_unknown_key_is_refused_and_known_ones_are_named(elsewhere: Path) -> None:
    write(elsewhere, 'boostrap = "typo:1"')

    with pytest.raises(ConfigError, match=r"boostrap: expected one of .*bootstrap"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('namespace = "Not A Name"', "namespace"),
        ("partitions = 0", "partitions"),
        ("partitions = 100000", "partitions"),
        ("this is no toml", "expected a file of TOML"),
    ],
)
def test_wrong_value_is_refused_with_its_key(elsewhere: Path, text: str, message: str) -> None:
    write(elsewhere, text)

    with pytest.raises(ConfigError, match=message):
        load_settings()


def test_named_file_that_is_missing_is_refused(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match=r"other\.toml"):
        load_settings(elsewhere / "other.toml")


def test_settings_of_one_process_do_not_leak_into_the_next_reading(elsewhere: Path) -> None:
    write(elsewhere, "partitions = 6")
    load_settings()
    (elsewhere / "farandole.toml").unlink()

    assert load_settings().partitions is None


def test_kafka_section_has_dotted_names_however_toml_spells_them(elsewhere: Path) -> None:
    write(
        elsewhere,
        '[kafka]\nsecurity.protocol = "SSL"\n"socket.timeout.ms" = 5000\nenable.ssl.certificate.verification = false',
    )

    assert load_settings().kafka == {
        "security.protocol": "SSL",
        "socket.timeout.ms": "5000",
        "enable.ssl.certificate.verification": "false",
    }
