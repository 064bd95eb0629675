"""The doctor on a real broker: findings that are provoked, and what it says where it may not look."""

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from typer.testing import CliRunner

from farandole.cli.doctor.gather import Gatherer
from farandole.cli.main import app
from farandole.cli.settings import load_settings
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.events.facts import StepSucceeded
from farandole.events.outgoing import Origin, Outgoing, Trigger, event_record, trigger_record
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, attempt_id
from farandole.testing.broker import Broker
from farandole.testing.broker.secured import SecuredBroker
from farandole.transport.kafka import KafkaSettings, KafkaTransport

WAIT = 20.0


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without settings."""
    for name in [each for each in os.environ if each.startswith("FARANDOLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def applied(kafka: str, unique: str) -> str:
    """A namespace with one agent, applied."""
    transport = KafkaTransport(KafkaSettings(kafka))
    apply(transport, plan(transport, Topics(unique), Deployment("orders", ("charge",)), partitions=1))
    return unique


def doctor(kafka: str, namespace: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and the findings by their code."""
    ran = CliRunner().invoke(app, ["doctor", "--json", "--bootstrap", kafka, "--namespace", namespace])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    told = json.loads(ran.stdout)
    assert told["versions"]["kafka"] == "4.0 or newer"
    return ran.exit_code, {each["code"]: each for each in told["findings"]}


@pytest.fixture
def joined(kafka: str) -> Iterator[list[Consumer]]:
    """Members that a test lets join; they leave with it."""
    members: list[Consumer] = []
    yield members
    for each in members:
        each.close()


def join(kafka: str, group: str, topic: str, client: str, members: list[Consumer]) -> None:
    """Let a member join; returns once all of the group have been assigned something or nothing."""
    made = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": group,
            "client.id": client,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    members.append(made)
    admin = KafkaTransport(KafkaSettings(kafka)).admin()
    made.subscribe([topic])
    deadline = time.monotonic() + WAIT
    while client not in admin.members(group):
        assert time.monotonic() < deadline, f"{client} did not join"
        for each in members:
            each.poll(0.05)


def test_a_sound_namespace_has_no_errors_and_the_test_brokers_short_retention_is_seen(kafka: str, applied: str) -> None:
    code, found = doctor(kafka, applied)

    assert code == 0
    assert found.keys() == {"offsets_retention", "long_positions_log", "replication", "min_insync"}
    assert found["offsets_retention"]["severity"] == "warning"
    assert "offsets.retention.minutes=43200" in found["offsets_retention"]["fix"]


def test_a_namespace_that_was_never_applied_is_an_error_with_the_command(kafka: str, unique: str) -> None:
    code, found = doctor(kafka, unique)

    assert code == 1
    assert f"farandole apply PATH --bootstrap {kafka} --namespace {unique}" in found["not_applied"]["fix"]


def test_drift_is_found(kafka: str, applied: str) -> None:
    KafkaTransport(KafkaSettings(kafka)).admin().configure(f"{applied}.events", {"retention.ms": "1000"})

    code, found = doctor(kafka, applied)

    assert code == 0
    assert "retention.ms" in found["drift"]["fact"]


def test_processes_with_one_slot_are_found(kafka: str, applied: str, joined: list[Consumer]) -> None:
    group, topic = f"{applied}.orders", f"{applied}.inbox.charge"
    facts = Gatherer(load_settings(bootstrap=kafka, namespace=applied))
    join(kafka, group, topic, f"{group}.0", joined)
    join(kafka, group, topic, f"{group}.0", joined)
    deadline = time.monotonic() + WAIT
    while len(facts.facts().groups[group]) < 2:
        assert time.monotonic() < deadline, "two members were expected"
        for each in joined:
            each.poll(0.1)

    code, found = doctor(kafka, applied)

    assert code == 1
    assert "2 processes have the slot '0'" in found["slot_clash"]["fact"]


def test_members_with_foreign_names_and_random_slots_are_found(
    kafka: str, applied: str, joined: list[Consumer]
) -> None:
    group, topic = f"{applied}.orders", f"{applied}.inbox.charge"
    join(kafka, group, topic, f"{group}.0badcafe", joined)
    join(kafka, group, topic, "somebody", joined)

    _, found = doctor(kafka, applied)

    assert "'somebody'" in found["foreign_member"]["fact"]
    assert found["random_slot"]["severity"] == "note"


