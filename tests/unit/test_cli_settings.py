"""Where a setting comes from, and what happens to one that nobody knows."""

from pathlib import Path

import pytest

from farandole.cli.settings import load_settings, nearest_file
from farandole.errors import ConfigError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without settings, and an environment without ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("BOOTSTRAP", "NAMESPACE", "ARTIFACTS", "PARTITIONS"):
        monkeypatch.delenv(f"FARANDOLE_{name}", raising=False)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    """A settings file."""
    path = folder / "farandole.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_file() -> None:
    settings = load_settings()

    assert (settings.bootstrap, settings.namespace, settings.partitions) == ("localhost:9092", "farandole", None)


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


@pytest.mark.parametrize(
    "text", ["bootstrap = " + "[" * 3000, "kafka." + "a." * 3000 + "b = 1"], ids=["arrays", "tables"]
)
def test_a_file_nested_beyond_the_interpreter_s_stack_is_refused(tmp_path: Path, text: str) -> None:
    """`tomllib` raised RecursionError, which nobody caught: a traceback instead of a message. Found by fuzzing."""
    file = tmp_path / "farandole.toml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"nested far too deep|far fewer"):
        load_settings(file)
