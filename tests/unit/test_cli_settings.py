"""Where a setting comes from, and what happens to one that nobody knows."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.cli.connect import transport_of
from farandole.cli.settings import load, load_settings, nearest_file
from farandole.cli.units import overrides_of
from farandole.coordinator.settings import CoordinatorSettings
from farandole.errors import ConfigError
from farandole.runtime.settings import AgentSettings
from farandole.settings.production import replication_of
from farandole.settings.sources import Origin
from farandole.transport.kafka import KafkaTransport
from farandole.transport.metadata import WRITER_MAX
from farandole.transport.sqlite import SqliteSettings, SqliteTransport


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without settings, and an environment without ours."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("FARANDOLE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def write(folder: Path, text: str) -> Path:
    """A settings file."""
    path = folder / "farandole.toml"
    path.write_text(text)
    return path


def test_defaults_need_no_file() -> None:
    settings = load_settings()

    assert (settings.bootstrap, settings.namespace, settings.partitions) == (None, "farandole", None)
    assert settings.embedded == SqliteSettings(Path(".farandole/log.db"), "normal")


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

    assert settings.embedded.path == elsewhere / ".farandole" / "log.db"
    assert settings.artifacts == elsewhere / ".farandole" / "artifacts"


def test_topic_files_of_the_project_count_in_its_subfolders_too(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cd agents && farandole dev` found no `topics/` there, and set retention back to ours: that deletes history."""
    write(elsewhere, "")
    (elsewhere / "topics").mkdir()
    (elsewhere / "topics" / "settled.yaml").write_text('topic: <ns>.settled\nconfig: {retention.ms: "31536000000"}\n')
    (elsewhere / "agents").mkdir()
    monkeypatch.chdir(elsewhere / "agents")

    settings = load_settings()

    assert settings.topics == elsewhere / "topics"
    assert [each.name for each in overrides_of(settings)] == ["farandole.settled"]


def test_without_kafka_the_log_is_the_project_s_file_and_with_one_it_is_not(elsewhere: Path) -> None:
    write(elsewhere, '[embedded]\nsynchronous = "full"')

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


def test_sections_reach_the_component_they_are_for(elsewhere: Path) -> None:
    write(elsewhere, '[agent]\nthreads = 4\ndrain_budget = "5s"\n[coordinator]\ndedupe_window = "48h"\n')

    settings = load_settings()
    agent = AgentSettings.within(settings.agent, "orders", settings.namespace, "0")
    coordinator = CoordinatorSettings.within(settings.coordinator, settings.namespace, "0")

    assert (agent.threads, agent.drain_budget, agent.client_id) == (4, timedelta(seconds=5), "farandole.orders.0")
    assert (coordinator.dedupe_window, coordinator.client_id) == (timedelta(days=2), "farandole.coordinator.0")