def test_a_second_group_on_an_inbox_is_found(kafka: str, applied: str, joined: list[Consumer]) -> None:
    topic = f"{applied}.inbox.charge"
    stranger = Consumer({"bootstrap.servers": kafka, "group.id": f"{applied}.other", "enable.auto.commit": False})
    joined.append(stranger)
    stranger.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    _, idle = doctor(kafka, applied)
    facts = Gatherer(load_settings(bootstrap=kafka, namespace=applied))
    join(kafka, f"{applied}.other", topic, f"{applied}.other.0", joined)
    deadline = time.monotonic() + WAIT
    while f"{applied}.other" not in facts.facts().assigned.get("charge", ()):
        assert time.monotonic() < deadline, "the member was to be assigned the inbox"
        for each in joined[1:]:
            each.poll(0.1)

    code, found = doctor(kafka, applied)

    assert idle["left_positions"]["severity"] == "note"
    assert code == 1
    assert f"--delete-offsets --group {applied}.other --topic {topic}" in found["foreign_group"]["fix"]


def test_a_transaction_under_way_is_seen_with_its_age_by_the_clusters_clock(kafka: str, applied: str) -> None:
    name = f"{applied}.orders.0"
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": name, "transaction.timeout.ms": 30_000})
    producer.init_transactions(WAIT)
    producer.begin_transaction()
    producer.produce(f"{applied}.events", b"x")
    assert producer.flush(WAIT) == 0

    seen = Gatherer(load_settings(bootstrap=kafka, namespace=applied)).facts().inspected
    producer.abort_transaction(WAIT)
    after = Gatherer(load_settings(bootstrap=kafka, namespace=applied)).facts().inspected

    ((transactional_id, timeout_ms),) = [(each.transactional_id, each.timeout_ms) for each in seen.transactions]
    assert (transactional_id, timeout_ms) == (name, 30_000)
    assert 0 <= seen.clock_ms - seen.transactions[0].started_ms < WAIT * 1000
    assert abs(seen.clock_ms - seen.asked_ms) < 1_000
    assert after.transactions == ()


def answer(kafka: str, topics: Topics, numbers: range, *, again: bool = False) -> None:
    """Triggers of `charge` (none if `again`), and the facts that name them, without the positions that should stand
    with these."""
    now, producer = datetime.now(UTC), Producer({"bootstrap.servers": kafka})

    def write(it: Outgoing) -> None:
        producer.produce(it.topic, it.value, it.key, 0, headers=list(it.headers))

    for n in numbers:
        trigger = Trigger(f"r-{n}", "charge", "charge", 1, b"input")
        cause = attempt_id(f"r-{n}", "charge", NO_ITEM, 1) + "/trigger"
        origin = Origin("tests", now, input=f"{topics.inbox('charge')}/0/{n}", agent="charge")
        if not again:
            write(trigger_record(topics, trigger, cause="c", origin=Origin("tests", now)))
        write(
            event_record(
                topics, StepSucceeded(f"r-{n}", "charge", 1, b"output"), event_id="e", cause=cause, origin=origin
            )
        )
    assert producer.flush(WAIT) == 0


def test_positions_that_went_back_are_found_until_they_are_given_anew_as_the_finding_says(
    kafka: str, applied: str
) -> None:
    topics = Topics(applied)
    answer(kafka, topics, range(700))

    code, found = doctor(kafka, applied)
    words = found["positions_went_back"]["fix"].partition("do farandole ")[2].partition(";")[0]
    mended = CliRunner().invoke(app, [*words.replace("$agent", "charge").split(), "--yes"])
    _, left = doctor(kafka, applied)

    assert code == 1
    assert f"{topics.inbox('charge')}[0] to 0, and 699 was answered" in found["positions_went_back"]["fact"]
    assert "stop every process of unit orders; for agent in charge;" in found["positions_went_back"]["fix"]
    assert mended.exit_code == 0, mended.output
    assert "positions_went_back" not in left


