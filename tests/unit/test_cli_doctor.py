"""The doctor's judgement: facts in, findings out."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from farandole.cli.doctor.command import versions
from farandole.cli.doctor.facts import Facts, FileFact, FolderFact, Local, Severity, TopicFact
from farandole.cli.doctor.findings import findings, kafka_version
from farandole.cli.doctor.gather import owners_of, readers_of, registry_findings
from farandole.cli.doctor.machine import file, filesystem, folder, judge, look, sqlite_version
from farandole.cli.settings import Settings, load, load_settings
from farandole.client.lately import WentBack
from farandole.events.catalogue import ALL, schema_of
from farandole.events.topics import Topics
from farandole.registry.confluent import subject
from farandole.testing.registry import registry_server
from farandole.transport.drift import Fault
from farandole.transport.kafka.endings import Ending
from farandole.transport.kafka.forgotten import Forgotten
from farandole.transport.kafka.inspection import Inspected, OpenTransaction
from farandole.transport.kafka.pending import Pending
from farandole.transport.port import TopicPartition

GIB = 1024**3
NEW = {2: 11, 66: 2, 68: 1}
BROKER = {
    "offsets.retention.minutes": "43200",
    "offset.metadata.max.bytes": "4096",
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "transaction.max.timeout.ms": "900000",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
}
SOUND = Facts(
    "kafka:9093",
    "ns",
    is_production=True,
    is_encrypted=True,
    session_timeouts={"agent": timedelta(seconds=10)},
    brokers={1: BROKER},
    inspected=Inspected(NEW, clock_ms=1_000_000, asked_ms=1_000_200),
    topics={"ns.events": TopicFact(3, 2)},
    groups={"ns.orders": ("ns.orders.0", "ns.orders.1"), "ns.coordinator": ("ns.coordinator.0",)},
    owners={"charge": "orders"},
    readers={"charge": ("ns.orders",)},
    assigned={"charge": ("ns.orders",)},
)

FORGOTTEN = Forgotten(TopicPartition("ns.events", 3), 17, "ns.c.0", "CompleteCommit", 1, 2, 3, Ending.COMMITTED)


def broker(**config: str) -> Facts:
    """Sound facts but for settings of the broker."""
    return replace(SOUND, brokers={1: {**BROKER, **{name.replace("_", "."): each for name, each in config.items()}}})


def inspected(**changes: Any) -> Facts:
    """Sound facts but for what was asked of the protocol."""
    return replace(SOUND, inspected=replace(SOUND.inspected, **changes))


def open_for(seconds: int) -> Facts:
    """A transaction that has been open for so long, of at most 10 s."""
    return inspected(transactions=(OpenTransaction("ns.orders.0", "Ongoing", 1_000_000 - seconds * 1000, 10_000),))


def test_nothing_is_found_where_all_is_well() -> None:
    assert findings(SOUND) == []


CASES: Mapping[str, tuple[Facts, Severity, str]] = {
    "broker_too_old": (inspected(api_versions={2: 6, 61: 0}), Severity.ERROR, "upgrade the brokers"),
    "offsets_retention": (broker(offsets_retention_minutes="10080"), Severity.WARNING, "=43200 in server.properties"),
    "offset_metadata": (broker(offset_metadata_max_bytes="1024"), Severity.ERROR, "offset.metadata.max.bytes=4096"),
    "auto_create": (broker(auto_create_topics_enable="true"), Severity.WARNING, "auto.create.topics.enable=false"),
    "unclean_election": (broker(unclean_leader_election_enable="true"), Severity.ERROR, "kafka-configs.sh"),
    "transaction_timeout": (broker(transaction_max_timeout_ms="5000"), Severity.ERROR, "transaction.max.timeout.ms"),
    "session_timeout": (broker(group_min_session_timeout_ms="12000"), Severity.ERROR, "[agent]"),
    "replication": (
        replace(SOUND, topics={"ns.runs": TopicFact(2, 2)}),
        Severity.ERROR,
        "kafka-reassign-partitions.sh",
    ),
    "min_insync": (
        replace(SOUND, topics={"ns.runs": TopicFact(3, 1)}),
        Severity.ERROR,
        "for topic in ns.runs;",
    ),
    "under_replicated": (
        replace(SOUND, topics={"ns.runs": TopicFact(3, 2, in_sync=1)}),
        Severity.ERROR,
        "--under-replicated-partitions",
    ),
    "no_leader": (
        replace(SOUND, topics={"ns.runs": TopicFact(3, 2, in_sync=3, leaderless=2)}),
        Severity.ERROR,
        "--unavailable-partitions",
    ),
    "not_answered": (replace(SOUND, unanswered=("group x: no answer",)), Severity.WARNING, "once more"),
    "not_applied": (replace(SOUND, is_applied=False), Severity.ERROR, "farandole apply PATH --bootstrap kafka:9093"),
    "clock_skew": (inspected(asked_ms=1_002_000), Severity.WARNING, "chronyc"),
    "hanging_transaction": (open_for(16), Severity.ERROR, "start a process of orders"),
    "forgotten_transaction": (
        replace(SOUND, forgotten=(FORGOTTEN,)),
        Severity.ERROR,
        "farandole transactions end --bootstrap kafka:9093 --namespace ns",
    ),
    "pending_positions": (
        replace(SOUND, pending=(Pending("ns.orders", (TopicPartition("ns.inbox.charge", 3),) * 2, 7),)),
        Severity.ERROR,
        "restart broker 7 in order",
    ),
    "positions_went_back": (
        replace(SOUND, back=(WentBack("orders", TopicPartition("ns.inbox.charge", 3), 12_040, 51_882),)),
        Severity.ERROR,
        "stop every process of unit orders; for agent in charge; do farandole agent reposition $agent "
        "--bootstrap kafka:9093 --namespace ns; done; then start it again",
    ),
    "long_positions_log": (
        replace(SOUND, positions_log={"segment.bytes": "104857600", "delete.retention.ms": "86400000"}),
        Severity.WARNING,
        "kafka-configs.sh --bootstrap-server kafka:9093 --alter --entity-type topics "
        "--entity-name __consumer_offsets --add-config segment.bytes=1048576,delete.retention.ms=60000",
    ),
    "foreign_member": (replace(SOUND, groups={"ns.orders": ("kcat",)}), Severity.ERROR, "end the process 'kcat'"),
    "slot_clash": (replace(SOUND, groups={"ns.orders": ("ns.orders.0",) * 2}), Severity.ERROR, "--slot"),
    "random_slot": (replace(SOUND, groups={"ns.orders": ("ns.orders.0badcafe",)}), Severity.WARNING, "StatefulSet"),
    "foreign_group": (
        replace(SOUND, assigned={"charge": ("ns.orders", "ns.other")}),
        Severity.ERROR,
        "--delete-offsets --group ns.other --topic ns.inbox.charge",
    ),
    "left_positions": (
        replace(SOUND, readers={"charge": ("ns.orders", "ns.other")}),
        Severity.NOTE,
        "nothing needs to be done",
    ),
    "plaintext": (replace(SOUND, is_encrypted=False), Severity.WARNING, "security.protocol"),
    "not_seen": (replace(SOUND, untold=("transactions: no right",)), Severity.NOTE, "farandole acls doctor"),
}


@pytest.mark.parametrize("code", CASES)
def test_each_finding_comes_alone_with_its_severity_and_a_fix(code: str) -> None:
    facts, severity, fix = CASES[code]

    (found,) = findings(facts)

    assert (found.code, found.severity) == (code, severity)
    assert fix in found.fix
    assert found.why
    assert found.fact


@pytest.mark.parametrize(
    ("ending", "fact", "fix", "not_in_fix"),
    [
        (Ending.COMMITTED, "it was committed", "(commits it there too", "--start-offset"),
        (Ending.ABORTED, "it was rolled back", "(aborts it there too)", "--start-offset"),
        (
            Ending.UNKNOWN,
            "nobody can tell how it ended",
            "kafka-transactions.sh --bootstrap-server kafka:9093 abort --topic ns.events --partition 3 --start-offset",
            "transactions end --bootstrap",
        ),
    ],
    ids=lambda it: it.value if isinstance(it, Ending) else "",
)
def test_a_forgotten_transaction_is_to_be_ended_as_its_coordinator_ended_it(
    ending: Ending, fact: str, fix: str, not_in_fix: str
) -> None:
    """It was to be aborted whatever it was: one that had been committed was torn by that, and facts were lost."""
    (found,) = findings(replace(SOUND, forgotten=(replace(FORGOTTEN, ending=ending),)))

    assert found.fact.endswith(f"CompleteCommit: {fact}")
    assert fix in found.fix
    assert not_in_fix not in found.fix


def test_who_is_to_abort_what_nobody_can_tell_of_is_told_to_look_first() -> None:
    """It said that nearly all of them had been rolled back, and where to look after the command."""
    (found,) = findings(replace(SOUND, forgotten=(replace(FORGOTTEN, ending=Ending.UNKNOWN),)))

    before, _, after = found.fix.partition("kafka-transactions.sh")
    assert "visible in another partition: then it was committed" in before
    assert after.endswith("(or farandole transactions end --abort-unknown)")
    assert "rolled it back" not in found.fix


def test_forgotten_transactions_of_one_writer_are_told_by_how_they_ended() -> None:
    here, there = FORGOTTEN, replace(FORGOTTEN, at=TopicPartition("ns.runs", 1))
    other = replace(FORGOTTEN, at=TopicPartition("ns.runs", 2), ending=Ending.UNKNOWN)

    committed, unknown = findings(replace(SOUND, forgotten=(here, other, there)))

    assert "ns.events[3] from 17, ns.runs[1] from 17" in committed.fact
    assert "ns.runs[2] from 17" in unknown.fact


@pytest.mark.parametrize(
    ("fault", "severity", "fix"),
    [
        (Fault("ns.inbox.a", "missing", "12", "nothing"), Severity.ERROR, "farandole apply PATH"),
        (Fault("ns.events", "partitions", "12", "6"), Severity.ERROR, "new namespace"),
        (Fault("ns.events", "retention.ms", "1", "2"), Severity.WARNING, "farandole apply PATH"),
    ],
    ids=["missing", "partitions", "config"],
)
def test_drift_is_as_grave_as_what_it_stops(fault: Fault, severity: Severity, fix: str) -> None:
    (found,) = findings(replace(SOUND, drift=(fault,)))

    assert (found.code, found.severity) == ("drift", severity)
    assert fix in found.fix


def test_a_broker_that_may_be_away_is_only_a_warning_while_enough_are_in_sync() -> None:
    (found,) = findings(replace(SOUND, topics={"ns.runs": TopicFact(3, 2, in_sync=2)}))

    assert (found.code, found.severity) == ("under_replicated", Severity.WARNING)
    assert "ns.runs (2)" in found.fact


def test_what_a_single_broker_cannot_have_is_only_a_note_in_development() -> None:
    found = findings(replace(SOUND, is_production=False, topics={"ns.runs": TopicFact(1, 1)}))

    assert [(each.code, each.severity) for each in found] == [
        ("replication", Severity.NOTE),
        ("min_insync", Severity.NOTE),
    ]


def test_positions_of_a_unit_that_went_back_are_one_finding_with_all_of_its_agents() -> None:
    inbox = [TopicPartition("ns.inbox.charge", n) for n in range(7)]
    back = [WentBack("orders", at, 12_040 + at.partition, 51_882) for at in reversed(inbox)]
    mail = WentBack("mail", TopicPartition("ns.inbox.send", 0), 1, 2)
    owners = {"ship": "orders", "charge": "orders", "send": "mail"}
    readers = {"charge": ("ns.orders",), "ship": ("ns.orders",), "send": ("ns.mail",)}

    found = findings(replace(SOUND, back=(*back, mail), owners=owners, readers=readers))

    assert [each.code for each in found] == ["positions_went_back"] * 2
    assert found[0].fact == "positions of unit mail went back: ns.inbox.send[0] to 1, and 2 was answered"
    assert "ns.inbox.charge[0] to 12,040, and 51,882 was answered; ns.inbox.charge[1] to 12,041" in found[1].fact
    assert found[1].fact.endswith("; and 2 partitions more")
    assert "for agent in charge ship;" in found[1].fix


def test_positions_that_somebody_may_have_set_are_to_be_looked_at_before_records_are_passed_over() -> None:
    (found,) = findings(CASES["positions_went_back"][0])

    assert "look first, with --dry-run" in found.fix
    assert "records that were skipped by hand are passed over too" in found.fix


def test_log_of_positions_that_may_not_be_seen_is_a_note_with_the_right_that_it_takes() -> None:
    (found,) = findings(replace(SOUND, positions_log=None))

    assert (found.code, found.severity) == ("not_seen", Severity.NOTE)
    assert found.fact.startswith("__consumer_offsets: how many brokers have it")
    assert "--operation Describe --operation DescribeConfigs --topic __consumer_offsets" in found.fix


def test_long_log_of_positions_is_told_of_any_broker_that_alone_has_some_of_it() -> None:
    (found,) = findings(CASES["long_positions_log"][0])

    assert found.fact.startswith("__consumer_offsets has partitions that one broker alone has")
    assert "only broker" not in found.fact + found.why


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({}, False),
        ({"segment.bytes": "16777216", "delete.retention.ms": "3600000"}, False),
        ({"segment.bytes": "1048576", "delete.retention.ms": "3600001"}, True),
        ({"segment.bytes": "16777217", "delete.retention.ms": "60000"}, True),
        ({"segment.bytes": "104857600"}, True),
    ],
    ids=["several_brokers", "short", "ends_stay", "never_cleaned", "one_is_told"],
)
def test_log_of_positions_is_long_by_its_segments_or_by_how_long_ends_stay(
    settings: dict[str, str], is_told: bool
) -> None:
    assert [each.code for each in findings(replace(SOUND, positions_log=settings))] == ["long_positions_log"] * is_told


@pytest.mark.parametrize("seconds", [1, 9, 14])
def test_a_transaction_within_its_time_is_no_finding(seconds: int) -> None:
    assert findings(open_for(seconds)) == []


@pytest.mark.parametrize(("asked_ms", "side"), [(1_040_000, "ahead of"), (960_000, "behind")])
def test_a_great_skew_is_an_error_and_says_which_clock_is_ahead(asked_ms: int, side: str) -> None:
    (found,) = findings(inspected(asked_ms=asked_ms))

    assert found.severity is Severity.ERROR
    assert f"40.0 s {side} the cluster's" in found.fact


def test_the_worst_comes_first() -> None:
    facts = replace(SOUND, is_encrypted=False, untold=("x",), topics={"ns.runs": TopicFact(1, 2)})

    assert [each.severity for each in findings(facts)] == [Severity.ERROR, Severity.WARNING, Severity.NOTE]


@pytest.mark.parametrize("bootstrap", ["localhost:9092", "127.0.0.1:1,[::1]:2", "localhost", "::1,[::1]"])
def test_plaintext_on_this_machine_is_no_finding(bootstrap: str) -> None:
    assert findings(replace(SOUND, is_encrypted=False, bootstrap=bootstrap)) == []


def test_no_group_is_foreign_on_an_inbox_whose_owner_was_not_told() -> None:
    """Where `definitions` may not be read no owner is known: each unit was called foreign on its own inbox, and who did
    as the doctor said deleted the unit's positions."""
    (found,) = findings(replace(SOUND, owners={}, untold=("ns.definitions: access denied",)))

    assert found.code == "not_seen"