def test_a_section_is_mixed_from_file_and_environment(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(elsewhere, "[agent]\nthreads = 4\ncoroutines = 8")
    monkeypatch.setenv("FARANDOLE_AGENT__THREADS", "5")

    loaded = load(log_level="debug")

    assert (loaded.settings.agent.threads, loaded.settings.agent.coroutines) == (5, 8)
    assert [loaded.origin(f"agent.{name}") for name in ("threads", "coroutines", "processes")] == [
        Origin.ENVIRONMENT,
        Origin.FILE,
        Origin.DEFAULT,
    ]
    assert (loaded.settings.log.level, loaded.origin("log.level")) == ("debug", Origin.FLAG)


@pytest.mark.parametrize("name", ["FARANDOLE_KAFKA__SASL_PASSWORD", "FARANDOLE_KAFKA__SASL__PASSWORD"])
def test_the_environment_overrides_a_dotted_name_of_the_file(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(elsewhere, '[kafka]\n"sasl.password" = "old"\n"sasl.username" = "me"')
    monkeypatch.setenv(name, "new")

    assert load_settings().kafka == {"sasl.password": "new", "sasl.username": "me"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\nthreds = 4", r"agent\.threds: .* unknown; did you mean agent\.threads\?"),
        ("[agnt]\nthreads = 4", r"agnt\.threads: .* did you mean agent\?"),
        ("[namespace]\nname = 4", r"namespace\.name: expected one value"),
        ('[agent]\nsession_timeout = "4s"', r"settings \(.*\.toml\): agent\.session_timeout: expected 6 to 15 s"),
        ('[agent]\ndrain_budget = "soon"', "drain_budget: expected a duration such as '10s'"),
        ("[agent]\nthreads = 0", r"agent\.threads: expected at least 1, but found 0"),
        ("[agent]\ndrain_budget = -5", r"agent\.drain_budget: expected a duration such as '10s', .*, but found -5"),
        ("[coordinator]\nbatch_records = 0", r"coordinator\.batch_records: expected at least 1"),
        ('[coordinator]\nsession_timeout = "20s"', "session_timeout: expected 6 to 15 s"),
        ('[registry]\nurl = "ftp://there"', r"registry url: expected http\(s\)"),
        ('[registry]\nuser = "me"', "registry.url: Field required"),
        ('[log]\nlevel = "loud"', "--log-level: expected one of debug"),
        ('profile = "staging"', "profile: Input should be 'development' or 'production'"),
    ],
)
def test_what_is_wrong_in_a_section_is_told_with_a_way_out(elsewhere: Path, text: str, message: str) -> None:
    write(elsewhere, text)

    with pytest.raises(ConfigError, match=message):
        load_settings()


def test_an_unknown_variable_in_a_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARANDOLE_AGENT__THREDS", "4")

    with pytest.raises(ConfigError, match=r"settings \(environment\): agent\.threds"):
        load_settings()


def test_a_variable_that_kubernetes_sets_for_a_service_of_our_name_stops_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FARANDOLE_SERVICE_HOST", "10.0.0.7")
    monkeypatch.setenv("FARANDOLE_TEST_BOOTSTRAP", "of the test suite")

    assert load().strangers == ("FARANDOLE_SERVICE_HOST",)


def test_a_wrong_secret_is_not_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    write(elsewhere, '[registry]\nurl = "http://there"\npassword = 12345')

    with pytest.raises(ConfigError) as refused:
        load_settings()

    assert "registry.password" in str(refused.value)
    assert "12345" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "variables", "way_out"),
    [
        ('registry = "http://u:s3cret@h"', {}, "[registry] with url = … (or FARANDOLE_REGISTRY__URL)"),
        ('[[registry]]\nurl = "http://u:s3cret@h"', {}, "[registry] with url = …"),
        ("", {"FARANDOLE_REGISTRY": "https://u:s3cret@h"}, "settings (environment): registry: expected a section"),
        ('[registry]\nurl = "http://h"', {"FARANDOLE_REGISTRY": "https://u:s3cret@h"}, "FARANDOLE_REGISTRY__URL"),
        (
            'kafka = "sasl.password=s3cret"',
            {},
            "[kafka] with security.protocol = … (or FARANDOLE_KAFKA__SECURITY_PROTOCOL)",
        ),
        ('embedded = "s3cret"', {}, "[embedded] with path = …"),
        ('[registry]\nurl = ["http://u:s3cret@h"]', {}, "registry.url: Input should be a valid string"),
    ],
)
def test_value_in_the_place_of_a_section_is_refused_and_not_repeated(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, text: str, variables: dict[str, str], way_out: str
) -> None:
    """An address with its password stood in the message, which spoke of classes; beside a section it was ignored."""
    write(elsewhere, text)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError) as refused:
        load_settings()

    assert way_out in str(refused.value)
    assert "s3cret" not in str(refused.value)


SAFE = """\
profile = "production"
bootstrap = "kafka:9093"
artifacts = "/shared"
[kafka]
security.protocol = "SASL_SSL"
[registry]
url = "https://registry"
"""


def test_production_takes_what_is_safe(elsewhere: Path) -> None:
    write(elsewhere, SAFE)

    assert load_settings().is_production


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("bootstrap =", "namespace =", "bootstrap: expected it to be set"),
        ("artifacts =", "topics =", "artifacts: expected it to be set"),
        ("SASL_SSL", "SASL_PLAINTEXT", "allow_plaintext = true"),
        ("https://", "http://", r"registry\.url: expected https://"),
        ("[kafka]", "[kafka]\nenable.ssl.certificate.verification = false", "verification: expected true"),
        ("[kafka]", '[kafka]\nssl.endpoint.identification.algorithm = "none"', "algorithm: expected https"),
        ("[kafka]", "[kafka]\nenable.ssl.certificate.verification = 0", "verification: expected true"),
        ("[kafka]", '[kafka]\nenable.ssl.certificate.verification = "F"', "verification: expected true"),
        ("[kafka]", '[kafka]\nenable.ssl.certificate.verification = "no"', "expected one of true, t, 1"),
        ("[kafka]", '[kafka]\nssl.endpoint.identification.algorithm = "NONE"', "algorithm: expected https"),
        ("[kafka]", '[kafka]\nssl.endpoint.identification.algorithm = " none"', "expected one of https, none"),
        ("[kafka]", '[kafka]\nsasl.oauthbearer.token.endpoint.url = "http://login"', "endpoint.url: expected https://"),
        ("profile", "replication = 2\nprofile", "replication: expected at least 3, but found 2"),
    ],
)
def test_production_refuses_what_is_unsafe(elsewhere: Path, before: str, after: str, message: str) -> None:
    write(elsewhere, SAFE.replace(before, after).replace('namespace = "kafka:9093"', 'namespace = "ns"'))

    with pytest.raises(ConfigError, match=message):
        load_settings()


def test_production_takes_plaintext_that_is_opted_in(elsewhere: Path) -> None:
    write(elsewhere, "allow_plaintext = true\n" + SAFE.replace("SASL_SSL", "PLAINTEXT").replace("https", "http"))

    assert load_settings().allow_plaintext