def test_positions_that_went_back_are_found_though_much_was_done_once_more_since(kafka: str, applied: str) -> None:
    """Of a unit that was started anew all that stands at the ends of `events` is what it has done once more."""
    topics, done = Topics(applied), 1_200
    answer(kafka, topics, range(2_000))
    answer(kafka, topics, range(done), again=True)
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topics.group("orders"), "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topics.inbox("charge"), 0, done)], asynchronous=False)
    consumer.close()

    code, found = doctor(kafka, applied)

    assert code == 1
    assert f"{topics.inbox('charge')}[0] to {done:,}, and " in found["positions_went_back"]["fact"]
    assert "unserved_inbox" not in found


def test_an_only_broker_with_a_long_log_of_positions_is_told_until_it_is_set_as_the_finding_says(
    own_broker: Broker, unique: str
) -> None:
    kafka = own_broker.bootstrap
    transport = KafkaTransport(KafkaSettings(kafka))
    apply(transport, plan(transport, Topics(unique), Deployment("orders", ("charge",)), partitions=1))

    code, found = doctor(kafka, unique)
    given = found["long_positions_log"]["fix"].rpartition("--add-config ")[2].split(",")
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in (each.split("=") for each in given)
    ]
    admin = AdminClient({"bootstrap.servers": kafka})
    (altered,) = admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, "__consumer_offsets", incremental_configs=entries)]
    ).values()
    altered.result(WAIT)
    _, left = doctor(kafka, unique)

    assert (code, found["long_positions_log"]["severity"]) == (0, "warning")
    assert found["long_positions_log"]["fact"].endswith("segment.bytes=104857600 and delete.retention.ms=86400000")
    assert "long_positions_log" not in left


@pytest.mark.xdist_group("secured")
def test_who_may_not_look_is_told_what_was_not_seen(secured: SecuredBroker, unique: str) -> None:
    config = Path("farandole.toml")
    lines = [f'"{name}" = "{value}"' for name, value in secured.with_password("PLAIN", "stranger").items()]
    config.write_text(f'bootstrap = "{secured.sasl}"\nnamespace = "{unique}"\n[kafka]\n' + "\n".join(lines))
    config.chmod(0o600)

    ran = CliRunner().invoke(app, ["doctor", "--json"])

    found = json.loads(ran.stdout)["findings"]
    assert {each["code"] for each in found} == {"not_seen"}
    assert all("farandole acls doctor" in each["fix"] for each in found if each["code"] == "not_seen")


def test_a_broker_that_is_away_is_one_error_with_a_way_out() -> None:
    ran = CliRunner().invoke(app, ["doctor", "--bootstrap", "127.0.0.1:1"])

    assert ran.exit_code == 1
    assert "error: 127.0.0.1:1: cannot be reached" in ran.stdout
    assert "fix: kcat -L -b 127.0.0.1:1" in ran.stdout


def production(kafka: str, namespace: str, folder: Path) -> Path:
    """Settings of production, which this single broker cannot satisfy."""
    path = folder / "farandole.toml"
    path.write_text(
        f'profile = "production"\nallow_plaintext = true\nbootstrap = "{kafka}"\nnamespace = "{namespace}"\n'
        f'artifacts = "{folder}"\n'
    )
    return path


@pytest.mark.parametrize("words", [["coordinator", "run"], ["agent", "run", "numbers"]], ids=lambda words: words[0])
def test_no_process_starts_in_production_on_topics_with_one_replica(
    kafka: str, applied: str, tmp_path: Path, words: list[str]
) -> None:
    production(kafka, applied, tmp_path)

    ran = CliRunner().invoke(app, words)

    assert ran.exit_code == 2
    assert f"{applied}.commands (1)" in ran.stderr
    assert "kafka-reassign-partitions.sh" in ran.stderr
    assert f" {applied}.runs " in ran.stderr.partition("for topic in ")[2].partition(";")[0]
    assert "--entity-name $topic --add-config min.insync.replicas=2; done" in ran.stderr


def test_doctor_calls_one_replica_an_error_in_production(kafka: str, applied: str, tmp_path: Path) -> None:
    production(kafka, applied, tmp_path)

    code, found = doctor(kafka, applied)

    assert code == 1
    assert {found[each]["severity"] for each in ("replication", "min_insync")} == {"error"}