def test_positions_that_a_move_left_behind_are_no_error_and_end_no_process() -> None:
    """`agent move` leaves the positions of the old unit (decision 0057): it was an error from then on, for ever."""
    (found,) = findings(replace(SOUND, owners={"charge": "mail"}, assigned={}))

    assert (found.severity, found.code) == (Severity.NOTE, "left_positions")
    assert "end the processes" not in found.fix


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({}, "unknown"),
        ({2: 5, 28: 3}, "older than 3.0"),  # 2.7, which takes our transactions, and tells no ends that we can ask for
        ({2: 6, 28: 3, 61: 0}, "older than 3.0"),  # 2.8, which tells who has written, and not what is under way
        ({2: 7, 28: 3, 61: 0, 66: 0}, "3.0 to 3.6"),
        ({2: 8, 66: 0, 68: 0}, "3.7 to 3.9"),
        (NEW, "4.0 or newer"),
    ],
)
def test_the_brokers_version_is_told_as_far_as_its_requests_tell_it(versions: dict[int, int], told: str) -> None:
    assert kafka_version(versions) == told


def test_owners_and_readers_are_read_from_definitions_and_positions() -> None:
    assert owners_of({"inbox:charge": "orders", "pipeline:x": "1", "abc": "{}"}) == {"charge": "orders"}
    assert readers_of(
        Topics("ns"), {"ns.b": frozenset({"ns.inbox.charge"}), "ns.a": frozenset({"ns.inbox.charge", "x"})}
    ) == {"charge": ("ns.a", "ns.b")}