@pytest.mark.parametrize(("text", "replicas"), [("", 3), ("replication = 5\n", 5)])
def test_production_creates_topics_with_at_least_three_replicas(elsewhere: Path, text: str, replicas: int) -> None:
    write(elsewhere, text + SAFE)

    assert replication_of(load_settings()) == replicas


def test_elsewhere_the_broker_says_how_many_replicas() -> None:
    assert replication_of(load_settings()) == -1


@pytest.mark.parametrize(
    "text", ["bootstrap = " + "[" * 3000, "kafka." + "a." * 3000 + "b = 1"], ids=["arrays", "tables"]
)
def test_a_file_nested_beyond_the_interpreter_s_stack_is_refused(tmp_path: Path, text: str) -> None:
    """`tomllib` raised RecursionError, which nobody caught: a traceback instead of a message. Found by fuzzing."""
    file = tmp_path / "farandole.toml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"nested far too deep|far fewer"):
        load_settings(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[embedded]\nbytes_max = 0", r"embedded\.bytes_max: expected at least 262,144 bytes, but found 0"),
        ("[embedded]\nbytes_max = -5", r"embedded\.bytes_max: expected at least 262,144 bytes, but found -5"),
        ('[embedded]\npath = ""', r"embedded\.path: expected a path, but it is empty"),
        ('artifacts = ""', r"artifacts: expected a path, but it is empty"),
        ("[agent]\nthreads = true", r"agent\.threads: expected a whole number, but found true"),
        ("partitions = true", r"partitions: expected a whole number"),
        ('[metrics]\nlisten = "nope"', r"settings \(.*farandole\.toml\): metrics\.listen: expected HOST:PORT"),
        ('[metrics]\nlisten = ":99999"', r"metrics\.listen: expected HOST:PORT"),
        ("[agent]\ndrain_budget = 5", r"agent\.drain_budget: expected a duration such as '10s'"),
        (
            '[embedded]\npatience = "0s"',
            r"settings \(.*farandole\.toml\): embedded\.patience: expected a duration above",
        ),
    ],
)
def test_value_that_cannot_work_is_refused_when_it_is_read(elsewhere: Path, text: str, message: str) -> None:
    """They were taken: a log without room, one thread for `true`, the folder for an empty path, seconds without a unit
    from the file though not from the environment, and an address that only failed when a process began to listen."""
    write(elsewhere, text)

    with pytest.raises(ConfigError, match=message):
        load_settings()


@pytest.mark.parametrize(
    "text", ["artifacts = 5", "[embedded]\npath = 5", '[agent]\nthreads = "x"', '[agent]\nfusion = "x"'], ids=repr
)
def test_wrong_kind_of_value_is_told_in_no_words_of_python(elsewhere: Path, text: str) -> None:
    """It said: Input is not a valid path for <class 'pathlib.Path'>."""
    write(elsewhere, text)

    with pytest.raises(ConfigError, match=r": expected (a path|a whole number|true or false)") as refused:
        load_settings()

    assert "Input" not in str(refused.value)
    assert "class" not in str(refused.value)


def test_number_without_a_unit_is_no_duration_wherever_it_stands(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for given in ("file", "environment"):
        with monkeypatch.context() as here:
            if given == "file":
                write(elsewhere, "[agent]\ndrain_budget = 5")
            else:
                write(elsewhere, "")
                here.setenv("FARANDOLE_AGENT__DRAIN_BUDGET", "5")
            with pytest.raises(ConfigError) as refused:
                load_settings()
        told.append(str(refused.value).partition("agent.drain_budget: ")[2].replace("'5'", "5"))

    assert told[0] == told[1] != ""


def test_empty_path_that_stands_for_none_stays_empty(elsewhere: Path) -> None:
    """`ca = ""` in the file, its default, became the folder of the file: the system's authorities were gone."""
    write(elsewhere, '[registry]\nurl = "https://there"\nca = ""')

    registry = load_settings().registry

    assert registry is not None
    assert registry.ca == ""


def test_file_that_begins_with_the_mark_of_an_editor_on_windows_is_read(elsewhere: Path) -> None:
    """It was refused as no TOML, at a first character that nobody sees."""
    (elsewhere / "farandole.toml").write_bytes(b"\xef\xbb\xbf" + b'namespace = "shop"\n')

    assert load_settings().namespace == "shop"


@pytest.mark.parametrize("slot", ["x" * 64, "a b", "a/b", "ü", "²", "a.b", "a\n"])
def test_slot_that_is_no_part_of_a_transactional_id_is_refused_by_every_process(slot: str) -> None:
    """A coordinator took any: one of 184 characters ended in a traceback at its first commit, and agents took `ü`."""
    for make in (lambda: CoordinatorSettings(slot=slot), lambda: AgentSettings("orders", slot=slot)):
        with pytest.raises(ConfigError, match=r"slot \(--slot\): expected 1 to 63 of A-Z a-z 0-9 _ -"):
            make()


def test_longest_names_fit_beside_a_position() -> None:
    longest = "n" * 63

    for made in (CoordinatorSettings(longest, longest), AgentSettings(longest, longest, longest)):
        assert len(made.client_id) <= WRITER_MAX
