"""Which tier of the ladder gives the broker, and what is said of the others."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.testing.broker import Broker, BrokerNotOurs, BrokerSettings, NoBroker, TierUnavailable, start_broker
from farandole.testing.broker.container import image_environment
from farandole.testing.broker.jars import kafka_jars
from farandole.testing.broker.ladder import TIERS, given_tier
from farandole.testing.broker.maven import find_java, java_version
from farandole.testing.broker.process import NodePlan, run_bounded, server_properties, what_was_said
from farandole.testing.broker.ready import free_ports
from farandole.testing.broker.settings import KAFKA_VERSION


class Recorder:
    """A control that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stop(self) -> None:
        self.asked.append("stop")

    def kill(self) -> None:
        self.asked.append("kill")

    def restart(self) -> None:
        self.asked.append("restart")


def refuse(reason: str) -> Broker:
    raise TierUnavailable(reason)


def program(folder: Path, name: str, script: str) -> Path:
    """An executable shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_ladder_with_working_first_tier_tries_no_other() -> None:
    broker = Broker("here:1", "first", Recorder())

    got = start_broker(BrokerSettings(), {"a": lambda _: broker, "b": lambda _: pytest.fail("the second was tried")})

    assert (got.bootstrap, got.how, got.passed) == ("here:1", "first", ())


def test_ladder_with_failing_tiers_falls_and_names_why() -> None:
    broker = Broker("here:3", "third", Recorder())
    tiers = {"a": lambda _: refuse("unset"), "b": lambda _: refuse("no Java"), "c": lambda _: broker}

    got = start_broker(BrokerSettings(), tiers)

    assert got.bootstrap == "here:3"
    assert got.passed == ("a: unset", "b: no Java")


def test_ladder_without_any_broker_lists_every_reason() -> None:
    tiers = {"a": lambda _: refuse("unset"), "b": lambda _: refuse("no Java")}

    with pytest.raises(NoBroker, match=r"a: unset; b: no Java") as refused:
        start_broker(BrokerSettings(), tiers)

    assert refused.value.passed == ("a: unset", "b: no Java")


def test_ladder_with_fault_of_its_own_in_a_tier_does_not_hide_it() -> None:
    def faulty(_: BrokerSettings) -> Broker:
        raise KeyError("our mistake")

    with pytest.raises(KeyError, match="our mistake"):
        start_broker(BrokerSettings(), {"a": faulty, "b": lambda _: refuse("not reached")})


def test_broker_used_as_context_is_stopped_after_an_error() -> None:
    control = Recorder()

    with pytest.raises(ValueError, match="in the test"), Broker("here:1", "first", control):
        raise ValueError("in the test")

    assert control.asked == ["stop"]


def test_given_tier_without_address_says_which_variable_is_missing() -> None:
    with pytest.raises(TierUnavailable, match="FARANDOLE_TEST_BOOTSTRAP is not set"):
        given_tier(BrokerSettings(bootstrap=None))


def test_given_tier_with_silent_address_gives_up_in_time() -> None:
    address = f"127.0.0.1:{free_ports(1)[0]}"

    with pytest.raises(TierUnavailable, match=f"{address} gave no answer"):
        given_tier(BrokerSettings(bootstrap=address, answer_timeout=timedelta(milliseconds=300)))


@pytest.mark.parametrize("address", ["nonsense", "host:", ":9092", "host:port"])
def test_given_tier_with_malformed_address_gives_up(address: str) -> None:
    with pytest.raises(TierUnavailable, match="gave no answer"):
        given_tier(BrokerSettings(bootstrap=address, answer_timeout=timedelta(milliseconds=100)))


def test_given_broker_asked_to_die_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farandole.testing.broker.ladder.wait_until_ready", lambda *_: True)
    broker = given_tier(BrokerSettings(bootstrap="theirs:9092"))

    with pytest.raises(BrokerNotOurs, match="not killed"):
        broker.kill()
    with pytest.raises(BrokerNotOurs, match="not restarted"):
        broker.restart()
    broker.stop()

    assert broker.bootstrap == "theirs:9092"


def test_settings_from_environment_take_address_java_and_cache() -> None:
    given = {"FARANDOLE_TEST_BOOTSTRAP": " b:9092 ", "JAVA_HOME": "/opt/java", "XDG_CACHE_HOME": "/var/cache/me"}

    settings = BrokerSettings.from_environment(given)

    assert settings.bootstrap == "b:9092"
    assert settings.java_home == Path("/opt/java")
    assert settings.cache == Path("/var/cache/me/farandole")


def test_settings_from_empty_environment_name_no_broker() -> None:
    settings = BrokerSettings.from_environment({"FARANDOLE_TEST_BOOTSTRAP": " "})

    assert settings.bootstrap is None
    assert settings.java_home is None
    assert settings.cache == Path.home() / ".cache" / "farandole"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "21" 2023-09-19 LTS', 21),
        ('java version "1.8.0_202"', 8),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", 0),
    ],
)
def test_java_version_of_known_outputs_is_the_major_one(said: str, version: int) -> None:
    assert java_version(said) == version


def test_java_that_is_too_old_is_refused_with_the_package_to_install(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", "echo 'openjdk version \"11.0.2\" 2019' >&2")

    with pytest.raises(TierUnavailable, match=r"is Java 11, Kafka needs 17; Debian: apt-get install openjdk-17"):
        find_java(tmp_path)


def test_java_that_is_only_a_stub_is_refused(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", "echo 'Unable to locate a Java Runtime.' >&2; exit 1")

    with pytest.raises(TierUnavailable, match="does not run"):
        find_java(tmp_path)


def test_java_missing_names_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(TierUnavailable, match=r"not on the PATH; Debian: apt-get install"):
        find_java(None)


# What Maven does for us, as far as the cache can tell.
MAVEN = f"""
for each in "$@"; do case "$each" in -DoutputDirectory=*) out="${{each#*=}}";; esac; done
mkdir -p "$out" && echo jar > "$out/kafka_2.13-{KAFKA_VERSION}.jar"
"""


def with_maven(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> BrokerSettings:
    program(folder / "bin", "mvn", script)
    monkeypatch.setenv("PATH", str(folder / "bin"), prepend=":")
    return BrokerSettings(cache=folder / "cache", jars_timeout=timedelta(seconds=20))


def test_jars_fetched_once_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_maven(tmp_path, MAVEN, monkeypatch)

    first = kafka_jars(settings)
    program(tmp_path / "bin", "mvn", "exit 1")
    second = kafka_jars(settings)

    assert first == second
    assert [jar.name for jar in second.iterdir()] == [f"kafka_2.13-{KAFKA_VERSION}.jar"]


def test_jars_fetched_twice_at_once_are_one_complete_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each waits until the other has begun, so that both find the cache empty.
    settings = with_maven(tmp_path, f"{MAVEN}\necho >> {tmp_path}/begun", monkeypatch)
    program(tmp_path / "bin", "wait", f"until [ $(wc -l < {tmp_path}/begun) -ge 2 ]; do sleep 0.01; done")
    program(tmp_path / "bin", "mvn", f"{MAVEN}\necho x >> {tmp_path}/begun\nexec {tmp_path}/bin/wait")
    found: list[Path] = []

    both = [threading.Thread(target=lambda: found.append(kafka_jars(settings))) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(30)

    assert len(found) == 2
    assert [entry.name for entry in settings.cache.iterdir()] == [found[0].name]
    assert found[0] == found[1]


def test_jars_of_failing_maven_give_its_words_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_maven(tmp_path, "echo '[ERROR] Unknown host'; exit 1", monkeypatch)

    with pytest.raises(TierUnavailable, match=r"exit code 1, it said: \[ERROR\] Unknown host"):
        kafka_jars(settings)

    assert list(settings.cache.iterdir()) == []


def test_jars_of_slow_maven_are_given_up_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_maven(tmp_path, "exec sleep 60", monkeypatch)
    settings = BrokerSettings(cache=tmp_path / "cache", jars_timeout=timedelta(milliseconds=200))

    with pytest.raises(TierUnavailable, match="had not fetched"):
        kafka_jars(settings)

    assert list(settings.cache.iterdir()) == []


def test_jars_without_maven_name_the_package_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(TierUnavailable, match="Debian: apt-get install maven"):
        kafka_jars(BrokerSettings(cache=tmp_path / "cache"))


def test_jars_with_unusable_cache_folder_say_so(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")

    with pytest.raises(TierUnavailable, match="cannot be written"):
        kafka_jars(BrokerSettings(cache=in_the_way / "cache"))


def properties_of(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}


def test_properties_of_a_single_node_replicate_nothing(tmp_path: Path) -> None:
    node = NodePlan(1, 9001, 9002, tmp_path)

    properties = properties_of(server_properties(node, [node], {}))

    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:9001,CONTROLLER://127.0.0.1:9002"
    assert properties["offsets.topic.replication.factor"] == "1"
    assert properties["transaction.state.log.min.isr"] == "1"
    assert properties["group.initial.rebalance.delay.ms"] == "0"


def test_properties_of_three_nodes_survive_the_loss_of_one(tmp_path: Path) -> None:
    nodes = [NodePlan(n, 9000 + n, 9010 + n, tmp_path / str(n)) for n in (1, 2, 3)]

    properties = properties_of(server_properties(nodes[2], nodes, {}))

    assert properties["node.id"] == "3"
    assert properties["controller.quorum.bootstrap.servers"] == "127.0.0.1:9011,127.0.0.1:9012,127.0.0.1:9013"
    assert properties["transaction.state.log.replication.factor"] == "3"
    assert properties["transaction.state.log.min.isr"] == "2"


def test_properties_of_the_caller_win(tmp_path: Path) -> None:
    node = NodePlan(1, 9001, 9002, tmp_path)

    properties = properties_of(server_properties(node, [node], {"group.initial.rebalance.delay.ms": "3000"}))

    assert properties["group.initial.rebalance.delay.ms"] == "3000"


def test_image_environment_spells_names_as_the_image_expects() -> None:
    environment = image_environment("127.0.0.1:9092", {"some.name_with-dash": "x"})

    assert environment["KAFKA_SOME_NAME__WITH___DASH"] == "x"
    assert environment["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:9092"


def test_run_bounded_with_endless_command_ends_it_and_its_children(tmp_path: Path) -> None:
    code = run_bounded(["sh", "-c", "sleep 60 & wait"], tmp_path / "out", timedelta(milliseconds=200))

    assert code is None


def test_what_was_said_leaves_out_stack_frames(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("Exception: bad value\n\tat a.b.C(D.java:1)\nCaused by: worse\n\tat e.f\n")

    assert what_was_said(output) == "Exception: bad value / Caused by: worse"
    assert what_was_said(tmp_path / "absent") == "nothing"


# --- listeners with security ----------------------------------------------------------------------


def test_further_listeners_stand_beside_the_plain_one_in_the_configuration(tmp_path: Path) -> None:
    plan = NodePlan(1, 9092, 9093, tmp_path, {"MTLS": ("SSL", 9094), "SASLSSL": ("SASL_SSL", 9095)})

    lines = server_properties(plan, [plan], {}).splitlines()

    assert (
        "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093,"
        "MTLS://localhost:9094,SASLSSL://localhost:9095"
    ) in lines
    assert "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,MTLS:SSL,SASLSSL:SASL_SSL" in lines


@pytest.mark.parametrize("tier", ["given", "docker"])
def test_tiers_that_have_no_listeners_of_ours_say_so(tier: str) -> None:
    settings = BrokerSettings(bootstrap="127.0.0.1:1", listeners={"MTLS": "SSL"})

    with pytest.raises(TierUnavailable, match="listeners"):
        TIERS[tier](settings)