# --- this machine --------------------------------------------------------------------------------

ROOM = FolderFact(Path("store"), True, 2 * GIB, "ext4")
LOG = FileFact(Path("log.db"), 1, 1, "ok", ROOM)

MACHINE: Mapping[str, Local] = {
    "artifacts_read_only": Local(artifacts=replace(ROOM, is_writable=False)),
    "artifacts_space": Local(artifacts=replace(ROOM, free_bytes=GIB - 1)),
    "log_space": Local(log=replace(LOG, folder=replace(ROOM, free_bytes=1))),
    "log_damaged": Local(log=replace(LOG, integrity="row 3 missing from index")),
    "log_unseen": Local(log=replace(LOG, integrity="", unseen="unable to open database file")),
    "log_read_only": Local(
        log=replace(
            LOG,
            integrity="",
            unseen="attempt to write a readonly database",
            folder=replace(ROOM, is_writable=False, is_on_read_only=True),
        )
    ),
    "log_foreign": Local(log=replace(LOG, is_foreign=True, version=7)),
    "log_locked": Local(log=replace(LOG, locked_for=timedelta(seconds=10))),
    "log_newer": Local(log=replace(LOG, version=2)),
    "log_on_network": Local(log=replace(LOG, folder=replace(ROOM, filesystem="nfs4"))),
    "readable_secrets": Local(readable_secrets=Path("farandole.toml")),
    "unknown_variable": Local(strangers=("FARANDOLE_BOOTSTRP",)),
}


def test_nothing_is_found_on_a_sound_machine() -> None:
    assert list(judge(Local(artifacts=ROOM, log=LOG))) == []


@pytest.mark.parametrize("code", MACHINE)
def test_each_finding_of_a_machine_comes_alone(code: str) -> None:
    (found,) = judge(MACHINE[code])

    assert found.code == code
    assert found.fix
    assert found.why


@pytest.mark.parametrize(
    ("version", "is_told"),
    [
        ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 6), True), ((3, 50, 7), False),
        ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False),
    ],
)  # fmt: skip
def test_a_sqlite_that_can_damage_the_log_is_told(version: tuple[int, ...], is_told: bool) -> None:
    assert sqlite_version(version).endswith("has the WAL-reset bug)") is is_told
    assert sqlite3.sqlite_version in versions(None)["sqlite"]


def test_a_settings_file_with_a_secret_that_everybody_may_read_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "farandole.toml"
    path.write_text('[kafka]\nsasl.password = "x"\n')
    path.chmod(0o644)
    seen = look(load())
    path.chmod(0o640)

    assert seen.readable_secrets == path
    assert look(load()).readable_secrets is None


def test_a_file_that_is_no_database_is_seen_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)

    assert "not a database" in file(path, 1).integrity


@pytest.mark.parametrize("name", ["odd #1 %41", "odd?mode=rwc&x", "50%"])
def test_a_log_is_looked_at_where_it_is_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    """The path went into a URI as it stood: nothing counted behind a `#`, and a new file was sound."""
    path = tmp_path / name / "log.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 7")
    before = set(tmp_path.rglob("*"))

    seen = file(path, 1)

    assert (seen.version, seen.integrity, seen.unseen) == (7, "ok", "")
    assert set(tmp_path.rglob("*")) == before


def test_a_log_that_may_not_be_looked_at_is_not_called_damaged(tmp_path: Path) -> None:
    """On a disk that is read-only SQLite cannot open it: that its records may be lost was said of a sound log."""
    path = tmp_path / "log.db"
    path.mkdir()

    seen = file(path, 1)

    assert (seen.integrity, bool(seen.unseen)) == ("", True)


def test_a_folder_that_does_not_exist_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    seen = folder(tmp_path / "a" / "b")

    assert seen.is_writable
    assert seen.free_bytes > 0


def test_the_file_system_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("a / ext4 rw 0 0\nb /data nfs4 rw 0 0\nc /database xfs rw 0 0\n")

    assert filesystem(Path("/data/x"), mounts) == "nfs4"
    assert filesystem(Path("/x"), mounts) == "ext4"
    assert filesystem(Path("/x"), tmp_path / "nowhere") == ""


def test_the_file_system_is_that_of_the_last_of_two_mounts_and_of_places_with_a_space(tmp_path: Path) -> None:
    """An embedded log on NFS behind autofs, or on a mount with a space in its name, was not called one on a network."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "a / ext4 rw 0 0\nsystemd-1 /data autofs rw 0 0\nnas:/x /data nfs4 rw 0 0\n"
        "nas:/y /mnt/my\\040share nfs rw 0 0\n"
    )

    assert filesystem(Path("/data/shop/.farandole"), mounts) == "nfs4"
    assert filesystem(Path("/mnt/my share/shop"), mounts) == "nfs"
    assert filesystem(Path("/mnt/mine"), mounts) == "ext4"


# --- the registry --------------------------------------------------------------------------------


def test_a_registry_that_lacks_our_schemas_is_an_error_until_they_are_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with registry_server() as server:
        (tmp_path / "farandole.toml").write_text(f'[registry]\nurl = "{server.url}"\nattempts_max = 1\n')
        settings = load_settings()

        (missing,) = registry_findings(settings)
        for record in ALL:
            server.answer(
                "POST", f"/subjects/{subject(schema_of(record))}/versions", {"schema": schema_of(record).text}
            )
        found = registry_findings(settings)

    (away,) = registry_findings(settings)
    assert (missing.code, away.code, found) == ("registry", "registry", [])
    assert "farandole apply" in missing.fix
    assert "after 1 attempts" in away.fact


def test_without_a_registry_there_is_nothing_to_find() -> None:
    assert registry_findings(Settings()) == []
